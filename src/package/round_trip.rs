//! What is packed comes out again, from here and from other people's tools; and a manifest is believed only as signed.
#![expect(clippy::disallowed_methods, reason = "tests make and look at files themselves, and run tar")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::builder::{file_of, manifest, packed, packed_raw, sealed, signer};
use super::cut::{AVERAGE_PIECE, MAX_PIECE};
use super::pack::pack_on;
use super::*;
use crate::model::{Code, Hash};

/// Pseudo-random bytes, which do not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A folder with everything that a package can hold.
fn sample(folder: &Path) {
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    };
    let run = file("run", b"#!/bin/sh\n");
    std::fs::set_permissions(run, std::fs::Permissions::from_mode(0o700)).unwrap();
    file("empty", b"");
    file("a/b/c/one block", &[b'x'; 512]);
    file("a-b/file", b"sorts between the folder a and what is in it");
    file("grüße/日本.txt", b"not ASCII");
    file(&format!("{}/{}/file", "long".repeat(30), "name".repeat(60)), b"long names");
    file("noise.bin", &noise(2 * MAX_PIECE + 12345, 1));
    file("zeros.bin", &vec![0; MAX_PIECE]);
    std::fs::create_dir(folder.join("empty folder")).unwrap();
    std::os::unix::fs::symlink("../run", folder.join("a/link")).unwrap();
    std::os::unix::fs::symlink(format!("{}/{}/file", "long".repeat(30), "name".repeat(60)), folder.join("zlink"))
        .unwrap();
    std::os::unix::fs::symlink("grüße/日本.txt", folder.join("gruß")).unwrap();
}

fn unpacked(package: &std::fs::File, manifest: &VerifiedManifest) -> tempfile::TempDir {
    let into = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    unpack(package, manifest, Folder::open(into.path()).unwrap(), &mut |done| told.push(done)).unwrap();
    assert_eq!(told.last(), Some(&manifest.package.size));
    into
}

