//! Whatever is refused says why, what to do next, and ends with its row of the exit table: requests and answers.

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use parties::Parties;
use sandbox::{Sandbox, participants, until};
use services::{Role, STAYS};

const PEER_A: [&str; 2] = ["--peer", "a"];

/// The address of a node that is there already.
fn address(sandbox: &Sandbox, node: &str) -> String {
    sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned()
}

/// The invitation that waits at a node.
fn invitation(sandbox: &Sandbox, node: &str) -> String {
    let mut found = String::new();
    until("an invitation is there", || {
        let listed = sandbox.run(node, &["accept", "--list"]).ok();
        found = listed["invitations"][0]["invitation"].as_str().unwrap_or_default().to_owned();
        !found.is_empty()
    });
    found
}

#[test]
fn who_is_not_known_or_may_not_is_refused_and_leaves_an_audit_line() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let stranger = sandbox.init("stranger");
    sandbox.trust("stranger", "p", provider.address(), "provide");
    sandbox.trust("stranger", "a", &address(sandbox, "a"), "");
    let request = ["request", "stays", "--provider", "p", "--peer", "a"];

    let unknown = sandbox.run("stranger", &request).fails(3, "not-permitted");
    unknown.says(&["not known"]).hints(&["trust add", "--may request"]);
    sandbox.run("stranger", &["request", "--provider", "p", "--list"]).fails(3, "not-permitted");
    sandbox.trust("p", "stranger", &stranger, "");
    let without = sandbox.run("stranger", &request).fails(3, "not-permitted");
    without.says(&["stranger", "may not"]).hints(&["--may request"]);

    provider.stop();
    let audit = sandbox.audit("p");
    let key = stranger.trim_start_matches("deploy://").split('@').next();
    assert!(
        audit
            .iter()
            .any(|line| line["code"] == "not-permitted" && line["key"].as_str() == key && line["ip"] == "127.0.0.1"),
        "{audit:#?}"
    );
    assert!(!sandbox.state("p").join("sessions").exists(), "nothing is stored of what was refused");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _provider = parties.serve("p");
    sandbox.trust("i", "bakery", &sandbox.init("bakery"), "");
    let request = |service: &str, provider: &str, peer: &str| {
        sandbox.run("i", &["request", service, "--provider", provider, "--peer", peer])
    };
    request("stays", "bakry", "a").fails(6, "unknown-contact").hints(&["bakery"]);
    request("stays", "p", "bakerie").fails(6, "unknown-contact").hints(&["bakery"]);
    request("stay", "p", "a").fails(6, "unknown-service").hints(&["stays"]);
    request("stays@^2", "p", "a").fails(6, "unknown-service").says(&["1.0.0", "^2"]);
    for args in [["status", "zzzzzz"], ["stop", "zzzzzz"], ["account", "zzzzzz"], ["verify", "zzzzzz"]] {
        sandbox.run("i", &args).fails(6, "not-found").hints(&["deployctl status"]);
    }
    sandbox.run("a", &["accept", "zzzzzz", "--yes"]).fails(6, "not-found").hints(&["accept --list"]);
    sandbox.run("a", &["accept", "--yes"]).fails(6, "not-found").hints(&["--from"]);
    sandbox.run("nobody", &["status"]).fails(2, "no-identity").hints(&["deployctl init"]);
}

#[test]
fn a_beginning_that_several_ids_have_is_ambiguous() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _provider = parties.serve("p");
    // An id begins with one of 32 letters: after 33 sessions at the latest, two begin alike.
    let mut sessions: Vec<String> = Vec::new();
    let alike = loop {
        let session = parties.request("stays", &PEER_A);
        let first = session[..1].to_owned();
        let twice = sessions.iter().any(|other| other.starts_with(&first));
        sessions.push(session);
        if twice {
            break first;
        }
    };
    let refusal = sandbox.run("i", &["status", &alike]).fails(6, "ambiguous");
    refusal.says(&[sessions.last().expect("at least two")]);
    sandbox.run("i", &["status", sessions.last().expect("at least two")]).ok();
}

