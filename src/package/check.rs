//! Checking what is already here: a package file, an unpacked tree.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::manifest::VerifiedManifest;
use super::unpack::check_hash;
use super::{pieces, tree};
use crate::model::{Code, Digest, Error, Result};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 16;

/// Checks every piece of `package`, reading one at a time. The pieces cover the file, so its SHA-256 need not be checked.
///
/// # Errors
/// `bad-digest` naming the first piece that differs; `io`.
pub fn check_file(package: &File, manifest: &VerifiedManifest) -> Result<()> {
    check_size(package, manifest)?;
    manifest.pieces.iter().try_for_each(|piece| pieces::read(package, piece).map(drop))
}

/// Checks the SHA-256 of the whole file, by which other people's tools know it.
///
/// # Errors
/// `bad-digest`; `io`.
pub fn check_digest(mut package: &File, manifest: &VerifiedManifest) -> Result<()> {
    let reading = |why: std::io::Error| Error::new(Code::Io, format!("reading the package: {why}"));
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    package.seek(SeekFrom::Start(0)).map_err(reading)?;
    loop {
        match package.read(&mut buffer).map_err(reading)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut found = [0; 32];
    found.copy_from_slice(context.finish().as_ref());
    let (found, wanted) = (Digest::from_bytes(found), manifest.package.digest);
    if found == wanted {
        return Ok(());
    }
    Err(Error::new(Code::BadDigest, format!("the package has the SHA-256 {found} instead of {wanted}"))
        .hint("fetch the package again"))
}

/// Checks that the folder holds what the package held: nothing less, more or other.
///
/// # Errors
/// `bad-digest`; `bad-archive` naming an entry that no package can hold; `io`.
pub fn check_tree(folder: &Path, manifest: &VerifiedManifest) -> Result<()> {
    let found = tree::hash_folder(folder)?;
    check_hash(found, manifest.tree).map_err(|why| why.while_doing(format!("checking {}", folder.display())))
}

/// The cheapest check, before any byte is read.
pub(super) fn check_size(package: &File, manifest: &VerifiedManifest) -> Result<()> {
    let metadata =
        package.metadata().map_err(|why| Error::new(Code::Io, format!("looking at the package's size: {why}")))?;
    if metadata.len() == manifest.package.size {
        return Ok(());
    }
    let why = format!("the package has {} bytes instead of {}", metadata.len(), manifest.package.size);
    Err(Error::new(Code::BadDigest, why).hint("fetch the package again"))
}