#[test]
fn a_folder_comes_out_as_it_went_in() {
    let source = tempfile::tempdir().unwrap();
    sample(source.path());
    let (package, manifest) = packed(1, source.path());
    assert!(manifest.pieces.len() > 3);
    check_file(&package, &manifest).unwrap();
    let into = unpacked(&package, &manifest);
    check_tree(into.path(), &manifest).unwrap();
    let mode = |name: &str| std::fs::metadata(into.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("run"), mode("empty"), mode("a")), (0o555, 0o444, 0o755));
    assert_eq!(std::fs::read_link(into.path().join("a/link")).unwrap(), Path::new("../run"));
    // A tree that differs in anything is noticed.
    for change in ["run", "a/link", "empty", "new"] {
        let into = unpacked(&package, &manifest);
        let path = into.path().join(change);
        match change {
            "run" => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap(),
            "a/link" => std::fs::remove_file(path).unwrap(),
            _ => {
                let _ = std::fs::remove_file(&path);
                std::fs::write(path, "changed").unwrap();
            }
        }
        assert_eq!(check_tree(into.path(), &manifest).unwrap_err().code, Code::BadDigest);
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(one.path());
    sample(two.path());
    std::fs::set_permissions(two.path().join("a"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::set_permissions(two.path().join("empty"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut first = Vec::new();
    let packed = pack(one.path(), &mut first).unwrap();
    for threads in [1, 2, 3, 8] {
        let mut second = Vec::new();
        assert_eq!(pack_on(threads, two.path(), &mut second).unwrap(), packed, "{threads} threads");
        assert!(first == second, "{threads} threads");
    }
}

/// Fails when another version of the compressor, or another way to cut, changes the digests of packages.
#[test]
fn the_bytes_of_a_package_are_fixed() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("text"), "All work and no play. ".repeat(1000)).unwrap();
    std::fs::write(source.path().join("zeros"), vec![0; 3 << 20]).unwrap();
    std::fs::write(source.path().join("noise"), noise(1 << 20, 3)).unwrap();
    for number in 0..99 {
        std::fs::write(source.path().join(format!("file-{number}")), format!("{number} ").repeat(5000)).unwrap();
    }
    let packed = pack(source.path(), &mut Vec::new()).unwrap();
    let raw_lengths: Vec<_> = packed.pieces.iter().map(|piece| piece.raw_length).collect();
    let small = [270_336, 79_360, 275_456, 429_056, 312_320, 153_600];
    let (noise, zeros) = ([303_881, 479_750, 265_457], [1_048_576, 1_048_576, 1_048_576, 24_064]);
    assert_eq!(raw_lengths, [&small[..], &noise, &zeros].concat());
    assert_eq!(packed.tree.to_string(), "ebb1372eb5ac5c118222d27469c4cf859972859c3b75024eb3e325d85d8275ce");
    assert_eq!(packed.digest.to_string(), "853b7f95ba93bb161f0c6c0189f50bf3040e0e04bbe474b5d8f0d297bb77e193");
}

#[test]
fn a_small_change_leaves_most_pieces_as_they_were() {
    let source = tempfile::tempdir().unwrap();
    let path = |name: &str| source.path().join(name);
    for number in 0..600_u64 {
        std::fs::write(path(&format!("file-{number}")), noise(10 << 10, number)).unwrap();
    }
    let big = noise(6 << 20, 1000);
    std::fs::write(path("big"), &big).unwrap();
    let pieces = || pack(source.path(), &mut Vec::new()).unwrap().pieces;
    let old = pieces();
    assert!(old.len() > 20, "{}", old.len());
    let fetched = || pieces().iter().filter(|piece| old.iter().all(|old| old.hash != piece.hash)).count();
    assert_eq!(fetched(), 0);
    // A file of another length, a byte in one of the same length, a new file, one less.
    std::fs::write(path("file-100"), noise(9 << 10, 100)).unwrap();
    assert_eq!(fetched(), 1);
    let mut bytes = noise(10 << 10, 300);
    bytes[0] ^= 1;
    std::fs::write(path("file-300"), bytes).unwrap();
    assert!((1..=2).contains(&fetched()), "{}", fetched());
    std::fs::write(path("file-400-new"), "new").unwrap();
    std::fs::remove_file(path("file-500")).unwrap();
    assert!((2..=5).contains(&fetched()), "{}", fetched());
    // Some bytes more in the middle of a big one.
    let mut longer = big;
    longer.splice(3 << 20..3 << 20, *b"an insertion");
    std::fs::write(path("big"), longer).unwrap();
    assert!((3..=8).contains(&fetched()), "{}", fetched());
}

#[test]
fn what_cannot_be_compressed_is_stored_and_what_can_is_not() {
    let mut compressor = pieces::Compressor::new();
    let mut length_of = |raw: &[u8]| compressor.compress(raw).unwrap().len();
    let random = noise(AVERAGE_PIECE, 1);
    assert!(length_of(&random) < AVERAGE_PIECE + 64);
    assert_eq!(length_of(&random), length_of(&noise(AVERAGE_PIECE, 2)), "random bytes are stored as they are");
    // Random bytes that come again within reach.
    let repeated = noise(16 << 10, 1).repeat(16);
    assert!(length_of(&repeated) < 20 << 10);
    assert!(length_of(&vec![0; AVERAGE_PIECE]) < 1 << 10);
    assert!(length_of(b"") < 64 && length_of(b"a") < 64);
}

/// As all packages were before: pieces of one size, and a manifest that says nothing of how they were cut.
#[test]
fn pieces_of_one_size_are_taken_as_well() {
    let source = tempfile::tempdir().unwrap();
    sample(source.path());
    let mut bytes = Vec::new();
    let packed = pack(source.path(), &mut bytes).unwrap();
    let mut raw = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut raw).unwrap();
    let (bytes, mut manifest) = packed_raw(&raw, packed.entries, packed.tree);
    manifest.cut = None;
    assert!(!String::from_utf8(manifest.seal(&signer()).payload).unwrap().contains("gear"));
    let into = unpacked(&file_of(&bytes), &sealed(&manifest));
    check_tree(into.path(), &sealed(&manifest)).unwrap();
}

#[test]
fn an_empty_folder_is_a_package_too() {
    let source = tempfile::tempdir().unwrap();
    let (package, manifest) = packed(1, source.path());
    assert_eq!((manifest.entries, manifest.raw_size), (0, 1024));
    let into = unpacked(&package, &manifest);
    assert_eq!(std::fs::read_dir(into.path()).unwrap().count(), 0);
}

#[test]
fn other_peoples_tools_open_it() {
    let source = tempfile::tempdir().unwrap();
    sample(source.path());
    let mut bytes = Vec::new();
    let packed = pack(source.path(), &mut bytes).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let package = temp.path().join("p.tar.gz");
    std::fs::write(&package, &bytes).unwrap();
    let python = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='fully_trusted')";
    let tools: [(&str, &[&str]); 3] = [
        ("tar", &["--no-same-owner", "-xzf", "PACKAGE", "-C", "INTO"]),
        ("bsdtar", &["-xzf", "PACKAGE", "-C", "INTO"]),
        ("python3", &["-c", python, "PACKAGE", "INTO"]),
    ];
    let mut ran = Vec::new();
    for (tool, arguments) in tools {
        let into = temp.path().join(tool);
        std::fs::create_dir(&into).unwrap();
        let arguments = arguments.iter().map(|argument| match *argument {
            "PACKAGE" => package.as_os_str(),
            "INTO" => into.as_os_str(),
            other => other.as_ref(),
        });
        let Ok(output) = Command::new(tool).args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output()
        else {
            continue;
        };
        // An old Python knows no filters, and an empty shim is no tool.
        if tool != "tar" && !output.status.success() {
            continue;
        }
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(tree::hash_folder(&into).unwrap(), packed.tree, "{tool}");
        ran.push(tool);
    }
    println!("opened by {ran:?}");
    assert!(ran.contains(&"tar"), "no tar here");
}

