//! Sessions that fail: everybody hears why, with the tail of the output, and nothing stays installed.

#![expect(clippy::disallowed_methods, reason = "spoils what the provider offers")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;

use parties::Parties;
use sandbox::{Refusal, Sandbox, participants};
use serde_json::Value;
use services::{FAILS, NEVER_READY, Role, STAYS};

const BOTH: [&str; 8] = ["--provider", "p", "--peer", "a", "--peer", "b", "--wait", "running"];

fn request(sandbox: &Sandbox, service: &str, more: &[&str]) -> sandbox::Output {
    let args: Vec<_> = ["request", service].iter().chain(&BOTH).chain(more).copied().collect();
    sandbox.run("i", &args)
}

/// Everybody says that it failed and why, and holds nothing of it any more.
fn all_know(sandbox: &Sandbox, refusal: &Refusal, words: &[&str]) -> String {
    let session = refusal.session.clone().expect("the error names the session");
    for node in ["p", "i", "a", "b"] {
        let status = sandbox.wait(node, &session, "over", |status| status["over"] == true);
        assert_eq!(status["state"], "failed", "{node}: {status:#}");
        let said = format!("{} {}", status["reason"], status["failure"]);
        for word in words {
            assert!(said.contains(word), "{node} does not know “{word}”: {status:#}");
        }
        let installed = sandbox.state(node).join("installs").join("sessions").join(&session);
        assert!(!installed.exists(), "{node} still holds {}", installed.display());
    }
    session
}

#[test]
fn a_definition_that_is_wrong_is_refused_with_file_and_line() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let folder = parties.offer("broken", &Role::new(STAYS), &Role::new(STAYS));
    let path = folder.join("service.toml");
    let text = fs::read_to_string(&path).expect("the definition").replace("minimum = 1", "minimum = \"one\"");
    let text = text.replace("for = \"peer\"", "for = \"pear\"");
    let line = |what: &str| text.lines().position(|line| line.contains(what)).expect("it is there") + 1;
    let places = [line("minimum"), line("pear")].map(|line| format!("service.toml:{line}"));
    fs::write(&path, &text).expect("a spoilt definition");
    let _provider = parties.serve("p");
    // Its owner hears of it when the node comes up, with the whole path; others do not learn that.
    let path = path.display().to_string();
    assert!(sandbox.talk().contains(&path), "{}", sandbox.talk());
    let refusal = request(sandbox, "broken", &[]).fails(8, "bad-definition");
    refusal.says(&[&places[0], &places[1]]).hints(&["provider"]);
    assert!(!refusal.message.contains(&*sandbox.path().to_string_lossy()), "{refusal:?}");
}

#[test]
fn a_definition_that_changed_since_it_was_asked_for_is_not_built() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    let folder = parties.offer("shifty", &Role::new(STAYS), &Role::new(STAYS));
    let _serving = parties.serve_all();
    let session = parties.request("shifty", &["--peer", "a"]);
    sandbox::until("a is invited", || sandbox.run("a", &["status", &session]).code == 0);
    fs::write(folder.join("guest").join("run.sh"), "echo something else\n").expect("another script");
    sandbox.run("a", &["accept", &session, "--yes"]).ok();
    let status = sandbox.wait_state("i", &session, "failed");
    assert_eq!(status["failure"]["code"], "build-failed", "{status:#}");
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("was changed")), "{status:#}");
    sandbox.wait_state("a", &session, "failed");
}

#[test]
fn a_build_that_fails_is_told_to_everyone() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let folder = parties.offer("halfbaked", &Role::new(STAYS), &Role::new(STAYS));
    let template = "first line\n{{ roster.initiator.shoe_size }}\n";
    fs::write(folder.join("guest").join("about.txt.j2"), template).expect("a template");
    let _serving = parties.serve_all();
    let refusal = request(sandbox, "halfbaked", &[]).fails(1, "build-failed");
    refusal.says(&["about.txt.j2:2", "shoe_size"]);
    all_know(sandbox, &refusal, &["about.txt.j2"]);
}

#[test]
fn a_service_that_is_not_ready_in_time_is_uninstalled() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let slow = Role::new(NEVER_READY).ready("{ output = \"up\", within = \"1s\" }");
    parties.offer("slow", &slow, &Role::new(STAYS));
    let _serving = parties.serve_all();
    let refusal = request(sandbox, "slow", &[]).fails(1, "not-ready");
    refusal.says(&["still thinking about it"]);
    let session = all_know(sandbox, &refusal, &["1s"]);
    sandbox.run("i", &["status", &session]).ok();
    assert!(sandbox.record("i", &session, "initiator").is_null(), "nothing of it runs");
    sandbox.run("i", &["verify", &session]).ok();
}

#[test]
fn a_service_that_ends_badly_shows_what_it_said_last() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("flour", &Role::new(STAYS), &Role::new(FAILS));
    let _serving = parties.serve_all();
    let output = request(sandbox, "flour", &[]);
    let refusal = output.fails(1, "not-ready");
    refusal.says(&["no flour left", "3"]);
    let session = all_know(sandbox, &refusal, &["no flour left"]);
    let status: Value = sandbox.status("i", &session);
    assert!(participants(&status).iter().all(|(_, state)| state == "removed" || state == "failed"), "{status:#}");
}

#[test]
fn a_machine_that_lacks_what_is_required_does_not_take_part() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    let demanding = Role::new(STAYS).more("requires = [\"memory>=900TiB\", \"surely-not-here\"]");
    parties.offer("demanding", &Role::new(STAYS), &demanding);
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let session = parties.request("demanding", &["--peer", "a"]);
    sandbox::until("a is invited", || sandbox.run("a", &["status", &session]).code == 0);
    let refusal = sandbox.run("a", &["accept", &session, "--yes"]).fails(3, "unsuitable");
    refusal.says(&["memory", "surely-not-here"]).hints(&["decline"]);
    sandbox.run("a", &["accept", &session, "--decline", "--reason", "too small"]).ok();
    sandbox.wait_state("i", &session, "quorum-missed");
}
