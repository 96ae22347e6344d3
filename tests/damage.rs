//! What was tampered with is found and named, and nothing of it is used (rows A13, A18, C5).

#![expect(clippy::disallowed_methods, reason = "tampers with the nodes' files")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::path::Path;

use parties::Parties;
use sandbox::{Sandbox, until};

/// A session that was accounted for three times and is closed.
fn closed(parties: &Parties) -> String {
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let serving = parties.serve_all();
    let session = parties.running("stays");
    for usage in ["reading=1", "reading=2"] {
        sandbox.run("i", &["account", &session, "--interim", "--usage", usage]).ok();
    }
    sandbox.run("i", &["account", &session, "--final"]).ok();
    for node in ["p", "i", "a", "b"] {
        sandbox.wait(node, &session, "closed and over", |status| status["over"] == true && status["state"] == "closed");
    }
    for node in serving {
        node.stop();
    }
    session
}

/// With the file's text changed, the check fails as `refused` says; with its own text again, it passes.
fn finds(sandbox: &Sandbox, path: &Path, changed: &str, check: &[&str], code: &str, says: &[&str]) {
    let text = fs::read_to_string(path).expect("a file");
    assert_ne!(text, changed);
    sandbox.run("i", check).ok();
    fs::write(path, changed).expect("a tampered file");
    let refusal = sandbox.run("i", check).fails(4, code);
    refusal.says(&[path.to_str().expect("a path")]).says(says);
    fs::write(path, text).expect("the file again");
    sandbox.run("i", check).ok();
}

#[test]
fn a_ledger_that_was_changed_shortened_or_reordered_is_found() {
    let parties = Parties::new();
    let session = closed(&parties);
    let sandbox = &parties.sandbox;
    let path = sandbox.state("i").join("ledger").join(format!("{session}.jsonl"));
    let text = fs::read_to_string(&path).expect("a ledger");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() >= 3, "{text}");
    let whole = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let check = ["account", "verify", &session];

    // One character of the second accounting, inside of what was signed.
    let mut second: Vec<u8> = lines[1].into();
    let at = lines[1].find("\"payload\":\"").expect("a payload") + 60;
    second[at] = if second[at] == b'A' { b'B' } else { b'A' };
    let second = String::from_utf8(second).expect("text");
    finds(
        sandbox,
        &path,
        &whole(&[&[lines[0], &second], &lines[2..]].concat()),
        &check,
        "broken-chain",
        &["accounting 2"],
    );
    finds(
        sandbox,
        &path,
        &whole(&[&lines[..1], &lines[2..]].concat()),
        &check,
        "broken-chain",
        &["accounting 2", "missing"],
    );
    let swapped = [&[lines[1], lines[0]], &lines[2..]].concat();
    finds(sandbox, &path, &whole(&swapped), &check, "broken-chain", &["record 2"]);
    // A ledger that ends too early agrees with itself, but not with the log.
    let last = format!("accounting {}", lines.len());
    finds(sandbox, &path, &whole(&lines[..lines.len() - 1]), &check, "broken-chain", &[&last]);
    finds(sandbox, &path, &whole(&lines[..1]), &["verify", &session], "broken-chain", &["accounting 2"]);
}

#[test]
fn a_log_that_was_tampered_with_is_found() {
    let parties = Parties::new();
    let session = closed(&parties);
    let sandbox = &parties.sandbox;
    let path = sandbox.party("i", &session, "initiator").join("log.jsonl");
    let text = fs::read_to_string(&path).expect("a log");
    let lines: Vec<_> = text.lines().collect();
    let whole = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let check = ["verify", &session];

    let third = lines[2].replacen("\"time\":\"2", "\"time\":\"3", 1);
    let changed = [&lines[..2], &[&third], &lines[3..]].concat();
    finds(sandbox, &path, &whole(&changed), &check, "broken-chain", &["3"]);
    finds(sandbox, &path, &whole(&[&lines[..4], &lines[5..]].concat()), &check, "broken-chain", &["5"]);
    let swapped = [&lines[..4], &[lines[5], lines[4]], &lines[6..]].concat();
    finds(sandbox, &path, &whole(&swapped), &check, "broken-chain", &["5"]);
    // Nobody was promised a torn last line: it is no damage.
    fs::write(&path, format!("{text}{{\"seq\":9")).expect("a torn log");
    sandbox.run("i", &check).ok();
}

