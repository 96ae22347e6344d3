//! Invitations in full, with real processes: one more, one less, no more answers, several roles for peers, a held
//! session, and what a yes means (rows A6–A10).

#![expect(clippy::disallowed_methods, reason = "writes a service with two roles for peers")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;

use parties::Parties;
use sandbox::{Sandbox, participants, until};
use serde_json::Value;
use services::{Role, STAYS};

/// A third peer `c`, whom everybody knows.
fn with_a_third(parties: &Parties, may: &str) {
    let sandbox = &parties.sandbox;
    let address = |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned();
    sandbox.trust("i", "c", &sandbox.init("c"), "");
    sandbox.trust("c", "p", &address("p"), "provide");
    sandbox.trust("c", "i", &address("i"), may);
}

/// The invitation that has come to a node.
fn invitation(sandbox: &Sandbox, node: &str) -> Value {
    let mut found = Value::Null;
    until("an invitation is there", || {
        found = sandbox.run(node, &["accept", "--list"]).ok()["invitations"][0].clone();
        found.is_object()
    });
    found
}

fn accept(sandbox: &Sandbox, node: &str) {
    invitation(sandbox, node);
    sandbox.run(node, &["accept", "--yes"]).ok();
}

fn state_of(status: &Value, name: &str) -> String {
    participants(status).into_iter().find(|(one, _)| one == name).map(|(_, state)| state).unwrap_or_default()
}

#[test]
fn one_more_is_invited_before_the_roster_is_fixed_and_not_after() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    with_a_third(&parties, "invite");
    parties.offer_stays();
    let _serving = parties.serve_all();
    let _third = parties.serve("c");
    let session = parties.request("stays", &["--peer", "a"]);
    let listed = sandbox.run("i", &["invite", &session, "--peer", "c", "--note", "Come, too!"]).ok();
    assert_eq!(listed["invitations"].as_array().map(Vec::len), Some(2), "{listed:#}");
    let known = sandbox.run("i", &["invite", &session, "--peer", "c"]).fails(8, "bad-input");
    known.says(&["c takes part in this session already: invited"]);
    let shown = invitation(sandbox, "c");
    let shown = sandbox.run("c", &["invite", "show", shown["invitation"].as_str().expect("an id")]).ok();
    assert_eq!(shown["consent"]["note"], "Come, too!");
    accept(sandbox, "c");
    accept(sandbox, "a");
    parties.all_say(&session, &["p", "i", "a", "c"], "running");
    sandbox.run("i", &["invite", &session, "--peer", "b"]).fails(6, "too-late").says(&["the roster is fixed"]);
    sandbox.run("i", &["invite", &session, "--close"]).fails(6, "too-late");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p", "a", "c"]);
    let told = sandbox.run("i", &["status", &session, "--timeline"]).ok();
    let rows = told["timeline"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["message"] == "add-peers" && row["to"] == "p"), "{told:#}");
}

#[test]
fn the_provider_refuses_to_add_whom_it_may_not_invite() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    with_a_third(&parties, "invite");
    parties.offer("one", &Role::new(STAYS), &Role::new(STAYS).more("min = 1\nmax = 1"));
    let _provider = parties.serve("p");
    let session = parties.request("one", &["--peer", "a"]);
    sandbox.run("i", &["invite", &session, "--peer", "c"]).fails(8, "bad-input").says(&["takes at most 1"]);
    assert_eq!(sandbox.status("i", &session)["participants"].as_array().map(Vec::len), Some(2), "forgotten again");
    sandbox.run("i", &["invite", &session, "--peer", "c=cook"]).fails(8, "bad-input").hints(&["guest"]);
    sandbox.run("p", &["invite", &session, "--peer", "c"]).fails(6, "wrong-state").says(&["its initiator"]);
}

#[test]
fn closing_the_answers_goes_on_with_those_who_are_in() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let session = parties.request("stays", &["--peer", "a", "--peer", "b", "--quorum", "any"]);
    invitation(sandbox, "b");
    accept(sandbox, "a");
    // With `any` it waits for all answers, unless they are closed.
    sandbox.wait("i", &session, "a has accepted", |status| state_of(status, "a") == "accepted");
    assert_eq!(sandbox.state_of("p", &session), "inviting");
    let listed = sandbox.run("i", &["invite", &session, "--close"]).ok();
    assert!(listed["invitations"].as_array().is_some_and(|all| all.iter().any(|one| one["state"] == "withdrawn")));
    parties.all_say(&session, &["p", "i", "a"], "running");
    let status = sandbox.wait_state("b", &session, "withdrawn");
    assert_eq!(status["reason"], "no more answers are waited for");
    sandbox.run("b", &["accept", &session, "--yes"]).fails(3, "withdrawn").says(&["no more answers"]);
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p", "a"]);
    sandbox.run("b", &["verify", &session]).ok();
}

