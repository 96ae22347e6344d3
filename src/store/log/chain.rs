//! The lines of a log: written, read, and checked to follow one another.
//!
//! A line is `{"seq","time","kind","part","prev","body","check"}`. `check` is the beginning of the BLAKE3 hash of all of
//! the line before it: the chain covers every record but the last, this one covers that too.

use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Contents, Head, LogRecord, MAX_RECORD, RecordKind, Torn};
use crate::model::{Code, Error, Hash, Result, Time};

/// Bytes of a hash that make a check: against accidents only.
const CHECK_BYTES: usize = 8;
const CHECK_BEFORE: &[u8] = b",\"check\":\"";
const CHECK_AFTER: &[u8] = b"\"}";
/// Bytes of a line from its check on.
const CHECK_FIELD: usize = CHECK_BEFORE.len() + 2 * CHECK_BYTES + CHECK_AFTER.len();

#[derive(Serialize)]
struct Written<'a, T> {
    seq: u64,
    time: Time,
    kind: RecordKind,
    part: (u32, u32),
    prev: Hash,
    body: &'a T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    time: Time,
    kind: RecordKind,
    part: (u32, u32),
    prev: Hash,
    body: Box<RawValue>,
    #[serde(rename = "check")]
    _check: String,
}

/// The lines of one step after `head`, and the head after them.
pub(super) fn lines<T: Serialize>(mut head: Head, now: Time, records: &[(RecordKind, T)]) -> Result<(Vec<u8>, Head)> {
    let of = u32::try_from(records.len()).map_err(|_| Error::new(Code::TooLarge, "a step of too many records"))?;
    let mut out = Vec::new();
    for (at, (kind, body)) in (1..).zip(records) {
        let record = Written { seq: head.seq + 1, time: now, kind: *kind, part: (at, of), prev: head.hash, body };
        let mut line = serde_json::to_vec(&record)
            .map_err(|why| Error::new(Code::Internal, format!("a record of a session's log: {why}")))?;
        line.pop();
        let check = check(&line);
        for part in [CHECK_BEFORE, check.as_bytes(), CHECK_AFTER] {
            line.extend_from_slice(part);
        }
        if line.len() > MAX_RECORD {
            let message = format!("a record of {} bytes is longer than {MAX_RECORD}", line.len());
            return Err(Error::new(Code::TooLarge, message));
        }
        if line.contains(&b'\n') {
            return Err(Error::new(Code::Internal, "a record of a session's log is not one line"));
        }
        head = Head { length: head.length + line.len() as u64 + 1, seq: head.seq + 1, hash: Hash::of(&line) };
        out.append(&mut line);
        out.push(b'\n');
    }
    Ok((out, head))
}

/// Reads one line, without its newline, for itself.
pub(super) fn record(line: &[u8]) -> std::result::Result<LogRecord, String> {
    if line.len() > MAX_RECORD {
        return Err(format!("it is longer than {MAX_RECORD} bytes"));
    }
    let covered = &line[..line.len().saturating_sub(CHECK_FIELD)];
    let expected = [CHECK_BEFORE, check(covered).as_bytes(), CHECK_AFTER].concat();
    if line[covered.len()..] != expected {
        return Err("its bytes do not match their check".to_owned());
    }
    let Line { seq, time, kind, part, prev, body, .. } =
        serde_json::from_slice(line).map_err(|why| format!("it is no record: {why}"))?;
    if part.0 == 0 || part.0 > part.1 || seq < u64::from(part.0) {
        return Err("its place in its step is impossible".to_owned());
    }
    Ok(LogRecord { seq, time, kind, part, prev, body })
}

/// What a stretch of a log holds: whole steps only.
pub(super) struct Scan {
    pub(super) records: Vec<LogRecord>,
    pub(super) head: Head,
    pub(super) torn: Option<Torn>,
}

impl Scan {
    pub(super) fn into_contents(self) -> Contents {
        Contents { records: self.records, head: self.head, torn: self.torn }
    }
}

