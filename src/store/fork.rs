//! `ledger/ID.fork.jsonl`: evidence. A line holds two signed messages of one node of which only one can be true: two
//! accountings of one number, or two receipts for one accounting. Lines are added and never changed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file;
use super::lock::Lock;
use super::state::StateDir;
use crate::message::Envelope;
use crate::model::{Code, Error, Result, SessionId, Span, Time};

/// Forks of one session that are kept: one proves it, and whoever makes them must not fill the disk.
const MAX_FORKS: usize = 16;
/// The longest file, in bytes: as many pairs of the longest messages, in base64.
pub const MAX_FILE: u64 = 64 << 20;
/// Another writer is done in a moment.
const WAIT: Span = Span::from_secs(10);

/// Two messages that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Which accounting of the session it is about: where the chain has two ends.
    pub sequence: u64,
    /// When the second one came.
    pub found: Time,
    /// The one that was taken.
    pub taken: Envelope,
    /// The one that was refused.
    pub refused: Envelope,
}

/// Keeps a fork, durably; one that is there already, or one too many, changes nothing.
///
/// # Errors
/// `damaged`, `locked`, `io`, `disk-full`.
pub fn keep(state: &StateDir, session: SessionId, fork: &Fork) -> Result<()> {
    let path = state.forks(session);
    file::create_dir_private(file::parent(&path))?;
    let _lock = Lock::acquire(&state.lock(&format!("ledger-{session}")), "the ledger", WAIT)?;
    let text = file::read_optional(&path, MAX_FILE)?.unwrap_or_default();
    // A line that was interrupted was promised to nobody.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file::truncate(&file::open_append(&path, file::PRIVATE)?, &path, whole as u64)?;
    }
    let known = parse(&path.display().to_string(), &text[..whole])?;
    let same = |known: &Fork| (&known.taken, &known.refused) == (&fork.taken, &fork.refused);
    if known.len() >= MAX_FORKS || known.iter().any(same) {
        return Ok(());
    }
    let mut line = serde_json::to_vec(fork)
        .map_err(|why| Error::new(Code::Internal, format!("writing {}: {why}", path.display())))?;
    line.push(b'\n');
    file::append_durable(&path, &line, file::PRIVATE)
}

/// The forks in a file; none where there is no file. A line that is being written just now is left out.
///
/// # Errors
/// `damaged` naming the line; `too-large`; `io`.
pub fn read(path: &Path) -> Result<Vec<Fork>> {
    let text = file::read_optional(path, MAX_FILE)?.unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    parse(&path.display().to_string(), &text[..whole])
}

/// Reads lines that came in another way; `place` is what errors call it.
///
/// # Errors
/// `damaged` naming the line.
pub fn parse(place: &str, text: &[u8]) -> Result<Vec<Fork>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let fork = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line)
            .map_err(|why| Error::new(Code::Damaged, format!("line {number} of {place} is no evidence: {why}")))
    };
    (1..).zip(lines).map(fork).collect()
}
