//! Messages from bytes.

use super::{
    CLASS_ANY, CLASS_IN, Data, FLAGS_FOREIGN, KIND_A, KIND_AAAA, KIND_NSEC, KIND_PTR, KIND_SRV, KIND_TXT, MAX_MESSAGE,
    MAX_QUESTIONS, MAX_RECORDS, Message, Question, Record, TOP_BIT,
};
use crate::discover::dnssd::name::{DomainName, MAX_NAME};

/// The largest length of a label; higher values mean something else.
const MAX_LABEL_BYTE: u8 = 63;

pub(super) fn message(datagram: &[u8]) -> Option<Message> {
    let mut reader = Reader { all: datagram, at: 0 };
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?].map(usize::from);
    let [questions, answers, authorities, additionals] = counts;
    let is_long = datagram.len() > MAX_MESSAGE || questions > MAX_QUESTIONS;
    if is_long || answers + authorities + additionals > MAX_RECORDS || flags & FLAGS_FOREIGN != 0 {
        return None;
    }
    let mut asked = Vec::new();
    for _ in 0..questions {
        asked.extend(reader.question()?);
    }
    let message = Message {
        id,
        flags,
        questions: asked,
        answers: reader.records(answers)?,
        authorities: reader.records(authorities)?,
        additionals: reader.records(additionals)?,
    };
    Some(message)
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.all.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    /// A name, whose end may be that of an earlier one: each pointer has to lead further back than the one before it, so
    /// that it comes to an end (RFC 1035 §4.1.4).
    fn name(&mut self) -> Option<DomainName> {
        let (mut labels, mut length) = (Vec::new(), 1);
        let (mut at, mut before, mut end) = (self.at, self.at, None);
        loop {
            let first = *self.all.get(at)?;
            match first {
                0 => break,
                1..=MAX_LABEL_BYTE => {
                    let label = self.all.get(at + 1..at + 1 + usize::from(first))?;
                    length += 1 + label.len();
                    if length > MAX_NAME {
                        return None;
                    }
                    labels.push(label);
                    at += 1 + label.len();
                }
                0xc0.. => {
                    let target = usize::from(first & 0x3f) << 8 | usize::from(*self.all.get(at + 1)?);
                    if target >= before {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    (at, before) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(at + 1);
        DomainName::new(labels)
    }
    /// None inside for another class.
    fn question(&mut self) -> Option<Option<Question>> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let is_ours = matches!(class & !TOP_BIT, CLASS_IN | CLASS_ANY);
        Some(is_ours.then_some(Question { name, kind, unicast: class & TOP_BIT != 0 }))
    }
    fn records(&mut self, count: usize) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        for _ in 0..count {
            records.extend(self.record()?);
        }
        Some(records)
    }
    /// None inside for another class.
    fn record(&mut self) -> Option<Option<Record>> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.array()?);
        let length = usize::from(self.u16()?);
        let from = self.at;
        let bytes = self.take(length)?;
        if class & !TOP_BIT != CLASS_IN {
            return Some(None);
        }
        let mut inner = Reader { all: &self.all[..self.at], at: from };
        let data = inner.data(kind, bytes)?;
        Some((inner.at == self.at).then_some(Record { name, ttl, flush: class & TOP_BIT != 0, data }))
    }
    /// What a record says, which is to be read to the end.
    fn data(&mut self, kind: u16, bytes: &[u8]) -> Option<Data> {
        Some(match kind {
            KIND_A => Data::A(self.array::<4>()?.into()),
            KIND_AAAA => Data::Aaaa(self.array::<16>()?.into()),
            KIND_PTR => Data::Ptr(self.name()?),
            KIND_SRV => {
                Data::Srv { priority: self.u16()?, weight: self.u16()?, port: self.u16()?, target: self.name()? }
            }
            KIND_NSEC => {
                self.name()?;
                Data::Nsec(kinds(self.take(self.all.len() - self.at)?))
            }
            kind => {
                let bytes = self.take(bytes.len())?.to_vec();
                if kind == KIND_TXT { Data::Txt(bytes) } else { Data::Other { kind, bytes } }
            }
        })
    }
}

/// The kinds below 256 of a bitmap (RFC 4034 §4.1.2); multicast DNS has no others (RFC 6762 §6.1).
fn kinds(bitmap: &[u8]) -> Vec<u16> {
    let [0, length, bits @ ..] = bitmap else { return Vec::new() };
    let bits = bits.iter().take(usize::from(*length).min(32));
    let is_set = |byte: u8, bit: u16| byte & (0x80 >> bit) != 0;
    (0..)
        .zip(bits)
        .flat_map(|(n, byte)| (0..8).filter(move |bit| is_set(*byte, *bit)).map(move |bit| n * 8 + bit))
        .collect()
}
