//! Fetching a package: from where it is said to be, and from packages that are here already what they share with it.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use super::node::{Node, blocking};
use crate::model::error::IoContext;
use crate::model::{Digest, Event, Hash, Result, Source, Span, Time};
use crate::node::{Here, Manners, PieceRef, Wanted, download};
use crate::package::VerifiedManifest;
use crate::store::packages::Packages;
use crate::store::tree;

/// Other packages that are looked through for pieces, the latest ones first: versions of one thing come close together.
const LOOKED_THROUGH: usize = 32;
/// How often a download tells how far it is.
const TELL: Span = Span::from_ms(100);

impl Node {
    /// Has the package of a manifest here, complete and durable. `sources` are asked first, `otherwise` where none of them
    /// can be.
    ///
    /// # Errors
    /// What [`download`] says; `io`, `disk-full`.
    pub(super) async fn fetch(
        &self,
        manifest: &VerifiedManifest,
        sources: Vec<Source>,
        otherwise: Vec<Source>,
    ) -> Result<()> {
        let packages = Packages::of(&self.state);
        let (digest, size) = (manifest.package.digest, manifest.package.size);
        if packages.open_package(&digest).is_ok() {
            return Ok(());
        }
        let of_manifest = manifest.pieces.iter();
        let pieces: Vec<_> = of_manifest
            .map(|piece| PieceRef { offset: piece.offset, length: piece.length, hash: piece.hash })
            .collect();
        let here = blocking(|| pieces_here(&packages, &pieces))?;
        let partial = packages.partial(&digest)?;
        let file = tree::open_read_write(&partial)?;
        let pace = Mutex::new(Pace::default());
        let progress = |done| {
            let told = pace.lock().unwrap_or_else(PoisonError::into_inner).tell(digest, done, size, self.system.now());
            told.into_iter().for_each(|event| self.emit(event));
        };
        let wanted = Wanted { digest, size, pieces: &pieces, sources, otherwise, here };
        download(&self.client, wanted, &file, Manners::default(), &progress).await?;
        blocking(|| file.sync_all()).doing("writing", &partial)?;
        packages.put_package(&partial, &digest)?;
        packages.note_pieces(&digest, pieces.iter().map(|piece| (piece.hash, piece.length)))
    }
}

/// Where other packages seem to have pieces of this one.
fn pieces_here(packages: &Packages, wanted: &[PieceRef]) -> Result<Vec<Here>> {
    let by_hash: HashMap<(Hash, u64), usize> =
        wanted.iter().enumerate().map(|(at, piece)| ((piece.hash, piece.length), at)).collect();
    let mut found = HashMap::new();
    for other in packages.with_pieces(LOOKED_THROUGH)? {
        let (mut offset, mut file) = (0, None::<Arc<File>>);
        for (hash, length) in packages.pieces(&other)? {
            if let Some(&piece) = by_hash.get(&(hash, length))
                && !found.contains_key(&piece)
            {
                let file = match &file {
                    Some(file) => Arc::clone(file),
                    None => Arc::clone(file.insert(Arc::new(packages.open_package(&other)?))),
                };
                found.insert(piece, Here { piece, file, offset });
            }
            offset += length;
        }
    }
    Ok(found.into_values().collect())
}

/// How fast a download is.
#[derive(Default)]
struct Pace {
    /// When it began, and with how many bytes there.
    began: Option<(Time, u64)>,
    told: Option<Time>,
}

impl Pace {
    /// The event that says how far it is, unless one said so just now.
    fn tell(&mut self, digest: Digest, done: u64, total: u64, now: Time) -> Option<Event> {
        let (since, before) = *self.began.get_or_insert((now, done));
        if done < total && self.told.is_some_and(|told| now.since(told) < TELL) {
            return None;
        }
        self.told = Some(now);
        let took_ms = now.since(since).as_ms();
        let per_second = (done.saturating_sub(before) * 1000).checked_div(took_ms).unwrap_or(0);
        let remaining = (total - done).checked_div(per_second);
        Some(Event::Download { digest, done, total, per_second, remaining })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_tells_its_rate_and_what_remains_and_not_too_often() {
        let (mut pace, digest) = (Pace::default(), Digest::of(b""));
        let at = |ms: i64| Time::from_unix_ms(1_000_000 + ms);
        let mut tell = |done, ms: i64| match pace.tell(digest, done, 10_000, at(ms)) {
            Some(Event::Download { done, per_second, remaining, .. }) => Some((done, per_second, remaining)),
            _ => None,
        };
        assert_eq!(tell(1000, 0), Some((1000, 0, None)), "what was there is no speed");
        assert_eq!(tell(2000, 50), None);
        assert_eq!(tell(3000, 1000), Some((3000, 2000, Some(3))));
        assert_eq!(tell(10_000, 1001), Some((10_000, 8991, Some(0))), "the end is always told");
    }
}
