//! The log of one party of one session: the only truth about it. One JSON line a record, each with the hash of the line
//! before, so that nothing can be changed, left out or put in without being seen.
//!
//! All records of one step of a session come in one write and count together: a step is in the log whole or not at all.
//! A log's first step comes with the file itself, by a rename, so that a log without one is damaged, never merely young.

mod chain;
mod tail;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file;
use super::lock::Lock;
use super::state::StateDir;
use crate::model::{Code, Error, Hash, Party, Result, SessionId, Span, Time};
use chain::Scan;

/// The longest record, in bytes: four times the longest message.
pub const MAX_RECORD: usize = 4 << 20;
/// The longest log, in bytes: it is read as a whole.
pub const MAX_LOG: u64 = 256 << 20;

/// What a record records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// A message that came, and was verified.
    Received,
    /// A message that goes out.
    Sent,
    /// A local decision.
    Decided,
    /// What came of an effect: built, installed, failed.
    Result,
    /// A deadline passed.
    Timer,
}

/// One record.
#[derive(Clone, Debug, Serialize)]
pub struct LogRecord {
    /// Its number in the log, from 1.
    pub seq: u64,
    pub time: Time,
    pub kind: RecordKind,
    /// Which record of its step this is, from 1, and how many the step has.
    pub part: (u32, u32),
    /// Hash of the line before; of the first record, what stands for this session and party.
    pub prev: Hash,
    pub body: Box<RawValue>,
}

impl LogRecord {
    /// The body as what it is.
    ///
    /// # Errors
    /// `damaged` if it is something else.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.body.get())
            .map_err(|why| Error::new(Code::Damaged, format!("record {} of a session's log: {why}", self.seq)))
    }
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Bytes.
    pub length: u64,
    /// Number of the last record; 0 before the first.
    pub seq: u64,
    /// Hash of the last line without its newline; before the first, what stands for this session and party.
    pub hash: Hash,
}

impl Head {
    /// The head of a log without records.
    pub fn genesis(session: SessionId, party: Party) -> Self {
        let domain = format!("deployctl session log v1\n{session}\n{party}\n");
        Self { length: 0, seq: 0, hash: Hash::of(domain.as_bytes()) }
    }
}

/// A step at the end of a log that was not written to its end, and that nobody was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub path: PathBuf,
    /// Number of the step's first record.
    pub record: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}
impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, record, offset, length } = self;
        let path = path.display();
        write!(
            f,
            "{path} ends in a step that was interrupted while it was written: cut off {length} bytes at byte {offset}, from record {record} on"
        )
    }
}

/// All that a log holds.
#[derive(Clone, Debug)]
pub struct Contents {
    pub records: Vec<LogRecord>,
    pub head: Head,
    /// What follows the head: a step that is being written just now, or was interrupted.
    pub torn: Option<Torn>,
}

/// Reads and checks a whole log without locking it. No file is an empty log.
///
/// # Errors
/// `broken-chain` naming file, record and offset; `too-large`; `io`.
pub fn read(path: &Path, session: SessionId, party: Party) -> Result<Contents> {
    let genesis = Head::genesis(session, party);
    match file::read_optional(path, MAX_LOG)? {
        Some(bytes) => chain::scan(path, &bytes, genesis).map(Scan::into_contents),
        None => Ok(Contents { records: Vec::new(), head: genesis, torn: None }),
    }
}

/// What follows `known`, the head of an earlier time, without locking the log; `None` where the log is shorter.
///
/// # Errors
/// As [`read`], of what follows.
pub fn read_after(path: &Path, known: &Head) -> Result<Option<Contents>> {
    let Some(bytes) = tail::read_from(path, known.length)? else { return Ok(None) };
    chain::scan(path, &bytes, *known).map(|scan| Some(scan.into_contents()))
}

/// Checks a log that came in another way than from a state directory; `place` is what errors call it.
///
/// # Errors
/// `broken-chain` naming record and offset, also where the last step is not complete.
pub fn check(place: &str, bytes: &[u8], session: SessionId, party: Party) -> Result<Contents> {
    let scan = chain::scan(Path::new(place), bytes, Head::genesis(session, party))?;
    match &scan.torn {
        None => Ok(scan.into_contents()),
        Some(torn) => Err(chain::broken(Path::new(place), torn.record, torn.offset, "its step is not complete")),
    }
}

