//! A tar of a package, under a true signature: it is refused, and nothing is outside the folder that it goes into. The
//! first byte is how many entries the manifest promises.
#![no_main]

#[path = "../../tests/support/tars.rs"]
mod tars;

use std::sync::LazyLock;

use deployctl::message::SigningKey;
use deployctl::model::{Code, Hash};
use deployctl::package::{Folder, Manifest, VerifiedManifest, unpack};
use libfuzzer_sys::fuzz_target;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[9; 32]).unwrap());
static BLANK: LazyLock<Manifest> = LazyLock::new(tars::blank);

fuzz_target!(|input: &[u8]| {
    let Some((entries, raw)) = input.split_first() else { return };
    let mut manifest = BLANK.clone();
    let pieces: Vec<_> = raw.chunks(1 << 16).map(|raw| (tars::member(raw), raw.len() as u64)).collect();
    let bytes = tars::promise(&mut manifest, &pieces, u64::from(*entries), Hash::of(b"another tree"));
    let Ok(manifest) = VerifiedManifest::open(&manifest.seal(&SIGNER).to_json(), &SIGNER.key()) else { return };
    let place = tempfile::tempdir().unwrap();
    let [into, file] = ["into", "file"].map(|name| place.path().join(name));
    std::fs::create_dir(&into).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let package = std::fs::File::open(&file).unwrap();
    let why = unpack(&package, &manifest, Folder::open(&into).unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(why.code, Code::BadArchive | Code::BadDigest), "{why}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
});
