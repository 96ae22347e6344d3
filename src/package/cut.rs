//! Where a package is cut into pieces: by what is in it, so that a change moves the cuts near it and no others.
//!
//! Small files are grouped: a piece ends before the header of an entry that the hash of its path chooses, so that a change
//! inside a file moves no cut at all. A file as long as a piece, or longer, begins one, and is cut within by a rolling hash
//! of its bytes (Gear, with the two masks of `FastCDC`, Xia et al. 2016). Receivers take the pieces that a manifest lists,
//! whatever their cuts: only a packer follows these rules, and [`Cut`] names them in the manifest.

use serde::{Deserialize, Serialize};

/// No cut by content makes a shorter piece, in bytes of tar: each costs a gzip header and a fresh dictionary.
pub(super) const MIN_PIECE: usize = 64 << 10;
/// What pieces come to on average, roughly. ARCHITECTURE has the measurement behind it.
pub(super) const AVERAGE_PIECE: usize = 256 << 10;
/// The longest piece.
pub(super) const MAX_PIECE: usize = 1 << 20;

/// Bits by which the chance of a cut is lowered before the average and raised after it, so that lengths keep near it.
const NORMAL: u32 = 2;
const EARLY_MASK: u64 = u64::MAX << (64 - AVERAGE_PIECE.trailing_zeros() - NORMAL);
const LATE_MASK: u64 = u64::MAX << (64 - AVERAGE_PIECE.trailing_zeros() + NORMAL);

/// The rules above, by name and figures: for those who want to cut the same tree into the same pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub method: String,
    /// Bytes of tar, like the other two.
    pub min: u64,
    pub average: u64,
    pub max: u64,
}

impl Cut {
    /// The one that this packer follows.
    pub fn ours() -> Self {
        let [min, average, max] = [MIN_PIECE, AVERAGE_PIECE, MAX_PIECE].map(|bytes| bytes as u64);
        Self { method: "gear-v1".into(), min, average, max }
    }
}

/// Whether the piece ends before the entry `path`: with `have` bytes in the piece, after an entry of `before` bytes and
/// before one of `next`, headers and padding included.
pub(super) fn before_entry(path: &str, have: u64, before: u64, next: u64) -> bool {
    let [min, average, max] = [MIN_PIECE, AVERAGE_PIECE, MAX_PIECE].map(|bytes| bytes as u64);
    if have == 0 {
        return false;
    }
    if next >= average {
        return have >= min;
    }
    if have + next > max {
        return true;
    }
    // The longer since the last place to cut, the likelier.
    let weight = u128::from(before.min(have));
    let chance = if have < average { weight >> NORMAL } else { weight << NORMAL };
    have >= min && u128::from(draw(path)) * u128::from(average) < chance << 64
}

/// Whether an entry of `length` bytes is cut within.
pub(super) fn is_cut_within(length: u64) -> bool {
    length >= AVERAGE_PIECE as u64
}

