//! `kill -9` of every party and process at every step of a session: started again, it ends as it would have.

#![expect(clippy::disallowed_methods, reason = "tells the services' programs what to do by files")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use parties::Parties;
use rustix::process::Signal;
use sandbox::{Sandbox, Serving, is_alive, signal, until};
use serde_json::Value;
use services::{Role, STAYS};

const ALL: [&str; 4] = ["p", "i", "a", "b"];
/// Bytes of software that take a while to build, to fetch and to install.
const HEAVY: usize = 24 << 20;
/// Ready as soon as a file says so.
const WAITS: &str = "while [ ! -e \"$DEPLOYCTL_DATA/go\" ]; do sleep 0.05; done\necho up\nexec sleep 600\n";
/// Takes its time to end.
const LINGERS: &str = "trap 'sleep 1; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n";

/// The nodes that serve.
struct Stage<'p> {
    parties: &'p Parties,
    serving: BTreeMap<&'static str, Serving>,
}

impl<'p> Stage<'p> {
    fn new(parties: &'p Parties) -> Self {
        Self { parties, serving: ALL.into_iter().map(|node| (node, parties.serve(node))).collect() }
    }
    fn kill(&mut self, node: &'static str) {
        self.serving.remove(node).expect("it serves").kill();
    }
    fn again(&mut self, node: &'static str) {
        self.serving.insert(node, self.parties.serve(node));
    }
    fn kill_and_again(&mut self, node: &'static str) {
        self.kill(node);
        self.again(node);
    }
}

fn party(node: &str) -> (&'static str, &'static str) {
    if node == "i" { ("initiator", "host") } else { ("peer", "guest") }
}

/// The process that the run record of a role names.
fn pid(sandbox: &Sandbox, node: &str, session: &str, which: &str) -> i32 {
    let mut pid = 0;
    until(&format!("{node} has a {which}"), || {
        let record = sandbox.record(node, session, party(node).0);
        pid = record[which]["pid"].as_i64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        pid != 0 && is_alive(pid)
    });
    pid
}

fn kill_pid(sandbox: &Sandbox, node: &str, session: &str, which: &str) -> i32 {
    let pid = pid(sandbox, node, session, which);
    signal(pid, Signal::KILL);
    until("it is gone", || !is_alive(pid));
    pid
}

fn data(sandbox: &Sandbox, node: &str, session: &str) -> PathBuf {
    sandbox.state(node).join("installs").join("sessions").join(session).join(party(node).1).join("data")
}

/// Nothing works in the sandbox but the four nodes.
fn nothing_is_left(sandbox: &Sandbox) {
    until("nothing but the nodes runs", || sandbox.processes().len() == ALL.len());
}

/// So much that building, fetching and installing it can be interrupted.
fn put_weight(folder: &Path, size: usize) {
    let mut noise = 1_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_be_bytes()[0]
    })
    .take(size)
    .collect();
    for role in ["host", "guest"] {
        fs::write(folder.join(role).join("weight"), &bytes).expect("a heavy file");
    }
}

fn end(parties: &Parties, session: &str) {
    parties.sandbox.run("i", &["stop", session]).ok();
    parties.all_is_well(session, &ALL);
    nothing_is_left(&parties.sandbox);
}

#[test]
fn while_it_is_registered_and_the_invitations_are_out() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let mut stage = Stage::new(&parties);
    let session = parties.request("stays", &["--peer", "a", "--peer", "b"]);
    for node in ["p", "i", "a"] {
        stage.kill_and_again(node);
    }
    for node in ["a", "b"] {
        until("it is invited", || sandbox.run(node, &["status", &session]).code == 0);
    }
    sandbox.run("a", &["accept", &session, "--yes"]).ok();
    stage.kill_and_again("a");
    stage.kill("p");
    sandbox.run("b", &["accept", &session, "--yes"]).fails(5, "unreachable");
    stage.kill_and_again("b");
    stage.again("p");
    parties.all_say(&session, &ALL, "running");
    end(&parties, &session);
}

#[test]
fn while_it_is_built_and_delivered() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let folder = parties.offer("heavy", &Role::new(STAYS), &Role::new(STAYS));
    put_weight(&folder, HEAVY);
    let mut stage = Stage::new(&parties);
    let session = parties.request("heavy", &["--peer", "a", "--peer", "b"]);
    sandbox.wait("p", &session, "building", |status| status["state"] != "inviting" && status["state"] != "registered");
    stage.kill_and_again("p");
    let fetches = |node: &str| {
        let packages = sandbox.state(node).join("packages");
        fs::read_dir(packages).is_ok_and(|mut folder| folder.next().is_some())
    };
    for node in ["i", "a"] {
        until("it fetches", || fetches(node));
        stage.kill_and_again(node);
    }
    stage.kill_and_again("p");
    parties.all_say(&session, &ALL, "running");
    end(&parties, &session);
}

