//! What the program makes of itself, committed: completion scripts. `BLESS=1 cargo test --test generated` writes it anew.

#![expect(clippy::disallowed_methods, reason = "runs the program, and compares files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_deployctl");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn said(args: &[&str]) -> String {
    let output =
        Command::new(PROGRAM).env_clear().env("HOME", "/nonexistent").args(args).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is committed is what the program makes.
fn compare(path: &Path, made: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, made).expect("a file");
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == made, "{} is not what the program makes; BLESS=1 writes it anew", path.display());
}

/// Nothing but what is made lies in a folder of what is made.
fn only(folder: &str, made: &[PathBuf]) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert!(made.contains(&path), "{} is made by nobody", path.display());
    }
}

#[test]
fn the_completion_scripts_are_those_that_the_program_prints() {
    let shells = [
        ("bash", "deployctl.bash"),
        ("zsh", "_deployctl"),
        ("fish", "deployctl.fish"),
        ("elvish", "deployctl.elv"),
        ("powershell", "deployctl.ps1"),
    ];
    let path = |name: &str| root().join("completions").join(name);
    for (shell, name) in shells {
        compare(&path(name), &said(&["completions", shell]));
    }
    only("completions", &shells.map(|(_, name)| path(name)));
}
