//! A patch: those pieces of a package that another one has not, in terms of the other one's content. For whoever has the
//! other one it replaces fetching them, and is far smaller where little was changed.
//!
//! A patch is signed by nobody. What comes out of it is compressed as the packer does it, and taken only if it is then a
//! piece that the manifest lists: whatever the patch says, it can make nothing but that. A package that another packer
//! made cannot be had in this way, and is fetched.
//!
//! Its records are, for each piece: its number; the first of the other's pieces that it is in terms of, and how many they
//! are; a length in bytes, and of so many bytes the [`super::delta`] as a gzip member. Numbers as there.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;

use super::MAX_PIECE_RAW_BYTES;
use super::delta::{self, put, take_size};
use super::ordered;
use super::pieces::{self, Compressor};
use crate::model::{Hash, Result};

/// Bytes of the longest patch: it is held in memory on both sides.
pub const MAX_PATCH_BYTES: usize = 4 << 20;
/// Pieces in a patch at most; each costs its maker some milliseconds.
const MAX_PATCHED: usize = 512;
/// Pieces that one is in terms of, at most. They are in memory, inflated, while it is made.
const MAX_BASE: usize = 8;
/// How far around the place where a piece probably was before its content is looked for, in bytes of the package.
const AROUND: u64 = 128 << 10;
/// Bytes of a piece by which its record must be shorter, at least, to be worth the while.
const LEAST_SAVED: usize = 512;

/// A package here with its pieces in their order, hash and length in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pieced<'a> {
    pub file: &'a File,
    pub pieces: &'a [(Hash, u64)],
}

/// Makes the patch that leads from `old` to `new`. What it would not shorten is not in it.
///
/// # Errors
/// `io`, and `bad-archive` or `bad-digest` where a file is not what its list says.
pub fn make_patch(old: Pieced<'_>, new: Pieced<'_>) -> Result<Vec<u8>> {
    let (from, to) = (offsets(old.pieces), offsets(new.pieces));
    let bases = bases(old.pieces, new.pieces, &from, &to);
    let mut patch = Vec::new();
    std::thread::scope(|scope| {
        let (giver, taker) = ordered::start(scope, ordered::threads(), || {
            let (from, to, mut compressor) = (&from, &to, Compressor::new());
            move |(piece, base): (usize, Range<usize>)| {
                let raw = read(new, to, piece)?;
                record(piece, &base, &content(old, from, base.clone())?, &raw, &mut compressor)
            }
        });
        scope.spawn(move || bases.into_iter().take(MAX_PATCHED).all(|job| giver.push(job)));
        while let Some(made) = taker.pop() {
            let (piece, record) = made??;
            let is_shorter = record.len() as u64 + LEAST_SAVED as u64 <= new.pieces[piece].1;
            if is_shorter && patch.len() + record.len() <= MAX_PATCH_BYTES {
                patch.extend_from_slice(&record);
            }
        }
        Ok(patch)
    })
}

/// Makes pieces of a patch and of the package that it leads from, and hands each, with its number, to `keep`. Returns how
/// many there were: it ends with the first that is not one of `new`.
///
/// # Errors
/// What `keep` says.
pub fn apply_patch(
    mut patch: &[u8],
    old: Pieced<'_>,
    new: &[(Hash, u64)],
    keep: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
) -> Result<usize> {
    let (from, mut compressor) = (offsets(old.pieces), Compressor::new());
    let mut made = 0;
    // No more than an honest maker says: the same piece over and over would cost time without end.
    while made < MAX_PATCHED
        && let Some((piece, bytes)) = apply_record(&mut patch, old, &from, &mut compressor)
    {
        match new.get(piece) {
            Some((hash, length)) if bytes.len() as u64 == *length && Hash::of(&bytes) == *hash => keep(piece, &bytes)?,
            _ => break,
        }
        made += 1;
    }
    Ok(made)
}

/// The piece that the next record makes, whatever it is worth; `None` at the end, and where it makes none.
fn apply_record(
    patch: &mut &[u8],
    old: Pieced<'_>,
    from: &[u64],
    compressor: &mut Compressor,
) -> Option<(usize, Vec<u8>)> {
    let [piece, first, count, length] = [(); 4].map(|()| take_size(patch));
    let (first, count) = (first?, count.filter(|count| *count <= MAX_BASE)?);
    let base = first..first.checked_add(count).filter(|end| *end <= old.pieces.len())?;
    let member = patch.split_off(..length?)?;
    // A delta that brings nothing but new bytes is hardly longer than they are.
    let delta = pieces::inflate_at_most(member, 2 * MAX_PIECE_RAW_BYTES).ok()?;
    let base = content(old, from, base).ok()?;
    let raw = delta::decode(&base, &delta, usize::try_from(MAX_PIECE_RAW_BYTES).ok()?)?;
    Some((piece?, compressor.compress(&raw).ok()?))
}

