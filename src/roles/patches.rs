//! Patches, for those who have an earlier package: made when one is asked for. The latest is kept, since updates are fetched
//! by many at once.

use std::fs::File;
use std::path::Path;

use tokio::sync::Mutex;

use super::node::blocking;
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Result};
use crate::package::{Pieced, make_patch};
use crate::store::packages::Packages;

/// The patch that was made last.
#[derive(Default)]
pub(super) struct Patches(Mutex<Option<Latest>>);

struct Latest {
    old: Digest,
    new: Digest,
    patch: File,
}

impl Patches {
    /// The patch between two packages that are here. One is made at a time; whoever wants the same one waits for it.
    ///
    /// # Errors
    /// `not-found` where a package, or what is known of its pieces, is not here; `io`, `disk-full`.
    pub(super) async fn between(&self, packages: &Packages, old: Digest, new: Digest) -> Result<File> {
        let mut latest = self.0.lock().await;
        let patch = match latest.take().filter(|latest| (latest.old, latest.new) == (old, new)) {
            Some(latest) => latest.patch,
            None => blocking(|| make(packages, old, new))?,
        };
        let copy = patch.try_clone().doing("opening", Path::new("a patch"));
        *latest = Some(Latest { old, new, patch });
        copy
    }
}

fn make(packages: &Packages, old: Digest, new: Digest) -> Result<File> {
    let open = |digest: &Digest| {
        let pieces = packages.pieces(digest)?;
        if pieces.is_empty() {
            let why = format!("the pieces of the package {} are not known here", digest.short());
            return Err(Error::new(Code::NotFound, why));
        }
        Ok((packages.open_package(digest)?, pieces))
    };
    let ((old, old_pieces), (new, new_pieces)) = (open(&old)?, open(&new)?);
    let patch = make_patch(Pieced { file: &old, pieces: &old_pieces }, Pieced { file: &new, pieces: &new_pieces })?;
    packages.unnamed(&patch)
}
