//! The readers of what a provider signed, given true packages and manifests that were changed before they were signed: a
//! tar is installed exactly or refused with nothing left, a manifest that is taken holds together, and nothing panics.
//!
//! `DEPLOYCTL_CASES` says how many changes are tried of each. The targets `archive`, `manifest` and `envelope` in `fuzz/`
//! drive the same readers.

#![expect(clippy::disallowed_methods, reason = "reads the packages of the fixtures")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/tars.rs"]
mod tars;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use deployctl::message::{Envelope, SigningKey, Verified};
use deployctl::model::{Code, Hash};
use deployctl::package::{MAX_ENTRIES, VerifiedManifest};
use deployctl::store::installs;
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use tars::{blank, member, promise};

const BLOCK: usize = 512;

/// A change of some bytes; places are drawn modulo the length.
#[derive(Clone, Debug)]
enum Edit {
    Put(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// A block of a tar goes to another place, too.
    Copy(usize, usize),
    /// A number becomes another one.
    Number(usize, u64),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Put(at, with) => {
                let at = at % length;
                bytes.iter_mut().skip(at).zip(with).for_each(|(byte, with)| *byte = *with);
            }
            Self::Insert(at, with) => drop(bytes.splice(at % length..at % length, with.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(at % length..(at % length + count).min(length))),
            Self::Copy(from, to) => {
                let blocks = length.div_ceil(BLOCK);
                let [from, to] = [from % blocks * BLOCK, to % blocks * BLOCK];
                let block = bytes[from..(from + BLOCK).min(length)].to_vec();
                bytes.splice(to..to, block);
            }
            Self::Number(at, with) => {
                let digits = |byte: &u8| byte.is_ascii_digit();
                let Some(begin) = (at % length..length).find(|&n| digits(&bytes[n])) else { return };
                let end = (begin..length).find(|&n| !digits(&bytes[n])).unwrap_or(length);
                bytes.splice(begin..end, with.to_string().into_bytes());
            }
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = || {
        let words = [
            "../x",
            "/x",
            "\0",
            "/",
            "ustar\0",
            "x",
            "g",
            "L",
            "K",
            "S",
            "1",
            "2",
            "5",
            "20 path=../../x\n",
            "\u{202e}",
        ];
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..9),
            proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        ]
    };
    let number = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0..4096_u64];
    let edit = prop_oneof![
        (any::<usize>(), bytes()).prop_map(|(at, with)| Edit::Put(at, with)),
        (any::<usize>(), bytes()).prop_map(|(at, with)| Edit::Insert(at, with)),
        (any::<usize>(), 1..600_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Edit::Copy(from, to)),
        (any::<usize>(), number).prop_map(|(at, with)| Edit::Number(at, with)),
    ];
    proptest::collection::vec(edit, 0..6)
}

/// Gives every block that looks like a header the right checksum, so that what is behind that is reached.
fn sum_up(raw: &mut [u8]) {
    for block in raw.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

/// The tars of the good packages, each with the number of its entries.
fn tars() -> Vec<(Vec<u8>, u64)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/packages");
    let cases: serde_json::Value = serde_json::from_slice(&fs::read(fixtures.join("cases.json")).unwrap()).unwrap();
    let good = cases["good"].as_object().unwrap().iter().map(|(name, case)| {
        let mut raw = Vec::new();
        let file = File::open(fixtures.join(format!("good/{name}.tar.gz"))).unwrap();
        MultiGzDecoder::new(file).read_to_end(&mut raw).unwrap();
        (raw, case["entries"].as_u64().unwrap())
    });
    good.collect()
}

/// A manifest as it is signed, of a package with three pieces.
fn statement() -> Envelope {
    let mut manifest = blank();
    let pieces: Vec<_> = [&b"one"[..], b"two", b"three"].iter().map(|raw| (member(raw), raw.len() as u64)).collect();
    promise(&mut manifest, &pieces, 1, Hash::of(b"tree"));
    manifest.seal(&signer())
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("DEPLOYCTL_CASES").ok().map_or(96, |text| text.parse().unwrap());
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_changed_tar_is_refused_with_nothing_left(which in any::<usize>(), edits in edits(), more in 0..3_u64) {
        let all = tars();
        let (mut raw, entries) = all[which % all.len()].clone();
        let whole = raw.clone();
        edits.iter().for_each(|edit| edit.apply(&mut raw));
        raw.resize(raw.len().next_multiple_of(BLOCK), 0);
        sum_up(&mut raw);
        let mut manifest = blank();
        let pieces: Vec<_> = raw.chunks(1 << 20).map(|raw| (member(raw), raw.len() as u64)).collect();
        let bytes = promise(&mut manifest, &pieces, entries + more, Hash::of(b"another tree"));
        let place = tempfile::tempdir().unwrap();
        let (root, file) = (place.path().join("root"), place.path().join("file"));
        fs::write(&file, bytes).unwrap();
        let Ok(manifest) = VerifiedManifest::open(&manifest.seal(&signer()).to_json(), &signer().key()) else {
            // No tar has so many bytes, or so few for its entries.
            return Ok(());
        };
        let why = installs::install(&root, 1, &File::open(&file).unwrap(), &manifest, &mut |_| {}).unwrap_err();
        prop_assert!(matches!(why.code, Code::BadArchive | Code::BadDigest), "{}", why);
        prop_assert!(why.code == Code::BadArchive || more == 0, "{}", why);
        prop_assert!(raw != whole || more > 0 || why.message.contains("tree"), "{}", why);
        prop_assert!(!why.message.chars().any(char::is_control), "{:?}", why.message);
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(left, ["file"]);
    }

    #[test]
    fn a_changed_manifest_that_is_taken_holds_together(edits in edits()) {
        let Envelope { payload_type, mut payload, .. } = statement();
        edits.iter().for_each(|edit| edit.apply(&mut payload));
        let sealed = Envelope::seal(&payload_type, payload, &signer()).to_json();
        if let Ok(manifest) = VerifiedManifest::open(&sealed, &signer().key()) {
            let sum = |of: fn(&deployctl::package::Piece) -> u64| manifest.pieces.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|piece| piece.length), manifest.package.size);
            prop_assert_eq!(sum(|piece| piece.raw_length), manifest.raw_size);
            let mut at = 0;
            for piece in &manifest.pieces {
                prop_assert_eq!(piece.offset, at);
                at += piece.length;
            }
            prop_assert!(manifest.entries <= MAX_ENTRIES);
        }
    }

    #[test]
    fn a_changed_envelope_says_what_was_signed_or_nothing(edits in edits()) {
        let sealed = statement();
        let mut bytes = sealed.to_json();
        edits.iter().for_each(|edit| edit.apply(&mut bytes));
        if let Ok(envelope) = Envelope::from_json(&bytes) {
            if envelope.verify(&signer().key()).is_ok() {
                prop_assert_eq!((envelope.payload_type.clone(), envelope.payload.clone()), (sealed.payload_type, sealed.payload));
            }
            // A manifest is no message.
            prop_assert!(Verified::open(envelope).is_err());
        }
    }
}
