//! The power is cut while a command changes something, or right after it said that it is done: whatever the disk lost of
//! what was not synced, the change is complete or undone, and what was acknowledged is there.
//!
//! Calls are recorded by strace, and a model of a disk says what could be found after each of them. Every fourth call is
//! taken, or every one with `DEPLOYCTL_CALLS=every`.

#![expect(clippy::disallowed_methods, reason = "runs programs, and looks at what they left")]

#[path = "support/built.rs"]
mod built;
#[path = "support/calls.rs"]
mod calls;
#[path = "support/changes.rs"]
mod changes;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use calls::{Call, can_trace, record};
use changes::{CHANGES, Stage};
use deployctl::message::{Envelope, SigningKey};
use deployctl::model::{Party, SessionId, Span, Time};
use deployctl::store::ledger::{Ledger, LedgerLine};
use deployctl::store::log::{RecordKind, SessionLog};
use deployctl::store::state::StateDir;
use disk::{Disk, Found, Item, Survives};

/// Cuts the power before calls of a command, and gives each thing that can be found then once, with the calls that were
/// made and whether all of them were.
fn each_cut(mut disk: Disk, calls: &[Call], folder: &Path, check: impl Fn(&Found, &[Call], bool)) {
    let stride = if std::env::var("DEPLOYCTL_CALLS").is_ok_and(|calls| calls == "every") { 1 } else { 4 };
    let (mut seen, mut changes, mut failed) = (BTreeSet::new(), 0, Vec::new());
    for made in 0..=calls.len() {
        let is_last = made == calls.len();
        let is_change = calls.get(made).is_some_and(|call| call.changes() && call.is_in(folder));
        changes += usize::from(is_change);
        if is_last || (is_change && changes % stride == 0) {
            let seed = made as u64;
            for survives in [Survives::Nothing, Survives::Names, Survives::Data]
                .into_iter()
                .chain([1, 2].map(|n| Survives::Chance(n * 1_000_003 + seed)))
            {
                let found = disk.after(survives);
                if !seen.insert(found.clone()) && !is_last {
                    continue;
                }
                let checked = catch_unwind(AssertUnwindSafe(|| check(&found, &calls[..made], is_last)));
                if checked.is_err() {
                    let next = calls.get(made).map(|call| format!("{} {}", call.name, call.nth));
                    failed.push(format!("before {next:?}, and {survives:?} survives"));
                }
            }
        }
        if let Some(call) = calls.get(made) {
            disk.follow(call);
        }
    }
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), seen.len());
}

#[test]
fn whatever_was_not_synced_may_be_lost_and_a_program_is_whole() {
    if let Err(why) = can_trace() {
        return needs::skip(&why);
    }
    let stage = Stage::new();
    for change in CHANGES {
        stage.begin(change);
        let disk = Disk::of(&stage.state());
        let calls = record(&stage.command(change), &stage.state());
        stage.is_after(change);
        each_cut(disk, &calls, &stage.state(), |found, _, is_last| {
            changes::remove(&stage.state());
            disk::put(found, &stage.state());
            if is_last {
                stage.is_after(change);
            }
            stage.try_again(change);
        });
    }
}

