//! The scripts in `docs/examples`, run as they are, and looked at by shellcheck with all others.

#![expect(clippy::disallowed_methods, reason = "runs scripts")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use parties::Parties;
use sandbox::Sandbox;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs an example with the program on its path.
fn run(sandbox: &Sandbox, node: &str, script: &str, args: &[&str]) -> Output {
    let bin = sandbox.path().join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let _ = symlink(env!("CARGO_BIN_EXE_deployctl"), bin.join("deployctl"));
    let mut command = Command::new("sh");
    command.arg(root().join("docs/examples").join(script)).args(args).env_clear().env("HOME", sandbox.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("DEPLOYCTL_STATE", sandbox.state(node));
    command.output().expect("sh runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_script_runs_a_session_and_ends_it() {
    if !needs::has(&["jq"]) {
        return;
    }
    let parties = Parties::new();
    parties.offer_stays();
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let output = run(&parties.sandbox, "i", "session.sh", &["stays", "p", "a", "0"]);
    assert!(output.status.success(), "{output:#?}");
    assert!(text(&output.stdout).trim().ends_with(" EUR"), "{output:#?}");
    let sessions = parties.sandbox.run("i", &["status"]).ok();
    let session = sessions["sessions"][0]["session"].as_str().expect("a session").to_owned();
    parties.sandbox.wait_state("i", &session, "closed");
    let waited = run(&parties.sandbox, "i", "wait-for.sh", &[&session, "closed"]);
    assert!(waited.status.success(), "{waited:#?}");
    let refused = run(&parties.sandbox, "i", "session.sh", &["no-such-service", "p", "a", "0"]);
    assert!(!refused.status.success() && text(&refused.stdout).is_empty(), "{refused:#?}");
}

#[test]
fn a_script_for_ci_finds_that_builds_agree() {
    if !needs::has(&["jq"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let service = root().join("fixtures/services/notice");
    let output = run(&sandbox, "n", "ci.sh", &[service.to_str().expect("a path of text"), "holder", "reader"]);
    assert!(output.status.success(), "{output:#?}");
    let said = text(&output.stdout);
    assert!(said.lines().count() == 2 && said.starts_with("holder: ") && !said.contains("null"), "{output:#?}");
}

#[test]
fn shellcheck_finds_nothing_in_our_scripts() {
    if !needs::has(&["shellcheck"]) {
        return;
    }
    let mut scripts: Vec<PathBuf> =
        ["completions/deployctl.bash", ".ci/run", "packaging/debian/postinst"].map(|path| root().join(path)).into();
    let examples = fs::read_dir(root().join("docs/examples")).expect("a folder");
    scripts.extend(examples.map(|entry| entry.expect("an entry").path()));
    let output = Command::new("shellcheck").args(["--shell", "bash"]).args(&scripts).output().expect("shellcheck runs");
    assert!(scripts.len() > 5 && output.status.success(), "{}", text(&output.stdout));
}

/// Where systemd is there to ask.
#[test]
fn systemd_reads_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let unit = root().join("packaging/systemd/deployctl.service");
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().expect("systemd-analyze runs");
    // The program and its manual are not installed where the unit is looked at.
    let said = text(&output.stderr);
    let found: Vec<_> = said
        .lines()
        .filter(|line| {
            line.contains("deployctl.service:") && !line.contains("is not executable") && !line.contains("Command 'man")
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
