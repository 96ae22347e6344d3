//! Packages by their digest, with their signed manifests and with who may have them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::file;
use super::lock::Lock;
use super::state::StateDir;
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Hash, Key, Result, Span};

/// The longest signed manifest, in bytes.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// The longest list of readers, in bytes: some 300,000 keys.
const MAX_READERS: u64 = 16 << 20;
const PACKAGE: &str = ".tar.gz";
const PIECES: &str = ".pieces";
/// Another writer is done in a moment.
const WAIT: Span = Span::from_secs(10);

/// A signed statement about a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    Manifest,
    Provenance,
}

/// The packages of one state directory.
#[derive(Clone, Debug)]
pub struct Packages {
    state: StateDir,
}

impl Packages {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }

    /// A path in the folder of packages for one that has no digest yet; an abandoned one is swept.
    pub fn temporary(&self) -> Result<PathBuf> {
        file::create_dir_private(&self.state.packages())?;
        Ok(file::temporary_name(&self.state.packages().join("package")))
    }

    /// Where a download collects its pieces; it stays over restarts.
    pub fn partial(&self, digest: &Digest) -> Result<PathBuf> {
        file::create_dir_private(&self.state.packages())?;
        Ok(self.file(digest, ".partial"))
    }

    /// Takes a complete file in as the package of this digest, which the caller computed from those very bytes. A
    /// package that is there already stays, and `complete` is removed.
    pub fn put_package(&self, complete: &Path, digest: &Digest) -> Result<()> {
        let path = self.state.package(digest);
        if file::exists(&path)? {
            return file::remove_unsynced(complete).map(drop);
        }
        file::rename_durable(complete, &path)
    }

    /// Opens a package for reading.
    ///
    /// # Errors
    /// `not-found`.
    pub fn open_package(&self, digest: &Digest) -> Result<File> {
        file::open_optional(&self.state.package(digest))?.ok_or_else(|| absent("package", digest))
    }

    /// Remembers the pieces of a package that is here, so that another one need not fetch those that they share. What is
    /// remembered is a hint: whoever copies a piece looks at its bytes.
    pub fn note_pieces(&self, digest: &Digest, pieces: impl Iterator<Item = (Hash, u64)>) -> Result<()> {
        let lines: String = pieces.map(|(hash, length)| format!("{hash} {length}\n")).collect();
        file::write_atomic_unsynced(&self.file(digest, PIECES), lines.as_bytes(), file::PRIVATE)
    }

    /// The packages here that pieces are remembered of, the latest ones first.
    pub fn with_pieces(&self, most: usize) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for name in file::list(&self.state.packages())? {
            let Some(digest) = name.strip_suffix(PIECES).and_then(|digest| digest.parse().ok()) else { continue };
            found.extend(file::changed_at(&self.state.package(&digest))?.map(|changed| (changed, digest)));
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found.into_iter().map(|(_, digest)| digest).take(most).collect())
    }

    /// The pieces that are remembered of a package, in its order: hash and length in bytes. Lines that do not read are the
    /// end of it.
    pub fn pieces(&self, digest: &Digest) -> Result<Vec<(Hash, u64)>> {
        let text = file::read_optional(&self.file(digest, PIECES), MAX_MANIFEST)?.unwrap_or_default();
        let read = |line: &str| {
            line.split_once(' ').and_then(|(hash, length)| Some((hash.parse().ok()?, length.parse().ok()?)))
        };
        Ok(String::from_utf8_lossy(&text).lines().map_while(read).collect())
    }

    /// A file that no name leads to, holding these bytes: it goes with its last handle.
    pub fn unnamed(&self, bytes: &[u8]) -> Result<File> {
        let folder = self.state.packages();
        let mut file = tempfile::tempfile_in(&folder).doing("creating a file in", &folder)?;
        file.write_all(bytes).doing("writing a file in", &folder)?;
        Ok(file)
    }

    /// Keeps a signed statement about a package, durably.
    pub fn put_statement(&self, digest: &Digest, which: Statement, bytes: &[u8]) -> Result<()> {
        file::create_dir_private(&self.state.packages())?;
        file::write_atomic(&self.statement_path(digest, which), bytes, file::PRIVATE)
    }

    /// A signed statement about a package, as it came.
    ///
    /// # Errors
    /// `not-found`.
    pub fn statement(&self, digest: &Digest, which: Statement) -> Result<Vec<u8>> {
        file::read_optional(&self.statement_path(digest, which), MAX_MANIFEST)?
            .ok_or_else(|| absent("statement about a package", digest))
    }

    /// Lets a node have a package, durably.
    pub fn grant(&self, digest: &Digest, key: &Key) -> Result<()> {
        file::create_dir_private(&self.state.packages())?;
        let _lock = Lock::acquire(&self.state.lock("readers"), "the readers of packages", WAIT)?;
        let path = self.file(digest, ".readers");
        let text = file::read_optional(&path, MAX_READERS)?.unwrap_or_default();
        if readers(&text).contains(key) {
            return Ok(());
        }
        // An interrupted line before this one must not swallow it.
        let fresh = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
        file::append_durable(&path, format!("{fresh}{key}\n").as_bytes(), file::PRIVATE)
    }

    /// Whether a node was granted a package.
    pub fn may_read(&self, digest: &Digest, key: &Key) -> Result<bool> {
        Ok(self.readers(digest)?.contains(key))
    }

    /// Every node that was granted a package.
    pub fn readers(&self, digest: &Digest) -> Result<BTreeSet<Key>> {
        let text = file::read_optional(&self.file(digest, ".readers"), MAX_READERS)?;
        Ok(readers(&text.unwrap_or_default()))
    }

    /// The digests of all packages, sorted.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let names = file::list(&self.state.packages())?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(PACKAGE)?.parse().ok()).collect())
    }

    /// Removes a package and all that is kept about it, durably; says whether there was one.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        // The package goes last: what is left after an interruption can be found by it, and removed again.
        for suffix in [".readers", ".partial", PIECES, ".provenance.json", ".manifest.json"] {
            file::remove_unsynced(&self.file(digest, suffix))?;
        }
        let removed = file::remove_durable(&self.state.package(digest))?;
        file::remove_if_empty(&self.state.packages())?;
        Ok(removed)
    }

    fn statement_path(&self, digest: &Digest, which: Statement) -> PathBuf {
        match which {
            Statement::Manifest => self.file(digest, ".manifest.json"),
            Statement::Provenance => self.file(digest, ".provenance.json"),
        }
    }

    fn file(&self, digest: &Digest, suffix: &str) -> PathBuf {
        self.state.packages().join(format!("{digest}{suffix}"))
    }
}

/// The keys in a list; an interrupted line grants nothing.
fn readers(text: &[u8]) -> BTreeSet<Key> {
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    whole.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok()).collect()
}

fn absent(what: &str, digest: &Digest) -> Error {
    Error::new(Code::NotFound, format!("there is no {what} {}", digest.short()))
}

#[cfg(test)]
mod tests;
