//! For tests: tars of any shape, written without the packer's help, and signed manifests over them.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use super::cut::MAX_PIECE;
use super::manifest::{Manifest, PackageId, Piece, VerifiedManifest};
use super::{Cut, Packed, pack};
use crate::message::SigningKey;
use crate::model::{Digest, Hash};

/// A tar in the making.
#[derive(Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// A header with a right checksum over whatever `edit` made of it.
    pub(crate) fn header(mut self, name: &[u8], kind: u8, size: u64, edit: impl FnOnce(&mut [u8; 512])) -> Self {
        let mut block = [0; 512];
        let mode: &[u8] = match kind {
            b'5' => b"0000755\0",
            b'2' => b"0000777\0",
            _ => b"0000644\0",
        };
        block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        block[100..108].copy_from_slice(mode);
        for zero in [108..116, 116..124, 329..337, 337..345] {
            block[zero].copy_from_slice(b"0000000\0");
        }
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        edit(&mut block);
        if block[148..156] == [0; 8] {
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        self.0.extend_from_slice(&block);
        self
    }
    pub(crate) fn body(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.header(name.as_bytes(), b'0', content.len() as u64, |_| {}).body(content)
    }
    pub(crate) fn folder(self, name: &str) -> Self {
        self.header(name.as_bytes(), b'5', 0, |_| {})
    }
    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.header(name.as_bytes(), b'2', 0, |block| block[157..157 + target.len()].copy_from_slice(target.as_bytes()))
    }
    /// A pax header of `kind` x or g with these records, lengths and all.
    pub(crate) fn pax(self, kind: u8, records: &str) -> Self {
        self.header(b"PaxHeaders/entry", kind, records.len() as u64, |_| {}).body(records.as_bytes())
    }
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// `LENGTH keyword=value\n`.
pub(crate) fn record(keyword: &str, value: &str) -> String {
    let rest = format!(" {keyword}={value}\n");
    let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}")
}

/// The key that signs in tests.
pub(crate) fn signer() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// A manifest for whatever is in `packed`.
pub(crate) fn manifest(generation: u32, packed: Packed) -> Manifest {
    let terms =
        serde_json::json!({"for": "peer", "min": 1, "platforms": ["linux-x86_64"], "run": {"command": ["./run"]}});
    Manifest {
        name: "game".parse().unwrap(),
        version: "1.2.3".parse().unwrap(),
        role: "player".parse().unwrap(),
        platform: "linux-x86_64".parse().unwrap(),
        session: None,
        generation,
        terms: serde_json::from_value(terms).unwrap(),
        license: Some("MIT".into()),
        program: None,
        definition: Digest::of(b"definition"),
        options: Digest::of(b"options"),
        package: PackageId { digest: packed.digest, size: packed.size },
        cut: Some(Cut::ours()),
        pieces: packed.pieces,
        entries: packed.entries,
        raw_size: packed.raw_size,
        tree: packed.tree,
    }
}

pub(crate) fn sealed(manifest: &Manifest) -> VerifiedManifest {
    VerifiedManifest::open(&manifest.seal(&signer()).to_json(), &signer().key()).unwrap()
}

/// A file that no name leads to, holding `bytes`.
pub(crate) fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A folder, packed and signed.
pub(crate) fn packed(generation: u32, folder: &Path) -> (File, VerifiedManifest) {
    let mut bytes = Vec::new();
    let packed = pack(folder, &mut bytes).unwrap();
    (file_of(&bytes), sealed(&manifest(generation, packed)))
}

/// Any bytes as a tar, with a true manifest of `entries` and `tree`: what a hostile provider could sign.
pub(crate) fn packed_raw(raw: &[u8], entries: u64, tree: Hash) -> (Vec<u8>, Manifest) {
    let members: Vec<_> = raw.chunks(MAX_PIECE).map(|raw| (member(raw), raw.len() as u64)).collect();
    packed_members(&members, entries, tree)
}

/// One gzip member, made as pieces are.
pub(crate) fn member(raw: &[u8]) -> Vec<u8> {
    super::pieces::Compressor::new().compress(raw).unwrap()
}

/// Any bytes as members, with the raw length that the manifest claims for each.
pub(crate) fn packed_members(members: &[(Vec<u8>, u64)], entries: u64, tree: Hash) -> (Vec<u8>, Manifest) {
    let mut bytes = Vec::new();
    let mut pieces = Vec::new();
    for (member, raw_length) in members {
        let (offset, length) = (bytes.len() as u64, member.len() as u64);
        pieces.push(Piece { offset, length, raw_length: *raw_length, hash: Hash::of(member) });
        bytes.extend_from_slice(member);
    }
    let raw_size = members.iter().map(|(_, raw_length)| raw_length).sum();
    let packed = Packed { digest: Digest::of(&bytes), size: bytes.len() as u64, pieces, entries, raw_size, tree };
    (bytes, manifest(1, packed))
}
