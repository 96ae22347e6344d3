//! A new key: the former one signs it over, contacts follow by themselves, and nobody else can lead them away.

#![expect(clippy::disallowed_methods, reason = "steals keys")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use parties::Parties;
use sandbox::{Sandbox, until};

/// The address of a contact.
fn contact(sandbox: &Sandbox, node: &str, name: &str) -> String {
    let listed = sandbox.run(node, &["trust", "list"]).ok();
    let all = listed["contacts"].as_array().expect("contacts");
    let found = all.iter().find(|one| one["name"] == name).expect("a contact of that name");
    found["address"].as_str().expect("an address").to_owned()
}

fn rotate(sandbox: &Sandbox, node: &str, more: &[&str]) -> String {
    let output = sandbox.run(node, &[&["-q", "init", "--rotate"], more].concat());
    output.ok()["address"].as_str().expect("an address").to_owned()
}

/// Another node with the identity that `node` has now.
fn steal(sandbox: &Sandbox, node: &str, thief: &str) {
    sandbox.init_nowhere(thief);
    for file in ["node.key", "node.crt"] {
        let path = |of: &str| sandbox.state(of).join("identity").join(file);
        std::fs::copy(path(node), path(thief)).expect("the identity can be copied");
    }
}

const LIST: [&str; 4] = ["request", "--provider", "shop", "--list"];

#[test]
fn contacts_follow_a_new_key_whether_they_listen_poll_or_come_by() {
    let sandbox = Sandbox::new();
    let before = sandbox.init("shop");
    let ben = sandbox.init("ben");
    for node in ["ada", "cem"] {
        let address = sandbox.init_nowhere(node);
        sandbox.trust(node, "shop", &before, "provide");
        sandbox.trust("shop", node, &address, "request");
    }
    sandbox.trust("shop", "ben", &ben, "request");
    sandbox.trust("ben", "shop", &before, "request");
    let serving = sandbox.serve("shop", &[]);
    let _ben = sandbox.serve("ben", &[]);
    let _ada = sandbox.serve("ada", &[]);
    sandbox.run("shop", &["init", "--rotate"]).fails(5, "locked").hints(&["stop `deployctl serve`"]);
    serving.stop();

    let after = rotate(&sandbox, "shop", &[]);
    assert_ne!(after, before);
    assert_eq!(contact(&sandbox, "ben", "shop"), after, "who listens is told");
    let told =
        sandbox.audit("ben").into_iter().any(|line| line["what"].as_str().unwrap_or("").contains("shop has a new key"));
    assert!(told);
    assert_eq!(contact(&sandbox, "ada", "shop"), before);
    // A program of shop that ada had once: its version floor is the next key's, too.
    let key = |address: &str| address["deploy://".len()..].split('@').next().expect("a key").to_owned();
    let floors = sandbox.state("ada").join("floors.json");
    let floor = |address: &str| format!("{:?}:{{\"tool\":\"2.0.0\"}}", key(address));
    std::fs::write(&floors, format!("{{{}}}", floor(&before))).expect("floors");
    let serving = sandbox.serve("shop", &[]);
    assert_eq!(serving.address(), after);
    until("who polls has followed", || contact(&sandbox, "ada", "shop") == after);
    until("its floors, too", || sandbox::read(&floors).contains(&floor(&after)));
    sandbox
        .run("cem", &LIST)
        .fails(4, "wrong-key")
        .says(&["shop has a new key"])
        .hints(&["run the same command again"]);
    sandbox.run("cem", &LIST).ok();
    assert_eq!(contact(&sandbox, "cem", "shop"), after);
    // Ben takes the new key for shop.
    serving.stop();
    sandbox.trust("shop", "ben", &ben, "provide");
    sandbox.run("shop", &["request", "--provider", "ben", "--list"]).ok();
}

#[test]
fn who_was_away_for_two_rotations_follows_both_and_another_nodes_key_is_never_followed() {
    let sandbox = Sandbox::new();
    let before = sandbox.init("shop");
    let ada = sandbox.init_nowhere("ada");
    sandbox.trust("ada", "shop", &before, "");
    sandbox.trust("shop", "ada", &ada, "request");
    let once = rotate(&sandbox, "shop", &[]);
    let twice = rotate(&sandbox, "shop", &[]);
    assert!(once != twice && once != before);
    let serving = sandbox.serve("shop", &[]);
    sandbox.run("ada", &LIST).fails(4, "wrong-key");
    assert_eq!(contact(&sandbox, "ada", "shop"), twice);
    sandbox.run("ada", &LIST).ok();
    serving.stop();

    // Another node at the same place, which has rotated as well.
    let place = before.split_once('@').expect("a place").1;
    sandbox.init_at("evil", place);
    rotate(&sandbox, "evil", &[]);
    let _evil = sandbox.serve("evil", &[]);
    sandbox.run("ada", &LIST).fails(4, "wrong-key").says(&["another node than its address says"]);
    assert_eq!(contact(&sandbox, "ada", "shop"), twice);
}

#[test]
fn the_former_key_is_taken_for_the_time_of_grace_and_leads_nobody_away() {
    let sandbox = Sandbox::new();
    let ada = sandbox.init_nowhere("ada");
    let shop = sandbox.init("shop");
    sandbox.trust("shop", "ada", &ada, "request");
    sandbox.trust("ada", "shop", &shop, "");
    let _serving = sandbox.serve("shop", &[]);
    steal(&sandbox, "ada", "first");
    sandbox.trust("first", "shop", &shop, "");
    let second = rotate(&sandbox, "ada", &["--grace", "1h"]);
    assert_eq!(contact(&sandbox, "shop", "ada"), second);
    sandbox.run("first", &LIST).ok();
    // Somebody with the former key hands it over once more.
    rotate(&sandbox, "first", &[]);
    sandbox.run("first", &LIST).fails(3, "not-permitted");
    assert_eq!(contact(&sandbox, "shop", "ada"), second);
    assert!(sandbox.audit("shop").iter().any(|line| line["code"] == "wrong-key"));

    steal(&sandbox, "ada", "second");
    sandbox.trust("second", "shop", &shop, "");
    let third = rotate(&sandbox, "ada", &["--grace", "0s"]);
    assert_eq!(contact(&sandbox, "shop", "ada"), third);
    sandbox.run("second", &LIST).fails(3, "not-permitted");
    sandbox.run("ada", &LIST).ok();
    sandbox.run("ada", &["init", "--rotate", "--grace", "31d"]).fails(2, "usage");
}

#[test]
fn no_key_is_changed_under_a_session_and_what_is_over_stays_readable() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let session = parties.request("stays", &["--peer", "a"]);
    let refused = sandbox.run("i", &["init", "--rotate"]).fails(6, "wrong-state");
    refused.says(&[&session[..8]]).hints(&["deployctl stop"]);
    sandbox.run("i", &["stop", &session]);
    sandbox.wait_state("p", &session, "withdrawn");
    until("the Initiator's part is over", || sandbox.run("i", &["init", "--rotate"]).code == 0);
    sandbox.wait_state("i", &session, "withdrawn");
    sandbox.run("i", &["verify", &session]).ok();
    sandbox.run("i", &["status", &session, "--timeline"]).ok();
    let file = sandbox.path().join("transcript");
    sandbox.run("i", &["status", &session, "--export", file.to_str().expect("a path")]).ok();
    sandbox.run("a", &["verify", file.to_str().expect("a path")]).ok();
    drop(provider);
}
