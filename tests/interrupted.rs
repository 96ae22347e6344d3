//! Commands that are killed, or meet a full or failing disk, at the calls by which they change something: what they began
//! is complete or undone, the next command says which, and a second try succeeds.
//!
//! Every third call is taken, or every one with `DEPLOYCTL_CALLS=every`.

#![expect(clippy::disallowed_methods, reason = "looks at what commands left, and copies it")]

#[path = "support/built.rs"]
mod built;
#[path = "support/calls.rs"]
mod calls;
#[path = "support/changes.rs"]
mod changes;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Output;

use calls::{Call, Fault, can_trace, record, with_fault};
use changes::{CHANGES, Change, Stage};

/// The calls to try: those that change the node's state, every `stride`th from `from` on.
fn some(calls: &[Call], stage: &Stage, from: usize, stride: usize) -> Vec<Call> {
    let stride = if std::env::var("DEPLOYCTL_CALLS").is_ok_and(|calls| calls == "every") { 1 } else { stride };
    let changing = calls.iter().filter(|call| call.changes() && call.is_in(&stage.state()));
    changing.skip(from % stride).step_by(stride).cloned().collect()
}

/// Tries a fault at calls of every change, and says of all of them how it went.
fn each_change(from: usize, stride: usize, fault: Fault, check: impl Fn(&Stage, &Change, &Call, &Output)) {
    if let Err(why) = can_trace() {
        return needs::skip(&why);
    }
    let stage = Stage::new();
    let (mut tried, mut failed) = (0, Vec::new());
    for change in CHANGES {
        stage.begin(change);
        let calls = record(&stage.command(change), &stage.state());
        stage.is_after(change);
        for call in some(&calls, &stage, from, stride) {
            stage.begin(change);
            let Some(output) = with_fault(&stage.command(change), &call, fault, &stage.state()) else { continue };
            let checked = catch_unwind(AssertUnwindSafe(|| {
                check(&stage, change, &call, &output);
                stage.try_again(change);
            }));
            tried += 1;
            if checked.is_err() {
                failed.push(format!("{}: {fault:?} at {} {}", change.name, call.name, call.nth));
            }
        }
    }
    assert!(tried > 10, "{tried} calls met a fault");
    assert!(failed.is_empty(), "{} of {tried} failed: {failed:#?}", failed.len());
}

#[test]
fn a_command_that_is_killed_at_any_call_is_finished_or_undone_by_the_next_one() {
    each_change(0, 3, Fault::Kill, |_, _, _, killed| assert_ne!(killed.status.code(), Some(0)));
}

#[test]
fn a_full_disk_at_any_call_is_told_and_leaves_nothing_half_done() {
    let fault = Fault::Error("ENOSPC");
    each_change(1, 6, fault, |stage, change, call, output| stage.is_told(change, output, "disk-full", call));
}

#[test]
fn a_failing_disk_at_any_call_is_told_and_leaves_nothing_half_done() {
    let fault = Fault::Error("EIO");
    each_change(2, 6, fault, |stage, change, call, output| stage.is_told(change, output, "io", call));
}
