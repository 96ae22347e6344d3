//! `audit.jsonl`: who knocked, what was refused, what was done. One event is one line; what comes too often is counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::file;
use super::lock::Lock;
use super::state::StateDir;
use crate::model::{Code, Error, Key, Result, Span, Time};

/// Lines in a minute, those that merge the minute before not counted: one a second is what a person can skim.
pub const LINES_PER_MINUTE: usize = 60;
const MINUTE: Span = Span::from_secs(60);
/// The file is exchanged when it is this long, in bytes; one older file is kept.
pub const ROTATE_AT: u64 = 16 << 20;
/// Characters of `what` that are kept: foreign text is in it.
const MAX_WHAT: usize = 500;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Who, if a key was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What it wanted or did; foreign text is allowed.
    pub what: String,
    /// Why it was refused; absent for what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub time: Time,
    #[serde(flatten)]
    pub entry: Entry,
    /// How many more of these there were in the minute from `time` on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The audit of a running node. Shared by all of its threads.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    rotation_lock: PathBuf,
    minute: Mutex<Minute>,
}

/// What happened in the current minute.
#[derive(Debug, Default)]
struct Minute {
    begun: Option<Time>,
    /// Events with a line, and how often each came again.
    lines: BTreeMap<Entry, u64>,
    /// Events that found no room.
    others: u64,
    /// Whether the file's last line is known to be whole.
    file_is_whole: bool,
}

impl Audit {
    pub fn of(state: &StateDir) -> Self {
        Self { path: state.audit(), rotation_lock: state.lock("audit"), minute: Mutex::default() }
    }

    /// Records an event: a line at once, or a count that a later line carries. Not synced: an audit may lose its last
    /// moments with the power.
    ///
    /// # Errors
    /// `io`, `disk-full`; the event is lost then, which must not stop what it is about.
    pub fn record(&self, now: Time, mut entry: Entry) -> Result<()> {
        if let Some((end, _)) = entry.what.char_indices().nth(MAX_WHAT) {
            entry.what.truncate(end);
        }
        let mut minute = self.lock();
        self.turn(&mut minute, now, false)?;
        if let Some(repeated) = minute.lines.get_mut(&entry) {
            *repeated += 1;
            return Ok(());
        }
        if minute.lines.len() >= LINES_PER_MINUTE {
            minute.others += 1;
            return Ok(());
        }
        minute.lines.insert(entry.clone(), 0);
        self.write(&mut minute, &[Line { time: now, entry, repeated: 0 }])
    }

    /// Writes what was only counted so far: at the end of a minute and of the process.
    pub fn flush(&self, now: Time) -> Result<()> {
        let mut minute = self.lock();
        self.turn(&mut minute, now, true)
    }

    /// Begins a new minute if the current one is over, with one line for what was counted of each event.
    fn turn(&self, minute: &mut Minute, now: Time, at_once: bool) -> Result<()> {
        let begun = *minute.begun.get_or_insert(now);
        // A clock that was set back ends the minute too.
        if !at_once && begun <= now && now.since(begun) < MINUTE {
            return Ok(());
        }
        minute.begun = Some(now);
        let counted = std::mem::take(&mut minute.lines).into_iter().filter(|(_, repeated)| *repeated > 0);
        let mut lines: Vec<Line> = counted.map(|(entry, repeated)| Line { time: begun, entry, repeated }).collect();
        let others = std::mem::take(&mut minute.others);
        if others > 0 {
            let entry = Entry { key: None, ip: None, what: "more than fits into a minute".into(), code: None };
            lines.push(Line { time: begun, entry, repeated: others });
        }
        if lines.is_empty() { Ok(()) } else { self.write(minute, &lines) }
    }

    fn write(&self, minute: &mut Minute, lines: &[Line]) -> Result<()> {
        self.rotate()?;
        let mut bytes = Vec::new();
        if !minute.file_is_whole && !ends_whole(&self.path)? {
            bytes.push(b'\n');
        }
        for line in lines {
            serde_json::to_writer(&mut bytes, line)
                .map_err(|why| Error::new(Code::Internal, format!("writing an audit line: {why}")))?;
            bytes.push(b'\n');
        }
        minute.file_is_whole = false;
        file::append_unsynced(&self.path, &bytes, file::PRIVATE)?;
        minute.file_is_whole = true;
        Ok(())
    }

    /// Exchanges a file that is long enough, unless another process is just doing that.
    fn rotate(&self) -> Result<()> {
        if length(&self.path)? < ROTATE_AT {
            return Ok(());
        }
        let Some(_lock) = Lock::try_acquire(&self.rotation_lock, "the audit")? else { return Ok(()) };
        if length(&self.path)? < ROTATE_AT {
            return Ok(());
        }
        file::rename(&self.path, &self.path.with_file_name("audit.1.jsonl"))
    }

    fn lock(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(path: &Path) -> Result<u64> {
    file::open_optional(path)?.map_or(Ok(0), |audit| file::length(&audit, path))
}

/// Whether the file is empty or ends in a newline.
fn ends_whole(path: &Path) -> Result<bool> {
    Ok(file::last_byte(path)?.is_none_or(|byte| byte == b'\n'))
}

#[cfg(test)]
mod tests;
