//! One installation's folder, locked: its journal, its `current`, its generations.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::clear::clear;
use super::durable::{Place, step, temporary};
use super::journal::{self, Journal};
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};

pub(super) const GENERATIONS: &str = "generations";
pub(super) const CURRENT: &str = "current";
pub(super) const DATA: &str = "data";
pub(super) const LOCK: &str = ".deployctl.lock";
/// What folders in `generations` are called until they are whole.
pub(super) const STAGING: &str = ".staging-";

/// An installation whose lock is held until this is dropped.
pub(super) struct Site {
    pub(super) root: Place,
    _lock: File,
}

impl Site {
    /// Locks the folder `root`, which is made where it is missing.
    ///
    /// # Errors
    /// `locked` naming the process that holds it; `io`.
    pub(super) fn make(root: &Path) -> Result<Self> {
        loop {
            if let Some(site) = Self::lock(Place::make(root)?)? {
                return Ok(site);
            }
        }
    }
    /// Locks the folder `root`; `None` where there is none.
    pub(super) fn open(root: &Path) -> Result<Option<Self>> {
        while let Some(place) = Place::open(root)? {
            if let Some(site) = Self::lock(place)? {
                return Ok(Some(site));
            }
        }
        Ok(None)
    }
    /// `None` where the folder or the lock was removed meanwhile: then look again.
    fn lock(root: Place) -> Result<Option<Self>> {
        let path = root.path_of(LOCK);
        step(&path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut lock = match retry_on_intr(|| rustix::fs::openat(root.fd(), LOCK, flags, Mode::from_raw_mode(0o600))) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(why) => return Err(why).doing("opening", &path),
        };
        let mut patience = LOCK_TRIES;
        loop {
            match retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if patience > 0 => {
                    patience -= 1;
                    pause();
                }
                Err(Errno::WOULDBLOCK) => return Err(held_by_another(root.path(), &lock)),
                Err(why) => return Err(why).doing("locking", &path),
            }
        }
        let own = retry_on_intr(|| rustix::fs::fstat(&lock)).doing("looking at", &path)?;
        if root.stat(LOCK)?.is_none_or(|stat| (stat.st_dev, stat.st_ino) != (own.st_dev, own.st_ino)) {
            return Ok(None);
        }
        lock.set_len(0).doing("writing", &path)?;
        writeln!(lock, "{}", std::process::id()).doing("writing", &path)?;
        Ok(Some(Self { root, _lock: lock }))
    }

    /// The journal; `None` where nothing of ours is here.
    ///
    /// # Errors
    /// `damaged`, `newer-state`, `io`.
    pub(super) fn journal(&self) -> Result<Option<Journal>> {
        read_journal(&self.root)
    }
    pub(super) fn write_journal(&self, journal: &Journal) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(journal)
            .map_err(|why| Error::new(Code::Internal, format!("writing a journal: {why}")))?;
        bytes.push(b'\n');
        self.root.write(journal::FILE, &bytes)
    }
    /// The generation that `current` points at.
    pub(super) fn current(&self) -> Result<Option<u32>> {
        read_current(&self.root)
    }
    /// Lets `current` point at `generation`, durably and at once.
    pub(super) fn switch(&self, generation: u32) -> Result<()> {
        let new = temporary(CURRENT);
        self.root.unlink(&new)?;
        self.root.link(&format!("{GENERATIONS}/{generation}"), &new)?;
        self.root.rename(&new, CURRENT)?;
        self.root.sync()
    }
    pub(super) fn folder_of(&self, generation: u32) -> PathBuf {
        folder_of(self.root.path(), generation)
    }
    /// The folder of the generations; `None` where it is missing, or something else has its name.
    pub(super) fn generations(&self) -> Result<Option<Place>> {
        if self.root.has_folder(GENERATIONS)? { self.root.sub(GENERATIONS) } else { Ok(None) }
    }
    /// Removes what an interrupted change left: temporary files, and folders of ours that the journal does not name.
    pub(super) fn sweep(&self, journal: &Journal) -> Result<u64> {
        let mut freed = 0;
        self.root.unlink(temporary(CURRENT))?;
        self.root.unlink(temporary(journal::FILE))?;
        let Some(generations) = self.generations()? else { return Ok(0) };
        for name in generations.names()? {
            let Some(name) = name.to_str() else { continue };
            let known = parse_number(name).map(|number| journal.generations.contains_key(&number));
            if known == Some(false) || name.starts_with(STAGING) {
                freed += clear(&generations, name)?;
            }
        }
        Ok(freed)
    }
    /// Takes away the lock and, where it is empty then, the folder. Returns what is still in it.
    pub(super) fn leave(self) -> Result<Vec<PathBuf>> {
        self.root.unlink(temporary(journal::FILE))?;
        self.root.unlink(LOCK)?;
        let mut left: Vec<_> = self.root.names()?.iter().map(|name| self.root.path_of(name)).collect();
        left.sort();
        if left.is_empty() {
            remove_empty(self.root.path())?;
        }
        Ok(left)
    }
}

/// Removes a folder if it is empty, and makes that durable; false where it stays.
pub(super) fn remove_empty(path: &Path) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Some(parent) = Place::open(parent)? else { return Ok(true) };
    let removed = parent.remove_empty(name)?;
    parent.sync()?;
    Ok(removed)
}

pub(super) fn folder_of(root: &Path, generation: u32) -> PathBuf {
    root.join(GENERATIONS).join(generation.to_string())
}

pub(super) fn read_journal(root: &Place) -> Result<Option<Journal>> {
    let Some(bytes) = root.read(journal::FILE, journal::MAX_BYTES)? else { return Ok(None) };
    let path = root.path_of(journal::FILE);
    let damaged = |why: &dyn std::fmt::Display| Error::new(Code::Damaged, format!("reading {}: {why}", path.display()));
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|why| damaged(&why))?;
    if value.get("format").and_then(serde_json::Value::as_u64).is_some_and(|format| format > u64::from(journal::FORMAT))
    {
        let why = format!("{} was written by a newer version", path.display());
        return Err(Error::new(Code::NewerState, why).hint("update this program"));
    }
    serde_json::from_value(value).map(Some).map_err(|why| damaged(&why))
}

pub(super) fn read_current(root: &Place) -> Result<Option<u32>> {
    let Some(target) = root.read_link(CURRENT)? else { return Ok(None) };
    let number = std::str::from_utf8(&target)
        .ok()
        .and_then(|target| target.strip_prefix(GENERATIONS)?.strip_prefix('/').and_then(parse_number));
    let damaged = || {
        let why = format!("{} does not point at a generation", root.path_of(CURRENT).display());
        Error::new(Code::Damaged, why)
    };
    number.map(Some).ok_or_else(damaged)
}

/// A generation's number, written as we write it.
fn parse_number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| number.to_string() == name)
}

/// Attempts at a lock that is held: for a moment that may be by a process that is just being started, and inherited it.
const LOCK_TRIES: u32 = 50;

#[expect(clippy::disallowed_methods, reason = "there is nothing to wait for but the lock itself")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

fn held_by_another(root: &Path, lock: &File) -> Error {
    let mut holder = String::new();
    // Only for the text: where it cannot be read, the holder stays unnamed.
    let _ = lock.take(32).read_to_string(&mut holder);
    let holder = match holder.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    Error::new(Code::Locked, format!("{} is being changed by {holder}", root.display()))
        .hint("wait until it is done, then run the same command again")
}
