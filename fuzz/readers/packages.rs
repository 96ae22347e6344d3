//! Packages, their manifests and patches, under true signatures: what a hostile provider could sign.

use std::fs::{self, File};
use std::io::Write;
use std::sync::LazyLock;

use deployctl::message::{Envelope, SigningKey};
use deployctl::model::{Code, Hash};
use deployctl::package::{
    Folder, MAX_ENTRIES, Manifest, Pieced, Provenance, VerifiedManifest, apply_patch, pack, unpack,
};

use super::tars;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[9; 32]).unwrap());
static BLANK: LazyLock<Manifest> = LazyLock::new(tars::blank);
static VERSIONS: LazyLock<[Version; 2]> = LazyLock::new(|| ["old", "new"].map(Version::of));

/// A tar of a package: it is refused, and nothing is outside the folder that it goes into. The first byte is how many
/// entries the manifest promises.
pub(super) fn archive(input: &[u8]) {
    let Some((entries, raw)) = input.split_first() else { return };
    let mut manifest = BLANK.clone();
    let pieces: Vec<_> = raw.chunks(1 << 16).map(|raw| (tars::member(raw), raw.len() as u64)).collect();
    let bytes = tars::promise(&mut manifest, &pieces, u64::from(*entries), Hash::of(b"another tree"));
    let Ok(manifest) = VerifiedManifest::open(&manifest.seal(&SIGNER).to_json(), &SIGNER.key()) else { return };
    let place = tempfile::tempdir().unwrap();
    let [into, file] = ["into", "file"].map(|name| place.path().join(name));
    fs::create_dir(&into).unwrap();
    fs::write(&file, bytes).unwrap();
    let package = File::open(&file).unwrap();
    let why = unpack(&package, &manifest, Folder::open(&into).unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(why.code, Code::BadArchive | Code::BadDigest), "{why}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

/// The statement of a manifest or of a provenance: what is taken holds together.
pub(super) fn manifest(payload: &[u8]) {
    let sealed = Envelope::seal("application/vnd.in-toto+json", payload.to_vec(), &SIGNER).to_json();
    let _ = Provenance::open(&sealed, &SIGNER.key());
    let Ok(manifest) = VerifiedManifest::open(&sealed, &SIGNER.key()) else { return };
    assert_eq!(manifest.pieces.iter().map(|piece| piece.length).sum::<u64>(), manifest.package.size);
    assert_eq!(manifest.pieces.iter().map(|piece| piece.raw_length).sum::<u64>(), manifest.raw_size);
    assert!(manifest.entries <= MAX_ENTRIES);
}

/// A patch from one package to another: what it makes is a piece of the other. After a zero it is taken as it is; else
/// as records, each of its piece, the first of the other's pieces, their number, and, after its length in two bytes, a delta.
pub(super) fn patch(input: &[u8]) {
    let Some((kind, mut rest)) = input.split_first() else { return };
    let mut patch = Vec::new();
    while *kind != 0
        && let Some(([piece, first, count, low, high], more)) = rest.split_first_chunk::<5>()
    {
        let (delta, after) = more.split_at(more.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        let member = tars::member(delta);
        [piece, first, count].into_iter().for_each(|number| patch.push(number & 0x7f));
        number(&mut patch, member.len());
        patch.extend_from_slice(&member);
        rest = after;
    }
    let patch = if *kind == 0 { rest } else { &patch };
    let [old, new] = &*VERSIONS;
    let here = Pieced { file: &old.file, pieces: &old.pieces };
    apply_patch(patch, here, &new.pieces, &mut |at, bytes| {
        assert_eq!((Hash::of(bytes), bytes.len() as u64), new.pieces[at]);
        Ok(())
    })
    .unwrap();
}

fn number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// A package with its pieces.
struct Version {
    file: File,
    pieces: Vec<(Hash, u64)>,
}

impl Version {
    fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..12_u32 {
            let word = |at: u32| format!("{:x} ", (at ^ number).wrapping_mul(0x9e37_79b9) >> 8);
            let lines: String = (0..2500).map(word).collect();
            fs::write(folder.path().join(format!("file-{number:02}")), lines + text).unwrap();
        }
        let (mut file, mut bytes) = (tempfile::tempfile().unwrap(), Vec::new());
        let packed = pack(folder.path(), &mut bytes).unwrap();
        file.write_all(&bytes).unwrap();
        Self { file, pieces: packed.pieces.iter().map(|piece| (piece.hash, piece.length)).collect() }
    }
}
