//! One entry of a package: a file, a folder or a relative symbolic link, and nothing else.

use crate::model::{Code, Error};

/// The largest file: what the eleven octal digits of a ustar header can say.
pub(super) const MAX_FILE_BYTES: u64 = 0o777_7777_7777;

/// One entry. Its `path` is relative, with `/` between components and none at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// Size in bytes.
    File {
        size: u64,
        executable: bool,
    },
    Link {
        target: String,
    },
}

impl Entry {
    /// The permission bits that an entry of this kind has in every package and every tree hash.
    pub(super) fn mode(&self) -> u32 {
        match self.kind {
            Kind::Folder | Kind::File { executable: true, .. } => 0o755,
            Kind::File { executable: false, .. } => 0o644,
            Kind::Link { .. } => 0o777,
        }
    }
    /// Bytes of content that follow the header.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            Kind::Folder | Kind::Link { .. } => 0,
        }
    }
}

/// Refuses an entry by its name, which may be hostile, and the rule it breaks.
pub(super) fn bad_entry(name: &str, reason: impl std::fmt::Display) -> Error {
    Error::new(Code::BadArchive, format!("the entry {name:?} {reason}"))
}
