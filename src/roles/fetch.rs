//! Fetching a package: from where it is said to be, and from packages that are here already what they share with it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::node::{Node, blocking};
use crate::model::error::IoContext;
use crate::model::{Digest, Event, Result, Source, Span, Time};
use crate::node::{Here, Manners, PieceRef, Wanted, download};
use crate::package::{Pieced, VerifiedManifest, apply_patch};
use crate::store::packages::Packages;
use crate::store::tree;

/// Other packages that are looked through for pieces, the latest ones first: versions of one thing come close together.
const LOOKED_THROUGH: usize = 32;
/// Bytes that are missing, at least, for a patch to be asked for: fewer are there in one round trip, too.
const WORTH_PATCHING: u64 = 16 << 10;
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
        let Shared { here, nearest } = blocking(|| pieces_here(&packages, &pieces))?;
        let partial = packages.partial(&digest)?;
        let file = tree::open_read_write(&partial)?;
        let missing = size - here.iter().map(|here| pieces[here.piece].length).sum::<u64>();
        if let Some(old) = nearest.filter(|_| missing >= WORTH_PATCHING) {
            let of = if sources.is_empty() { &otherwise } else { &sources };
            self.patch(&packages, old, digest, &pieces, of, &file).await?;
        }
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

    /// Makes what pieces it can of a patch from the package `old`, which is here. Where nobody has such a patch, or it is
    /// of no use, they are fetched.
    async fn patch(
        &self,
        packages: &Packages,
        old: Digest,
        new: Digest,
        pieces: &[PieceRef],
        of: &[Source],
        into: &File,
    ) -> Result<()> {
        let is_begun = into.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let node = of.iter().find_map(|source| if let Source::Node(node) = source { Some(node) } else { None });
        let Some(node) = node.filter(|_| !is_begun) else { return Ok(()) };
        let Ok(patch) = self.client.patch(node, new, old).await else { return Ok(()) };
        blocking(|| {
            let (file, listed) = (packages.open_package(&old)?, packages.pieces(&old)?);
            let wanted: Vec<_> = pieces.iter().map(|piece| (piece.hash, piece.length)).collect();
            let keep = &mut |piece: usize, bytes: &[u8]| {
                into.write_all_at(bytes, pieces[piece].offset).doing("writing", Path::new("the package"))
            };
            apply_patch(&patch, Pieced { file: &file, pieces: &listed }, &wanted, keep).map(drop)
        })
    }
}

/// What other packages here seem to have of one that is wanted.
struct Shared {
    here: Vec<Here>,
    /// The package that has most of it.
    nearest: Option<Digest>,
}

fn pieces_here(packages: &Packages, wanted: &[PieceRef]) -> Result<Shared> {
    let mut found: Vec<Option<Here>> = vec![None; wanted.len()];
    let (mut nearest, mut most) = (None, 0);
    for other in packages.with_pieces(LOOKED_THROUGH)? {
        let (mut places, mut end) = (HashMap::new(), 0);
        for (hash, length) in packages.pieces(&other)? {
            places.insert((hash, length), end);
            end += length;
        }
        let (mut shared, mut file) = (0, None::<Arc<File>>);
        // The same piece may be wanted several times.
        for (piece, part) in wanted.iter().enumerate() {
            let Some(&offset) = places.get(&(part.hash, part.length)) else { continue };
            shared += part.length;
            if found[piece].is_none() {
                let file = match &file {
                    Some(file) => Arc::clone(file),
                    None => Arc::clone(file.insert(Arc::new(packages.open_package(&other)?))),
                };
                found[piece] = Some(Here { piece, file, offset });
            }
        }
        if shared > most {
            (nearest, most) = (Some(other), shared);
        }
    }
    Ok(Shared { here: found.into_iter().flatten().collect(), nearest })
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
    use crate::model::Hash;
    use crate::store::state::StateDir;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make files themselves")]
    fn what_a_package_has_twice_is_found_twice_and_the_one_that_has_most_is_the_nearest() {
        let folder = tempfile::tempdir().unwrap();
        let packages = Packages::of(&StateDir::open(&folder.path().join("state"), true).unwrap());
        let put = |text: &str| {
            let (complete, digest) = (packages.temporary().unwrap(), Digest::of(text.as_bytes()));
            std::fs::write(&complete, text).unwrap();
            packages.put_package(&complete, &digest).unwrap();
            let pieces = text.split_inclusive(' ').map(|piece| (Hash::of(piece.as_bytes()), piece.len() as u64));
            packages.note_pieces(&digest, pieces).unwrap();
            digest
        };
        let (near, _) = (put("one two three "), put("two six "));
        let mut offset = 0;
        let wanted: Vec<_> = ["two ", "new ", "three ", "two "]
            .map(|text| {
                let piece = PieceRef { offset, length: text.len() as u64, hash: Hash::of(text.as_bytes()) };
                offset += piece.length;
                piece
            })
            .into();
        let shared = pieces_here(&packages, &wanted).unwrap();
        assert_eq!(shared.nearest, Some(near));
        let found: Vec<_> = shared.here.iter().map(|here| here.piece).collect();
        assert_eq!(found, [0, 2, 3]);
        for here in shared.here {
            let piece = &wanted[here.piece];
            let mut bytes = vec![0; usize::try_from(piece.length).unwrap()];
            here.file.read_exact_at(&mut bytes, here.offset).unwrap();
            assert_eq!(Hash::of(&bytes), piece.hash);
        }
    }

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
