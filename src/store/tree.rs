//! Whole folders: copied for a build, removed after it.

#![expect(clippy::disallowed_methods, reason = "the store's own handling of folders that only it writes")]

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::file;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};

/// A template file at most, in bytes.
const MAX_TEXT: u64 = 4 << 20;
/// Levels of a folder that is copied.
const MAX_DEPTH: usize = 64;

/// Copies a folder's files, folders and symbolic links (as links) to `to`, which must not exist. Nothing is synced: a copy
/// that a crash cut short is made again.
///
/// # Errors
/// `not-found` where there is no such folder; `bad-definition` for devices and the like; `io`, `disk-full`.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Err(Error::new(Code::BadDefinition, format!("there is no folder {}", from.display())));
    }
    copy_level(from, to, MAX_DEPTH)
}

fn copy_level(from: &Path, to: &Path, depth: usize) -> Result<()> {
    if depth == 0 {
        return Err(Error::new(
            Code::BadDefinition,
            format!("{} is nested deeper than {MAX_DEPTH} folders", from.display()),
        ));
    }
    std::fs::create_dir(to).doing("creating", to)?;
    for entry in std::fs::read_dir(from).doing("reading", from)? {
        let entry = entry.doing("reading", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().doing("reading", &source)?;
        if kind.is_dir() {
            copy_level(&source, &target, depth - 1)?;
        } else if kind.is_symlink() {
            let link = std::fs::read_link(&source).doing("reading", &source)?;
            std::os::unix::fs::symlink(link, &target).doing("creating", &target)?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target).doing("copying", &source)?;
        } else {
            return Err(Error::new(
                Code::BadDefinition,
                format!("{} is neither file, folder nor link", source.display()),
            ));
        }
    }
    Ok(())
}

/// Removes a folder or file and all below it; links are not followed. Nothing there is no error.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
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
