//! An installation is the old one or the new one, wherever a fault strikes: each durable operation of each change is made
//! to fail, once as an error and once as the death of the process, and recovery is struck the same way.
#![expect(clippy::disallowed_methods, reason = "tests make and look at files themselves")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::package::builder::{file_of, manifest, packed, sealed};
use crate::package::fault::{self, Fault};
use crate::package::{check_tree, pack};

/// In memory where possible: every step is synced.
fn temp() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Some software; each generation has other content.
fn software(generation: u32) -> (File, VerifiedManifest) {
    let source = temp();
    std::fs::create_dir(source.path().join("bin")).unwrap();
    std::fs::write(source.path().join("bin/run"), format!("generation {generation}")).unwrap();
    symlink("bin/run", source.path().join("start")).unwrap();
    packed(generation, source.path())
}

fn put(root: &Path, generation: u32) -> Result<Installed> {
    let (package, manifest) = software(generation);
    install(root, generation, &package, &manifest, &mut |_| {})
}

/// Everything below a folder but locks: modes and contents.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(items) = std::fs::read_dir(&folder) else { continue };
        for item in items.map(|item| item.unwrap().path()).filter(|path| !path.ends_with(site::LOCK)) {
            let metadata = std::fs::symlink_metadata(&item).unwrap();
            let content = if metadata.is_symlink() {
                std::fs::read_link(&item).unwrap().display().to_string()
            } else if metadata.is_dir() {
                open.push(item.clone());
                String::new()
            } else {
                String::from_utf8_lossy(&std::fs::read(&item).unwrap()).into_owned()
            };
            found.insert(item, format!("{:o} {content}", metadata.permissions().mode()));
        }
    }
    found.into_iter().map(|(path, content)| (path.strip_prefix(folder).unwrap().to_owned(), content)).collect()
}

struct Change {
    name: &'static str,
    before: fn(&Path),
    act: fn(&Path) -> Result<()>,
}

fn done<T>(result: Result<T>) -> Result<()> {
    result.map(drop)
}

fn installed(root: &Path, generations: &[u32]) {
    for generation in generations {
        put(root, *generation).unwrap();
    }
    std::fs::write(root.join("data/mine"), "data").unwrap();
}

fn changes() -> Vec<Change> {
    vec![
        Change { name: "first install", before: |_| {}, act: |root| done(put(root, 1)) },
        Change { name: "upgrade", before: |root| installed(root, &[1]), act: |root| done(put(root, 2)) },
        Change { name: "second upgrade", before: |root| installed(root, &[1, 2]), act: |root| done(put(root, 3)) },
        Change { name: "rollback", before: |root| installed(root, &[1, 2]), act: |root| done(rollback(root)) },
        Change {
            name: "forward again",
            before: |root| {
                installed(root, &[1, 2]);
                rollback(root).unwrap();
            },
            act: |root| done(put(root, 2)),
        },
        Change { name: "uninstall", before: |root| installed(root, &[1]), act: |root| uninstall_generation(root, 1) },
        Change {
            name: "remove",
            before: |root| installed(root, &[1, 2]),
            act: |root| done(remove(root, false, root.parent().unwrap())),
        },
        Change {
            name: "remove but the data",
            before: |root| installed(root, &[1, 2]),
            act: |root| done(remove(root, true, root.parent().unwrap())),
        },
        Change {
            name: "remove the kept data",
            before: |root| {
                installed(root, &[1]);
                remove(root, true, root.parent().unwrap()).unwrap();
            },
            act: |root| done(remove(root, false, root.parent().unwrap())),
        },
    ]
}

/// A fresh root in the state before the change.
fn prepared(change: &Change) -> (tempfile::TempDir, PathBuf) {
    let temp = temp();
    let root = temp.path().join("root");
    (change.before)(&root);
    (temp, root)
}

#[test]
fn whatever_fails_the_installation_is_the_old_one_or_the_new_one() {
    for change in changes() {
        let (temp, root) = prepared(&change);
        let old = snapshot(temp.path());
        (change.act)(&root).unwrap();
        let new = snapshot(temp.path());
        assert_ne!(old, new, "{}", change.name);
        for fault in [Fault::Dies, Fault::Fails, Fault::IsFull] {
            let mut steps = 0;
            while strike(&change, steps, fault, &old, &new) {
                steps += 1;
            }
            assert!(steps > 4, "{}: only {steps} steps", change.name);
        }
    }
}