#[test]
fn what_no_package_can_hold_is_refused_by_name() {
    type Make = fn(&Path);
    let cases: [(&str, Make); 6] = [
        ("back\\\\slash", |folder| std::fs::write(folder.join("back\\slash"), "").unwrap()),
        ("\"A\"", |folder| {
            std::fs::write(folder.join("a"), "").unwrap();
            std::fs::write(folder.join("A"), "").unwrap();
        }),
        ("\"out\"", |folder| std::os::unix::fs::symlink("../etc", folder.join("out")).unwrap()),
        ("\"abs\"", |folder| std::os::unix::fs::symlink("/etc", folder.join("abs")).unwrap()),
        ("\"suid\"", |folder| {
            std::fs::write(folder.join("suid"), "").unwrap();
            std::fs::set_permissions(folder.join("suid"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("\"socket\"", |folder| drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap())),
    ];
    for (name, make) in cases {
        let source = tempfile::tempdir().unwrap();
        make(source.path());
        let error = pack(source.path(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code, Code::BadArchive, "{error}");
        assert!(error.message.to_lowercase().contains(&name.to_lowercase()), "{name}: {error}");
    }
}

#[test]
fn a_manifest_is_believed_only_as_it_was_signed() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("a"), "a").unwrap();
    let manifest = manifest(3, pack(source.path(), &mut Vec::new()).unwrap());
    let bytes = manifest.seal(&signer()).to_json();
    let opened = VerifiedManifest::open(&bytes, &signer().key()).unwrap();
    assert_eq!((&*opened, opened.bytes()), (&manifest, bytes.as_slice()));
    assert_eq!(opened.file_name(), "game-1.2.3-player-linux-x86_64.tar.gz");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 7);
        VerifiedManifest::open(&changed, &signer().key()).unwrap_err();
    }
    let other = crate::message::SigningKey::from_seed(&[8; 32]).unwrap();
    assert_eq!(VerifiedManifest::open(&bytes, &other.key()).unwrap_err().code, Code::BadSignature);
    let huge = vec![b' '; MAX_MANIFEST_BYTES + 1];
    assert_eq!(VerifiedManifest::open(&huge, &signer().key()).unwrap_err().code, Code::TooLarge);
}

