//! How files are written and read: whole or not at all, durable before the call returns, and never more than a limit.
#![expect(clippy::disallowed_methods, reason = "the one place of the store that reads and writes files")]

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::{self, Point};
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result, Span, Time};

/// Mode of a file that only this user reads.
pub const PRIVATE: u32 = 0o600;
/// Mode of a folder that only this user enters.
pub const PRIVATE_DIR: u32 = 0o700;
/// Mode of a file that is no secret (its folder is private all the same).
pub const PLAIN: u32 = 0o644;
/// A temporary file this old belongs to nobody any more: no write takes that long.
const ABANDONED: Span = Span::from_hours(1);

/// Puts `bytes` at `path`, replacing what was there: after a crash the file is the old one or the new one, and once
/// this returns it is the new one. `mode` holds whatever the umask is.
///
/// # Errors
/// `io` or `disk-full`; the old file is untouched then, unless it was the folder's sync that failed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let temp = Temp::write(path, bytes, mode, Durable::Yes)?;
    temp.rename(path)?;
    sync_dir(parent(path))
}

/// As [`write_atomic`], for what can be made again: whole or absent, but perhaps the old one after a power cut.
pub fn write_atomic_unsynced(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    Temp::write(path, bytes, mode, Durable::No)?.rename(path)
}

/// Puts `bytes` at `path` if nothing is there, durably; says whether it did. Of several at once, one does.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let temp = Temp::write(path, bytes, mode, Durable::Yes)?;
    match fault::pass(Point::Rename).and_then(|()| std::fs::hard_link(&temp.path, path)) {
        Ok(()) => {}
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(why) => return Err(Error::io("writing", path, &why)),
    }
    drop(temp);
    sync_dir(parent(path))?;
    Ok(true)
}

/// Appends `bytes` in one write, durably; makes the file if it is absent.
///
/// # Errors
/// `io` or `disk-full`; then the file has its old length again.
pub fn append_durable(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = open_append(path, mode)?;
    let length = length(&file, path)?;
    write_end(&mut file, path, bytes)
        .and_then(|()| sync_data(&file, path))
        .and_then(|()| if length == 0 { sync_dir(parent(path)) } else { Ok(()) })
        .inspect_err(|_| drop(truncate(&file, path, length)))
}

/// Appends `bytes` in one write, without waiting for the disk.
pub fn append_unsynced(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    open_append(path, mode)?.write_all(bytes).doing("appending to", path)
}

/// Writes at the end of a file opened for appending.
pub(super) fn write_end(file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
    fault::pass(Point::Write).and_then(|()| file.write_all(bytes)).doing("appending to", path)
}

/// Waits until a file's data is on the disk.
pub(super) fn sync_data(file: &File, path: &Path) -> Result<()> {
    fault::pass(Point::Sync).and_then(|()| file.sync_data()).doing("syncing", path)
}

/// Removes a folder that nothing is in; any other stays.
pub fn remove_if_empty(folder: &Path) -> Result<()> {
    match std::fs::remove_dir(folder) {
        Err(why) if !matches!(why.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(Error::io("removing", folder, &why))
        }
        _ => Ok(()),
    }
}

/// How long a file is, in bytes; nothing where there is none.
pub fn length_of(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(why) => Err(Error::io("reading", path, &why)),
    }
}

/// What tells that a file was written or replaced since: its number, length, and time of change in nanoseconds.
pub type Stamp = (u64, u64, i128);

/// The stamp of a file, and when it was last changed; none where there is none.
pub fn stamp(path: &Path) -> Result<Option<(Stamp, Time)>> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(Error::io("reading", path, &why)),
    };
    let nanoseconds = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    let changed = Time::from_unix_ms(i64::try_from(nanoseconds / 1_000_000).unwrap_or(0));
    Ok(Some(((meta.ino(), meta.len(), nanoseconds), changed)))
}

/// Whether group or others of this machine may do anything with a file.
///
/// # Errors
/// `io`.
pub fn is_open_to_others(path: &Path) -> Result<bool> {
    let meta = std::fs::symlink_metadata(path).doing("looking at", path)?;
    Ok(meta.is_file() && meta.permissions().mode() & super::state::OTHERS != 0)
}

/// Whether something is at `path`.
pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().doing("looking for", path)
}

