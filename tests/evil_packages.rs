//! The archives of `fixtures/packages`, each under a manifest with a true signature: evil ones are refused for their own
//! reason with nothing left, good ones are installed exactly. `make.py` there wrote them, and shares no line with the
//! reader.

#![expect(clippy::disallowed_methods, reason = "looks at what was installed, as people do")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use deployctl::message::SigningKey;
use deployctl::model::{Code, Digest, Error, Hash};
use deployctl::package::manifest::PackageId;
use deployctl::package::{Manifest, Piece, VerifiedManifest, tree};
use deployctl::store::installs;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    evil: BTreeMap<String, Evil>,
    good: BTreeMap<String, Good>,
}

#[derive(Deserialize)]
struct Evil {
    entries: u64,
    /// Compressed and raw length.
    pieces: Vec<(u64, u64)>,
    code: Code,
    words: String,
}

#[derive(Deserialize)]
struct Good {
    entries: u64,
    pieces: Vec<(u64, u64)>,
    /// Content by path; folders end with `/`, executable files with `*`, links with `@`.
    tree: BTreeMap<String, String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/packages")
}

fn cases() -> Cases {
    serde_json::from_slice(&fs::read(fixtures().join("cases.json")).unwrap()).unwrap()
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[9; 32]).unwrap()
}

/// A manifest that is true of the file in everything that a provider can know.
fn manifest(bytes: &[u8], entries: u64, lengths: &[(u64, u64)], tree: Hash) -> Manifest {
    let mut offset = 0;
    let pieces = lengths.iter().map(|&(length, raw_length)| {
        let at = usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap();
        let piece = Piece { offset, length, raw_length, hash: Hash::of(&bytes[at]) };
        offset += length;
        piece
    });
    let terms = serde_json::json!({"for": "peer", "min": 1, "platforms": ["any"]});
    Manifest {
        name: "fixture".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        role: "any".parse().unwrap(),
        platform: "linux-x86_64".parse().unwrap(),
        session: None,
        generation: 1,
        terms: serde_json::from_value(terms).unwrap(),
        license: None,
        program: None,
        definition: Digest::of(b"definition"),
        options: Digest::of(b"options"),
        package: PackageId { digest: Digest::of(bytes), size: bytes.len() as u64 },
        cut: None,
        pieces: pieces.collect(),
        entries,
        raw_size: lengths.iter().map(|(_, raw_length)| raw_length).sum(),
        tree,
    }
}

/// Signs the manifest, and installs the file as a node does.
fn install(file: &Path, manifest: &Manifest, root: &Path) -> Result<(), Error> {
    let manifest = VerifiedManifest::open(&manifest.seal(&signer()).to_json(), &signer().key())?;
    installs::install(root, 1, &File::open(file).unwrap(), &manifest, &mut |_| {}).map(drop)
}

/// A neighbour of the folder that is installed in, to be found untouched.
fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("neighbour"), "mine").unwrap();
    let root = place.path().join("root");
    (place, root)
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_evil_package_is_refused_for_its_reason_and_leaves_nothing() {
    let cases = cases().evil;
    assert!(cases.len() >= 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, case) in cases {
        let file = fixtures().join(format!("evil/{name}.tar.gz"));
        let manifest = manifest(&fs::read(&file).unwrap(), case.entries, &case.pieces, Hash::of(b"any"));
        let (place, root) = place();
        match install(&file, &manifest, &root) {
            Ok(()) => wrong.push(format!("{name}: installed")),
            Err(why) if why.code != case.code => wrong.push(format!("{name}: {} {why}", why.code)),
            Err(why) if !why.message.contains(&case.words) => wrong.push(format!("{name}: {why}")),
            Err(why) if why.message.chars().any(char::is_control) => wrong.push(format!("{name}: {:?}", why.message)),
            Err(_) => {}
        }
        if names(place.path()) != ["neighbour"] {
            wrong.push(format!("{name}: left {:?}", names(place.path())));
        }
        assert_eq!(fs::read(place.path().join("neighbour")).unwrap(), b"mine", "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_good_package_is_installed_exactly() {
    for (name, case) in cases().good {
        let expected = tempfile::tempdir().unwrap();
        for (path, content) in &case.tree {
            let at = |path: &str| expected.path().join(path);
            if let Some(path) = path.strip_suffix('/') {
                fs::create_dir(at(path)).unwrap();
            } else if let Some(path) = path.strip_suffix('@') {
                std::os::unix::fs::symlink(content, at(path)).unwrap();
            } else {
                let file = path.strip_suffix('*').unwrap_or(path);
                fs::write(at(file), content).unwrap();
                let mode = if file == path { 0o644 } else { 0o755 };
                fs::set_permissions(at(file), fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        let hash = tree::hash_folder(expected.path()).unwrap();
        let file = fixtures().join(format!("good/{name}.tar.gz"));
        let manifest = manifest(&fs::read(&file).unwrap(), case.entries, &case.pieces, hash);
        let (_place, root) = place();
        install(&file, &manifest, &root).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(tree::hash_folder(&installs::folder_of(&root, 1)).unwrap(), hash, "{name}");
        installs::remove(&root, false, &root).unwrap();
    }
}

/// Bits flipped and ends cut off, of the archive and of the signed manifest. DEPLOYCTL_CHANGES says how many of each kind
/// are tried; 10,000 and more belong before a release.
#[test]
fn no_changed_byte_of_archive_or_manifest_is_accepted() {
    let changes: u64 = std::env::var("DEPLOYCTL_CHANGES").ok().map_or(150, |text| text.parse().unwrap());
    let case = &cases().good["three-hundred-files"];
    let good = fs::read(fixtures().join("good/three-hundred-files.tar.gz")).unwrap();
    let manifest = manifest(&good, case.entries, &case.pieces, Hash::of(b"any"));
    let sealed = manifest.seal(&signer()).to_json();
    let verified = VerifiedManifest::open(&sealed, &signer().key()).unwrap();
    let (place, root) = place();
    let changed_file = place.path().join("changed");
    for number in 0..changes {
        let changed = change(&sealed, number);
        assert!(changed == sealed || VerifiedManifest::open(&changed, &signer().key()).is_err(), "change {number}");
        fs::write(&changed_file, change(&good, number)).unwrap();
        let refused = installs::install(&root, 1, &File::open(&changed_file).unwrap(), &verified, &mut |_| {});
        assert_eq!(refused.unwrap_err().code, Code::BadDigest, "change {number}");
    }
    assert!(!root.exists());
}

/// One bit of it flipped, or its end cut off: the same for the same number.
fn change(bytes: &[u8], number: u64) -> Vec<u8> {
    let draw = Hash::of(&number.to_le_bytes());
    let at =
        usize::try_from(u64::from_le_bytes(draw.as_bytes()[..8].try_into().unwrap()) % bytes.len() as u64).unwrap();
    let mut changed = bytes.to_vec();
    if number.is_multiple_of(10) {
        changed.truncate(at);
    } else {
        changed[at] ^= 1 << (draw.as_bytes()[8] % 8);
    }
    changed
}
