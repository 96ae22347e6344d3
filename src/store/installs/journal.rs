//! What is installed and what is being changed, in one small file that is replaced as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Hash};
use crate::package::VerifiedManifest;

/// The file's name.
pub(super) const FILE: &str = "journal.json";
/// More than a journal ever has: it is read before it is understood.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// Of the file's format.
pub(super) const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) format: u32,
    /// Those that are installed completely.
    pub(super) generations: BTreeMap<u32, Generation>,
    /// Written before the first thing is touched, taken out after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { format: FORMAT, generations: BTreeMap::new(), pending: None }
    }
}

/// What a generation was installed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// SHA-256 of the package.
    pub package: Digest,
    /// SHA-256 of the manifest's file.
    pub manifest: Digest,
    /// What the folder's content must hash to.
    pub tree: Hash,
}

impl Generation {
    pub(super) fn of(manifest: &VerifiedManifest) -> Self {
        Self { package: manifest.package.digest, manifest: manifest.digest(), tree: manifest.tree }
    }
}

/// A change that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(super) enum Pending {
    /// Finished if the generation's folder has its name, else undone.
    Install {
        generation: u32,
        record: Generation,
        staging: String,
        /// The generation that was current, and is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
    },
    /// Always finished.
    Switch { to: u32 },
    /// Always finished.
    Uninstall { generation: u32 },
    /// Always finished.
    Remove { keep_data: bool },
}
