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
/// See [`trailer_of`].
const TRAILER_BYTES: usize = 8;
/// Bytes at the beginning of a piece by which most are known to be worth compressing.
const SAMPLE_BYTES: usize = 4 << 10;
/// Pearson's chi-squared of byte counts at most, for bytes to count as random: of random ones it has the mean 255 and the
/// standard deviation 22.6. What repeats within the piece, and what gzip compressed, has a larger one.
const RANDOM: u64 = 400;

/// Makes gzip members: by libdeflate, as nobody else reaches its ratio at its speed.
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
        let deflate = if is_random(raw) { &mut self.storing } else { &mut self.shrinking };
        let mut member = vec![0; HEADER.len() + deflate.deflate_compress_bound(raw.len()) + TRAILER_BYTES];
        member[..HEADER.len()].copy_from_slice(&HEADER);
        let written = deflate
            .deflate_compress(raw, &mut member[HEADER.len()..])
            .map_err(|why| Error::new(Code::Internal, format!("compressing a piece: {why}")))?;
        member.truncate(HEADER.len() + written);
        member.extend_from_slice(&trailer_of(raw));
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

/// Inflates verified pieces, exactly to the promised length and to the end of their trailers.
///
/// libdeflate does it in 0.6 of the time that zlib-rs takes, but tells neither what is wrong with a member nor where it
/// ended. So what libdeflate does not take, and what might go on behind its end, is left to zlib-rs.
pub(super) struct Inflater(libdeflater::Decompressor);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(libdeflater::Decompressor::new())
    }
    /// One piece.
    ///
    /// # Errors
    /// `bad-archive`.
    pub(super) fn inflate(&mut self, member: &[u8], piece: &Piece) -> Result<Vec<u8>> {
        let refuse = |why: String| bad_piece(piece.offset, &why);
        let length = usize::try_from(piece.raw_length).map_err(|_| refuse("is too large for this machine".into()))?;
        let mut raw = vec![0; length];
        let taken = member.starts_with(&HEADER) && self.0.gzip_decompress(member, &mut raw) == Ok(length);
        if taken && ends_with_only(member, &trailer_of(&raw)) {
            return Ok(raw);
        }
        inflate_strictly(member, length).map_err(refuse)
    }
}

/// Whether the member ends with its trailer, and has these bytes nowhere else. The trailer was found where the compressed
/// data ends: so that is right before the last eight bytes.
fn ends_with_only(member: &[u8], trailer: &[u8; TRAILER_BYTES]) -> bool {
    memchr::memmem::find(member, trailer) == Some(member.len() - TRAILER_BYTES)
}

/// Inflates a member that says itself how long it gets, if that is at most `limit` bytes. Nothing needs to be known of it.
///
/// # Errors
/// `bad-archive`.
pub(super) fn inflate_at_most(member: &[u8], limit: u64) -> Result<Vec<u8>> {
    let promised = member.last_chunk::<4>().map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
    let length = usize::try_from(promised).ok().filter(|_| promised <= limit);
    let length = length.ok_or_else(|| bad_piece(0, &format!("promises {promised} bytes, more than {limit}")))?;
    inflate_strictly(member, length).map_err(|why| bad_piece(0, &why))
}

fn bad_piece(offset: u64, why: &str) -> Error {
    Error::new(Code::BadArchive, format!("the package's piece at byte {offset} {why}"))
}

/// By zlib-rs, which is Rust. An error is what to say of the member.
fn inflate_strictly(member: &[u8], promised: usize) -> Result<Vec<u8>, String> {
    let body = member.strip_prefix(&HEADER).ok_or("does not begin with the one header allowed")?;
    let (body, trailer) = body.split_last_chunk::<TRAILER_BYTES>().ok_or("is too short for a gzip member")?;
    // One byte more than promised: room to notice that there is more, and none to hold it.
    let mut raw = vec![0; promised + 1];
    let mut stream = Decompress::new(false);
    let status = stream
        .decompress(body, &mut raw, FlushDecompress::Finish)
        .map_err(|why| format!("cannot be inflated: {why}"))?;
    let length = promised as u64;
    if stream.total_out() > length {
        return Err(format!("inflates to more than the promised {promised} bytes"));
    }
    if status != Status::StreamEnd {
        return Err("is cut off".into());
    }
    if stream.total_out() != length {
        return Err(format!("inflates to {} bytes instead of {promised}", stream.total_out()));
    }
    if stream.total_in() != body.len() as u64 {
        return Err("has bytes after its end".into());
    }
    raw.truncate(promised);
    if *trailer != trailer_of(&raw) {
        return Err("has a wrong trailer".into());
    }
    Ok(raw)
}

/// CRC-32 and length of at most 4 GiB of raw bytes, both little-endian.
fn trailer_of(raw: &[u8]) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&libdeflater::crc32(raw).to_le_bytes());
    // Modulo 2^32 (RFC 1952 §2.3.1).
    trailer[4..].copy_from_slice(&(raw.len() as u64).to_le_bytes()[..4]);
    trailer
}