/// Lets the step after `steps` others fail; false where the change has no such step.
fn strike(
    change: &Change,
    steps: u32,
    fault: Fault,
    old: &BTreeMap<PathBuf, String>,
    new: &BTreeMap<PathBuf, String>,
) -> bool {
    let at = format!("{}, step {steps}, {fault:?}", change.name);
    let (temp, root) = prepared(change);
    fault::arm(steps, fault);
    let result = (change.act)(&root);
    let struck = fault::disarm();
    let acknowledged = result.is_ok();
    if let Err(why) = &result {
        let expected = if fault == Fault::IsFull { Code::DiskFull } else { Code::Io };
        assert_eq!(why.code, expected, "{at}: {why}");
    }
    if acknowledged && !struck {
        assert_eq!(&snapshot(temp.path()), new, "{at}");
        return false;
    }
    // Recovery dies at every one of its own steps too.
    let mut more = 0;
    loop {
        fault::arm(more, fault);
        let recovered = recover(&root);
        if !fault::disarm() {
            recovered.unwrap_or_else(|why| panic!("{at}: {why}"));
            break;
        }
        more += 1;
    }
    let found = snapshot(temp.path());
    assert!(found == *new || (!acknowledged && found == *old), "{at}: {found:#?}");
    assert_eq!(recover(&root).unwrap(), Recovery::default(), "{at}");
    assert_eq!(snapshot(temp.path()), found, "{at}");
    // The same command again ends as if nothing had happened.
    if found == *old {
        (change.act)(&root).unwrap_or_else(|why| panic!("{at}: {why}"));
    }
    assert_eq!(&snapshot(temp.path()), new, "{at}");
    true
}

#[test]
fn the_same_command_right_after_a_fault_needs_no_recovery() {
    for change in changes().into_iter().filter(|change| change.name != "rollback" && change.name != "uninstall") {
        let (temp, root) = prepared(&change);
        (change.act)(&root).unwrap();
        let new = snapshot(temp.path());
        for steps in 0.. {
            let (temp, root) = prepared(&change);
            fault::arm(steps, Fault::Dies);
            let result = (change.act)(&root);
            if !fault::disarm() {
                break;
            }
            assert!(result.is_err(), "{}, step {steps}: a fault was swallowed", change.name);
            (change.act)(&root).unwrap();
            assert_eq!(snapshot(temp.path()), new, "{}, step {steps}", change.name);
        }
    }
}

#[test]
fn what_is_installed_is_the_package_and_read_only() {
    let temp = temp();
    let root = temp.path().join("sessions/ID/player");
    let (package, manifest) = software(1);
    let first = install(&root, 1, &package, &manifest, &mut |_| {}).unwrap();
    assert!(!first.already);
    assert_eq!(first.folder, folder_of(&root, 1));
    check_tree(&first.folder, &manifest).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("current/start")).unwrap(), "generation 1");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [&first.folder, &first.folder.join("bin"), &first.folder.join("bin/run")].map(|path| mode(path)),
        [0o555, 0o555, 0o444]
    );
    assert_eq!((mode(&first.data), mode(&root)), (0o700, 0o700));
    let again = install(&root, 1, &package, &manifest, &mut |_| {}).unwrap();
    assert_eq!(again, Installed { already: true, ..first });
    // Another content under the same number, and a number that is past, are refused.
    let (package, other) = software(2);
    assert_eq!(install(&root, 1, &package, &other, &mut |_| {}).unwrap_err().code, Code::WrongState);
    put(&root, 5).unwrap();
    assert_eq!(put(&root, 4).unwrap_err().code, Code::Downgrade);
    let status = look(&root).unwrap().unwrap();
    assert_eq!((status.current, status.interrupted), (Some(5), false));
    assert_eq!(status.generations.keys().copied().collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn a_bad_package_leaves_nothing_even_if_the_process_dies_half_way() {
    let temp = temp();
    let root = temp.path().join("root");
    let source = self::temp();
    for name in ["a", "b", "c"] {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut noise);
        std::fs::write(source.path().join(name), noise).unwrap();
    }
    let mut bytes = Vec::new();
    let packed = pack(source.path(), &mut bytes).unwrap();
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    let manifest = sealed(&manifest(2, packed));
    let before = snapshot(temp.path());
    let put_bad = || install(&root, 2, &file_of(&bytes), &manifest, &mut |_| {}).unwrap_err();
    assert_eq!(put_bad().code, Code::BadDigest);
    assert_eq!(snapshot(temp.path()), before);
    put(&root, 1).unwrap();
    let before = snapshot(temp.path());
    assert_eq!(put_bad().code, Code::BadDigest);
    assert_eq!(snapshot(temp.path()), before);
    let mut half_way = false;
    for steps in 0.. {
        fault::arm(steps, Fault::Dies);
        put_bad();
        let struck = fault::disarm();
        half_way |= snapshot(temp.path()).keys().any(|path| path.ends_with("a"));
        recover(&root).unwrap();
        assert_eq!(snapshot(temp.path()), before, "step {steps}");
        if !struck {
            break;
        }
    }
    assert!(half_way, "no death left a part behind");
}