fn record(
    piece: usize,
    base: &Range<usize>,
    content: &[u8],
    raw: &[u8],
    compressor: &mut Compressor,
) -> Result<(usize, Vec<u8>)> {
    let member = compressor.compress(&delta::encode(content, raw))?;
    let mut record = Vec::new();
    [piece, base.start, base.len(), member.len()].into_iter().for_each(|number| put(&mut record, number as u64));
    record.extend_from_slice(&member);
    Ok((piece, record))
}

/// Where each piece begins in the package, and where the last one ends.
fn offsets(pieces: &[(Hash, u64)]) -> Vec<u64> {
    let ends = pieces.iter().scan(0_u64, |end, (_, length)| {
        *end = end.saturating_add(*length);
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// The content of one piece.
fn read(package: Pieced<'_>, offsets: &[u64], piece: usize) -> Result<Vec<u8>> {
    let (hash, length) = package.pieces[piece];
    let bytes = pieces::read_at(package.file, offsets[piece], length, &hash)?;
    pieces::inflate_at_most(&bytes, MAX_PIECE_RAW_BYTES)
}

/// The content of several pieces, one after the other.
fn content(package: Pieced<'_>, offsets: &[u64], pieces: Range<usize>) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    for piece in pieces {
        whole.append(&mut read(package, offsets, piece)?);
    }
    Ok(whole)
}

/// For each piece of `new` that `old` has not, those pieces of `old` that it was probably made of: the ones at its place
/// between the nearest pieces before and behind it that both have.
fn bases(old: &[(Hash, u64)], new: &[(Hash, u64)], from: &[u64], to: &[u64]) -> Vec<(usize, Range<usize>)> {
    let of_old: HashMap<_, usize> = old.iter().enumerate().rev().map(|(at, piece)| (*piece, at)).collect();
    let kept: Vec<Option<usize>> = new.iter().map(|piece| of_old.get(piece).copied()).collect();
    let (mut bases, mut at) = (Vec::new(), 0);
    while at < new.len() {
        let end = kept[at..].iter().position(Option::is_some).map_or(new.len(), |next| at + next);
        // Where what both have lies in another order, what is behind it is taken for what follows.
        let first = at.checked_sub(1).and_then(|before| kept[before]).map_or(0, |before| before + 1);
        let last = kept.get(end).copied().flatten().unwrap_or(old.len()).max(first);
        for piece in at..end {
            let run = (to[end] - to[at]).max(1);
            let place = |offset: u64| {
                let scaled = u128::from(offset - to[at]) * u128::from(from[last] - from[first]) / u128::from(run);
                from[first] + u64::try_from(scaled).unwrap_or(0)
            };
            bases.push((piece, around(from, place(to[piece]), place(to[piece + 1]))));
        }
        at = end.max(at) + 1;
    }
    bases
}

/// The pieces that have something of these bytes or near them, not too many.
fn around(offsets: &[u64], start: u64, end: u64) -> Range<usize> {
    let pieces = offsets.len() - 1;
    let first = offsets[1..].partition_point(|end| *end <= start.saturating_sub(AROUND));
    let last = offsets[..pieces].partition_point(|begin| *begin < end.saturating_add(AROUND));
    let surplus = last.saturating_sub(first).saturating_sub(MAX_BASE);
    first + surplus / 2..last.saturating_sub(surplus - surplus / 2).max(first + surplus / 2)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::builder::packed;
    use super::*;
    use crate::package::VerifiedManifest;

    fn listed(manifest: &VerifiedManifest) -> Vec<(Hash, u64)> {
        manifest.pieces.iter().map(|piece| (piece.hash, piece.length)).collect()
    }

    /// Words in an order that the seed decides: they compress, and repeat nowhere.
    #[expect(clippy::disallowed_methods, reason = "tests make files themselves")]
    fn write(path: &Path, seed: u32, words: u32) {
        let word = |number: u32| format!("{:x} ", (number ^ seed).wrapping_mul(0x9e37_79b9) >> 8);
        std::fs::write(path, (0..words).map(word).collect::<String>()).unwrap();
    }

    /// Two versions of some files: lines in front of two small ones and within a large one.
    #[expect(clippy::disallowed_methods, reason = "tests make files themselves")]
    fn versions() -> [(File, VerifiedManifest); 2] {
        let folder = tempfile::tempdir().unwrap();
        (0..60).for_each(|number| write(&folder.path().join(format!("file-{number:03}")), number, 2000));
        write(&folder.path().join("large"), 1000, 100_000);
        let old = packed(1, folder.path());
        for name in ["file-017", "file-050", "large"] {
            let path = folder.path().join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 3;
            bytes.splice(at..at, *b"a line that was not there\n");
            std::fs::write(path, bytes).unwrap();
        }
        [old, packed(2, folder.path())]
    }

    /// The numbers of the pieces that a patch makes, each of which is as it is in the new package.
    fn made(patch: &[u8], old: Pieced<'_>, new: &(File, VerifiedManifest)) -> Vec<usize> {
        let mut made = Vec::new();
        let count = apply_patch(patch, old, &listed(&new.1), &mut |piece, bytes| {
            let piece_of_new = &new.1.pieces[piece];
            assert!(pieces::read(&new.0, piece_of_new).unwrap() == bytes);
            made.push(piece);
            Ok(())
        });
        assert_eq!(count.unwrap(), made.len());
        made
    }

    #[test]
    fn a_patch_makes_every_piece_that_changed_and_is_a_few_hundred_bytes_a_change() {
        let [old, new] = versions();
        let (old_list, new_list) = (listed(&old.1), listed(&new.1));
        let (old, new_here) = (Pieced { file: &old.0, pieces: &old_list }, Pieced { file: &new.0, pieces: &new_list });
        let patch = make_patch(old, new_here).unwrap();
        let changed: Vec<_> = (0..new_list.len()).filter(|at| !old_list.contains(&new_list[*at])).collect();
        assert!((2..=5).contains(&changed.len()), "{changed:?} of {}", new_list.len());
        assert_eq!(made(&patch, old, &new), changed);
        assert!(patch.len() < 300 * changed.len(), "{} bytes", patch.len());
        assert_eq!(make_patch(old, new_here).unwrap(), patch, "the same every time");
        assert!(make_patch(old, old).unwrap().is_empty());
    }

    #[test]
    fn a_patch_that_is_cut_changed_or_for_another_package_makes_nothing_wrong() {
        let [old, new] = versions();
        let (old_list, new_list) = (listed(&old.1), listed(&new.1));
        let (here, wanted) = (Pieced { file: &old.0, pieces: &old_list }, Pieced { file: &new.0, pieces: &new_list });
        let patch = make_patch(here, wanted).unwrap();
        let whole = made(&patch, here, &new).len();
        for end in [0, 1, 5, patch.len() / 2, patch.len() - 1] {
            assert!(made(&patch[..end], here, &new).len() < whole, "{end}");
        }
        // Numbers, lengths, headers, deflated bytes and trailers.
        for at in (0..8).chain((8..patch.len()).step_by(patch.len() / 8)) {
            let mut patch = patch.clone();
            patch[at] ^= 0x15;
            made(&patch, here, &new);
        }
        // In terms of another package it makes nothing, and neither does a list that is not the file's.
        assert!(made(&patch, wanted, &new).is_empty());
        assert!(made(&patch, Pieced { file: &new.0, pieces: &old_list }, &new).is_empty());
    }

    #[test]
    fn what_shares_nothing_is_not_patched() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&one.path().join("file"), 1, 50_000);
        write(&two.path().join("file"), 77_777, 50_000);
        let [one, two] = [&one, &two].map(|folder| packed(1, folder.path()));
        let lists = [listed(&one.1), listed(&two.1)];
        let patch = make_patch(Pieced { file: &one.0, pieces: &lists[0] }, Pieced { file: &two.0, pieces: &lists[1] });
        assert!(patch.unwrap().is_empty());
    }

    #[test]
    fn a_piece_is_looked_for_at_its_place_between_those_that_both_have() {
        let piece = |number: u8| (Hash::of(&[number]), 100 << 10);
        let list = |numbers: &[u8]| numbers.iter().map(|number| piece(*number)).collect::<Vec<_>>();
        let of = |old: &[u8], new: &[u8]| {
            let (old, new) = (list(old), list(new));
            bases(&old, &new, &offsets(&old), &offsets(&new))
        };
        let numbers: Vec<u8> = (0..20).collect();
        let mut changed = numbers.clone();
        changed[10] = 100;
        assert_eq!(of(&numbers, &changed), [(10, 8..13)]);
        changed.remove(3);
        assert_eq!(of(&numbers, &changed), [(9, 8..13)], "what is gone moves nothing");
        changed.splice(9..10, [100, 101, 102]);
        assert_eq!(of(&numbers, &changed).len(), 3);
        assert_eq!(of(&numbers, &[100]), [(0, 6..14)], "not too many");
        assert_eq!(of(&[], &[100]), [(0, 0..0)]);
        assert_eq!(of(&[2, 1], &[1, 100, 2]), [(1, 0..2)], "in another order");
    }
}
