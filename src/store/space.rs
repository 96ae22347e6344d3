//! Room on the disk, foreseen: what a piece of work needs is compared with what is free before it begins.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::file;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};

/// Bytes that stay free beside what the work needs, so that logs, books and what follows can still be written.
pub const RESERVE: u64 = 4 << 20;
/// What a file takes beyond its bytes, at most: the rest of its last block.
const BLOCK: u64 = 4096;
/// The unit of what the system says that a file takes (stat(2)).
const SECTOR: u64 = 512;

/// What is to be written below a folder.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The folder, which may be made only later.
    pub at: &'a Path,
    pub bytes: u64,
    /// Files and folders.
    pub entries: u64,
}

/// Checks that there is room for everything that `doing` writes. Needs on one file system are added up.
///
/// # Errors
/// `no-space` naming what is needed, what is free, and where; `io`.
pub fn require(doing: &str, needs: &[Need]) -> Result<()> {
    let mut sums: BTreeMap<u64, (PathBuf, u64, u64)> = BTreeMap::new();
    for need in needs {
        let (folder, device) = nearest(need.at)?;
        let sum = sums.entry(device).or_insert((folder, 0, 0));
        sum.1 = sum.1.saturating_add(need.bytes).saturating_add(need.entries.saturating_mul(BLOCK));
        sum.2 = sum.2.saturating_add(need.entries);
    }
    for (folder, bytes, entries) in sums.into_values() {
        let disk = statvfs(&folder).doing("asking for the free space of", &folder)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = bytes.saturating_add(RESERVE);
        if free < needed {
            let where_to = folder.display();
            let message = format!("{doing}: it needs {needed} bytes in {where_to}, and {free} are free");
            return Err(refused(message, &format!("free {} bytes there", needed - free)));
        }
        // Some file systems do not count files.
        if disk.f_files > 0 && disk.f_favail < entries {
            let message = format!(
                "{doing}: it makes {entries} files in {}, which has room for {}",
                folder.display(),
                disk.f_favail
            );
            return Err(refused(message, "remove files there"));
        }
    }
    Ok(())
}

/// Bytes that may still be written below a folder that is there.
///
/// # Errors
/// `io`.
pub fn free_at(folder: &Path) -> Result<u64> {
    let disk = statvfs(folder).doing("asking for the free space of", folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn refused(message: String, what_to_do: &str) -> Error {
    Error::new(Code::NoSpace, message).hint(format!(
        "nothing was begun; {what_to_do} (`deployctl remove --expired` takes what nobody needs any more), and run it again"
    ))
}

/// The folder itself, or the nearest one above it that is there, and its file system.
fn nearest(path: &Path) -> Result<(PathBuf, u64)> {
    for folder in path.ancestors() {
        match std::fs::metadata(folder) {
            Ok(meta) => return Ok((folder.to_owned(), meta.dev())),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => return Err(Error::io("looking at", folder, &why)),
        }
    }
    Ok((PathBuf::from("/"), 0))
}

/// The bytes in a file, or in all files below a folder, and how many entries there are. Links are not followed; what is
/// not there is nothing.
pub fn size_of(path: &Path) -> Result<(u64, u64)> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(why) => return Err(Error::io("looking at", path, &why)),
    };
    if !meta.is_dir() {
        return Ok((meta.len(), 1));
    }
    let (mut bytes, mut entries) = (0, 1);
    for name in file::read_names(path)? {
        let (more_bytes, more_entries) = size_of(&path.join(name))?;
        (bytes, entries) = (bytes + more_bytes, entries + more_entries);
    }
    Ok((bytes, entries))
}

/// What a file takes, in bytes; nothing where there is none. One that has gaps takes less than it is long.
pub fn taken(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len().min(meta.blocks() * SECTOR)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(why) => Err(Error::io("looking at", path, &why)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests prepare files")]

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_by_name_before_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/there/yet");
        require("installing it", &[Need { at: &deep, bytes: 1, entries: 1 }]).unwrap();
        let error = require("installing it", &[Need { at: &deep, bytes: u64::MAX / 2, entries: 1 }]).unwrap_err();
        assert_eq!((error.code, error.code.exit()), (Code::NoSpace, 1));
        assert!(error.code.may_pass_later());
        let place = folder.path().display().to_string();
        assert!(error.message.starts_with("installing it: it needs ") && error.message.contains(&place), "{error}");
        let disk = statvfs(folder.path()).unwrap();
        let half = disk.f_bavail.saturating_mul(disk.f_frsize) / 2;
        let twice = [Need { at: &deep, bytes: half, entries: 1 }, Need { at: folder.path(), bytes: half, entries: 1 }];
        assert_eq!(require("both", &twice).unwrap_err().code, Code::NoSpace, "they are on one disk");
    }

    #[test]
    fn a_folder_is_as_large_as_its_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for name in ["a", "in/b", "in/.c"] {
            std::fs::write(folder.path().join(name), [0; 100]).unwrap();
        }
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let (bytes, entries) = size_of(folder.path()).unwrap();
        assert_eq!((bytes, entries), (301, 6));
        assert_eq!(size_of(&folder.path().join("no")).unwrap(), (0, 0));
    }
}
