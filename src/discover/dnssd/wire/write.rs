//! Messages to bytes, with names compressed.

use std::collections::HashMap;

use super::{CLASS_IN, Data, FLAGS_RESPONSE, Question, Record, TOP_BIT};
use crate::discover::dnssd::name::DomainName;

/// Bytes of a header.
const HEADER: usize = 12;
/// Beyond this, no pointer leads.
const MAX_POINTER: usize = 0x3fff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Answers = 1,
    Authorities = 2,
    Additionals = 3,
}

/// A message that is being written, of at most so many bytes.
pub struct Writer {
    bytes: Vec<u8>,
    limit: usize,
    counts: [u16; 4],
    /// Names and ends of names that are there already, in lower case, and where.
    names: HashMap<Vec<u8>, u16>,
}

impl Writer {
    pub fn new(limit: usize) -> Self {
        Self { bytes: vec![0; HEADER], limit, counts: [0; 4], names: HashMap::new() }
    }
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }
    /// False where it has no room.
    pub fn question(&mut self, question: &Question) -> bool {
        self.whole(0, |writer| {
            writer.name(&question.name);
            writer.u16(question.kind);
            writer.u16(CLASS_IN | if question.unicast { TOP_BIT } else { 0 });
        })
    }
    /// False where it has no room.
    pub fn record(&mut self, section: Section, record: &Record) -> bool {
        self.whole(section as usize, |writer| {
            writer.name(&record.name);
            writer.u16(record.data.kind());
            writer.u16(CLASS_IN | if record.flush { TOP_BIT } else { 0 });
            writer.bytes.extend_from_slice(&record.ttl.to_be_bytes());
            let from = writer.bytes.len();
            writer.u16(0);
            writer.data(record);
            let length = u16::try_from(writer.bytes.len() - from - 2).unwrap_or(u16::MAX);
            writer.bytes[from..from + 2].copy_from_slice(&length.to_be_bytes());
        })
    }
    pub fn finish(mut self, id: u16, flags: u16) -> Vec<u8> {
        let words = [id, flags].into_iter().chain(self.counts);
        let header: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
        self.bytes[..HEADER].copy_from_slice(&header);
        self.bytes
    }
    /// Writes something as a whole, or not at all.
    fn whole(&mut self, section: usize, write: impl FnOnce(&mut Self)) -> bool {
        let before = self.bytes.len();
        write(self);
        let fits = self.bytes.len() <= self.limit;
        if fits {
            self.counts[section] += 1;
        } else {
            self.bytes.truncate(before);
            self.names.retain(|_, at| usize::from(*at) < before);
        }
        fits
    }
    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    fn name(&mut self, name: &DomainName) {
        let wire = name.wire();
        let mut at = 0;
        while wire[at] != 0 {
            let rest = wire[at..].to_ascii_lowercase();
            if let Some(known) = self.names.get(&rest) {
                return self.u16(0xc000 | known);
            }
            if let Ok(here) = u16::try_from(self.bytes.len().min(MAX_POINTER + 1))
                && usize::from(here) <= MAX_POINTER
            {
                self.names.entry(rest).or_insert(here);
            }
            let next = at + 1 + usize::from(wire[at]);
            self.bytes.extend_from_slice(&wire[at..next]);
            at = next;
        }
        self.bytes.push(0);
    }
    fn data(&mut self, record: &Record) {
        match &record.data {
            Data::Ptr(name) => return self.name(name),
            Data::Nsec(_) => self.name(&record.name),
            // The target of SRV is never compressed: legacy queriers do not expect that (RFC 6762 §18.14).
            _ => {}
        }
        self.bytes.extend_from_slice(&record.data.bytes());
    }
}

/// Answers in as many messages as they need, each of at most `limit` bytes; what is added to them only where there is room
/// in the last.
pub fn responses(answers: &[Record], additionals: &[Record], limit: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut writer = Writer::new(limit);
    for answer in answers {
        if !writer.record(Section::Answers, answer) && !writer.is_empty() {
            let full = std::mem::replace(&mut writer, Writer::new(limit));
            all.push(full.finish(0, FLAGS_RESPONSE));
            writer.record(Section::Answers, answer);
        }
    }
    for additional in additionals {
        writer.record(Section::Additionals, additional);
    }
    if !writer.is_empty() {
        all.push(writer.finish(0, FLAGS_RESPONSE));
    }
    all
}
