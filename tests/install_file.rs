//! `install PACKAGE-FILE --manifest FILE`: offline, and only what a trusted key signed.

#![expect(clippy::disallowed_methods, reason = "writes services and looks at what was installed, as people do")]

#[path = "support/built.rs"]
mod built;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use built::{Built, built, install};
use sandbox::Sandbox;
use serde_json::Value;

#[test]
fn a_package_is_installed_from_its_file_if_a_trusted_key_signed_it() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("n");
    let first = built(&sandbox, "1.0.0", "one");
    let address = format!("deploy://{}", first.signer);
    let installs = sandbox.state("n").join("installs");
    install(&sandbox, &first, &["--yes"]).fails(4, "wrong-key").hints(&["trust add NAME", "--may provide"]);
    sandbox.trust("n", "maker", &address, "request");
    install(&sandbox, &first, &["--yes"]).fails(3, "not-permitted").says(&["maker"]);
    sandbox.run("n", &["trust", "remove", "maker"]).ok();
    sandbox.trust("n", "maker", &address, "provide");
    install(&sandbox, &first, &[]).fails(2, "prompt-needed");
    assert!(!installs.exists(), "nothing was installed");
    let told = install(&sandbox, &first, &["--yes"]).ok();
    assert_eq!((&told["generation"], &told["already"]), (&Value::from(1), &Value::from(false)));
    let folder = PathBuf::from(told["folder"].as_str().expect("a folder"));
    assert_eq!(folder, installs.join("programs").join(&first.signer).join("tool/generations/1"));
    assert_eq!(fs::read_to_string(folder.join("bin/run")).expect("it is installed"), "one");
    assert_eq!(fs::metadata(folder.join("bin/run")).expect("it is there").permissions().mode() & 0o777, 0o444);
    assert_eq!(install(&sandbox, &first, &["--yes"]).ok()["already"], true);
    // It is a program like any other.
    sandbox.run("n", &["verify", "tool"]).ok();
    let status = sandbox.run("n", &["status", "tool"]).ok();
    assert_eq!((&status["version"], &status["state"]), (&"1.0.0".into(), &"installed".into()));
    let elsewhere = sandbox.path().join("elsewhere");
    let below = ["--yes", "--root", elsewhere.to_str().expect("a plain path")];
    install(&sandbox, &first, &below).fails(6, "wrong-state").says(&["elsewhere"]);
    sandbox.run("n", &["remove", "tool"]).ok();
    assert!(!installs.exists(), "all of it is gone");
    let told = install(&sandbox, &first, &below).ok();
    assert!(told["folder"].as_str().expect("a folder").starts_with(below[2]));
    sandbox.run("n", &["remove", "tool"]).ok();
    assert!(!elsewhere.exists() || fs::read_dir(&elsewhere).expect("a folder").next().is_none());
}

#[test]
fn what_was_changed_or_is_another_machines_or_not_there_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("n");
    let good = built(&sandbox, "1.0.0", "one");
    let other = built(&sandbox, "1.0.0", "other");
    for (name, built) in [("maker", &good), ("other", &other)] {
        sandbox.trust("n", name, &format!("deploy://{}", built.signer), "provide");
    }
    let changed = |path: &str, at: usize| {
        let mut bytes = fs::read(path).expect("a file");
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        let changed = sandbox.path().join("changed");
        fs::write(&changed, bytes).expect("a file");
        changed.to_str().expect("a plain path").to_owned()
    };
    let refused = |built: Built, exit: i32, code: &str| {
        let before = found(&sandbox);
        install(&sandbox, &built, &["--yes"]).fails(exit, code);
        assert_eq!(found(&sandbox), before, "{code}");
    };
    let of = |package: &str, manifest: &str| Built {
        package: package.to_owned(),
        manifest: manifest.to_owned(),
        signer: String::new(),
    };
    refused(of(&changed(&good.package, 100), &good.manifest), 4, "bad-digest");
    refused(of(&other.package, &good.manifest), 4, "bad-digest");
    refused(of(&good.package, &other.manifest), 4, "bad-digest");
    refused(of("/nowhere", &good.manifest), 6, "not-found");
    let manifest = fs::read_to_string(&good.manifest).expect("a manifest");
    let payload = manifest.find("payload\"").expect("a payload") + 200;
    refused(of(&good.package, &changed(&good.manifest, payload)), 4, "bad-signature");
    assert!(Path::new(&good.package).exists());
}

/// Everything in the node's state but its locks.
fn found(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![sandbox.state("n")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten().filter(|entry| entry.file_name() != "run") {
            open.extend(entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| entry.path()));
            found.insert(entry.path());
        }
    }
    found
}

#[test]
fn a_later_version_becomes_the_next_generation_and_an_earlier_one_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("n");
    let [first, second, third] = [("1.0.0", "one"), ("2.0.0", "two"), ("1.5.0", "between")]
        .map(|(version, text)| built(&sandbox, version, text).resigned());
    sandbox.trust("n", "maker", &format!("deploy://{}", first.signer), "provide");
    assert_eq!(install(&sandbox, &first, &["--yes"]).ok()["generation"], 1);
    assert_eq!(install(&sandbox, &second, &["--yes"]).ok()["generation"], 2);
    let current = sandbox.state("n").join("installs/programs").join(&first.signer).join("tool/current/bin/run");
    let says = || fs::read_to_string(&current).expect("it is installed");
    assert_eq!(says(), "two");
    install(&sandbox, &third, &["--yes"]).fails(4, "downgrade").says(&["2.0.0", "1.5.0"]);
    install(&sandbox, &first, &["--yes"]).fails(4, "downgrade");
    assert_eq!(says(), "two");
}