#[test]
fn rollback_goes_back_once_and_uninstall_takes_the_rest() {
    let temp = temp();
    let root = temp.path().join("root");
    assert_eq!(rollback(&root).unwrap_err().code, Code::NotFound);
    installed(&root, &[1, 2]);
    assert_eq!(uninstall_generation(&root, 2).unwrap_err().code, Code::WrongState);
    assert_eq!(rollback(&root).unwrap().generation, 1);
    assert_eq!(std::fs::read_to_string(root.join("current/start")).unwrap(), "generation 1");
    assert_eq!(rollback(&root).unwrap_err().code, Code::WrongState);
    uninstall_generation(&root, 2).unwrap();
    assert_eq!(uninstall_generation(&root, 2).unwrap_err().code, Code::NotFound);
    uninstall_generation(&root, 1).unwrap();
    assert_eq!(look(&root).unwrap().unwrap().current, None);
    assert!(root.join("data/mine").exists() && !root.join("current").exists());
}

#[test]
fn removal_keeps_what_is_not_ours_and_follows_no_link() {
    let temp = temp();
    let (root, outside) = (temp.path().join("a/b/root"), temp.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "mine").unwrap();
    installed(&root, &[1, 2]);
    symlink(&outside, root.join("data/link")).unwrap();
    symlink(outside.join("precious"), root.join("data/file-link")).unwrap();
    symlink(&outside, root.join("generations/9")).unwrap();
    symlink(&outside, root.join("planted")).unwrap();
    std::fs::write(root.join("notes.txt"), "foreign").unwrap();
    std::fs::write(root.join("generations/notes.txt"), "foreign").unwrap();
    let mut deep = root.join("data");
    for _ in 0..300 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "deep").unwrap();
    let removed = remove(&root, false, temp.path()).unwrap();
    assert_eq!(removed.freed, "generation 1generation 2datadeep".len() as u64);
    let kept = ["notes.txt", "planted", "generations/notes.txt"].map(|name| root.join(name));
    assert_eq!(removed.kept, kept);
    assert_eq!(snapshot(&outside).len(), 1);
    assert_eq!(snapshot(&root).len(), 4);
    // Again: nothing to do. Without the foreign files, the folders that are empty then go too, up to the limit.
    assert_eq!(remove(&root, false, temp.path()).unwrap().freed, 0);
    for name in kept {
        std::fs::remove_file(name).unwrap();
    }
    std::fs::remove_dir(root.join("generations")).unwrap();
    assert_eq!(remove(&root, false, temp.path()).unwrap(), Removed::default());
    assert!(!temp.path().join("a").exists() && outside.exists());
}

#[test]
fn kept_data_are_named_found_again_and_removable() {
    let temp = temp();
    let root = temp.path().join("root");
    installed(&root, &[1]);
    let removed = remove(&root, true, temp.path()).unwrap();
    assert_eq!(removed.kept, [root.join("data")]);
    assert_eq!(remove(&root, true, temp.path()).unwrap(), Removed { freed: 0, kept: removed.kept });
    put(&root, 7).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("data/mine")).unwrap(), "data");
    remove(&root, true, temp.path()).unwrap();
    assert_eq!(remove(&root, false, temp.path()).unwrap(), Removed { freed: 4, kept: vec![] });
    assert!(!root.exists());
}

#[test]
fn a_folder_that_is_not_an_installation_is_left_alone() {
    let temp = temp();
    let root = temp.path().join("home");
    std::fs::create_dir_all(root.join("data")).unwrap();
    std::fs::write(root.join("data/mine"), "mine").unwrap();
    let before = snapshot(temp.path());
    assert_eq!(put(&root, 1).unwrap_err().code, Code::WrongState);
    assert_eq!(remove(&root, false, temp.path()).unwrap().kept, [root.join("data")]);
    assert_eq!(recover(&root).unwrap(), Recovery::default());
    assert_eq!(snapshot(temp.path()), before);
    std::fs::write(root.join(journal::FILE), "{").unwrap();
    assert_eq!(remove(&root, false, temp.path()).unwrap_err().code, Code::Damaged);
    std::fs::write(root.join(journal::FILE), r#"{"format": 2, "new": true}"#).unwrap();
    assert_eq!(put(&root, 1).unwrap_err().code, Code::NewerState);
}

#[test]
fn two_at_once_is_refused_naming_the_holder() {
    let temp = temp();
    let root = temp.path().join("root");
    put(&root, 1).unwrap();
    let held = Site::open(&root).unwrap().unwrap();
    for refused in [done(put(&root, 2)), done(remove(&root, false, temp.path())), done(recover(&root))] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, Code::Locked);
        assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
    }
    drop(held);
    put(&root, 2).unwrap();
}
