//! Programs: readiness in its four forms, restarts, `--foreground`, and every way in which a session ends (rows A15, A17).

#![expect(clippy::disallowed_methods, reason = "tells the services' programs what to do by files")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::path::PathBuf;

use parties::Parties;
use rustix::process::Signal;
use sandbox::{Sandbox, is_alive, participants, until};
use serde_json::Value;
use services::{CRASHES_ONCE, ENDS_WHEN_TOLD, FAILS, Role, STAYS};

fn stays() -> Role {
    Role::new(STAYS)
}

/// The data folder of a role's program.
fn data(sandbox: &Sandbox, node: &str, session: &str, role: &str) -> PathBuf {
    sandbox.state(node).join("installs").join("sessions").join(session).join(role).join("data")
}

fn state_of(status: &Value, who: &str) -> String {
    let all = participants(status);
    all.into_iter().find(|(name, _)| name == who).map(|(_, state)| state).unwrap_or_default()
}

fn pid(sandbox: &Sandbox, node: &str, session: &str, party: &str) -> i32 {
    let mut pid = 0;
    until("there is a program", || {
        pid = sandbox.record(node, session, party)["child"]["pid"]
            .as_i64()
            .and_then(|pid| pid.try_into().ok())
            .unwrap_or(0);
        pid != 0
    });
    pid
}

#[test]
fn readiness_in_its_four_forms() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let port = sandbox::free_port();
    let listens = format!(
        "exec python3 -c 'import socket,time\ns=socket.socket(); s.setsockopt(1,2,1); s.bind((\"127.0.0.1\",{port})); s.listen()\n\
         while True: c,_=s.accept(); c.close()'\n"
    );
    let tcp = Role::new(&listens).ready(&format!("{{ tcp = \"127.0.0.1:{port}\", within = \"30s\" }}"));
    let tcp = tcp.network(&format!("\"listen:{port}\"")).more("requires = [\"python>=3\"]");
    let file = Role::new("sleep 0.2\n: >\"$DEPLOYCTL_DATA/ready\"\nexec sleep 600\n");
    let file = file.ready("{ file = \"ready\", within = \"20s\" }");
    parties.offer("doors", &tcp, &file);
    let quiet = Role::new("exec sleep 600\n").ready("{ after = \"300ms\" }");
    parties.offer("lines", &stays(), &quiet);
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    for service in ["doors", "lines"] {
        let session = parties.request(service, &["--peer", "a", "--wait", "running"]);
        let status = sandbox.status("p", &session);
        assert!(participants(&status).iter().all(|(_, state)| state == "confirmed"), "{status:#}");
        sandbox.run("i", &["stop", &session]).ok();
        parties.all_is_well(&session, &["p", "i", "a"]);
    }
}

#[test]
fn a_program_that_crashes_is_started_again() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("clumsy", &stays(), &Role::new(CRASHES_ONCE).restart("on-failure"));
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let session = parties.request("clumsy", &["--peer", "a", "--wait", "running"]);
    let folder = data(sandbox, "a", &session, "guest");
    let before = pid(sandbox, "a", &session, "peer");
    fs::write(folder.join("crash"), "").expect("told to crash");
    until("it runs again", || fs::read_to_string(folder.join("starts")).is_ok_and(|text| text.trim() == "2"));
    until("another process", || !is_alive(before) && is_alive(pid(sandbox, "a", &session, "peer")));
    assert_eq!(sandbox.state_of("i", &session), "running");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn an_initiator_whose_program_ends_by_itself_ends_the_session() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("brief", &Role::new(ENDS_WHEN_TOLD), &stays());
    let _serving = parties.serve_all();
    let session = parties.running("brief");
    let program = pid(sandbox, "a", &session, "peer");
    fs::write(data(sandbox, "i", &session, "host").join("end"), "").expect("told to end");
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
    assert!(!is_alive(program), "the peer's program has ended, too");
}

#[test]
fn a_session_ends_by_itself_at_its_end_time() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let more = ["--peer", "a", "--peer", "b", "--answer-within", "4s", "--lasts", "15s"];
    let session = parties.request("stays", &more);
    for node in ["p", "i", "a", "b"] {
        let status = sandbox.wait(node, &session, "over", |status| status["over"] == true);
        assert_eq!(status["state"], "closed", "{status:#}");
        assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("end time")), "{status:#}");
    }
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
}