/// A number that depends on the path alone, evenly spread.
fn draw(path: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(path.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

/// Finds the end of a piece within a long file.
pub(super) struct Scanner {
    gear: [u64; 256],
    hash: u64,
    /// Bytes of the piece that were looked at or passed over.
    at: usize,
}

impl Scanner {
    pub(super) fn new() -> Self {
        let mut gear = [0; 256];
        let mut bytes = [0; 8 * 256];
        blake3::Hasher::new().update(b"deployctl gear v1").finalize_xof().fill(&mut bytes);
        for (number, bytes) in gear.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        Self { gear, hash: 0, at: 0 }
    }
    /// Another piece begins.
    pub(super) fn restart(&mut self) {
        (self.hash, self.at) = (0, 0);
    }
    /// Looks on in `piece`, whose last entry goes on for `left` more bytes: the length that the piece is cut to, if any.
    /// What the cut leaves of the entry is no shorter than a piece may be.
    pub(super) fn find(&mut self, piece: &[u8], left: u64) -> Option<usize> {
        let rest = MIN_PIECE.saturating_sub(usize::try_from(left).unwrap_or(MIN_PIECE));
        let end = piece.len().saturating_sub(rest).min(MAX_PIECE);
        let from = self.at.max(MIN_PIECE);
        let middle = AVERAGE_PIECE.clamp(from, end.max(from));
        for (from, to, mask) in [(from, middle, EARLY_MASK), (middle, end, LATE_MASK)] {
            for (at, &byte) in piece.iter().enumerate().take(to).skip(from) {
                self.hash = (self.hash << 1).wrapping_add(self.gear[usize::from(byte)]);
                if self.hash & mask == 0 {
                    self.at = at + 1;
                    return Some(self.at);
                }
            }
        }
        self.at = self.at.max(end);
        (end == MAX_PIECE).then_some(MAX_PIECE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The lengths that a long file alone is cut into, its bytes coming `step` at a time.
    fn lengths(mut bytes: &[u8], step: usize) -> Vec<usize> {
        let (mut scanner, mut lengths) = (Scanner::new(), Vec::new());
        let mut shown = 0;
        while shown < bytes.len() {
            shown = (shown + step).min(bytes.len());
            while let Some(length) = scanner.find(&bytes[..shown], (bytes.len() - shown) as u64) {
                lengths.push(length);
                scanner.restart();
                (bytes, shown) = (&bytes[length..], shown - length);
            }
        }
        lengths.push(bytes.len());
        lengths
    }

    #[test]
    fn a_long_file_is_cut_by_its_bytes_however_they_come() {
        let bytes = noise(8 << 20);
        let whole = lengths(&bytes, bytes.len());
        assert_eq!(whole, lengths(&bytes, 4096));
        assert_eq!(whole, lengths(&bytes, 100_001));
        assert!(whole.iter().all(|length| (MIN_PIECE..=MAX_PIECE).contains(length)), "{whole:?}");
        let average = bytes.len() / whole.len();
        assert!((AVERAGE_PIECE / 2..AVERAGE_PIECE * 2).contains(&average), "{average}");
    }

    #[test]
    fn an_insertion_moves_the_cuts_near_it_and_no_others() {
        let bytes = noise(8 << 20);
        let mut changed = bytes.clone();
        changed.splice(3 << 20..3 << 20, *b"something new");
        let ends = |bytes: &[u8]| {
            let mut left = bytes.len();
            lengths(bytes, bytes.len())
                .into_iter()
                .map(|length| {
                    left -= length;
                    left
                })
                .collect::<Vec<_>>()
        };
        let (old, new) = (ends(&bytes), ends(&changed));
        // Counted from the end, all cuts after the insertion are the old ones.
        let kept = new.iter().filter(|left| **left < (5 << 20) - MAX_PIECE && old.contains(left)).count();
        assert_eq!(kept, new.iter().filter(|left| **left < (5 << 20) - MAX_PIECE).count());
        assert!(kept > 8, "{kept}");
    }

    #[test]
    fn a_file_without_any_place_to_cut_is_cut_at_the_most() {
        assert_eq!(lengths(&[0; 3 << 20], 65536), [MAX_PIECE; 3]);
    }

    #[test]
    fn small_entries_share_pieces_of_about_the_average() {
        let (mut have, mut cuts, mut total) = (0, 0, 0_u64);
        for number in 0..20_000 {
            if before_entry(&format!("folder/file-{number}"), have, 12 << 10, 12 << 10) {
                assert!((MIN_PIECE as u64..=MAX_PIECE as u64).contains(&have));
                cuts += 1;
                have = 0;
            }
            have += 12 << 10;
            total += 12 << 10;
        }
        let average = total / cuts;
        assert!((200 << 10..400 << 10).contains(&average), "{average}");
        assert!(before_entry("x", MIN_PIECE as u64, 512, AVERAGE_PIECE as u64), "a long file begins a piece");
        assert!(!before_entry("x", MIN_PIECE as u64 - 1, 512, AVERAGE_PIECE as u64), "unless it would be too short");
    }
}