#[test]
fn who_mistypes_an_invitation_is_told_which_one_is_near() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &PEER_A);
    let id = invitation(sandbox, "a");
    // The first letter is another one, which no other id has.
    let slip = |id: &str| format!("{}{}", if id.starts_with('q') { 'z' } else { 'q' }, &id[1..8]);
    for (node, command) in [("a", ["accept", "--decline"]), ("a", ["accept", "--yes"]), ("p", ["invite", "show"])] {
        for meant in [&id, &session].into_iter().take(if node == "a" { 2 } else { 1 }) {
            let typed = slip(meant);
            let args = if node == "a" { [command[0], &typed, command[1]] } else { [command[0], command[1], &typed] };
            sandbox.run(node, &args).fails(6, "not-found").hints(&["did you mean", &meant[..8]]);
        }
    }
    sandbox.run("p", &["invite", "withdraw", &slip(&id)]).fails(6, "not-found");
    assert_eq!(sandbox.state_of("a", &session), "inviting");
}

#[test]
fn options_that_do_not_fit_are_all_named_at_once() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _provider = parties.serve("p");
    let wrong = ["--set", "count=99", "--set", "colour=blue", "--set", "word=Coffee"];
    let args: Vec<_> = ["request", "stays", "--provider", "p", "--peer", "a"].iter().chain(&wrong).copied().collect();
    let refusal = sandbox.run("i", &args).fails(8, "bad-option");
    refusal.says(&["count", "99", "9", "colour", "blue", "red", "green", "word", "Coffee", "^[a-z]+$"]);
    let unknown = ["request", "stays", "--provider", "p", "--peer", "a", "--set", "cuont=3"];
    sandbox.run("i", &unknown).fails(8, "bad-option").says(&["cuont", "count"]);
    assert!(!sandbox.state("p").join("sessions").exists(), "nothing was registered");
}

#[test]
fn wrong_usage_is_told_before_anything_is_done() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let cases: [&[&str]; 7] = [
        &["stop"],
        &["sotp", "7k3q"],
        &["request", "stays", "--peer", "a"],
        &["request", "stays", "--provider", "p", "--peer", "a", "--quorum", "some"],
        &["accept", "--list", "--decline"],
        &["account", "7k3q", "--interim", "--final"],
        &["status", "--nonsense"],
    ];
    for args in cases {
        sandbox.run("i", args).fails(2, "usage").hints(&["--help"]);
    }
    let soon = ["request", "stays", "--provider", "p", "--peer", "a", "--answer-within", "soon"];
    sandbox.run("i", &soon).fails(2, "usage").says(&["soon"]);
    sandbox.run("i", &["request", "stays", "--provider", "p"]).fails(2, "usage").hints(&["--peer"]);
    sandbox.run("i", &["trust", "add", "x", "deploy://short"]).fails(2, "usage").says(&["short"]);

    let human = sandbox.human("i", &["stop"]);
    assert_eq!((human.code, human.stdout.as_str()), (2, ""));
    assert!(human.stderr.contains("<SESSION|PROGRAM>") && human.stderr.contains("--help"), "{}", human.stderr);
}

#[test]
fn what_would_be_asked_becomes_an_error_that_names_the_flag() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &PEER_A);
    let id = invitation(sandbox, "a");
    sandbox.run("a", &["accept", &id]).fails(2, "prompt-needed").hints(&["--yes"]);
    let human = sandbox.human("a", &["accept", &id]);
    assert_eq!(human.code, 2);
    // What is agreed to is shown all the same.
    assert!(human.stderr.contains("Initiator: i") && human.stderr.contains("run.sh"), "{}", human.stderr);
    assert_eq!(sandbox.state_of("a", &session), "inviting");

    parties.request("stays", &PEER_A);
    until("both invitations are there", || {
        sandbox.run("a", &["accept", "--list"]).ok()["invitations"].as_array().is_some_and(|all| all.len() == 2)
    });
    sandbox.run("a", &["accept", "--yes"]).fails(2, "prompt-needed").says(&["INVITATION"]);
}