#[test]
fn a_peer_leaves_alone_and_the_provider_can_end_it_all() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let session = parties.request("stays", &["--peer", "a", "--peer", "b", "--quorum", "any", "--wait", "running"]);
    sandbox.wait("p", &session, "b is ready", |status| state_of(status, "b") == "confirmed");
    sandbox.run("b", &["stop", &session, "--reason", "supper"]).ok();
    sandbox.wait("b", &session, "over", |status| status["over"] == true);
    sandbox.wait("p", &session, "b has gone", |status| ["left", "removed"].contains(&state_of(status, "b").as_str()));
    for node in ["p", "i", "a"] {
        assert_eq!(sandbox.state_of(node, &session), "running");
    }
    sandbox.run("p", &["stop", &session, "--reason", "closing time"]).ok();
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
    for node in ["i", "a"] {
        assert!(sandbox.status(node, &session)["reason"].as_str().is_some_and(|why| why.contains("closing time")));
    }
}

#[test]
fn a_held_session_waits_for_its_initiators_word() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a", "--hold", "--wait", "delivered"]);
    for who in ["i", "a"] {
        sandbox.wait("p", &session, "installed", |status| state_of(status, who) == "installed");
    }
    assert_eq!(sandbox.wait_state("p", &session, "starting")["participants"][0]["state"], "installed");
    assert!(sandbox.record("a", &session, "peer").is_null(), "nothing runs before the word");
    sandbox.run("i", &["start", &session]).ok();
    parties.all_say(&session, &["p", "i", "a"], "running");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn the_others_go_on_where_a_failure_is_to_be_continued_over() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    // The same script at both peers: it stumbles at one of them.
    parties.offer("mixed", &stays(), &Role::new(&format!("case $DEPLOYCTL_DATA in */a/*)\n{FAILS};; esac\n{STAYS}")));
    let _serving = parties.serve_all();
    let more = ["--peer", "a", "--peer", "b", "--quorum", "any", "--on-failure", "continue"];
    let session = parties.request("mixed", &more);
    parties.all_say(&session, &["p", "i", "b"], "running");
    let status = sandbox.wait("p", &session, "a has failed and is gone", |status| {
        status["participants"][1]["failed"] == true && state_of(status, "a") == "removed"
    });
    assert_eq!(state_of(&status, "b"), "confirmed");
    assert!(!data(sandbox, "a", &session, "guest").exists());
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "b"]);
}

#[test]
fn a_service_that_runs_without_all_of_its_participants_is_partly_done() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let slow = format!("sleep 1\n{STAYS}");
    parties.offer("mixed", &stays(), &Role::new(&format!("case $DEPLOYCTL_DATA in */a/*)\n{FAILS};; esac\n{slow}")));
    let _serving = parties.serve_all();
    let peers = ["request", "mixed", "--provider", "p", "--peer", "a", "--peer", "b"];
    let terms = ["--quorum", "any", "--on-failure", "continue", "--wait", "running"];
    let partly = sandbox.run("i", &[&peers[..], &terms].concat());
    assert_eq!(partly.code, 7, "{partly:#?}");
    let summary: Value = serde_json::from_str(&partly.stdout).expect("the session, which runs");
    assert_eq!((state_of(&summary, "b"), &summary["state"]), ("confirmed".to_owned(), &"running".into()));
    let error: Value = serde_json::from_str(&partly.stderr).expect("an error");
    assert_eq!(error["error"]["code"], "partly-done");
    assert!(error["error"]["message"].as_str().is_some_and(|text| text.contains("not with a ")), "{error:#}");
    sandbox.run("i", &["stop", summary["session"].as_str().expect("a session")]).ok();
}

#[test]
fn a_program_runs_in_the_foreground_for_who_wants_it_so() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a"]);
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    let mut foreground = sandbox.begin("a", &["start", &session, "--foreground"]);
    parties.all_say(&session, &["p", "i", "a"], "running");
    assert!(!foreground.has_ended());
    sandbox.run("i", &["stop", &session]).ok();
    let ended = foreground.finish();
    assert_eq!(ended.code, 0, "{ended:#?}");
    parties.all_is_well(&session, &["p", "i", "a"]);
}

#[test]
fn a_node_comes_back_while_a_supervisor_is_installing() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("stays", &stays(), &stays());
    let mut serving = parties.serve_all();
    let session = parties.running("stays");
    drop(serving.remove(1));
    let installing = sandbox.installed("i", &session, "host").join(".deployctl.lock");
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&installing).expect("its lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("to hold it");
    let _again = parties.serve("i");
    drop(lock);
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
}

#[test]
fn ctrl_c_in_the_foreground_stops_the_program() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a"]);
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    let foreground = sandbox.begin("a", &["start", &session, "--foreground"]);
    parties.all_say(&session, &["p", "i", "a"], "running");
    let program = pid(sandbox, "a", &session, "peer");
    foreground.signal(Signal::INT);
    foreground.finish();
    assert!(!is_alive(program));
    sandbox.run("a", &["remove", &session]).ok();
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i"]);
}
