//! Pieces: one gzip member each (RFC 1952), with one fixed header, so that the same content always gives the same bytes.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;

use flate2::{Compression, Crc, Decompress, FlushDecompress, GzBuilder, Status};

use super::manifest::Piece;
use crate::model::{Code, Error, Hash, Result};

/// The one level that is used: the digest of a package depends on it.
const LEVEL: u32 = 6;
/// gzip, deflate, no flags, no time, no extra flags, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// CRC-32 and length, both little-endian.
const TRAILER_BYTES: usize = 8;

/// One member.
pub(super) fn compress(raw: &[u8]) -> Result<Vec<u8>> {
    let internal = |why| Error::new(Code::Internal, format!("compressing a piece: {why}"));
    let room = Vec::with_capacity(raw.len() / 2);
    let mut member = GzBuilder::new().mtime(0).operating_system(255).write(room, Compression::new(LEVEL));
    member.write_all(raw).map_err(internal)?;
    member.finish().map_err(internal)
}

/// Checks that `bytes` are those of `piece`.
///
/// # Errors
/// `bad-digest`.
pub fn check_piece(bytes: &[u8], piece: &Piece) -> Result<()> {
    if bytes.len() as u64 != piece.length || Hash::of(bytes) != piece.hash {
        return Err(Error::new(
            Code::BadDigest,
            format!("the package's piece at byte {} is not what its manifest promises", piece.offset),
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
    let too_long = |_| Error::new(Code::TooLarge, format!("the piece at byte {} is too large", piece.offset));
    let mut bytes = vec![0; usize::try_from(piece.length).map_err(too_long)?];
    package.read_exact_at(&mut bytes, piece.offset).map_err(|why| match why.kind() {
        ErrorKind::UnexpectedEof => {
            Error::new(Code::BadDigest, format!("the package ends within its piece at byte {}", piece.offset))
                .hint("fetch the package again")
        }
        _ => Error::new(Code::Io, format!("reading the package's piece at byte {}: {why}", piece.offset)),
    })?;
    check_piece(&bytes, piece)?;
    Ok(bytes)
}

/// Inflates one verified piece to exactly its promised length: never more, and to the end of its trailer.
///
/// # Errors
/// `bad-archive`.
pub(super) fn inflate(bytes: &[u8], piece: &Piece) -> Result<Vec<u8>> {
    let refuse =
        |why: &str| Error::new(Code::BadArchive, format!("the package's piece at byte {} {why}", piece.offset));
    let body = bytes.strip_prefix(&HEADER).ok_or_else(|| refuse("does not begin with the one header allowed"))?;
    let (body, trailer) =
        body.split_last_chunk::<TRAILER_BYTES>().ok_or_else(|| refuse("is too short for a gzip member"))?;
    let raw_length = usize::try_from(piece.raw_length).map_err(|_| refuse("is too large for this machine"))?;
    // One byte more than promised: room to notice that there is more, and none to hold it.
    let mut raw = vec![0; raw_length + 1];
    let mut stream = Decompress::new(false);
    let status = stream
        .decompress(body, &mut raw, FlushDecompress::Finish)
        .map_err(|why| refuse(&format!("cannot be inflated: {why}")))?;
    if stream.total_out() > piece.raw_length {
        return Err(refuse(&format!("inflates to more than the promised {raw_length} bytes")));
    }
    if status != Status::StreamEnd {
        return Err(refuse("is cut off"));
    }
    if stream.total_out() != piece.raw_length {
        return Err(refuse(&format!("inflates to {} bytes instead of {raw_length}", stream.total_out())));
    }
    if stream.total_in() != body.len() as u64 {
        return Err(refuse("has bytes after its end"));
    }
    raw.truncate(raw_length);
    let mut crc = Crc::new();
    crc.update(&raw);
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    if u32::from_le_bytes([c0, c1, c2, c3]) != crc.sum() || u32::from_le_bytes([l0, l1, l2, l3]) != crc.amount() {
        return Err(refuse("has a wrong trailer"));
    }
    Ok(raw)
}