/// The lines of a log up to its head, without their ends; its last step may be being written just now.
///
/// # Errors
/// As [`read`].
pub fn read_lines(path: &Path, session: SessionId, party: Party) -> Result<Vec<String>> {
    let head = read(path, session, party)?.head;
    let bytes = file::read_optional(path, MAX_LOG)?.unwrap_or_default();
    let whole = usize::try_from(head.length).ok().and_then(|length| bytes.get(..length)).unwrap_or_default();
    let text = std::str::from_utf8(whole)
        .map_err(|why| chain::broken(path, head.seq, head.length, &format!("it is no text: {why}")))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Where a log ends, mostly from its last step alone, without locking it.
///
/// # Errors
/// As [`read`], where the end is not what it should be.
pub fn head(path: &Path, session: SessionId, party: Party) -> Result<Head> {
    match tail::head(path)? {
        Some(head) => Ok(head),
        None => read(path, session, party).map(|contents| contents.head),
    }
}

/// A log opened for a change. Nobody else can change it meanwhile.
#[derive(Debug)]
pub struct SessionLog {
    path: PathBuf,
    genesis: Head,
    head: Head,
    torn: Option<Torn>,
    poisoned: bool,
    _lock: Lock,
}

impl SessionLog {
    /// Locks the log, waiting up to `wait`, finds its end, and cuts off a torn step ([`Self::torn`] tells).
    ///
    /// # Errors
    /// `locked`; `broken-chain` if the end is not what it should be; `io`.
    pub fn open(state: &StateDir, session: SessionId, party: Party, wait: Span) -> Result<Self> {
        let what = format!("session {} as {party}", session.short());
        let lock = Lock::acquire(&state.session_lock(session, party), &what, wait)?;
        let path = state.session_log(session, party);
        let genesis = Head::genesis(session, party);
        let (head, torn) = match tail::head(&path)? {
            Some(head) => (head, None),
            None => read(&path, session, party).map(|contents| (contents.head, contents.torn))?,
        };
        if torn.is_some() {
            file::truncate(&file::open_append(&path, file::PRIVATE)?, &path, head.length)?;
        }
        Ok(Self { path, genesis, head, torn, poisoned: false, _lock: lock })
    }

    pub fn head(&self) -> Head {
        self.head
    }
    /// What was cut off when the log was opened.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// All records, checked from the first on.
    ///
    /// # Errors
    /// `broken-chain` naming file, record and offset; `io`.
    pub fn read_all(&self) -> Result<Vec<LogRecord>> {
        self.read_after(&self.genesis)
    }

    /// The records after `known`, the head of an earlier time. What is before it is taken as it was then.
    ///
    /// # Errors
    /// As [`Self::read_all`]; `broken-chain` too if the log does not go on from there.
    pub fn read_after(&self, known: &Head) -> Result<Vec<LogRecord>> {
        if *known == self.head {
            return Ok(Vec::new());
        }
        let Some(bytes) = tail::read_from(&self.path, known.length)? else {
            return Err(chain::broken(&self.path, known.seq, known.length, "the log has gone"));
        };
        let scan = chain::scan(&self.path, &bytes, *known)?;
        if scan.head != self.head {
            let why = "the log ends here, but its last record is another";
            return Err(chain::broken(&self.path, scan.head.seq + 1, scan.head.length, why));
        }
        Ok(scan.records)
    }

    /// Appends the records of one step, in one write, and waits until they are on the disk.
    ///
    /// # Errors
    /// `too-large` for a record or a log over its limit; `io`, `disk-full`: then none of them is in the log. After a
    /// failed sync nothing more is appended through this; open the log again.
    pub fn append<T: Serialize>(&mut self, now: Time, records: &[(RecordKind, T)]) -> Result<()> {
        if self.poisoned {
            let message = format!("appending to {}: an earlier write failed", self.path.display());
            return Err(Error::new(Code::Io, message).hint("run the same command again"));
        }
        let (bytes, head) = chain::lines(self.head, now, records)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if head.length > MAX_LOG {
            let message = format!("appending to {}: it would be longer than {MAX_LOG} bytes", self.path.display());
            return Err(Error::new(Code::TooLarge, message));
        }
        if self.head.seq == 0 {
            self.begin(&bytes)?;
        } else {
            self.extend(&bytes)?;
        }
        self.head = head;
        Ok(())
    }

    /// Makes the file with the first step in it.
    fn begin(&mut self, bytes: &[u8]) -> Result<()> {
        file::create_dir_private(file::parent(&self.path))?;
        match file::write_new(&self.path, bytes, file::PRIVATE) {
            Ok(true) => Ok(()),
            Ok(false) => Err(chain::broken(&self.path, 1, 0, "a log appeared while its lock was held")),
            Err(why) => {
                // It may have its name already, without being sure of it.
                self.poisoned = file::remove_durable(&self.path).is_err();
                Err(why)
            }
        }
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        let mut log = file::open_append(&self.path, file::PRIVATE)?;
        if file::length(&log, &self.path)? != self.head.length {
            let why = "the log changed while its lock was held";
            return Err(chain::broken(&self.path, self.head.seq + 1, self.head.length, why));
        }
        if let Err(why) = file::write_end(&mut log, &self.path, bytes) {
            self.poisoned = file::truncate(&log, &self.path, self.head.length).is_err();
            return Err(why);
        }
        if let Err(why) = file::sync_data(&log, &self.path) {
            // The kernel may have forgotten what it could not write: nothing after this can be trusted here.
            self.poisoned = true;
            drop(file::truncate(&log, &self.path, self.head.length));
            return Err(why);
        }
        Ok(())
    }
}

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;
