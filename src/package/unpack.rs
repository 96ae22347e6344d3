//! A package becomes a folder: piece by piece verified, inflated, read strictly, written inside one directory handle.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;

use super::check::check_size;
use super::entry::{Entry, Kind};
use super::fault::step;
use super::folder::Folder;
use super::manifest::{Piece, VerifiedManifest};
use super::ordered;
use super::pieces::{self, Inflater};
use super::reader::Reader;
use super::tree::TreeHasher;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Hash, Result};

/// Of a file that shares its content with an earlier one, so much is compared and written at a time.
const COMPARED_BYTES: usize = 64 << 10;

/// So much of a long file is written before the disk begins with it, which would else have nothing to do until the end.
const BEGUN_BYTES: u64 = 8 << 20;

/// Unpacks `package`, opened once, into the empty folder `folder`, and tells `progress` how many bytes of the
/// package are done. After an error `folder` holds a part, for the caller to remove; nothing is outside of it. Nothing is
/// synced to disk: one `syncfs` by the caller does that.
///
/// # Errors
/// `bad-digest` where the bytes or the tree are not the promised ones; `bad-archive` naming the entry and the rule that it
/// breaks; `io`, `disk-full`.
pub fn unpack(
    package: &File,
    manifest: &VerifiedManifest,
    mut folder: Folder,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    check_size(package, manifest)?;
    std::thread::scope(|scope| {
        let (giver, taker) = ordered::start(scope, ordered::threads(), || {
            let mut inflater = Inflater::new();
            move |piece: &Piece| pieces::read(package, piece).and_then(|bytes| inflater.inflate(&bytes, piece))
        });
        // Ends when all are given, or when the taker is dropped after an error.
        scope.spawn(move || manifest.pieces.iter().all(|piece| giver.push(piece)));
        let mut done = manifest.pieces.iter();
        let mut pull = move || {
            let Some(raw) = taker.pop() else { return Ok(None) };
            let raw = raw??;
            progress(done.next().map_or(0, |piece| piece.offset + piece.length));
            Ok(Some(raw))
        };
        let mut reader = Reader::new(&mut pull, manifest.raw_size, manifest.entries);
        let tree = write_entries(&mut reader, &mut folder)?;
        check_hash(tree, manifest.tree)
    })
}

/// Writes all entries, links last, and returns the hash of the tree.
fn write_entries(reader: &mut Reader<'_>, folder: &mut Folder) -> Result<Hash> {
    let mut tree = TreeHasher::new();
    let mut links = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Hash::of(b"");
        match &entry.kind {
            Kind::Folder => folder.make_folder(&entry.path)?,
            Kind::File { executable, .. } => content = write_file(reader, folder, &entry, *executable)?,
            Kind::Link { target } => links.push((entry.path.clone(), target.clone())),
        }
        tree.add(&entry, content);
    }
    for (path, target) in links {
        folder.make_link(&path, &target)?;
    }
    Ok(tree.finish())
}

fn write_file(reader: &mut Reader<'_>, folder: &mut Folder, entry: &Entry, executable: bool) -> Result<Hash> {
    let path = folder.path_of(&entry.path);
    let file = folder.create_file(&entry.path, executable)?;
    let shared = folder.share(&entry.path, entry.size(), &file)?;
    let (mut hasher, mut at, mut begun) = (blake3::Hasher::new(), 0, 0);
    reader.content(entry, &mut |part| {
        hasher.update(part);
        step(&path)?;
        let written = if shared { write_what_differs(&file, part, at) } else { file.write_all_at(part, at) };
        written.doing("writing", &path)?;
        at += part.len() as u64;
        if at - begun >= BEGUN_BYTES {
            begin_writing_back(&file, begun, at - begun);
            begun = at;
        }
        Ok(())
    })?;
    Ok(Hash::from_bytes(*hasher.finalize().as_bytes()))
}

/// Linux begins to write to the disk what is said not to be needed of a file, and keeps it until that is done.
fn begin_writing_back(file: &File, from: u64, length: u64) {
    // It is advice: where it is not taken, all is written in the end.
    let _ = rustix::fs::fadvise(file, from, NonZeroU64::new(length), Advice::DontNeed);
}

/// Leaves alone what the file has already: on a disk it stays shared.
fn write_what_differs(file: &File, part: &[u8], mut at: u64) -> std::io::Result<()> {
    let mut found = [0; COMPARED_BYTES];
    for wanted in part.chunks(COMPARED_BYTES) {
        let found = &mut found[..wanted.len()];
        file.read_exact_at(found, at)?;
        if found != wanted {
            file.write_all_at(wanted, at)?;
        }
        at += wanted.len() as u64;
    }
    Ok(())
}

pub(super) fn check_hash(found: Hash, promised: Hash) -> Result<()> {
    if found == promised {
        return Ok(());
    }
    let why = format!("the tree's hash is {} instead of {}", found.short(), promised.short());
    Err(Error::new(Code::BadDigest, why))
}
