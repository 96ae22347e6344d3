//! The fixture `chat`: compiled at build time, and a room for those who were invited and nobody else.

#![expect(clippy::disallowed_methods, reason = "builds, listens and knocks from outside")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/network.rs"]
mod network;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use network::{Network, ip_of};
use parties::{Parties, WELCOME};
use sandbox::{Sandbox, Serving, free_port, read, until};

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services");

/// Provider, Initiator and two peers, in a room.
struct Room {
    parties: Parties,
    session: String,
    port: u16,
    _serving: Vec<Serving>,
}

impl Room {
    fn open(parties: Parties, settings: &str, port: u16) -> Self {
        parties.sandbox.configure("p", settings);
        let serving = parties.serve_fixtures();
        let port_option = format!("port={port}");
        let peers = ["--peer", "a", "--peer", "b", "--quorum", "any", "--wait", "running"];
        let options = ["--set", &port_option, "--set", "greeting=Hello, all."];
        let session = parties.request("chat", &[peers.as_slice(), &options].concat());
        let room = Self { parties, session, port, _serving: serving };
        for peer in ["a", "b"] {
            until(&format!("{peer} is in the room"), || room.heard(peer).contains("* Hello, all.\n"));
        }
        room
    }
    fn root(&self, node: &str) -> PathBuf {
        self.parties.sandbox.installed(node, &self.session, if node == "i" { "host" } else { "guest" })
    }
    fn heard(&self, node: &str) -> String {
        read(&self.root(node).join("data/heard.txt"))
    }
    /// Appends a line for the program to say, as a person does.
    fn say(&self, node: &str, line: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.root(node).join("data/say.txt")).expect("a desk");
        writeln!(file, "{line}").expect("a line");
    }
    fn all_hear(&self, nodes: &[&str], line: &str) {
        for node in nodes {
            until(&format!("{node} hears “{line}”"), || self.heard(node).lines().any(|heard| heard == line));
        }
    }
    fn end(self) {
        self.parties.sandbox.run("i", &["stop", &self.session]).ok();
        self.parties.all_is_well(&self.session, &network::NODES);
    }
}

#[test]
fn a_line_goes_from_guest_to_guest_through_the_host_over_three_machines() {
    let Some(settings) = needs::rust() else { return };
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => {
            println!("skipped: network namespaces cannot be made here (they need root and iproute2): {why}");
            return;
        }
    };
    let mut sandbox = Sandbox::new();
    sandbox.around = network::on;
    let parties = Parties::placed(sandbox, WELCOME, |node| format!("{}:4800", ip_of(node)));
    let room = Room::open(parties, &settings, 4750);
    room.say("a", "Tea, anyone?");
    room.all_hear(&["i", "a", "b"], "a: Tea, anyone?");
    room.say("i", "With milk\u{1b}[2J, please.");
    room.all_hear(&["i", "a", "b"], "i: With milk [2J, please.");
    room.end();
    drop(network);
}

/// A kept copy of a guest's program and of what it was given, as one may take who means ill.
struct Copy {
    folder: tempfile::TempDir,
    name: &'static str,
    port: u16,
}

impl Copy {
    fn of(room: &Room, name: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let given = room.parties.sandbox.state(name).join("run").join(format!("{}.peer", room.session)).join("given");
        fs::copy(room.root(name).join("current/bin/chat"), folder.path().join("chat")).expect("the program");
        fs::copy(given.join("secret"), folder.path().join("secret")).expect("the secret");
        Self { folder, name, port: room.port }
    }
    fn knock(&self) -> Output {
        let mut command = Command::new(self.folder.path().join("chat"));
        command.arg("guest").env_clear().env("DEPLOYCTL_DATA", self.folder.path());
        command.env("DEPLOYCTL_SECRET_FILE", self.folder.path().join("secret")).env("DEPLOYCTL_NAME", self.name);
        command.env("CHAT_ROOM", "lobby").env("CHAT_HOST", "127.0.0.1").env("CHAT_PORT", self.port.to_string());
        command.output().expect("it runs")
    }
}

/// What the host says to somebody who makes the proof up.
fn guess(port: u16, name: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a room");
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    writeln!(stream, "chat/1 {name} {:064}", 1).expect("a hello");
    let challenge = lines.next().expect("an answer").expect("a line");
    assert_eq!(challenge.split(' ').map(str::len).collect::<Vec<_>>(), [64, 64], "{challenge}");
    // The host's own proof does not do, either.
    let proof = challenge.split(' ').next_back().expect("a proof");
    writeln!(stream, "{proof}").expect("a guess");
    lines.next().expect("an answer").expect("a line")
}

#[test]
fn a_stranger_and_a_guest_that_left_are_not_let_in() {
    let Some(settings) = needs::rust() else { return };
    let room = Room::open(Parties::new(), &settings, free_port());
    assert_eq!(guess(room.port, "a"), "refused you do not know this session's secret");
    let copy = Copy::of(&room, "a");
    let unknown = Copy { name: "mallory", ..Copy::of(&room, "b") };
    let refused = String::from_utf8_lossy(&unknown.knock().stderr).into_owned();
    assert_eq!(refused, "guest: mallory takes no part in this session, or not any more\n");

    room.say("a", "Bye.");
    room.all_hear(&["b"], "a: Bye.");
    room.parties.sandbox.run("a", &["stop", &room.session]).ok();
    room.all_hear(&["i", "b"], "* a is gone");
    until("the host knows that a has left", || {
        let refused = copy.knock();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        String::from_utf8_lossy(&refused.stderr) == "guest: a takes no part in this session, or not any more\n"
    });
    room.say("b", "Still here.");
    room.all_hear(&["i", "b"], "b: Still here.");
    room.end();
}

/// The digest of the program built from a copy of the definition in `folder`.
fn built(folder: &Path, settings: &str, umask: &str) -> serde_json::Value {
    let (service, state) = (folder.join("chat"), folder.join("state"));
    let mut copied = Command::new("cp");
    copied.args(["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services/chat")]);
    assert!(copied.arg(&service).status().expect("cp runs").success());
    fs::create_dir(&state).expect("a state directory");
    fs::write(state.join("config.toml"), settings).expect("settings");
    let line = format!("umask {umask}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &line, "sh", env!("CARGO_BIN_EXE_deployctl"), "--format", "json", "--state"]).arg(&state);
    command.args(["build", "--role", "guest", "--service"]).arg(&service).arg("--output").arg(folder.join("out"));
    let output = command.env("TMPDIR", folder).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    built["package"]["digest"].clone()
}

#[test]
fn the_same_sources_compile_to_the_same_bytes_wherever_they_are() {
    let Some(settings) = needs::rust() else { return };
    let here = tempfile::tempdir().expect("a folder");
    let there = here.path().join("another/and/longer");
    fs::create_dir_all(&there).expect("a folder");
    assert_eq!(built(here.path(), &settings, "022"), built(&there, &settings, "077"));
}

#[test]
fn its_own_tests_pass() {
    if needs::rust().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("tests");
    let source = Path::new(SERVICES).join("chat/src/chat.rs");
    let compiled = Command::new("rustc").args(["--edition", "2024", "--test", "-o"]).arg(&program).arg(source).output();
    let compiled = compiled.expect("rustc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let tested = Command::new(program).output().expect("it runs");
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.status.success() && said.contains("hmac_is_that_of_rfc_4231 ... ok"), "{said}");
}