#[test]
fn figures_that_contradict_each_other_are_refused() {
    let (_, good) = packed_raw(&noise(3 * MAX_PIECE, 2), 10, Hash::of(b""));
    sealed(&good);
    type Change = fn(&mut Manifest);
    let cases: Vec<(&str, Change)> = vec![
        ("follow", |m| m.pieces[0].offset = 1),
        ("follow", |m| m.pieces.swap(0, 1)),
        ("pieces of", |m| m.pieces.clear()),
        ("pieces of", |m| m.pieces.truncate(2)),
        ("pieces of", |m| m.package.size += 1),
        ("pieces of", |m| m.raw_size += 512),
        ("of tar", |m| m.raw_size += 1),
        ("of tar", |m| m.entries = 100_000),
        ("entries", |m| m.entries = MAX_ENTRIES + 1),
        ("has", |m| m.pieces[2].raw_length = 0),
        ("has", |m| m.pieces[2].raw_length = MAX_PIECE_RAW_BYTES + 1),
        ("has", |m| m.pieces[2].raw_length = u64::MAX),
        ("has", |m| m.pieces[2].length = u64::MAX),
        ("has", |m| m.pieces[2].length = 0),
        ("more than", |m| m.raw_size = u64::MAX),
    ];
    for (reason, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let error = VerifiedManifest::open(&bad.seal(&signer()).to_json(), &signer().key()).unwrap_err();
        assert!(matches!(error.code, Code::BadArchive | Code::TooLarge), "{error}");
        assert!(error.message.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_statement_about_something_else_is_refused() {
    let (_, manifest) = packed_raw(&[0; 1024], 0, Hash::of(b""));
    let good: serde_json::Value = serde_json::from_slice(&manifest.seal(&signer()).payload).unwrap();
    let cases = [
        ("/_type", serde_json::json!("https://in-toto.io/Statement/v0.1")),
        ("/predicateType", serde_json::json!("https://slsa.dev/provenance/v1")),
        ("/subject", serde_json::json!([])),
        ("/subject/0/name", serde_json::json!("other.tar.gz")),
        ("/subject/0/digest/sha256", serde_json::json!("0".repeat(64))),
    ];
    for (place, value) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let seal =
            |kind: &str| crate::message::Envelope::seal(kind, serde_json::to_vec(&bad).unwrap(), &signer()).to_json();
        VerifiedManifest::open(&seal(manifest::PAYLOAD_TYPE), &signer().key()).unwrap_err();
    }
    let envelope = crate::message::Envelope::seal("text/json", serde_json::to_vec(&good).unwrap(), &signer());
    assert_eq!(VerifiedManifest::open(&envelope.to_json(), &signer().key()).unwrap_err().code, Code::BadMessage);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any change of a good tar, under a true signature, is refused or harmless, and never a panic.
    #[test]
    fn any_changed_tar_is_refused(at in 0_usize..6144, bit in 0_u8..8, cut in any::<bool>()) {
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("a"), "a").unwrap();
        std::fs::create_dir(source.path().join("d")).unwrap();
        std::fs::write(source.path().join("d/".to_owned() + &"x".repeat(120)), "b").unwrap();
        let mut bytes = Vec::new();
        let packed = pack(source.path(), &mut bytes).unwrap();
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut raw).unwrap();
        let at = at % raw.len();
        raw[at] ^= 1 << bit;
        if cut {
            raw.truncate((at / 512).max(2) * 512);
        }
        let entries = if cut { 0 } else { packed.entries };
        let (bytes, manifest) = packed_raw(&raw, entries, packed.tree);
        let into = tempfile::tempdir().unwrap();
        unpack(&file_of(&bytes), &sealed(&manifest), Folder::open(into.path()).unwrap(), &mut |_| {}).unwrap_err();
    }
}

/// Row A5. Run with `--ignored`: it makes 400,000 files.
#[test]
#[ignore = "slow"]
fn two_hundred_thousand_small_files_fit_time_and_memory() {
    let memory = Path::new("/dev/shm");
    let source = tempfile::tempdir_in(memory).unwrap();
    for folder in 0..200 {
        let folder = source.path().join(format!("folder-{folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            std::fs::write(folder.join(format!("file-{file}")), file.to_string()).unwrap();
        }
    }
    let (package, manifest) = packed(1, source.path());
    let into = tempfile::tempdir_in(memory).unwrap();
    unpack(&package, &manifest, Folder::open(into.path()).unwrap(), &mut |_| {}).unwrap();
    check_tree(into.path(), &manifest).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 128 << 10, "{peak} KiB at most");
}