#[test]
fn while_it_starts() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let waits = Role::new(WAITS).ready("{ output = \"up\", within = \"60s\" }");
    parties.offer("waits", &waits, &waits);
    let mut stage = Stage::new(&parties);
    let session = parties.request("waits", &["--peer", "a", "--peer", "b"]);
    sandbox.wait_state("p", &session, "starting");
    let programs = ["i", "a", "b"].map(|node| (node, pid(sandbox, node, &session, "child")));
    kill_pid(sandbox, "a", &session, "supervisor");
    for node in ["p", "i", "a"] {
        stage.kill_and_again(node);
    }
    kill_pid(sandbox, "i", &session, "supervisor");
    for node in ["i", "a", "b"] {
        fs::write(data(sandbox, node, &session).join("go"), "").expect("the word");
    }
    parties.all_say(&session, &ALL, "running");
    for (node, program) in programs {
        assert_eq!(pid(sandbox, node, &session, "child"), program, "the program of {node} was kept");
    }
    end(&parties, &session);
}

#[test]
fn while_it_runs() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let stays = Role::new(STAYS).restart("on-failure");
    parties.offer("stays", &stays, &stays);
    let mut stage = Stage::new(&parties);
    let session = parties.running("stays");
    // A program alone: its supervisor starts it again. A supervisor alone: the next one takes its program over.
    let fallen = kill_pid(sandbox, "a", &session, "child");
    until("it is started again", || pid(sandbox, "a", &session, "child") != fallen);
    let kept = pid(sandbox, "i", &session, "child");
    let supervisor = kill_pid(sandbox, "i", &session, "supervisor");
    until("another supervisor", || pid(sandbox, "i", &session, "supervisor") != supervisor);
    assert_eq!(pid(sandbox, "i", &session, "child"), kept);
    // Both at once, and the nodes' own processes, one by one and all together.
    kill_pid(sandbox, "b", &session, "supervisor");
    let fallen = kill_pid(sandbox, "b", &session, "child");
    until("both are there again", || pid(sandbox, "b", &session, "child") != fallen);
    for node in ALL {
        stage.kill_and_again(node);
    }
    sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=3"]).ok();
    ALL.into_iter().for_each(|node| stage.kill(node));
    ALL.into_iter().for_each(|node| stage.again(node));
    parties.all_say(&session, &ALL, "running");
    end(&parties, &session);
}

#[test]
fn while_it_is_built_again() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let stays = Role::new(STAYS).restart("on-failure");
    let folder = parties.offer("stays", &stays, &stays);
    put_weight(&folder, HEAVY / 4);
    let mut stage = Stage::new(&parties);
    let session = parties.running("stays");
    let command = sandbox.begin("p", &["build", &session]);
    let rollout = |state: &'static str| move |status: &Value| status["rollout"]["state"] == state;
    sandbox.wait("p", &session, "it is built", |status| status["rollout"].is_object());
    // The command that asked for it, and the provider while it builds.
    command.signal(Signal::KILL);
    stage.kill_and_again("p");
    sandbox.wait("p", &session, "it is delivered", rollout("delivering"));
    let update = |node: &str| {
        let data = data(sandbox, node, &session);
        data.with_file_name("generations").join("2").exists()
    };
    let has_taken_over = |node: &str| sandbox.status(node, &session)["participants"][0]["generation"] == 2;
    // The Initiator's node while it fetches and installs, and its supervisor while one generation follows the other.
    stage.kill_and_again("i");
    until("it is installed beside", || update("i"));
    stage.kill("i");
    if sandbox.record("i", &session, "initiator").is_object() && !has_taken_over("i") {
        kill_pid(sandbox, "i", &session, "supervisor");
    }
    stage.again("i");
    // A peer's node and all that it runs.
    until("it is installed beside", || update("a"));
    stage.kill("a");
    for which in ["supervisor", "child"] {
        let pid = sandbox.record("a", &session, "peer")[which]["pid"].as_i64().and_then(|pid| pid.try_into().ok());
        pid.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
    stage.kill_and_again("p");
    stage.again("a");
    sandbox.wait("p", &session, "everybody has it", rollout("delivered"));
    let status = sandbox.wait("i", &session, "everybody runs it", |status| {
        let all = status["participants"].as_array().expect("participants");
        all.iter().all(|one| one["generation"] == 2 && one["state"] == "confirmed")
    });
    assert_eq!(status["state"], "running");
    end(&parties, &session);
}

#[test]
fn while_it_ends() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer("lingers", &Role::new(LINGERS), &Role::new(LINGERS));
    let mut stage = Stage::new(&parties);
    let session = parties.running("lingers");
    for node in ["a", "b"] {
        sandbox.wait_state(node, &session, "running");
    }
    let stopping = sandbox.begin("i", &["stop", &session]);
    for node in ["p", "a"] {
        sandbox.wait(node, &session, "it ends", |status| status["state"] == "terminating" || status["over"] == true);
        stage.kill_and_again(node);
    }
    stage.kill_and_again("i");
    if sandbox.record("b", &session, "peer").is_object() {
        kill_pid(sandbox, "b", &session, "supervisor");
    }
    let code = stopping.finish().code;
    assert!(code == 0 || code == 5, "{code}");
    parties.all_is_well(&session, &ALL);
    nothing_is_left(sandbox);
}
