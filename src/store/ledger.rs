//! `ledger/ID.jsonl`: the accounting records of a session with their receipts, as signed. Lines are added and never
//! changed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use super::lock::Lock;
use super::state::StateDir;
use crate::message::Envelope;
use crate::model::{Code, Error, Result, SessionId, Span};

/// The longest ledger, in bytes: a year of records a minute.
pub const MAX_LEDGER: u64 = 1 << 30;
/// Another writer is done in a moment.
const WAIT: Span = Span::from_secs(10);

/// One accounting record and the receipt for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    pub sequence: u64,
    pub accounting: Envelope,
    pub receipt: Envelope,
}

/// All lines of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerContents {
    pub lines: Vec<LedgerLine>,
    /// Bytes after the last whole line: one being written just now, or interrupted.
    pub torn: u64,
}

/// The ledger of one session.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
    lock: PathBuf,
}

impl Ledger {
    pub fn of(state: &StateDir, session: SessionId) -> Self {
        Self { path: state.ledger(session), lock: state.lock(&format!("ledger-{session}")) }
    }

    /// Adds a line, durably. The same line again is no change. A torn last line is cut off first; how many bytes that
    /// were is returned, for a notice.
    ///
    /// # Errors
    /// `broken-chain` if this sequence number has another line, or a later one has one already; `too-large`; `io`.
    pub fn append(&self, line: &LedgerLine) -> Result<u64> {
        file::create_dir_private(file::parent(&self.path))?;
        let _lock = Lock::acquire(&self.lock, "the ledger", WAIT)?;
        let Contents { lines, length, torn } = self.contents()?;
        if torn > 0 {
            file::truncate(&file::open_append(&self.path, file::PRIVATE)?, &self.path, length)?;
        }
        if lines.iter().any(|known| known == line) {
            return Ok(torn);
        }
        if let Some(last) = lines.last().filter(|last| last.sequence >= line.sequence) {
            let why =
                format!("it would be number {} after {}, and differs from what is there", line.sequence, last.sequence);
            return Err(self.broken(lines.len() + 1, length, &why));
        }
        let mut bytes = serde_json::to_vec(line)
            .map_err(|why| Error::new(Code::Internal, format!("writing {}: {why}", self.path.display())))?;
        bytes.push(b'\n');
        if length + bytes.len() as u64 > MAX_LEDGER {
            let message = format!("appending to {}: it would be longer than {MAX_LEDGER} bytes", self.path.display());
            return Err(Error::new(Code::TooLarge, message));
        }
        if length == 0 && torn == 0 {
            file::write_atomic(&self.path, &bytes, file::PRIVATE)?;
        } else {
            file::append_durable(&self.path, &bytes, file::PRIVATE)?;
        }
        Ok(torn)
    }

    /// All lines. No file is an empty ledger.
    ///
    /// # Errors
    /// `broken-chain` naming file, line and offset; `too-large`; `io`.
    pub fn read(&self) -> Result<LedgerContents> {
        let Contents { lines, torn, .. } = self.contents()?;
        Ok(LedgerContents { lines, torn })
    }

    fn contents(&self) -> Result<Contents> {
        match file::read_optional(&self.path, MAX_LEDGER)? {
            Some(bytes) => parse(&self.path, &bytes),
            None => Ok(Contents::default()),
        }
    }

    fn broken(&self, line: usize, offset: u64, why: &str) -> Error {
        broken(&self.path, line, offset, why)
    }
}

/// Reads the lines of a ledger that came in another way; `place` is what errors call it.
///
/// # Errors
/// `broken-chain` naming the line.
pub fn read_text(place: &str, text: &str) -> Result<Vec<LedgerLine>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let contents = parse(Path::new(place), text.as_bytes())?;
    match contents.torn {
        0 => Ok(contents.lines),
        _ => Err(broken(Path::new(place), contents.lines.len() + 1, contents.length, "the line has no end")),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let mut contents = Contents::default();
    if bytes.is_empty() {
        return Err(broken(path, 1, 0, "the ledger is empty"));
    }
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let number = contents.lines.len() + 1;
        let is_last = contents.length + text.len() as u64 == bytes.len() as u64;
        // Blocks that were not written before a power cut read as zeros, which no record has.
        let has_holes = number > 1 && is_last && text.windows(2).any(|pair| pair == [0, 0]);
        let Some(text) = text.strip_suffix(b"\n").filter(|_| !has_holes) else {
            // The first line comes with the file itself, so it cannot be an interrupted one.
            if number == 1 {
                return Err(broken(path, 1, 0, "the line has no end"));
            }
            contents.torn = text.len() as u64;
            break;
        };
        let line: LedgerLine = serde_json::from_slice(text)
            .map_err(|why| broken(path, number, contents.length, &format!("it is no record: {why}")))?;
        if contents.lines.last().is_some_and(|last| last.sequence >= line.sequence) {
            return Err(broken(path, number, contents.length, "its sequence number does not follow"));
        }
        contents.length += text.len() as u64 + 1;
        contents.lines.push(line);
    }
    Ok(contents)
}

fn broken(path: &Path, line: usize, offset: u64, why: &str) -> Error {
    let message = format!("the ledger {}: record {line} at byte {offset}: {why}", path.display());
    Error::new(Code::BrokenChain, message)
        .hint("nothing was changed; `deployctl account verify` compares it with the signed messages")
}

#[derive(Default)]
struct Contents {
    lines: Vec<LedgerLine>,
    /// Bytes of whole lines.
    length: u64,
    torn: u64,
}

#[cfg(test)]
mod tests;
