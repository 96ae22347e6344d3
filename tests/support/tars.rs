//! Tars under manifests that are true of them: what a provider could sign.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]

use std::io::Write;

use deployctl::model::{Digest, Hash};
use deployctl::package::{Manifest, PackageId, Piece};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// One gzip member with the one header that pieces have.
pub fn member(raw: &[u8]) -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], Compression::fast());
    deflate.write_all(raw).expect("memory");
    let mut member = deflate.finish().expect("memory");
    let mut crc = Crc::new();
    crc.update(raw);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&crc.amount().to_le_bytes());
    member
}

/// A manifest that promises nothing yet.
pub fn blank() -> Manifest {
    let terms = serde_json::json!({"for": "peer", "min": 1, "platforms": ["any"]});
    let none = Digest::of(b"");
    Manifest {
        name: "fixture".parse().expect("a word"),
        version: "1.0.0".parse().expect("a word"),
        role: "any".parse().expect("a word"),
        platform: "linux-x86_64".parse().expect("a word"),
        session: None,
        generation: 1,
        terms: serde_json::from_value(terms).expect("a word"),
        license: None,
        program: None,
        definition: none,
        options: none,
        package: PackageId { digest: none, size: 0 },
        cut: None,
        pieces: Vec::new(),
        entries: 0,
        raw_size: 0,
        tree: Hash::of(b""),
    }
}

/// Has `manifest` promise a package of these pieces, each with its raw length; gives the package.
pub fn promise(manifest: &mut Manifest, pieces: &[(Vec<u8>, u64)], entries: u64, tree: Hash) -> Vec<u8> {
    let mut bytes = Vec::new();
    manifest.pieces.clear();
    for (piece, raw_length) in pieces {
        let (offset, length) = (bytes.len() as u64, piece.len() as u64);
        manifest.pieces.push(Piece { offset, length, raw_length: *raw_length, hash: Hash::of(piece) });
        bytes.extend_from_slice(piece);
    }
    manifest.cut = None;
    manifest.package = PackageId { digest: Digest::of(&bytes), size: bytes.len() as u64 };
    manifest.raw_size = pieces.iter().map(|(_, raw_length)| raw_length).sum();
    manifest.entries = entries;
    manifest.tree = tree;
    bytes
}
