//! The hash of a folder's whole content, by which an installed tree can be checked without its package.
//!
//! BLAKE3 over one line an entry, sorted by the bytes of the path: `TYPE MODE SIZE HASH PATH\n`, where TYPE is `d`, `f` or
//! `l`, MODE four octal digits (0755 for folders and executable files, 0644 for others, 0777 for links), and HASH the
//! BLAKE3 of the content or of the link's target (`-` for folders). Names hold no line ends, so lines are unambiguous.

use std::path::Path;

use super::entry::{Entry, Kind};
use super::folder::{Folder, read_some};
use super::walk;
use crate::model::error::IoContext;
use crate::model::{Hash, Result};

/// Bytes read at once.
const READ_BYTES: usize = 128 << 10;

/// Takes the entries in their order.
pub(super) struct TreeHasher(blake3::Hasher);

impl TreeHasher {
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new())
    }
    /// `content` is the hash of a file's bytes; folders and links have none beside what the entry says.
    pub(super) fn add(&mut self, entry: &Entry, content: Hash) {
        let (mode, path) = (entry.mode(), &entry.path);
        let line = match &entry.kind {
            Kind::Folder => format!("d {mode:04o} 0 - {path}\n"),
            Kind::File { size, .. } => format!("f {mode:04o} {size} {content} {path}\n"),
            Kind::Link { target } => {
                format!("l {mode:04o} {} {} {path}\n", target.len(), Hash::of(target.as_bytes()))
            }
        };
        self.0.update(line.as_bytes());
    }
    pub(super) fn finish(&self) -> Hash {
        Hash::from_bytes(*self.0.finalize().as_bytes())
    }
}

/// The hash of what is in `folder`. Write permissions do not count, so that a tree made read-only keeps its hash.
///
/// # Errors
/// `bad-archive` naming an entry that no package can hold; `io`.
pub fn hash_folder(folder: &Path) -> Result<Hash> {
    let mut folder = Folder::open(folder)?;
    let mut hasher = TreeHasher::new();
    let mut buffer = vec![0; READ_BYTES];
    for entry in walk::list(&mut folder)? {
        let mut content = blake3::Hasher::new();
        if let Kind::File { .. } = entry.kind {
            let mut file = folder.open_file(&entry.path)?;
            loop {
                let count = read_some(&mut file, &mut buffer).doing("reading", &folder.path_of(&entry.path))?;
                if count == 0 {
                    break;
                }
                content.update(&buffer[..count]);
            }
        }
        hasher.add(&entry, Hash::from_bytes(*content.finalize().as_bytes()));
    }
    Ok(hasher.finish())
}
