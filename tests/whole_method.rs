//! The whole method of System A with real processes: requested, running, accounted for, ended, gone (rows A1–A19).

#![expect(clippy::disallowed_methods, reason = "looks at the nodes' files from outside")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use parties::Parties;
use sandbox::participants;
use serde_json::Value;

/// Every file, folder and link below `root` with its mode and content, but for what is meant to stay or to change.
fn tree(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            if ["sessions", "ledger", "audit.jsonl", "run/locks", "shown"].contains(&name.as_str()) {
                continue;
            }
            let kind = entry.file_type().expect("a kind");
            let mode = fs::symlink_metadata(&path).expect("metadata").permissions().mode();
            let content = match () {
                () if kind.is_symlink() => fs::read_link(&path).expect("a link").to_string_lossy().into_owned().into(),
                () if kind.is_file() => fs::read(&path).expect("a file"),
                () => Vec::new(),
            };
            all.insert(name, (mode, content));
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

#[test]
fn from_the_request_to_the_last_removal() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let before = ["i", "a", "b"].map(|node| tree(&sandbox.state(node)));

    let offered = sandbox.run("i", &["request", "--provider", "p", "--list"]).ok();
    assert_eq!(offered["services"][0]["name"], "stays");
    let session = parties.running("stays");
    for node in ["p", "a", "b"] {
        let status = sandbox.wait_state(node, &session, "running");
        assert_eq!(status["session"], session.as_str());
    }
    check_names(sandbox, &session);

    let interim = sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=12"]).ok();
    assert_eq!(interim["currency"], "EUR");
    assert!(interim["lines"].as_array().is_some_and(|lines| lines.iter().any(|line| line["meter"] == "reading")));
    let ended = sandbox.run("i", &["stop", &session]).ok();
    assert!(["terminating", "closed"].contains(&ended["state"].as_str().unwrap_or_default()), "{ended:#}");
    parties.all_is_well(&session, &["i", "p", "a", "b"]);

    let account = sandbox.run("i", &["account", &session]).ok();
    assert!(account["accountings"].as_u64() >= Some(2), "an interim and a final one: {account:#}");
    assert!(account["total"].is_string(), "{account:#}");
    for (node, before) in ["i", "a", "b"].into_iter().zip(before) {
        let after = tree(&sandbox.state(node));
        let secrets = sandbox.state(node).join("sessions").join(&session).join("secrets");
        assert!(!secrets.exists(), "{node} keeps secrets of a session that is over");
        let names = |tree: &BTreeMap<String, _>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after), "the files of {node}");
        assert!(before == after, "the contents of the files of {node}");
    }
}

/// The names that scripts rely on.
fn check_names(sandbox: &sandbox::Sandbox, session: &str) {
    let expected = [("p", "provider", 3), ("i", "initiator", 3), ("a", "peer", 1), ("b", "peer", 1)];
    for (node, party, how_many) in expected {
        let confirmed = |status: &Value| participants(status).iter().all(|(_, state)| state == "confirmed");
        let status = sandbox.wait(node, session, "all confirmed", confirmed);
        assert_eq!(status["party"], party);
        assert_eq!(status["service"], "stays");
        let all = status["participants"].as_array().expect("participants");
        assert!(all.len() >= how_many, "{status:#}");
        for one in all {
            assert!(["name", "key", "role", "state"].iter().all(|name| one[name].is_string()), "{one:#}");
        }
        let packages = status["packages"].as_array().expect("packages");
        assert!(!packages.is_empty(), "{status:#}");
        for one in packages {
            assert!(["digest", "role", "platform"].iter().all(|name| one[name].is_string()), "{one:#}");
            assert!(one["size"].is_u64(), "{one:#}");
        }
    }
}

#[test]
fn data_is_kept_where_its_owner_says_so_and_removing_twice_is_no_error() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let session = parties.running("stays");
    let root = sandbox.state("a").join("installs").join("sessions").join(&session).join("guest");
    fs::write(root.join("data").join("diary"), "my own words").expect("the data folder");

    let removed = sandbox.run("a", &["remove", &session, "--keep-data"]).ok();
    assert!(removed["kept"][0].as_str().is_some_and(|kept| kept.ends_with("data")), "{removed:#}");
    assert_eq!(fs::read_to_string(root.join("data").join("diary")).expect("kept"), "my own words");
    assert!(!root.join("generations").exists(), "only the data is kept");
    sandbox.run("a", &["remove", &session]).ok();
    sandbox.wait("p", &session, "a has gone", |status| {
        participants(status).contains(&("a".to_owned(), "removed".to_owned()))
    });

    sandbox.run("i", &["account", &session, "--final"]).ok();
    sandbox.run("i", &["account", &session, "--final"]).ok();
    for node in ["i", "p", "b"] {
        sandbox.wait_state(node, &session, "closed");
    }
}

/// The `serve` waits for a person's word, which only the command has.
#[test]
fn what_a_serving_node_asks_its_owner_about_is_done_by_the_command() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    sandbox.configure("a", "[policy]\ninstall = \"ask\"\nremove = \"ask\"\n");
    let _serving = parties.serve_all();
    let session = parties.request("stays", &["--peer", "a", "--wait", "delivered"]);
    sandbox.wait("a", &session, "delivered", |status| participants(status)[0].1 == "delivered");
    sandbox.run("a", &["install", &session]).ok();
    sandbox.wait_state("i", &session, "running");
    sandbox.run("i", &["stop", &session]).ok();
    sandbox.wait("a", &session, "stopped", |status| participants(status)[0].1 == "stopped");
    sandbox.run("a", &["remove", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn two_nodes_are_enough_and_one_may_be_both_provider_and_participant() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let address = |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned();
    let (p, i) = (address("p"), address("i"));
    sandbox.trust("i", "p", &p, "provide");
    sandbox.trust("p", "self", &p, "provide");
    sandbox.trust("p", "i", &i, "request,invite,auto-accept");
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "p", "--wait", "running"]);
    let status = sandbox.status("p", &session);
    assert_eq!(status["party"], "provider", "{status:#}");
    assert_eq!(status["parts"][0]["party"], "peer", "{status:#}");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p"]);
}
