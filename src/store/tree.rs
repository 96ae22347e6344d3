//! Whole folders: copied for a build, removed after it.

#![expect(clippy::disallowed_methods, reason = "the store's own handling of folders that only it writes")]

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::file;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};

/// A template file at most, in bytes.
const MAX_TEXT: u64 = 4 << 20;
/// Levels of a folder that is copied.
const MAX_DEPTH: usize = 64;

/// When everything in a copy was last changed, in seconds since 1970: 1980-01-01, the first day that every archive can
/// name. Programs put such times into what they make, which is to be the same at every time.
pub const COPY_TIME_SECS: i64 = 315_532_800;

/// Copies a folder's files, folders and symbolic links (as links) to `to`, which must not exist. The
/// modes are 0755 and 0644 whatever the source's, as in packages. Nothing is synced: a copy that a crash cut short is
/// made again.
///
/// # Errors
/// `bad-definition` where there is no such folder, and for devices and the like; `io`, `disk-full`.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    expect_folder(from)?;
    copy_level(from, to, MAX_DEPTH)
}

/// # Errors
/// `bad-definition` where there is no such folder, or a link to one.
pub fn expect_folder(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        _ => Err(Error::new(Code::BadDefinition, format!("there is no folder {}", path.display()))),
    }
}

fn copy_level(from: &Path, to: &Path, depth: usize) -> Result<()> {
    if depth == 0 {
        return Err(Error::new(
            Code::BadDefinition,
            format!("{} is nested deeper than {MAX_DEPTH} folders", from.display()),
        ));
    }
    std::fs::create_dir(to).doing("creating", to)?;
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(from).doing("reading", from)?.collect();
    let mut entries = entries.doing("reading", from)?;
    // In the same order everywhere: where folders keep the order, it can be told from the copy.
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().doing("reading", &source)?;
        if kind.is_dir() {
            copy_level(&source, &target, depth - 1)?;
        } else if kind.is_symlink() {
            let link = std::fs::read_link(&source).doing("reading", &source)?;
            std::os::unix::fs::symlink(link, &target).doing("creating", &target)?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target).doing("copying", &source)?;
            let meta = std::fs::metadata(&target).doing("reading", &target)?;
            set_mode(&target, if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 })?;
        } else {
            return Err(Error::new(
                Code::BadDefinition,
                format!("{} is neither file, folder nor link", source.display()),
            ));
        }
        set_time(&target)?;
    }
    set_mode(to, 0o755)?;
    set_time(to)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).doing("setting the permissions of", path)
}

fn set_time(path: &Path) -> Result<()> {
    let time = Timespec { tv_sec: COPY_TIME_SECS, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).doing("setting the time of", path)
}

/// Makes what others wrote readable to this user, so that it can be packed: folders and files, not what links lead to.
/// Says whether `folder` is a folder with something in it.
pub fn open_up(folder: &Path) -> Result<bool> {
    let meta = std::fs::symlink_metadata(folder).doing("reading", folder)?;
    if !meta.is_dir() {
        return Ok(false);
    }
    add_mode(folder, &meta, 0o700)?;
    let (mut any, mut open) = (false, vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).doing("reading", &next)? {
            let path = entry.doing("reading", &next)?.path();
            let meta = std::fs::symlink_metadata(&path).doing("reading", &path)?;
            if meta.is_dir() {
                add_mode(&path, &meta, 0o700)?;
                open.push(path);
            } else if meta.is_file() {
                add_mode(&path, &meta, 0o400)?;
            }
            any = true;
        }
    }
    Ok(any)
}

fn add_mode(path: &Path, meta: &Metadata, bits: u32) -> Result<()> {
    let mode = meta.permissions().mode() & 0o7777;
    if mode & bits == bits {
        return Ok(());
    }
    set_mode(path, mode | bits)
}

/// Removes a folder or file and all below it; links are not followed. Nothing there is no error.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => match std::fs::remove_dir_all(path) {
            // Programs leave folders that nothing can be removed from.
            Err(why) if why.kind() == ErrorKind::PermissionDenied => {
                open_up(path)?;
                std::fs::remove_dir_all(path)
            }
            other => other,
        },
        Ok(_) => std::fs::remove_file(path),
        Err(why) => Err(why),
    };
    match removed {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(()),
        other => other.doing("removing", path),
    }
}

/// A text file.
///
/// # Errors
/// `bad-definition` where it is missing or not UTF-8; `too-large` over 4 MiB.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = file::read_optional(path, MAX_TEXT)?
        .ok_or_else(|| Error::new(Code::BadDefinition, format!("there is no file {}", path.display())))?;
    String::from_utf8(bytes)
        .map_err(|_| Error::new(Code::BadDefinition, format!("{} is not UTF-8 text", path.display())))
}

/// Writes `bytes` to `to` with the permissions of `from`, which goes.
pub fn replace(from: &Path, to: &Path, bytes: &[u8]) -> Result<()> {
    let permissions = std::fs::metadata(from).doing("reading", from)?.permissions();
    std::fs::remove_file(from).doing("removing", from)?;
    std::fs::write(to, bytes).doing("writing", to)?;
    std::fs::set_permissions(to, permissions).doing("setting the permissions of", to)
}

/// Opens a private file for reading and writing, made where there is none.
pub fn open_read_write(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(file::PRIVATE).open(path);
    opened.doing("opening", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_opened_up_and_what_cannot_be_removed_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (all, inner) = (folder.path().join("all"), folder.path().join("all/inner"));
        std::fs::create_dir_all(&inner).unwrap();
        assert!(!open_up(&inner).unwrap());
        std::fs::write(inner.join("file"), "text").unwrap();
        std::fs::set_permissions(inner.join("file"), Permissions::from_mode(0o100)).unwrap();
        std::os::unix::fs::symlink("/etc", inner.join("link")).unwrap();
        std::fs::set_permissions(&inner, Permissions::from_mode(0o000)).unwrap();
        assert!(open_up(&all).unwrap());
        assert_eq!(std::fs::metadata(inner.join("file")).unwrap().permissions().mode() & 0o777, 0o500);
        assert!(!open_up(&inner.join("link")).unwrap(), "a link is no folder");
        std::fs::set_permissions(&inner, Permissions::from_mode(0o500)).unwrap();
        remove(&all).unwrap();
        assert!(!all.exists());
    }

    #[test]
    fn a_copy_tells_nothing_of_when_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("inner")).unwrap();
        std::fs::write(from.join("inner/file"), "text").unwrap();
        copy(&from, &to).unwrap();
        for path in [to.clone(), to.join("inner"), to.join("inner/file")] {
            let time = std::fs::metadata(&path).unwrap().modified().unwrap();
            assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 315_532_800, "{path:?}");
        }
    }
}
