//! The walks of the README, typed as they stand there.

#![expect(clippy::disallowed_methods, reason = "runs a shell, and reads the README")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbox::{Sandbox, free_port};

/// How long a walk may take here.
const WALK: Duration = Duration::from_secs(120);

/// What a person would type, of all that is in a section.
fn commands(readme: &str, heading: &str) -> String {
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    blocks.collect()
}

/// Types it into a shell with job control, in a folder of its own; gives what was shown.
fn walk(heading: &str, change: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut typed = commands(&fs::read_to_string(root.join("README.md")).expect("the README"), heading);
    for (is, becomes) in change {
        assert!(typed.contains(is), "the README has no {is:?} any more");
        typed = typed.replace(is, becomes);
    }
    for port in ["4800", "4801"] {
        typed = typed.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{}", free_port()));
    }
    let bin = sandbox.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_deployctl"), bin.join("deployctl")).expect("a link");
    let script = sandbox.path().join("walk.sh");
    let end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT";
    fs::write(&script, format!("set -eumo pipefail\n{end}\n{typed}")).expect("a script");
    let shown = sandbox.path().join("shown");
    let file = fs::File::create(&shown).expect("a file");
    let mut command = Command::new("timeout");
    command.arg(WALK.as_secs().to_string()).arg("bash").arg(&script).current_dir(root).env_clear();
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("W", sandbox.path())
        .env("HOME", sandbox.path());
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("a file")).stderr(file);
    let ended = command.status().expect("bash runs");
    let shown = fs::read_to_string(&shown).expect("what was shown");
    assert!(ended.success(), "{ended}\n{shown}");
    shown
}

#[test]
fn the_deployment_by_hand_goes_as_the_readme_says() {
    let changes = [
        ("cargo build --release\nPATH=\"$PWD/target/release:$PATH\"\nW=$(mktemp -d)\n", ""),
        // A person would wait for what comes, look again, and say yes.
        ("\nben serve &\n", "\nben serve &\nuntil ann request --provider shop --list; do sleep 0.2; done\n"),
        ("\nben accept\n", "\nuntil ben accept --yes; do sleep 0.2; done\n"),
        (
            "\ncat \"$W\"/ben",
            "\nuntil test -e \"$W\"/ben/installs/sessions/*/reader/data/seen.txt; do sleep 0.2; done\ncat \"$W\"/ben",
        ),
    ];
    let shown = walk("A deployment by hand", &changes);
    assert!(shown.contains("Tea at four."), "{shown}");
    assert!(shown.contains("reading") && shown.contains("EUR"), "{shown}");
}

#[test]
fn a_program_goes_from_neighbour_to_neighbour_as_the_readme_says() {
    let changes = [
        ("eve discover --interface lo\n", "until eve discover --interface lo | grep hello; do sleep 0.2; done\n"),
        ("--interface lo --start ", "--interface lo --start --yes "),
        ("--from den --start\n", "--from den --start --yes\n"),
    ];
    let shown = walk("Programs of neighbours", &changes);
    assert!(shown.contains("hello eve on linux-"), "{shown}");
    assert!(shown.contains("1.1.0") && shown.contains("nothing of hello is left on this machine"), "{shown}");
}
