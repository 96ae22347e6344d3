//! What `fixtures/fuzz/` keeps for each fuzz target, real inputs and such as made a reader fail once, is driven through
//! the same readers as by the fuzzer.

#![expect(clippy::disallowed_methods, reason = "reads the fixtures")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../fuzz/readers/mod.rs"]
mod readers;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use readers::{READERS, drive};

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_reader_takes_or_refuses_what_was_kept_for_it() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz");
    let known: BTreeSet<String> = READERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(names(&fixtures).is_subset(&known), "each folder is a target's");
    for (target, _) in READERS {
        drive(target, b"");
        let folder = fixtures.join(target);
        for name in folder.exists().then(|| names(&folder)).into_iter().flatten() {
            drive(target, &fs::read(folder.join(name)).unwrap());
        }
    }
}

#[test]
fn every_reader_has_a_target_of_its_name() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let expected: BTreeSet<String> = READERS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), expected);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (target, _) in READERS {
        assert!(manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")), "{target}");
        let source = fs::read_to_string(fuzz.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("drive(\"{target}\", input)")), "{target}");
    }
}
