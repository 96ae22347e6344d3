//! A folder for trying things out, which goes again; and lists of what is in folders, to compare.

#![expect(clippy::disallowed_methods, reason = "the store's own handling of folders that only it writes")]

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::file;
use crate::model::error::IoContext;
use crate::model::{Hash, Result};

/// The longest path of such a folder, in bytes: the sockets of state directories in it (`NAME/run/serve.sock`) stay
/// below the 108 bytes that the system has for a socket's path.
const LONGEST: usize = 64;
/// Where it is made if the usual place for temporary files has too long a name.
const SHORT_PLACE: &str = "/tmp";
/// A file that is listed at most, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// A new folder for this user alone. Removed with all that is in it when it is dropped, unless it is kept.
pub struct Scratch {
    folder: tempfile::TempDir,
    kept: bool,
}

impl Scratch {
    /// # Errors
    /// `io`, `disk-full`.
    pub fn make(prefix: &str) -> Result<Self> {
        let usual = std::env::temp_dir();
        let room = LONGEST.saturating_sub(prefix.len() + 8);
        let place = if usual.as_os_str().as_bytes().len() > room { PathBuf::from(SHORT_PLACE) } else { usual };
        let private = std::fs::Permissions::from_mode(file::PRIVATE_DIR);
        let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(&place);
        made.doing("making a folder in", &place).map(|folder| Self { folder, kept: false })
    }
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
    /// Leaves it where it is.
    pub fn keep(&mut self) {
        self.kept = true;
        self.folder.disable_cleanup(true);
    }
    /// Removes it, and says so if that fails.
    pub fn remove(&mut self) -> Result<()> {
        make_removable(self.path());
        std::fs::remove_dir_all(self.path()).doing("removing", self.path())?;
        self.keep();
        Ok(())
    }
    /// Puts a file of no importance below it, with the folders above.
    pub fn put(&self, inside: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let path = self.path().join(inside);
        file::create_dir_private(file::parent(&path))?;
        file::write_atomic_unsynced(&path, bytes, mode)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            make_removable(self.path());
        }
    }
}

/// Installed software is read-only, also to whom it belongs. What stays so is named when the folder is removed.
fn make_removable(folder: &Path) {
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let _ = std::fs::set_permissions(&next, std::fs::Permissions::from_mode(file::PRIVATE_DIR));
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| entry.path()));
    }
}

/// Everything below a folder by its path: files with their length and BLAKE3 hash, anything else without. A folder that
/// does not exist is empty.
pub fn listing(folder: &Path) -> Result<BTreeMap<PathBuf, Option<(u64, Hash)>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = match std::fs::read_dir(&next) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.doing("listing", &next)?,
        };
        for entry in entries {
            let path = entry.doing("listing", &next)?.path();
            let meta = std::fs::symlink_metadata(&path).doing("looking at", &path)?;
            let content = if meta.is_file() {
                let bytes = file::read_limited(&path, MAX_FILE)?;
                Some((bytes.len() as u64, Hash::of(&bytes)))
            } else {
                None
            };
            if meta.is_dir() {
                open.push(path.clone());
            }
            found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), content);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_short_and_gone_unless_kept() {
        let scratch = Scratch::make("x.").unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(path.as_os_str().len() <= LONGEST);
        scratch.put(Path::new("a/b"), b"text", file::PLAIN).unwrap();
        let listed = listing(&path).unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[Path::new("a/b")], Some((4, Hash::of(b"text"))));
        drop(scratch);
        assert!(!path.exists());
        assert!(listing(&path).unwrap().is_empty());
        let mut kept = Scratch::make("x.").unwrap();
        kept.keep();
        let path = kept.path().to_owned();
        drop(kept);
        assert!(path.exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn read_only_folders_go_too() {
        let mut scratch = Scratch::make("x.").unwrap();
        let path = scratch.path().to_owned();
        scratch.put(Path::new("a/b"), b"text", 0o400).unwrap();
        std::fs::set_permissions(path.join("a"), std::fs::Permissions::from_mode(0o500)).unwrap();
        scratch.remove().unwrap();
        assert!(!path.exists());
    }
}
