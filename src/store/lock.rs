//! Locks between processes and threads: one file each, held with `flock`, so that a lock vanishes with its holder.
#![expect(clippy::disallowed_methods, reason = "flock knows no deadline: waiting for it means asking again")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result, Span};

/// How long a waiter sleeps before it asks again: short at first, since most locks are held for one write.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The longest note of a holder that is read, in bytes.
const MAX_NOTE: u64 = 4096;
/// Words of a holder's command kept in its note: later ones may be tokens, which are nobody's business.
const COMMAND_WORDS: usize = 3;
/// Characters of them.
const MAX_COMMAND: usize = 200;

/// A held lock; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// What a holder writes into its lock, for the error text of those who wait.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    command: String,
    what: String,
}

impl Lock {
    /// Takes the lock at `path`, waiting up to `wait` for another holder. `what` names the thing locked, in words.
    /// Blocks the thread.
    ///
    /// # Errors
    /// `locked` at the deadline, naming the holder and the file; `io`.
    pub fn acquire(path: &Path, what: &str, wait: Span) -> Result<Self> {
        let mut waited = Duration::ZERO;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lock) = Self::try_acquire(path, what)? {
                return Ok(lock);
            }
            if waited >= wait.as_duration() {
                return Err(held(path, what, wait));
            }
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes the lock if nobody holds it.
    pub fn try_acquire(path: &Path, what: &str) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) if why.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(why)) => return Err(Error::io("locking", path, &why)),
            }
            // Somebody may have removed the file between our opening and our locking it: then it locks nothing.
            if is_linked(&file, path)? {
                let mut lock = Self { file, path: path.to_owned() };
                lock.leave_note(what);
                return Ok(Some(lock));
            }
        }
    }

    /// Whether nobody holds the lock at `path` just now; leaves no note. Nobody holds one that is not there.
    pub fn is_free(path: &Path) -> Result<bool> {
        let Some(file) = file::open_optional(path)? else { return Ok(true) };
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(why)) => Err(Error::io("locking", path, &why)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the lock back and takes its file away: for things that are gone for good.
    pub fn remove(self) -> Result<()> {
        file::remove_unsynced(&self.path).map(drop)
    }

    /// Writes who holds it. Only for error texts, so a failure does not matter.
    fn leave_note(&mut self, what: &str) {
        let words = std::env::args_os().take(COMMAND_WORDS).map(|word| word.to_string_lossy().into_owned());
        let command = words.collect::<Vec<_>>().join(" ").chars().take(MAX_COMMAND).collect();
        let note = Holder { pid: std::process::id(), command, what: what.to_owned() };
        let note = serde_json::to_vec(&note).unwrap_or_default();
        drop(self.file.set_len(0).and_then(|()| self.file.write_all(&note)));
    }
}
impl Drop for Lock {
    fn drop(&mut self) {
        // An empty note is better than one that names who let go; closing the file unlocks it.
        drop(self.file.set_len(0));
    }
}

fn open(path: &Path) -> Result<File> {
    // For appending, so that a note never leaves a hole after another holder emptied the file.
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(file::PRIVATE).open(path);
    match open() {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            file::create_dir_private(file::parent(path))?;
            open().doing("opening", path)
        }
        opened => opened.doing("opening", path),
    }
}

fn is_linked(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata().doing("reading", path)?;
    match std::fs::metadata(path) {
        Ok(theirs) => Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Error::io("reading", path, &why)),
    }
}

fn held(path: &Path, what: &str, wait: Span) -> Error {
    let note = file::read_optional(path, MAX_NOTE).ok().flatten();
    let holder = match note.and_then(|note| serde_json::from_slice::<Holder>(&note).ok()) {
        Some(holder) => format!("process {} ({}) holds it for {}", holder.pid, holder.command, holder.what),
        None => "another process holds it".to_owned(),
    };
    let message = format!("locking {what}: {holder}, and did not let go within {wait} ({})", path.display());
    Error::new(Code::Locked, message).hint("try again; if that process hangs, end it: its lock goes with it")
}

#[cfg(test)]
mod tests;
