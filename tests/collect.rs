//! The fixture `collect`: readings of two peers in one CSV, nothing else in it, and each row accounted for exactly once.

#![expect(clippy::disallowed_methods, reason = "knocks, kills and reads from outside")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use parties::Parties;
use rustix::process::Signal;
use sandbox::{Serving, free_port, read, signal, until};

struct Collection {
    parties: Parties,
    session: String,
    port: u16,
    _serving: Vec<Serving>,
}

impl Collection {
    fn begin() -> Self {
        let parties = Parties::new();
        // What was collected is looked at after the end.
        parties.sandbox.configure("i", "[policy]\nremove = \"ask\"\n[accounting]\ninterval = \"1s\"\n");
        let serving = parties.serve_fixtures();
        let port = free_port();
        let (port_option, peers) = (format!("port={port}"), ["--peer", "a", "--peer", "b", "--quorum", "any"]);
        let options = ["--wait", "running", "--set", &port_option, "--set", "every=0.1"];
        let session = parties.request("collect", &[peers, options].concat());
        Self { parties, session, port, _serving: serving }
    }
    /// The rows of the CSV, each looked at for what it is.
    fn rows(&self) -> Vec<Vec<String>> {
        let text = read(&self.parties.sandbox.installed("i", &self.session, "collector").join("data/readings.csv"));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("name,taken_ms,load,memory_kib,available_kib,uptime_s"));
        let rows: Vec<Vec<_>> = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
        for row in &rows {
            assert_eq!(row.len(), 6, "{row:?}");
            assert!(["a", "b"].contains(&row[0].as_str()), "{row:?}");
            assert!(row[1..].iter().all(|value| value.parse::<f64>().is_ok_and(|number| number >= 0.0)), "{row:?}");
        }
        rows
    }
    fn wait_for_more(&self) {
        let count = |name: &str| self.rows().iter().filter(|row| row[0] == name).count();
        for peer in ["a", "b"] {
            let before = count(peer);
            until(&format!("more readings of {peer}"), || count(peer) > before + 1);
        }
    }
    /// What the collector answers to a line.
    fn post(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a collector");
        writeln!(stream, "{line}").expect("a line");
        BufReader::new(stream).lines().next().expect("an answer").expect("a line")
    }
    /// A line with the code that only participants can make.
    fn sealed(&self, text: &str) -> String {
        let given =
            self.parties.sandbox.state("a").join("run").join(format!("{}.peer", self.session)).join("given/secret");
        let secret = fs::read_to_string(given).expect("the session's secret");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.trim().as_bytes());
        format!("{} {text}", HEXLOWER.encode(hmac::sign(&key, text.as_bytes()).as_ref()))
    }
    fn end(&self) {
        self.parties.sandbox.run("i", &["stop", &self.session]).ok();
        let closed = |node: &str| self.parties.sandbox.run(node, &["account", &self.session]).ok()["closed"] == true;
        until("the account is closed", || closed("i") && closed("p"));
    }
    /// The readings that a node's statement charges.
    fn charged(&self, node: &str) -> String {
        let statement = self.parties.sandbox.run(node, &["account", &self.session]).ok();
        let lines = statement["lines"].as_array().expect("lines");
        let line = lines.iter().find(|line| line["meter"] == "reading").expect("readings");
        line["amount"].as_str().expect("an amount").to_owned()
    }
}

fn reading(name: &str, taken: &str) -> String {
    format!(
        r#"{{"name": {name}, "taken_ms": {taken}, "load": 0.5, "memory_kib": 9, "available_kib": 5, "uptime_s": 1.5}}"#
    )
}

#[test]
fn the_statement_charges_the_rows_of_the_csv_whoever_is_killed() {
    if !needs::has(&["python3"]) {
        return;
    }
    let collection = Collection::begin();
    collection.wait_for_more();
    let record = || collection.parties.sandbox.record("i", &collection.session, "initiator");
    let pid = |of: &str| {
        let pid = record()[of]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no pid of the {of} in {:#}", record()))
    };
    for _ in 0..3 {
        signal(pid("child"), Signal::KILL);
        collection.wait_for_more();
    }
    let before = pid("supervisor");
    signal(before, Signal::KILL);
    until("another supervisor", || record()["supervisor"]["pid"].as_i64().is_some_and(|now| now != i64::from(before)));
    collection.wait_for_more();
    collection.end();
    let rows = collection.rows();
    let known: BTreeSet<_> = rows.iter().map(|row| (&row[0], &row[1])).collect();
    assert_eq!(known.len(), rows.len(), "no reading is there twice");
    for node in ["i", "p"] {
        assert_eq!(collection.charged(node), rows.len().to_string(), "{node}");
    }
    collection.parties.sandbox.run("i", &["remove", &collection.session]).ok();
    collection.parties.all_is_well(&collection.session, &["p", "i", "a", "b"]);
}

#[test]
fn only_readings_of_participants_that_are_well_made_come_into_the_csv() {
    if !needs::has(&["python3"]) {
        return;
    }
    let collection = Collection::begin();
    collection.wait_for_more();
    let good = reading("\"a\"", "1");
    let stranger = format!("{} {good}", "0".repeat(64));
    for line in [stranger.as_str(), "", "GET / HTTP/1.0", &good, "\u{e9}"] {
        assert_eq!(collection.post(line), "refused: you do not know this session's secret", "{line}");
    }
    let rows = collection.rows();
    let mine: u64 = rows.iter().rev().find(|row| row[0] == "a").expect("a row")[1].parse().expect("a time");
    let soon = (mine + 3_600_000).to_string();
    for (name, taken) in [
        ("\"mallory\"", soon.as_str()),
        ("\"i\"", &soon),
        ("\"../present/a\"", &soon),
        ("\"a,b\"", &soon),
        (r#""a\n1,2""#, &soon),
        ("7", &soon),
        ("[]", &soon),
        ("\"a\"", "-1"),
        ("\"a\"", "1.5"),
        ("\"a\"", "true"),
        ("\"a\"", "NaN"),
        ("\"a\"", "1e999"),
        ("\"a\"", "\"=1+1\""),
        ("\"a\"", "999999999999999999999"),
    ] {
        let answer = collection.post(&collection.sealed(&reading(name, taken)));
        assert!(answer.starts_with("refused: "), "{name} {taken}: {answer}");
    }
    for text in ["{}", "[]", "null", "x", &reading("\"a\"", &soon).replace("load", "lead"), &"[".repeat(900)] {
        let answer = collection.post(&collection.sealed(text));
        assert!(answer.starts_with("refused: "), "{text}: {answer}");
    }
    // A repeat is acknowledged, so that its sender goes on, and not taken.
    let repeat = collection.sealed(&reading("\"a\"", &mine.to_string()));
    assert!(collection.post(&repeat).ends_with(&format!(" taken {mine}")));
    let rows = collection.rows();
    assert_eq!(rows.iter().filter(|row| row[0] == "a" && row[1] == mine.to_string()).count(), 1);
    assert!(rows.iter().all(|row| row[4] != "5"), "nothing of what was made up here is in it");

    // Who has left is refused, though it knows the secret.
    let made_up = collection.sealed(&reading("\"a\"", &soon));
    collection.parties.sandbox.run("a", &["stop", &collection.session]).ok();
    let gone = collection.parties.sandbox.state("i").join("run").join(format!("{}.initiator", collection.session));
    until("the collector knows that a has left", || !gone.join("given/present/a").exists());
    assert_eq!(collection.post(&made_up), "refused: 'a' takes no part in this session, or not any more");
    collection.end();
    assert_eq!(collection.charged("p"), collection.rows().len().to_string());
}
