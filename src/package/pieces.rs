//! Pieces: one gzip member each (RFC 1952), with one fixed header, so that the same content always gives the same bytes.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};

use super::manifest::Piece;
use crate::model::{Code, Error, Hash, Result};

/// The one level that is used: the digest of a package depends on it. Smaller than `gzip -6` in half its time.
const LEVEL: i32 = 6;
/// gzip, deflate, no flags, no time, no extra flags, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// CRC-32 and length, both little-endian.
const TRAILER_BYTES: usize = 8;
/// Bytes at the beginning of a piece by which most are known to be worth compressing.
const SAMPLE_BYTES: usize = 4 << 10;
/// Pearson's chi-squared of byte counts at most, for bytes to count as random: of random ones it has the mean 255 and the
/// standard deviation 22.6. What repeats within the piece, and what gzip compressed, has a larger one.
const RANDOM: u64 = 400;

/// Makes gzip members: by libdeflate, as nobody else reaches its ratio at its speed. What comes from others is inflated by
/// zlib-rs instead, which is Rust.
pub(super) struct Compressor {
    shrinking: libdeflater::Compressor,
    storing: libdeflater::Compressor,
}

impl Compressor {
    pub(super) fn new() -> Self {
        let at = |level| libdeflater::CompressionLvl::new(level).expect("libdeflate has the levels 0 to 12");
        let [storing, shrinking] = [0, LEVEL].map(|level| libdeflater::Compressor::new(at(level)));
        Self { shrinking, storing }
    }
    /// One member.
    ///
    /// # Errors
    /// `internal`.
    pub(super) fn compress(&mut self, raw: &[u8]) -> Result<Vec<u8>> {
        let internal = |why: String| Error::new(Code::Internal, format!("compressing a piece: {why}"));
        let length = u32::try_from(raw.len()).map_err(|why| internal(why.to_string()))?;
        let deflate = if is_random(raw) { &mut self.storing } else { &mut self.shrinking };
        let mut member = vec![0; HEADER.len() + deflate.deflate_compress_bound(raw.len()) + TRAILER_BYTES];
        member[..HEADER.len()].copy_from_slice(&HEADER);
        let written =
            deflate.deflate_compress(raw, &mut member[HEADER.len()..]).map_err(|why| internal(why.to_string()))?;
        member.truncate(HEADER.len() + written);
        member.extend_from_slice(&libdeflater::crc32(raw).to_le_bytes());
        member.extend_from_slice(&length.to_le_bytes());
        Ok(member)
    }
}

/// Whether nothing can be gained by compressing it: encrypted or well compressed already.
fn is_random(raw: &[u8]) -> bool {
    raw.len() >= SAMPLE_BYTES && chi_squared(&raw[..SAMPLE_BYTES]) <= RANDOM && chi_squared(raw) <= RANDOM
}

/// Of the counts of the 256 bytes against equal ones, rounded down.
fn chi_squared(bytes: &[u8]) -> u64 {
    let mut counts = [0_u64; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let length = bytes.len() as u64;
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    (256 * squares / length).saturating_sub(length)
}

/// Checks that `bytes` are those of `piece`.
///
/// # Errors
/// `bad-digest`.
pub fn check_piece(bytes: &[u8], piece: &Piece) -> Result<()> {
    check(bytes, piece.offset, piece.length, &piece.hash)
}

fn check(bytes: &[u8], offset: u64, length: u64, hash: &Hash) -> Result<()> {
    if bytes.len() as u64 != length || Hash::of(bytes) != *hash {
        return Err(Error::new(
            Code::BadDigest,
            format!("the package's piece at byte {offset} is not what its manifest promises"),
        )
        .hint("fetch the package again"));
    }
    Ok(())
}

/// Reads one piece and checks it.
///
/// # Errors
/// `bad-digest` where the bytes are not the promised ones or too few.
pub(super) fn read(package: &File, piece: &Piece) -> Result<Vec<u8>> {
    read_at(package, piece.offset, piece.length, &piece.hash)
}

/// The same of a piece of which less is known.
pub(super) fn read_at(package: &File, offset: u64, length: u64, hash: &Hash) -> Result<Vec<u8>> {
    let too_long = |_| Error::new(Code::TooLarge, format!("the piece at byte {offset} is too large"));
    let mut bytes = vec![0; usize::try_from(length).map_err(too_long)?];
    package.read_exact_at(&mut bytes, offset).map_err(|why| match why.kind() {
        ErrorKind::UnexpectedEof => {
            Error::new(Code::BadDigest, format!("the package ends within its piece at byte {offset}"))
                .hint("fetch the package again")
        }
        _ => Error::new(Code::Io, format!("reading the package's piece at byte {offset}: {why}")),
    })?;
    check(&bytes, offset, length, hash)?;
    Ok(bytes)
}

/// Inflates a member that says itself how long it gets, if that is at most `limit` bytes.
///
/// # Errors
/// `bad-archive`.
pub(super) fn inflate_at_most(member: &[u8], limit: u64) -> Result<Vec<u8>> {
    let promised = member.last_chunk::<4>().map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
    if promised > limit {
        return Err(Error::new(
            Code::BadArchive,
            format!("a gzip member promises {promised} bytes, more than {limit}"),
        ));
    }
    inflate_to(member, 0, promised)
}

/// Inflates one verified piece to exactly its promised length: never more, and to the end of its trailer.
///
/// # Errors
/// `bad-archive`.
pub(super) fn inflate(bytes: &[u8], piece: &Piece) -> Result<Vec<u8>> {
    inflate_to(bytes, piece.offset, piece.raw_length)
}

fn inflate_to(bytes: &[u8], offset: u64, promised: u64) -> Result<Vec<u8>> {
    let refuse = |why: &str| Error::new(Code::BadArchive, format!("the package's piece at byte {offset} {why}"));
    let body = bytes.strip_prefix(&HEADER).ok_or_else(|| refuse("does not begin with the one header allowed"))?;
    let (body, trailer) =
        body.split_last_chunk::<TRAILER_BYTES>().ok_or_else(|| refuse("is too short for a gzip member"))?;
    let raw_length = usize::try_from(promised).map_err(|_| refuse("is too large for this machine"))?;
    // One byte more than promised: room to notice that there is more, and none to hold it.
    let mut raw = vec![0; raw_length + 1];
    let mut stream = Decompress::new(false);
    let status = stream
        .decompress(body, &mut raw, FlushDecompress::Finish)
        .map_err(|why| refuse(&format!("cannot be inflated: {why}")))?;
    if stream.total_out() > promised {
        return Err(refuse(&format!("inflates to more than the promised {raw_length} bytes")));
    }
    if status != Status::StreamEnd {
        return Err(refuse("is cut off"));
    }
    if stream.total_out() != promised {
        return Err(refuse(&format!("inflates to {} bytes instead of {raw_length}", stream.total_out())));
    }
    if stream.total_in() != body.len() as u64 {
        return Err(refuse("has bytes after its end"));
    }
    raw.truncate(raw_length);
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let (sum, length) = (u32::from_le_bytes([c0, c1, c2, c3]), u64::from(u32::from_le_bytes([l0, l1, l2, l3])));
    if sum != libdeflater::crc32(&raw) || length != promised {
        return Err(refuse("has a wrong trailer"));
    }
    Ok(raw)
}