#[test]
fn a_quorum_that_is_missed_ends_the_session_and_says_who_declined_why() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let waiting = sandbox.begin("i", &["request", "stays", "--provider", "p", "--peer", "a", "--wait", "running"]);
    let id = invitation(sandbox, "a");
    let declined = sandbox.run("a", &["accept", &id, "--decline", "--reason", "the oven is broken"]).ok();
    assert_eq!(declined["state"], "declined");
    let refusal = waiting.finish().fails(3, "quorum-missed");
    refusal.hints(&["deployctl status"]);
    let session = refusal.session.expect("the error names the session");
    for node in ["i", "p"] {
        let status = sandbox.wait_state(node, &session, "quorum-missed");
        assert!(participants(&status).contains(&("a".to_owned(), "declined".to_owned())), "{status:#}");
        assert!(status.to_string().contains("the oven is broken"), "{status:#}");
    }
    sandbox.run("a", &["accept", &id, "--yes"]).fails(6, "already-answered").says(&["declined"]);
    // Nothing was installed: there is nothing to wait for, and nothing that keeps its records.
    sandbox.run("a", &["--timeout", "5s", "remove", &session]).ok();
    sandbox.run("a", &["remove", &session, "--forget", "--yes"]).ok();
    sandbox.run("a", &["status", &session]).fails(6, "not-found");
}

#[test]
fn an_invitation_is_answered_once_and_in_time() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a", "--answer-within", "1s"]);
    let id = invitation(sandbox, "a");
    sandbox.wait_state("a", &session, "expired");
    sandbox.run("a", &["accept", &id, "--yes"]).fails(6, "expired");
    sandbox.run("a", &["accept", &id, "--decline"]).fails(6, "expired");
    sandbox.wait_state("p", &session, "quorum-missed");

    let session = parties.request("stays", &[PEER_A.as_slice(), &["--hold"]].concat());
    until("the second invitation is there", || sandbox.run("a", &["status", &session]).code == 0);
    sandbox.run("a", &["accept", &session, "--yes"]).ok();
    sandbox.run("a", &["accept", &session, "--yes"]).fails(6, "already-answered");
    sandbox.run("a", &["accept", &session, "--decline"]).fails(6, "already-answered");
}

#[test]
fn an_answer_is_kept_while_the_provider_is_away() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let _others = ["i", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &PEER_A);
    let id = invitation(sandbox, "a");
    provider.kill();
    let refusal = sandbox.run("a", &["accept", &id, "--yes"]).fails(5, "unreachable");
    refusal.says(&["accepted", "does not know", "will be sent"]).hints(&["deployctl serve"]);
    sandbox.run("a", &["accept", &id, "--yes"]).fails(6, "already-answered");
    sandbox.run("i", &["request", "--provider", "p", "--list"]).fails(5, "unreachable");
    let requested = sandbox.run("i", &["request", "stays", "--provider", "p", "--peer", "a"]);
    requested.fails(5, "unreachable").says(&["nothing was requested"]);

    let _provider = parties.serve("p");
    parties.all_say(&session, &["p", "i", "a"], "running");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn another_key_at_the_address_is_not_the_node_that_is_meant() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let host = provider.address().rsplit('@').next().expect("a host");
    let other = sandbox.init("other");
    let key = other.split('@').next().expect("a key");
    sandbox.trust("i", "impostor", &format!("{key}@{host}"), "provide");
    let asked = sandbox.run("i", &["request", "stays", "--provider", "impostor", "--peer", "a"]);
    asked.fails(4, "wrong-key");
    sandbox.run("i", &["request", "--provider", "impostor", "--list"]).fails(4, "wrong-key");
}

#[test]
fn a_second_serve_and_a_strangers_session_are_told_apart() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("stays", &Role::new(STAYS), &Role::new(STAYS));
    let _serving = parties.serve_all();
    sandbox.run("p", &["serve"]).fails(5, "locked").hints(&["--state"]);
    let session = parties.request("stays", &[PEER_A.as_slice(), &["--wait", "running"]].concat());
    sandbox.run("a", &["account", &session]).fails(6, "wrong-state").says(&["peer", "provider"]);
    sandbox.run("p", &["account", &session, "--interim"]).fails(3, "not-permitted");
    sandbox.run("b", &["status", &session]).fails(6, "not-found");
    sandbox.run("p", &["install", &session]).fails(6, "wrong-state");
    sandbox.run("i", &["start", &session, "--timeout", "1s"]).ok();
    sandbox.run("i", &["stop", &session]).ok();
    sandbox.wait_state("i", &session, "closed");
    sandbox.run("i", &["stop", &session]).fails(6, "wrong-state");
    sandbox.run("i", &["account", &session, "--interim"]).fails(6, "wrong-state");
}