/// The last byte of a file; `None` for an empty file, or none.
pub(super) fn last_byte(path: &Path) -> Result<Option<u8>> {
    let Some(mut file) = open_optional(path)? else { return Ok(None) };
    let length = length(&file, path)?;
    let mut last = [0];
    let read = file.seek(SeekFrom::Start(length.saturating_sub(1))).and_then(|_| file.read(&mut last));
    Ok((read.doing("reading", path)? == 1).then_some(last[0]))
}

/// How long an opened file is, in bytes.
pub(super) fn length(file: &File, path: &Path) -> Result<u64> {
    Ok(file.metadata().doing("reading", path)?.len())
}

/// Cuts a file to `length` bytes, durably.
pub(super) fn truncate(file: &File, path: &Path, length: u64) -> Result<()> {
    fault::pass(Point::Truncate)
        .and_then(|()| file.set_len(length))
        .and_then(|()| file.sync_all())
        .doing("cutting back", path)
}

pub(super) fn open_append(path: &Path, mode: u32) -> Result<File> {
    fault::pass(Point::Create)
        .and_then(|()| OpenOptions::new().append(true).read(true).create(true).mode(mode).open(path))
        .doing("opening", path)
}

/// Makes a folder, and those above it, for this user alone, and waits until they are on the disk.
pub fn create_dir_private(path: &Path) -> Result<()> {
    let mut made = Vec::new();
    // All of them first: then one commit of the file system is for all.
    let done = create_dirs(path, &mut made).and_then(|()| made.iter().map(|path| parent(path)).try_for_each(sync_dir));
    if done.is_err() {
        // Whoever comes next would find them, and take them for durable.
        made.iter().rev().for_each(|path| drop(std::fs::remove_dir(path)));
    }
    done
}

/// Makes a folder and those above it, and tells which ones.
fn create_dirs<'a>(path: &'a Path, made: &mut Vec<&'a Path>) -> Result<()> {
    match DirBuilder::new().mode(PRIVATE_DIR).create(path) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound && path.parent().is_some() => {
            create_dirs(parent(path), made)?;
            match DirBuilder::new().mode(PRIVATE_DIR).create(path) {
                Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("creating", path, &why)),
                _ => Ok(()),
            }
        }
        made => made.doing("creating", path),
    }?;
    made.push(path);
    Ok(())
}

/// Opens a file for reading; `None` where there is none.
pub fn open_optional(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::io("opening", path, &why)),
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// `io`; `too-large` for a file over the limit: it is never cut.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).doing("reading", path)?;
    read_all(file, path, limit)
}

/// The length of a file that others write, and what it has from `offset` on, at most `limit` bytes; `None` where there is
/// no regular file. Waits for nothing, whatever was put in its place.
///
/// # Errors
/// `io`.
pub fn read_part(path: &Path, offset: u64, limit: usize) -> Result<Option<(u64, Vec<u8>)>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, rustix::fs::OFlags::RDONLY | flags, rustix::fs::Mode::empty());
    let file = match opened {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(Error::io("opening", path, &errno.into())),
    };
    let metadata = file.metadata().doing("reading", path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    if metadata.len() > offset {
        let mut file = file;
        file.seek(SeekFrom::Start(offset)).doing("reading", path)?;
        file.take(limit as u64).read_to_end(&mut bytes).doing("reading", path)?;
    }
    Ok(Some((metadata.len(), bytes)))
}

/// As [`read_limited`]; `None` where there is no file.
pub fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    open_optional(path)?.map(|file| read_all(file, path, limit)).transpose()
}

/// Reads an opened file from where it stands to its end, of at most `limit` bytes.
pub(super) fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).doing("reading", path)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(Code::TooLarge, format!("reading {}: it is longer than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// Removes a file, durably; says whether there was one.
pub fn remove_durable(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)).map(|()| true),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Error::io("removing", path, &why)),
    }
}

/// Removes a file that can be made again or does not matter; says whether there was one.
pub fn remove_unsynced(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(Error::io("removing", path, &why)),
    }
}

/// Gives a file that is complete its final name in the same file system, durably: its bytes first, then its name.
pub fn rename_durable(from: &Path, to: &Path) -> Result<()> {
    let file = File::open(from).doing("opening", from)?;
    fault::pass(Point::Sync).and_then(|()| file.sync_all()).doing("syncing", from)?;
    fault::pass(Point::Rename).and_then(|()| std::fs::rename(from, to)).doing("renaming to", to)?;
    sync_dir(parent(to))
}

