//! The statement of a manifest, under a true signature: what is taken holds together.
#![no_main]

use std::sync::LazyLock;

use deployctl::message::{Envelope, SigningKey};
use deployctl::package::{MAX_ENTRIES, VerifiedManifest};
use libfuzzer_sys::fuzz_target;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[9; 32]).unwrap());

fuzz_target!(|payload: &[u8]| {
    let sealed = Envelope::seal("application/vnd.in-toto+json", payload.to_vec(), &SIGNER).to_json();
    let Ok(manifest) = VerifiedManifest::open(&sealed, &SIGNER.key()) else { return };
    assert_eq!(manifest.pieces.iter().map(|piece| piece.length).sum::<u64>(), manifest.package.size);
    assert_eq!(manifest.pieces.iter().map(|piece| piece.raw_length).sum::<u64>(), manifest.raw_size);
    assert!(manifest.entries <= MAX_ENTRIES);
});
