//! A folder becomes a package: the same content always gives the same bytes, on any number of cores.
//!
//! One thread reads and cuts, as many as there are cores compress, one hashes and writes; between them are some pieces.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use super::cut::{self, MAX_PIECE, Scanner};
use super::entry::{Entry, Kind, bad_entry};
use super::folder::{Folder, read_some};
use super::header::{BLOCK, END_BYTES};
use super::manifest::{Piece, check_ratio};
use super::ordered::{self, Giver, Taker};
use super::pieces::Compressor;
use super::tree::TreeHasher;
use super::{MAX_RAW_BYTES, header, walk};
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Hash, Result};

/// Bytes of a file that are read at once: they are hashed and looked through while they are in the core's cache.
const READ_BYTES: usize = 128 << 10;

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
pub fn pack(source: &Path, out: &mut (impl Write + Send)) -> Result<Packed> {
    pack_on(ordered::threads(), source, out)
}

/// The same with so many threads that compress.
pub(super) fn pack_on(threads: usize, source: &Path, out: &mut (impl Write + Send)) -> Result<Packed> {
    let mut folder = Folder::open(source)?;
    let entries = walk::list(&mut folder)?;
    let spare = Spare::default();
    let (tree, written) = std::thread::scope(|scope| {
        let (giver, taker) = ordered::start(scope, threads, || {
            let (mut compressor, spare) = (Compressor::new(), spare.clone());
            move |raw: Raw| {
                let compressed = compressor.compress(raw.filled());
                let raw_length = raw.filled as u64;
                spare.give(raw);
                compressed.map(|bytes| Compressed { hash: Hash::of(&bytes), bytes, raw_length })
            }
        });
        let writing = scope.spawn(move || write_pieces(&taker, out));
        let tree = feed(&mut folder, &entries, Cutter::new(giver, spare.clone()));
        let written = writing.join().unwrap_or_else(|_| Err(Error::new(Code::Internal, "the writing thread panicked")));
        (tree, written)
    });
    // A writer that failed has stopped the reader.
    let Written { digest, size, pieces, raw_size } = written?;
    let tree = tree?;
    check_ratio(raw_size, size)?;
    Ok(Packed { digest, size, pieces, entries: entries.len() as u64, raw_size, tree })
}

/// Reads everything there is to pack, and returns the hash of the tree.
fn feed(folder: &mut Folder, entries: &[Entry], mut cutter: Cutter) -> Result<Hash> {
    let mut tree = TreeHasher::new();
    let mut before = 0;
    for entry in entries {
        let head = header::encode(entry);
        let length = head.len() as u64 + entry.size() + padding(entry.size()) as u64;
        if cut::before_entry(&entry.path, cutter.raw.filled as u64, before, length) {
            cutter.cut(cutter.raw.filled)?;
        }
        before = length;
        cutter.write(&head)?;
        let content = write_content(folder, entry, cut::is_cut_within(length), &mut cutter)?;
        tree.add(entry, content);
    }
    cutter.write(&[0; END_BYTES])?;
    cutter.cut(cutter.raw.filled)?;
    Ok(tree.finish())
}

/// Writes a file's bytes and their padding; exactly as many as its header says.
fn write_content(folder: &mut Folder, entry: &Entry, cut_within: bool, cutter: &mut Cutter) -> Result<Hash> {
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
        left -= count as u64;
        cutter.filled(count, cut_within.then_some(left + padding(size) as u64))?;
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

/// The beginning of a buffer, of a piece's greatest length.
struct Raw {
    buffer: Vec<u8>,
    filled: usize,
}

impl Raw {
    fn filled(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

/// Buffers that were used and can be used again.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<Raw>>>);

impl Spare {
    fn give(&self, raw: Raw) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(raw);
    }
    fn take(&self) -> Raw {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.map_or_else(|| Raw { buffer: vec![0; MAX_PIECE], filled: 0 }, |raw| Raw { filled: 0, ..raw })
    }
}

/// Cuts the tar into pieces and hands them over to be compressed.
struct Cutter {
    giver: Giver<Raw, Result<Compressed>>,
    spare: Spare,
    scanner: Scanner,
    raw: Raw,
    raw_size: u64,
}

impl Cutter {
    fn new(giver: Giver<Raw, Result<Compressed>>, spare: Spare) -> Self {
        let raw = spare.take();
        Self { giver, spare, scanner: Scanner::new(), raw, raw_size: 0 }
    }
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64)?;
            let count = room.len();
            room.copy_from_slice(&bytes[..count]);
            self.raw.filled += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }
    /// Where the next bytes go: at least one, at most `most`, and no more than the piece may have.
    fn room(&mut self, most: u64) -> Result<&mut [u8]> {
        if self.raw.filled == MAX_PIECE {
            self.cut(MAX_PIECE)?;
        }
        let room = READ_BYTES.min(MAX_PIECE - self.raw.filled);
        let count = usize::try_from(most).unwrap_or(room).min(room);
        Ok(&mut self.raw.buffer[self.raw.filled..][..count])
    }
    /// `count` bytes were put into the room. Cuts among them where `left` more bytes follow in an entry that is cut within.
    fn filled(&mut self, count: usize, left: Option<u64>) -> Result<()> {
        self.raw.filled += count;
        let Some(left) = left else { return Ok(()) };
        while let Some(length) = self.scanner.find(self.raw.filled(), left) {
            self.cut(length)?;
        }
        Ok(())
    }
    /// Hands over the first `length` bytes as a piece; the others begin the next one.
    fn cut(&mut self, length: usize) -> Result<()> {
        self.raw_size += length as u64;
        if self.raw_size > MAX_RAW_BYTES {
            return Err(Error::new(Code::TooLarge, format!("the software is larger than {MAX_RAW_BYTES} bytes")));
        }
        let mut next = self.spare.take();
        let rest = &self.raw.buffer[length..self.raw.filled];
        next.buffer[..rest.len()].copy_from_slice(rest);
        next.filled = rest.len();
        let mut piece = std::mem::replace(&mut self.raw, next);
        piece.filled = length;
        self.scanner.restart();
        match self.giver.push(piece) {
            true => Ok(()),
            false => Err(Error::new(Code::Internal, "the package cannot be written any more")),
        }
    }
}

struct Compressed {
    bytes: Vec<u8>,
    raw_length: u64,
    hash: Hash,
}

struct Written {
    digest: Digest,
    size: u64,
    pieces: Vec<Piece>,
    raw_size: u64,
}

/// Writes the pieces in their order and hashes the whole.
fn write_pieces(taker: &Taker<Result<Compressed>>, out: &mut impl Write) -> Result<Written> {
    let writing = |why: std::io::Error| Error::io("writing", Path::new("the package"), &why);
    let mut digest = Context::new(&SHA256);
    let (mut pieces, mut size, mut raw_size) = (Vec::new(), 0, 0);
    while let Some(compressed) = taker.pop() {
        let Compressed { bytes, raw_length, hash } = compressed??;
        digest.update(&bytes);
        out.write_all(&bytes).map_err(writing)?;
        let length = bytes.len() as u64;
        pieces.push(Piece { offset: size, length, raw_length, hash });
        size += length;
        raw_size += raw_length;
    }
    out.flush().map_err(writing)?;
    let mut sum = [0; 32];
    sum.copy_from_slice(digest.finish().as_ref());
    Ok(Written { digest: Digest::from_bytes(sum), size, pieces, raw_size })
}