/// Exchanges two folders of one parent at once, durably.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    fault::pass(Point::Rename).doing("exchanging", other)?;
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).doing("exchanging", other)?;
    sync_dir(parent(other))
}

/// Renames within one folder and waits for the folder, not for the file.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fault::pass(Point::Rename).and_then(|()| std::fs::rename(from, to)).doing("renaming to", to)?;
    sync_dir(parent(to))
}

/// The names in a folder, sorted, but for hidden ones (temporary files) and those that are not UTF-8. A folder that
/// does not exist is empty.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = read_names(path)?.into_iter().filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    Ok(names)
}

/// What interrupted writes left in a folder: temporary files and folders of processes that are gone, or too old.
pub fn abandoned(folder: &Path, now: Time) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in read_names(folder)? {
        let Some(pid) = temp_owner(&name) else { continue };
        let path = folder.join(&name);
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let written = Time::from_unix_ms(meta.mtime().saturating_mul(1000));
        if !is_alive(pid) || now.since(written) > ABANDONED {
            found.push(path);
        }
    }
    Ok(found)
}

/// The same in a folder and all below it, but for the folders `except` in it. No link is followed.
pub fn abandoned_below(folder: &Path, except: &[&str], now: Time) -> Result<Vec<PathBuf>> {
    let mut found = abandoned(folder, now)?;
    for name in list(folder)?.iter().filter(|name| !except.contains(&name.as_str())) {
        let below = folder.join(name);
        if std::fs::symlink_metadata(&below).is_ok_and(|meta| meta.is_dir()) {
            found.extend(abandoned_below(&below, &[], now)?);
        }
    }
    Ok(found)
}

/// When a file or folder was changed last; nothing where there is none.
pub fn changed_at(path: &Path) -> Result<Option<Time>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Time::from_unix_ms(meta.mtime().saturating_mul(1000)))),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::io("looking at", path, &why)),
    }
}

/// A name beside `path` that nobody else uses, which [`abandoned`] knows for a temporary file.
pub fn temporary_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    parent(path).join(format!(".{name}.tmp-{}-{n}", std::process::id()))
}

/// Waits until a folder's entries are on the disk.
pub fn sync_dir(path: &Path) -> Result<()> {
    fault::pass(Point::SyncDir).and_then(|()| File::open(path)?.sync_all()).doing("syncing", path)
}

/// The folder that `path` is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn read_names(path: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(Error::io("listing", path, &why)),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    Ok(names.doing("listing", path)?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// The process that made a temporary file of this name: `.NAME.tmp-PID-N`.
fn temp_owner(name: &str) -> Option<i32> {
    let (_, rest) = name.strip_prefix('.')?.rsplit_once(".tmp-")?;
    rest.split_once('-')?.0.parse().ok()
}

/// Whether a process of this number exists, whoever's it is.
pub(super) fn is_alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return false };
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

/// A temporary file; removed when dropped before it got its name.
struct Temp {
    path: PathBuf,
}

impl Temp {
    /// Writes `bytes` beside `target`.
    fn write(target: &Path, bytes: &[u8], mode: u32, durable: Durable) -> Result<Self> {
        let (temp, mut file) = Self::create(target)?;
        let written = fault::pass(Point::Write)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)));
        written.doing("writing", target)?;
        if durable == Durable::Yes {
            fault::pass(Point::Sync).and_then(|()| file.sync_all()).doing("syncing", target)?;
        }
        Ok(temp)
    }
    fn create(target: &Path) -> Result<(Self, File)> {
        loop {
            let path = temporary_name(target);
            let opened = fault::pass(Point::Create)
                .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path));
            match opened {
                Ok(file) => return Ok((Self { path }, file)),
                // Left by an earlier process of the same number.
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
                Err(why) => return Err(Error::io("writing", target, &why)),
            }
        }
    }
    fn rename(self, target: &Path) -> Result<()> {
        fault::pass(Point::Rename).and_then(|()| std::fs::rename(&self.path, target)).doing("writing", target)?;
        std::mem::forget(self);
        Ok(())
    }
}
impl Drop for Temp {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests;