#[test]
fn the_disk_loses_what_nobody_synced_and_keeps_the_rest() {
    if let Err(why) = can_trace() {
        return needs::skip(&why);
    }
    let replace = |file: &str, folder: &str| {
        let place = tempfile::tempdir().expect("a folder");
        fs::write(place.path().join("f"), "old").expect("a file");
        let script = format!(
            "import os, sys\nat = sys.argv[1]\nf = os.open(at + '/g', os.O_WRONLY | os.O_CREAT, 0o600)\n\
             os.write(f, b'new')\n{file}\nos.rename(at + '/g', at + '/f')\n{folder}"
        );
        let mut command = Command::new("python3");
        command.args(["-c", &script]).arg(place.path()).env("PATH", "/usr/bin:/bin");
        let mut disk = Disk::of(place.path());
        record(&command, place.path()).iter().for_each(|call| disk.follow(call));
        let survivals = [Survives::Nothing, Survives::Names, Survives::Data];
        survivals.map(|survives| match disk.after(survives).get(Path::new("f")) {
            Some(Item::File(_, bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        })
    };
    let (file, folder) = ("os.fsync(f)", "os.fsync(os.open(at, os.O_RDONLY))");
    assert_eq!(replace("", ""), ["old", "\0\0\0", "old"]);
    assert_eq!(replace("", folder), ["", "\0\0\0", ""]);
    assert_eq!(replace(file, ""), ["old", "new", "old"]);
    assert_eq!(replace(file, folder), ["new"; 3]);
}

const SESSION: SessionId = SessionId::from_bytes([9; 16]);
const WAIT: Span = Span::from_secs(60);
/// What a step brings.
const STEPS: u64 = 4;

#[test]
fn what_a_log_and_a_ledger_acknowledged_survives_and_they_go_on() {
    if let Err(why) = can_trace() {
        return needs::skip(&why);
    }
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path().join("s");
    StateDir::open(&root, true).expect("a state directory");
    let disk = Disk::of(&root);
    // This test's program again, told below to write.
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "write_to_a_log_and_a_ledger", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("STATE_TO_WRITE_TO", &root).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let calls = record(&command, &root);
    let told = |calls: &[Call], what: &str| {
        let said = |call: &&Call| {
            let text = call.args.get(1).and_then(|arg| arg.text.as_deref()).unwrap_or_default();
            call.name == "write" && call.args[0].word == "1" && text.starts_with(what.as_bytes())
        };
        calls.iter().filter(said).count()
    };
    assert_eq!((told(&calls, "logged"), told(&calls, "accounted")), (4, 4));
    each_cut(disk, &calls, &root, |found, made, _| {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().join("s");
        disk::put(found, &root);
        let state = StateDir::open(&root, false).expect("the state directory");
        let mut log = SessionLog::open(&state, SESSION, Party::Peer, WAIT).expect("a log");
        let records = if log.head().seq == 0 { 0 } else { log.read_all().expect("records").len() };
        assert!(records % 2 == 0 && records >= told(made, "logged") * 2, "{records} records");
        log.append(Time::from_unix_ms(1), &step()).expect("it goes on");
        let ledger = Ledger::of(&state, SESSION);
        let lines = ledger.read().expect("a ledger").lines.len();
        assert!(lines >= told(made, "accounted"), "{lines} lines");
        ledger.append(&line(STEPS + 1)).expect("it goes on");
        assert_eq!(ledger.read().expect("a ledger").lines.len(), lines + 1);
    });
}

#[test]
#[ignore = "started by the test above, as another process"]
fn write_to_a_log_and_a_ledger() {
    let Some(root) = std::env::var_os("STATE_TO_WRITE_TO") else { return };
    let state = StateDir::open(Path::new(&root), false).expect("a state directory");
    println!();
    for number in 1..=STEPS {
        let mut log = SessionLog::open(&state, SESSION, Party::Peer, WAIT).expect("a log");
        log.append(Time::from_unix_ms(1), &step()).expect("a step");
        println!("logged {number}");
        Ledger::of(&state, SESSION).append(&line(number)).expect("a line");
        println!("accounted {number}");
    }
}

/// Two records of several blocks.
fn step() -> [(RecordKind, String); 2] {
    [RecordKind::Received, RecordKind::Sent].map(|kind| (kind, "x".repeat(6_000)))
}

fn line(sequence: u64) -> LedgerLine {
    let signer = SigningKey::from_seed(&[1; 32]).expect("a key");
    let seal = |text: String| Envelope::seal("text/plain", text.repeat(300).into_bytes(), &signer);
    LedgerLine { sequence, accounting: seal(format!("used {sequence}")), receipt: seal(format!("got {sequence}")) }
}