/// Reads the `bytes` of a log that come after `from`, up to the file's end.
///
/// # Errors
/// `broken-chain` for anything that does not follow, unless it is a last step that was interrupted while written.
pub(super) fn scan(path: &Path, bytes: &[u8], from: Head) -> Result<Scan> {
    let mut scan = Scan { records: Vec::new(), head: from, torn: None };
    // The head after the last record read, and the records of its step; the step may not be complete.
    let mut at = from;
    let mut step: Vec<LogRecord> = Vec::new();
    let position = |head: Head| usize::try_from(head.length - from.length).unwrap_or(usize::MAX);
    while position(at) < bytes.len() {
        let rest = &bytes[position(at)..];
        let read = next(rest, at, step.last());
        let (record, line) = match read {
            Ok(read) => read,
            Err(why) if from_interruption(rest, scan.head.seq) => {
                scan.torn = Some(torn(path, bytes, from, scan.head));
                return if scan.head.seq == 0 { Err(broken(path, at.seq + 1, at.length, &why)) } else { Ok(scan) };
            }
            Err(why) => return Err(broken(path, at.seq + 1, at.length, &why)),
        };
        at = Head { length: at.length + line.len() as u64 + 1, seq: record.seq, hash: Hash::of(line) };
        let complete = record.part.0 == record.part.1;
        step.push(record);
        if complete {
            scan.records.append(&mut step);
            scan.head = at;
        }
    }
    if scan.head.seq == 0 {
        return Err(broken(path, at.seq + 1, at.length, "its first step is missing"));
    }
    if !step.is_empty() {
        scan.torn = Some(torn(path, bytes, from, scan.head));
    }
    Ok(scan)
}

/// The error for a log that does not hold together at one record.
pub(super) fn broken(path: &Path, record: u64, offset: u64, why: &str) -> Error {
    let message = format!("reading {}: record {record} at byte {offset}: {why}", path.display());
    Error::new(Code::BrokenChain, message)
        .hint("nothing was changed; restore the file from a copy, or settle with the other parties' transcripts")
}

/// The next record and its line, if it follows.
fn next<'a>(
    rest: &'a [u8],
    before: Head,
    step: Option<&LogRecord>,
) -> std::result::Result<(LogRecord, &'a [u8]), String> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or("the line has no end")?;
    let line = &rest[..end];
    let record = record(line)?;
    if record.seq != before.seq + 1 {
        return Err(format!("it says that it is record {}", record.seq));
    }
    if record.prev != before.hash {
        return Err("it follows another record, or is of another session".to_owned());
    }
    let expected = step.map_or((1, record.part.1), |last| (last.part.0 + 1, last.part.1));
    if record.part != expected {
        return Err("records of its step are missing".to_owned());
    }
    Ok((record, line))
}

/// Whether what does not read as a record can be a write that was interrupted: of the step after record `committed`, the
/// last one. Such a write ends early, or left blocks that were never written, which read as zeros; a step that follows
/// it proves that it had been completed.
fn from_interruption(rest: &[u8], committed: u64) -> bool {
    let later_step = |line: &[u8]| record(line).is_ok_and(|record| record.seq - u64::from(record.part.0) > committed);
    if rest.split(|byte| *byte == b'\n').any(later_step) {
        return false;
    }
    if rest.windows(2).any(|pair| pair == [0, 0]) {
        return true;
    }
    let ends_early = !rest.contains(&b'\n');
    // A whole record and one more byte: its newline was changed.
    let newline_changed = rest.split_last().is_some_and(|(_, line)| record(line).is_ok());
    ends_early && !newline_changed
}

fn torn(path: &Path, bytes: &[u8], from: Head, committed: Head) -> Torn {
    let length = from.length + bytes.len() as u64 - committed.length;
    Torn { path: path.to_owned(), record: committed.seq + 1, offset: committed.length, length }
}

fn check(covered: &[u8]) -> String {
    HEXLOWER.encode(&Hash::of(covered).as_bytes()[..CHECK_BYTES])
}