#[test]
fn closing_the_answers_misses_the_quorum_that_was_asked_for() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _provider = parties.serve("p");
    let session = parties.request("stays", &["--peer", "a", "--peer", "b"]);
    sandbox.run("i", &["invite", &session, "--close"]).fails(3, "quorum-missed");
    let exported = sandbox.path().join("transcript.json");
    sandbox.run("p", &["status", &session, "--export", exported.to_str().expect("a path")]).ok();
    sandbox.run("a", &["verify", exported.to_str().expect("a path")]).ok();
}

#[test]
fn an_invitation_is_taken_back_by_either_side_and_an_answer_after_it_is_refused() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    with_a_third(&parties, "invite");
    parties.offer_stays();
    let _serving = parties.serve_all();
    let third = parties.serve("c");
    let session = parties.request("stays", &["--peer", "a", "--peer", "b", "--peer", "c"]);
    for node in ["a", "b", "c"] {
        invitation(sandbox, node);
    }
    sandbox.run("a", &["accept", "--yes"]).ok();
    third.stop();
    // By the Initiator through the provider, of one who has accepted.
    sandbox.run("i", &["invite", "withdraw", &session, "--peer", "nobody"]).fails(6, "not-found").hints(&["a, b, c"]);
    let listed = sandbox.run("i", &["invite", "withdraw", &session, "--peer", "a", "--reason", "We are full."]).ok();
    assert_eq!(listed["invitations"][0]["state"], "withdrawn", "{listed:#}");
    let status = sandbox.wait_state("a", &session, "withdrawn");
    assert_eq!((&status["reason"], &status["participants"][0]["state"]), (&"We are full.".into(), &"withdrawn".into()));
    sandbox.run("a", &["accept", &session, "--yes"]).fails(3, "withdrawn").says(&["We are full."]);
    // By the provider, of one who is not there and answers later.
    let all = sandbox.run("p", &["invite", &session]).ok();
    let of_c = all["invitations"][2]["invitation"].as_str().expect("an id").to_owned();
    sandbox.run("p", &["invite", "withdraw", &of_c]).ok();
    sandbox.wait("i", &session, "c is withdrawn", |status| state_of(status, "c") == "withdrawn");
    sandbox.run("c", &["accept", &session, "--yes"]).fails(3, "withdrawn");
    sandbox.run("p", &["invite", "withdraw", &of_c]).fails(6, "already-answered");
    sandbox
        .run("b", &["invite", "withdraw", invitation(sandbox, "b")["invitation"].as_str().expect("an id")])
        .fails(6, "wrong-state")
        .hints(&["--decline"]);
    // What was withdrawn is not waited for.
    accept(sandbox, "b");
    parties.all_say(&session, &["p", "i", "b"], "running");
    sandbox.run("p", &["invite", "withdraw", &session, "--peer", "b"]).fails(6, "too-late");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p", "b"]);
    for node in ["a", "c"] {
        sandbox.run(node, &["verify", &session]).ok();
    }
}

/// A referee and players, and a host.
fn offer_match(parties: &Parties) {
    let folder = parties.offer("match", &Role::new(STAYS), &Role::new(STAYS).more("min = 1\nmax = 2"));
    let path = folder.join("service.toml");
    let mut text = fs::read_to_string(&path).expect("the definition");
    let guest = text[text.find("[roles.guest]").expect("a role")..].to_owned();
    text.push_str(
        &guest.replace("roles.guest", "roles.referee").replace("guest/", "referee/").replace("max = 2", "max = 1"),
    );
    fs::write(&path, text).expect("the definition");
    fs::create_dir_all(folder.join("referee")).expect("a folder");
    for name in ["run.sh", "about.txt.j2"] {
        fs::copy(folder.join("guest").join(name), folder.join("referee").join(name)).expect("a file");
    }
}

