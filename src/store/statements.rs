//! A folder of signed statements about packages: manifests, each with its provenance beside it, by the manifests' own
//! digests (SHA-256 of their envelopes). Equal packages may be delivered under several.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file;
use crate::model::{Digest, Result};
use crate::package::MAX_MANIFEST_BYTES;

const PROVENANCE: &str = ".provenance.json";

/// One such folder; it is made when something is put there.
#[derive(Clone, Debug)]
pub struct Statements {
    folder: PathBuf,
}

impl Statements {
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }
    pub fn manifest_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
    pub fn provenance_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}{PROVENANCE}"))
    }
    /// A manifest as it was signed.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        file::read_optional(&self.manifest_path(digest), MAX_MANIFEST_BYTES as u64)
    }
    /// What the package of a manifest was made of, as it was signed.
    pub fn provenance(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        file::read_optional(&self.provenance_path(digest), MAX_MANIFEST_BYTES as u64)
    }
    /// Keeps a manifest, durably.
    pub fn put_manifest(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        file::create_dir_private(&self.folder)?;
        file::write_atomic(&self.manifest_path(digest), bytes, file::PRIVATE)
    }
    /// Keeps a provenance, durably.
    pub fn put_provenance(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        file::create_dir_private(&self.folder)?;
        file::write_atomic(&self.provenance_path(digest), bytes, file::PRIVATE)
    }
    /// The manifests that a provenance is there for.
    pub fn provenances(&self) -> Result<Vec<Digest>> {
        let names = file::list(&self.folder)?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(PROVENANCE)?.parse().ok()).collect())
    }
    /// Changes whenever a statement is put there; none where there never was one.
    pub fn stamp(&self) -> Result<Option<file::Stamp>> {
        Ok(file::stamp(&self.folder)?.map(|(stamp, _)| stamp))
    }
    /// All manifests.
    pub fn manifests(&self) -> Result<BTreeMap<Digest, Vec<u8>>> {
        let mut found = BTreeMap::new();
        for name in file::list(&self.folder)? {
            let Some(digest) = name.strip_suffix(".json").and_then(|digest| digest.parse().ok()) else { continue };
            found.extend(self.manifest(&digest)?.map(|bytes| (digest, bytes)));
        }
        Ok(found)
    }
}
