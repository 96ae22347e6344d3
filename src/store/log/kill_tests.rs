//! A process that is killed while it appends: what it told is in the log, and the log goes on.
#![expect(clippy::disallowed_methods, reason = "tests start processes")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const WAIT: Span = Span::from_secs(60);
const PARTY: Party = Party::Peer;
const SESSION: SessionId = SessionId::from_bytes([9; 16]);
/// Kills; each after another number of steps.
const KILLS: u64 = 12;

#[test]
fn what_a_killed_process_told_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("s");
    let state = StateDir::open(&root, true).unwrap();
    for kill in 0..KILLS {
        // This test's program again, told below to append until it is killed.
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::log::kill_tests::append_until_killed", "--ignored", "--nocapture"])
            .env("STATE_TO_APPEND_TO", &root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
        let mut told = 0;
        let mut numbers = lines.by_ref().filter_map(|line| line.strip_prefix("told ")?.parse::<u64>().ok());
        for _ in 0..=kill * 3 {
            told = numbers.next().unwrap();
        }
        child.kill().unwrap();
        told = numbers.last().unwrap_or(told);
        child.wait().unwrap();
        let log = SessionLog::open(&state, SESSION, PARTY, WAIT).unwrap();
        let records = log.read_all().unwrap();
        assert!(records.len() as u64 >= told, "kill {kill}: {} records, {told} were told", records.len());
        assert_eq!(records.last().unwrap().part, (3, 3));
    }
}

#[test]
#[ignore = "started by the test above, as another process"]
fn append_until_killed() {
    let Some(root) = std::env::var_os("STATE_TO_APPEND_TO") else { return };
    let state = StateDir::open(Path::new(&root), false).unwrap();
    let body = "x".repeat(10_000);
    println!();
    loop {
        let mut log = SessionLog::open(&state, SESSION, PARTY, WAIT).unwrap();
        let step = [RecordKind::Received, RecordKind::Sent, RecordKind::Timer].map(|kind| (kind, &body));
        log.append(Time::from_unix_ms(1), &step).unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "told {}", log.head().seq).unwrap();
        out.flush().unwrap();
    }
}