#[test]
fn peers_have_several_roles_each_with_its_least_and_most_and_a_held_session_waits_for_the_word() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    with_a_third(&parties, parties::WELCOME);
    offer_match(&parties);
    let _serving = parties.serve_all();
    let _third = parties.serve("c");
    let request = |peers: &[&str]| {
        let all: Vec<_> = ["request", "match", "--provider", "p"].iter().chain(peers).copied().collect();
        sandbox.run("i", &all)
    };
    request(&["--peer", "a", "--peer", "b"]).fails(2, "usage").hints(&["--peer NAME=ROLE"]);
    request(&["--peer", "a=guest", "--peer", "b=guest"]).fails(8, "bad-input").says(&["referee", "at least 1"]);
    let both = request(&["--peer", "a=referee", "--peer", "b=referee", "--peer", "c=guest"]).fails(8, "bad-input");
    both.says(&["referee", "at most 1"]);

    let peers = ["--peer", "a=referee", "--peer", "b=guest", "--peer", "c=guest", "--hold", "--wait", "delivered"];
    let session = request(&peers).ok()["session"].as_str().expect("a session").to_owned();
    let held = sandbox.wait("p", &session, "all installed", |status| {
        participants(status).iter().all(|(_, state)| state == "installed")
    });
    assert_eq!(held["state"], "starting", "{held:#}");
    assert_eq!(held["reason"], "waits for the Initiator's word to start");
    assert!(sandbox.record("a", &session, "peer").is_null(), "nothing runs before the word");
    sandbox.run("p", &["start", &session]).fails(6, "wrong-state");
    sandbox.run("i", &["start", &session]).ok();
    parties.all_say(&session, &["p", "i", "a", "b", "c"], "running");
    for (node, role) in [("a", "referee"), ("b", "guest"), ("c", "guest")] {
        let about = sandbox.state(node).join("installs/sessions").join(&session).join(role).join("current/about.txt");
        assert_eq!(fs::read_to_string(about).expect("its own build"), format!("tea for i as {role}\n"));
    }
    // Without its only referee a match is none.
    sandbox.run("a", &["stop", &session]).ok();
    let ended = sandbox.wait("i", &session, "over", |status| status["over"] == true);
    assert_eq!(ended["state"], "failed", "{ended:#}");
    assert!(ended["reason"].as_str().is_some_and(|why| why.contains("the role referee needs at least 1")), "{ended:#}");
}

#[test]
fn a_yes_is_to_what_is_shown_by_whom_for_how_much_and_until_when() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _provider = parties.serve("p");
    let _peer = parties.serve("a");
    let session = parties.request("stays", &["--peer", "a", "--note", "Tea at \u{1b}[31mfour?"]);
    let id = invitation(sandbox, "a")["invitation"].as_str().expect("an id").to_owned();
    let consent = sandbox.run("a", &["invite", "show", &id]).ok()["consent"].clone();
    assert_eq!((&consent["initiator"]["known_as"], &consent["provider"]["known_as"]), (&"i".into(), &"p".into()));
    for who in ["initiator", "provider"] {
        assert!(consent[who]["known_since"].as_str().is_some_and(|since| since.starts_with("20")), "{consent:#}");
    }
    assert_eq!(consent["costs"]["paid_by"], "initiator");
    assert_eq!(consent["costs"]["tariff"]["per"]["minute"], "0.02");
    assert_eq!(consent["ends_at"], sandbox.status("a", &session)["ends_at"]);
    assert_eq!(consent["undo"], format!("deployctl stop {}", &session[..8]));
    let terms: Vec<_> = consent["terms"].as_array().expect("terms").iter().filter_map(Value::as_str).collect();
    assert!(terms.contains(&"It runs: sh run.sh") && terms.contains(&"It may not use the network."), "{terms:?}");

    sandbox.run("a", &["trust", "remove", "i"]).ok();
    let screen = sandbox.human("a", &["accept", &id]);
    assert_eq!(screen.code, 2, "{screen:#?}");
    for words in [
        "invites you to stays 1.0.0",
        "Initiator: i — NOT KNOWN here, key",
        "Provider:  p, known here since 20",
        "It runs: sh run.sh",
        "It costs 0.02 EUR per minute",
        "The Initiator pays; you pay nothing.",
        "It ends by itself at 20",
        "To undo: deployctl stop",
    ] {
        assert!(screen.stderr.contains(words), "“{words}” is not in: {}", screen.stderr);
    }
    assert!(!screen.stderr.contains('\u{1b}'), "what others wrote is escaped");
    let accepted = sandbox.run("a", &["accept", &id, "--yes"]).ok();
    assert_eq!(accepted["consent"]["terms"], consent["terms"]);
    assert_eq!(accepted["consent"]["initiator"]["known_since"], Value::Null);
}
