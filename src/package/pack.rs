//! A folder becomes a package: the same content always gives the same bytes, on any number of cores.

use std::io::Write;
use std::path::Path;
use std::thread::Scope;

use aws_lc_rs::digest::{Context, SHA256};

use super::entry::{Entry, Kind, bad_entry};
use super::folder::{Folder, read_some};
use super::header::{BLOCK, END_BYTES};
use super::manifest::{Piece, check_ratio};
use super::ordered::Ordered;
use super::tree::TreeHasher;
use super::{MAX_RAW_BYTES, PIECE_RAW_BYTES, header, pieces, walk};
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Hash, Result};

/// What was packed: everything of a manifest that follows from the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the whole package.
    pub digest: Digest,
    /// Bytes of the whole package.
    pub size: u64,
    pub pieces: Vec<Piece>,
    pub entries: u64,
    /// Bytes of the tar inside.
    pub raw_size: u64,
    pub tree: Hash,
}

/// Packs what is in the folder `source` and writes the package to `out`. Holds some pieces in memory, never the whole.
///
/// # Errors
/// `bad-archive` naming the entry that no package can hold, or that changed meanwhile; `too-large`; `io`.
pub fn pack(source: &Path, out: &mut impl Write) -> Result<Packed> {
    let mut folder = Folder::open(source)?;
    let entries = walk::list(&mut folder)?;
    std::thread::scope(|scope| {
        let mut cutter = Cutter::new(scope, out);
        let mut tree = TreeHasher::new();
        for entry in &entries {
            cutter.write(&header::encode(entry))?;
            let content = write_content(&mut folder, entry, &mut cutter)?;
            tree.add(entry, content);
        }
        cutter.write(&[0; END_BYTES])?;
        cutter.finish(entries.len() as u64, tree.finish())
    })
}

/// Writes a file's bytes and their padding; exactly as many as its header says.
fn write_content(folder: &mut Folder, entry: &Entry, cutter: &mut Cutter<'_, impl Write>) -> Result<Hash> {
    let Kind::File { size, .. } = entry.kind else { return Ok(Hash::of(b"")) };
    let path = folder.path_of(&entry.path);
    let changed = || bad_entry(&entry.path, "changed while it was being packed").hint("run the same command again");
    let mut file = folder.open_file(&entry.path)?;
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while left > 0 {
        let chunk = cutter.room(left)?;
        let count = read_some(&mut file, chunk).doing("reading", &path)?;
        if count == 0 {
            return Err(changed());
        }
        hasher.update(&chunk[..count]);
        cutter.filled += count;
        left -= count as u64;
    }
    if read_some(&mut file, &mut [0]).doing("reading", &path)? != 0 {
        return Err(changed());
    }
    cutter.write(&[0; BLOCK][..padding(size)])?;
    Ok(Hash::from_bytes(*hasher.finalize().as_bytes()))
}

/// Zero bytes that follow `size` bytes of content up to the next block.
pub(super) fn padding(size: u64) -> usize {
    let block = BLOCK as u64;
    usize::try_from((block - size % block) % block).unwrap_or(0)
}

struct Compressed {
    bytes: Vec<u8>,
    raw_length: u64,
    hash: Hash,
}

/// Cuts the tar into pieces, has them compressed, and writes them in their order.
struct Cutter<'a, W> {
    out: &'a mut W,
    digest: Context,
    compressing: Ordered<Vec<u8>, Result<Compressed>>,
    /// The piece being filled: the first `filled` bytes of it are.
    raw: Vec<u8>,
    filled: usize,
    raw_size: u64,
    size: u64,
    pieces: Vec<Piece>,
}

impl<'a, W: Write> Cutter<'a, W> {
    fn new<'scope>(scope: &'scope Scope<'scope, '_>, out: &'a mut W) -> Self {
        let compressing = Ordered::start(scope, |raw: Vec<u8>| {
            let bytes = pieces::compress(&raw)?;
            let hash = Hash::of(&bytes);
            Ok(Compressed { bytes, raw_length: raw.len() as u64, hash })
        });
        let raw = vec![0; PIECE_RAW_BYTES];
        Self { out, digest: Context::new(&SHA256), compressing, raw, filled: 0, raw_size: 0, size: 0, pieces: vec![] }
    }
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64)?;
            let count = room.len();
            room.copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }
    /// Where the next bytes go: at least one, at most `most` and to the end of the piece. The caller moves `filled` on.
    fn room(&mut self, most: u64) -> Result<&mut [u8]> {
        if self.filled == PIECE_RAW_BYTES {
            self.cut()?;
        }
        let room = PIECE_RAW_BYTES - self.filled;
        let count = usize::try_from(most).unwrap_or(room).min(room);
        Ok(&mut self.raw[self.filled..self.filled + count])
    }
    /// Hands the piece over to be compressed.
    fn cut(&mut self) -> Result<()> {
        self.raw_size += self.filled as u64;
        if self.raw_size > MAX_RAW_BYTES {
            return Err(Error::new(Code::TooLarge, format!("the software is larger than {MAX_RAW_BYTES} bytes")));
        }
        if self.compressing.is_full() {
            self.collect()?;
        }
        let mut raw = std::mem::replace(&mut self.raw, vec![0; PIECE_RAW_BYTES]);
        raw.truncate(self.filled);
        self.filled = 0;
        self.compressing.push(raw);
        Ok(())
    }
    /// Writes the oldest piece that is being compressed; false where there is none.
    fn collect(&mut self) -> Result<bool> {
        let Some(compressed) = self.compressing.pop() else { return Ok(false) };
        let Compressed { bytes, raw_length, hash } = compressed??;
        self.digest.update(&bytes);
        self.out.write_all(&bytes).map_err(|why| Error::io("writing", Path::new("the package"), &why))?;
        let length = bytes.len() as u64;
        self.pieces.push(Piece { offset: self.size, length, raw_length, hash });
        self.size += length;
        Ok(true)
    }
    fn finish(mut self, entries: u64, tree: Hash) -> Result<Packed> {
        self.cut()?;
        while self.collect()? {}
        self.out.flush().map_err(|why| Error::io("writing", Path::new("the package"), &why))?;
        check_ratio(self.raw_size, self.size)?;
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.finish().as_ref());
        let digest = Digest::from_bytes(digest);
        Ok(Packed { digest, size: self.size, pieces: self.pieces, entries, raw_size: self.raw_size, tree })
    }
}
