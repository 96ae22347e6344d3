//! Generations on a file system that can share content between files: what did not change is not written again, and is
//! what was signed nevertheless.

#![expect(clippy::disallowed_methods, reason = "makes a file system, and looks at what was installed")]

#[path = "support/built.rs"]
mod built;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/noise.rs"]
mod noise;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use built::{Built, built};
use noise::noise;
use sandbox::Sandbox;

const LONG: usize = 8 << 20;
/// What changes of the long file.
const AT: usize = 5_000_000;

/// Bytes below a folder that no other file shares, and those that several do.
fn exclusive_and_shared(folder: &Path) -> (u64, u64) {
    let told =
        Command::new("btrfs").args(["filesystem", "du", "-s", "--raw"]).arg(folder).output().expect("btrfs runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let figures = told.lines().last().expect("a line of figures").split_whitespace().map(|figure| figure.parse().ok());
    let figures: Vec<Option<u64>> = figures.collect();
    (figures[1].expect("bytes"), figures[2].expect("bytes"))
}

/// A version with a long file that has `changed` in the middle, and another that never changes.
fn version(sandbox: &Sandbox, version: &str, changed: &[u8]) -> Built {
    let tree = sandbox.path().join(format!("service-{version}-{version}/tree"));
    fs::create_dir_all(&tree).expect("a folder");
    let mut long = noise(LONG, 0);
    fs::write(tree.join("same"), &long).expect("a file");
    long[AT..AT + changed.len()].copy_from_slice(changed);
    fs::write(tree.join("changing"), &long).expect("a file");
    fs::write(tree.join("growing"), vec![7; 1000 * usize::from(version.as_bytes()[0])]).expect("a file");
    built(sandbox, version, version).resigned()
}

#[test]
fn an_update_shares_what_did_not_change_and_believes_nothing_of_what_was_there() {
    let test = "an_update_shares_what_did_not_change_and_believes_nothing_of_what_was_there";
    if !needs::has(&["mkfs.btrfs", "btrfs"]) || !mounts::in_own(test, &["-m"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let (image, place) = (sandbox.path().join("image"), sandbox.path().join("place"));
    File::create(&image).and_then(|image| image.set_len(256 << 20)).expect("a sparse file");
    fs::create_dir(&place).expect("a folder");
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).output().expect("mkfs.btrfs runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    if let Err(why) = mounts::mount(&["-o", "loop", "-t", "btrfs", image.to_str().expect("a plain path")], &place) {
        println!("skipped: this system does not let this user mount btrfs: {why}");
        return;
    }
    sandbox.init_nowhere("n");
    let versions = [("1.0.0", &b"one"[..]), ("2.0.0", b"two"), ("3.0.0", b"six")];
    let versions = versions.map(|(number, text)| version(&sandbox, number, text));
    sandbox.trust("n", "maker", &format!("deploy://{}", versions[0].signer), "provide");
    let root = place.join("app");
    let install = |built: &Built| {
        let root = ["--root", root.to_str().expect("a plain path")];
        let told = sandbox.run("n", &[built.install(), root.to_vec()].concat()).ok();
        PathBuf::from(told["folder"].as_str().expect("a folder"))
    };

    let first = install(&versions[0]);
    let (exclusive, shared) = exclusive_and_shared(&root);
    assert!(exclusive >= 2 * LONG as u64 && shared == 0, "{exclusive} {shared}");
    let second = install(&versions[1]);
    assert_ne!(first, second);
    let (exclusive, shared) = exclusive_and_shared(&root);
    assert!(shared >= 2 * LONG as u64 - (1 << 20), "{shared} bytes are shared");
    assert!(exclusive < 4 << 20, "{exclusive} bytes are not");

    // The program's user changes what the next generation would share.
    for (name, at) in [("same", 1_234_567), ("changing", AT as u64 + 1)] {
        let path = second.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        File::options().write(true).open(&path).and_then(|file| file.write_all_at(b"!", at)).expect("a file");
    }
    let third = install(&versions[2]);
    let wanted = sandbox.path().join("service-3.0.0-3.0.0/tree");
    for name in ["same", "changing", "growing", "bin/run"] {
        assert!(fs::read(third.join(name)).expect("a file") == fs::read(wanted.join(name)).expect("a file"), "{name}");
    }
    let changed = fs::read(second.join("same")).expect("a file");
    assert_eq!(changed[1_234_567], b'!', "what somebody wrote is where it was written");
    sandbox.run("n", &["verify", "tool"]).ok();
}
