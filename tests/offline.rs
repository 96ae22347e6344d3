//! Nodes that are switched off, and nodes that listen nowhere: nothing is lost, nothing is done twice (rows A8, A16, A21).

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::thread;

use parties::{Parties, WELCOME};
use sandbox::{Sandbox, participants, until};

/// A peer or Initiator `name` that listens nowhere, known to all whom it needs.
fn listens_nowhere(parties: &Parties, name: &str, may_here: &str) {
    let sandbox = &parties.sandbox;
    let address = |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned();
    let own = sandbox.init_nowhere(name);
    assert!(!own.contains('@'), "{own}");
    sandbox.trust(name, "p", &address("p"), "provide");
    sandbox.trust(name, "i", &address("i"), may_here);
    sandbox.trust("i", name, &own, "");
    sandbox.trust("p", name, &own, "request");
}

fn runs(sandbox: &Sandbox, node: &str, session: &str) {
    sandbox.wait(node, session, "its program is ready", |status| {
        participants(status).iter().any(|(_, state)| state == "confirmed")
    });
}

#[test]
fn who_is_switched_off_is_invited_when_it_comes_back() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a"]);
    let waiting = |arrived: bool| {
        let invitations = sandbox.run("p", &["invite", &session]).ok();
        invitations["invitations"][0]["arrived"] == arrived
    };
    until("the invitation waits", || waiting(false));
    let _a = parties.serve("a");
    parties.all_say(&session, &["p", "i", "a"], "running");
    assert!(waiting(true));
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn a_peer_that_listens_nowhere_takes_part_by_commands_alone() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    listens_nowhere(&parties, "n", "invite");
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "n"]);
    let listed = sandbox.run("n", &["accept", "--from", "p", "--list"]).ok();
    assert_eq!(listed["invitations"][0]["session"], session.as_str());
    assert_eq!(listed["invitations"][0]["state"], "open");
    let accepted = sandbox.human("n", &["accept", "--from", "p", "--yes"]);
    assert_eq!(accepted.code, 0, "{accepted:#?}");
    assert!(accepted.stderr.contains("deployctl install"), "{}", accepted.stderr);

    let installed = sandbox.run("n", &["install", &session]).ok();
    assert_eq!(participants(&installed)[0].1, "installed");
    sandbox.run("n", &["install", &session]).ok();
    sandbox.run("n", &["start", &session]).ok();
    runs(sandbox, "n", &session);
    parties.all_say(&session, &["p", "i"], "running");
    let program = sandbox.record("n", &session, "peer")["child"]["pid"].as_i64().expect("a program");
    // Nothing of `n` runs but its supervisor: that asks the provider, and hears of the end.
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "n"]);
    assert!(!sandbox::is_alive(i32::try_from(program).expect("a pid")));
}

#[test]
fn a_peer_that_listens_nowhere_takes_part_by_its_serve_alone() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    listens_nowhere(&parties, "n", WELCOME);
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let serve = sandbox.serve("n", &[]);
    assert!(serve.ready["listen"].is_null(), "{}", serve.ready);
    let session = parties.request("stays", &["--peer", "n", "--wait", "running"]);
    runs(sandbox, "n", &session);
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "n"]);
}

#[test]
fn an_initiator_that_listens_nowhere_waits_until_it_runs_and_ends_it() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let address = |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned();
    let own = sandbox.init_nowhere("n");
    sandbox.trust("n", "p", &address("p"), "provide");
    sandbox.trust("n", "a", &address("a"), "");
    sandbox.trust("p", "n", &own, "request");
    sandbox.trust("a", "n", &own, WELCOME);
    let _serving = ["p", "a"].map(|node| parties.serve(node));
    let request = ["request", "stays", "--provider", "p", "--peer", "a", "--wait", "running"];
    let requested = sandbox.run("n", &request).ok();
    assert_eq!(requested["state"], "running", "{requested:#}");
    let session = requested["session"].as_str().expect("a session").to_owned();
    sandbox.run("n", &["account", &session, "--interim", "--usage", "reading=4"]).ok();
    sandbox.run("n", &["stop", &session]).ok();
    for node in ["p", "n", "a"] {
        let status = sandbox.wait(node, &session, "over", |status| status["over"] == true);
        assert_eq!(status["state"], "closed", "{status:#}");
    }
    let (at_n, at_p) = (sandbox.run("n", &["account", &session]).ok(), sandbox.run("p", &["account", &session]).ok());
    assert_eq!(at_n, at_p);
    assert_eq!(at_n["closed"], true);
}

#[test]
fn accounting_waits_for_a_provider_that_is_away_and_counts_once() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let _others = ["i", "a", "b"].map(|node| parties.serve(node));
    let session = parties.running("stays");
    sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=1"]).ok();
    provider.kill();
    for usage in ["reading=2", "reading=4"] {
        let away = sandbox.run("i", &["account", &session, "--interim", "--usage", usage]);
        away.fails(5, "unreachable").says(&["accounted", "will be sent"]);
    }
    let stopped = sandbox.run("i", &["stop", &session]);
    stopped.fails(5, "unreachable").says(&["stopped here", "will be sent"]);
    let again = thread::scope(|scope| {
        // Two ask at once while it comes back; the node's own `serve` is a third.
        let asks = [0, 1].map(|_| scope.spawn(|| sandbox.run("i", &["account", &session, "--final"])));
        let provider = parties.serve("p");
        for ask in asks {
            let code = ask.join().expect("a thread").code;
            assert!(code == 0 || code == 5, "{code}");
        }
        provider
    });
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
    for node in ["i", "p"] {
        let account = sandbox.run(node, &["account", &session]).ok();
        let readings = account["lines"].as_array().and_then(|all| all.iter().find(|line| line["meter"] == "reading"));
        assert_eq!(readings.expect("readings")["amount"], "7", "{account:#}");
        assert_eq!(account["accountings"], 4, "{account:#}");
    }
    again.stop();
}