/// A session whose peer `a` has accepted and not fetched; gives the digest of what waits for it.
fn delivered(parties: &Parties) -> (String, String) {
    let sandbox = &parties.sandbox;
    let session = parties.request("stays", &["--peer", "a"]);
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    let status = sandbox.wait_state("p", &session, "delivering");
    let packages = status["packages"].as_array().expect("packages");
    let guest = packages.iter().find(|one| one["role"] == "guest").expect("the guest's package");
    (session, guest["digest"].as_str().expect("a digest").to_owned())
}

/// The peer refuses what was tampered with, nothing of it is written, and the session fails for all.
fn refuses(parties: &Parties, session: &str, code: &str) {
    let sandbox = &parties.sandbox;
    sandbox.run("a", &["install", session]).fails(4, code);
    assert!(!sandbox.state("a").join("installs").exists(), "something was written");
    let failed = |status: &serde_json::Value| status["state"] == "failed" && status["over"] == true;
    let status = sandbox.wait("p", session, "failed", failed);
    assert_eq!(status["failure"]["code"], code, "{status:#}");
    let status = sandbox.wait("i", session, "failed", failed);
    assert_eq!(status["failure"]["code"], code, "{status:#}");
}

#[test]
fn a_package_that_was_tampered_with_is_refused_and_nothing_is_written() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let (session, digest) = delivered(&parties);
    let path = sandbox.state("p").join("packages").join(format!("{digest}.tar.gz"));
    let mut bytes = fs::read(&path).expect("the package");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("a tampered package");
    refuses(&parties, &session, "bad-digest");
}

#[test]
fn a_manifest_that_was_tampered_with_is_refused_and_nothing_is_written() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let (session, _) = delivered(&parties);
    let manifests = fs::read_dir(sandbox.party("p", &session, "provider").join("manifests")).expect("the manifests");
    let paths = manifests.map(|entry| entry.expect("a manifest").path());
    for path in paths.filter(|path| !path.to_string_lossy().ends_with(".provenance.json")) {
        let text = fs::read_to_string(&path).expect("the manifest");
        fs::write(&path, text.replacen("\"sig\":\"", "\"sig\":\"A", 1)).expect("a tampered manifest");
    }
    refuses(&parties, &session, "bad-digest");
}

#[test]
fn an_installed_program_that_was_changed_is_found() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let session = parties.running("stays");
    sandbox.run("a", &["verify", &session]).ok();
    let root = sandbox.state("a").join("installs").join("sessions").join(&session).join("guest");
    let script = root.join("current").join("run.sh");
    fs::write(&script, "echo something else\n").expect("a tampered program");
    sandbox.run("a", &["verify", &session]).fails(4, "bad-digest").says(&["guest/generations/1"]);
    sandbox.run("i", &["stop", &session]).ok();
    sandbox.wait_state("a", &session, "closed");
    until("it is removed all the same", || !root.exists());
}

#[test]
fn a_settings_file_and_a_state_directory_that_do_not_read_are_named() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let config = sandbox.state("i").join("config.toml");
    fs::write(&config, "[policy]\ninstal = \"ask\"\n").expect("settings");
    let refusal = sandbox.run("i", &["status"]).fails(8, "bad-input");
    refusal.says(&[config.to_str().expect("a path"), "instal"]).hints(&["install"]);
    fs::remove_file(&config).expect("no settings");
    fs::write(sandbox.state("i").join("VERSION"), "7\n").expect("a number");
    sandbox.run("i", &["status"]).fails(8, "newer-state").hints(&["--state"]);
}
