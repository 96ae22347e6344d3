//! Packages: a folder becomes pieces of one `.tar.gz` and a signed manifest; a verified manifest and the same bytes
//! become a folder again. Works on the streams and directory handles that it is given.
//!
//! Trust runs: contact's key → envelope → [`VerifiedManifest`] → [`Piece`] → bytes. No byte is inflated before its piece
//! is verified, no more is written than the manifest promised, and nothing can leave the folder that is unpacked into.

mod check;
mod cut;
mod delta;
mod entry;
pub(crate) mod fault;
mod folder;
mod header;
pub mod manifest;
mod names;
mod ordered;
mod pack;
mod patch;
mod pieces;
pub mod provenance;
mod reader;
pub mod tree;
mod unpack;
mod walk;

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod round_trip;

pub use check::{check_digest, check_file, check_tree};
pub use cut::Cut;
pub use folder::Folder;
pub use manifest::{Manifest, PackageId, Piece, VerifiedManifest};
pub use pack::{Packed, pack};
pub use patch::{MAX_PATCH_BYTES, Pieced, apply_patch, make_patch};
pub use pieces::check_piece;
pub use provenance::Provenance;
pub use unpack::unpack;

/// The largest raw piece that is taken from others: 16 in flight, with their compressed bytes, stay within 64 MiB.
pub const MAX_PIECE_RAW_BYTES: u64 = 2 << 20;
/// The largest software, as tar: its pieces' list still fits [`MAX_MANIFEST_BYTES`].
pub const MAX_RAW_BYTES: u64 = 32 << 30;
/// The largest file of a manifest, envelope and all: 140,000 pieces. It is the one thing that is read before anything is
/// verified.
pub const MAX_MANIFEST_BYTES: usize = 24 << 20;
/// The most entries in one package: the names seen cost about 40 bytes of memory each.
pub const MAX_ENTRIES: u64 = 1_000_000;
/// Software up to this size may compress as well as it likes …
pub const FREE_RATIO_BYTES: u64 = 1 << 30;
/// … and beyond it at most so many times.
pub const MAX_RATIO: u64 = 100;
