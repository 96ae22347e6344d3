//! Commands of a session that are killed, or meet a full or failing disk, at the calls by which they change something,
//! while other nodes serve: the same command again comes to the same end.
//!
//! Some calls are taken, or every one with `DEPLOYCTL_CALLS=every`.

#![expect(clippy::disallowed_methods, reason = "looks at what commands left, and copies it")]

#[path = "support/acts.rs"]
mod acts;
#[path = "support/built.rs"]
mod built;
#[path = "support/calls.rs"]
mod calls;
#[path = "support/changes.rs"]
mod changes;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Output;

use acts::{ACTS, Act, Scene};
use calls::{Call, Fault, can_trace, record_first, with_fault};

/// The calls to try: those by which the command's first thread changes the node's state, every `stride`th from `from` on.
fn some(act: &Act, scene: &Scene, from: usize, stride: usize) -> Vec<Call> {
    let stride = if std::env::var("DEPLOYCTL_CALLS").is_ok_and(|calls| calls == "every") { 1 } else { stride };
    let calls = record_first(&scene.command(act)).into_iter();
    let changing = calls.filter(|call| call.changes() && call.is_in(&scene.state(act)));
    changing.skip(from % stride).step_by(stride).collect()
}

/// Tries a fault at calls of every act, and says of all of them how it went. Gives how many they were.
fn each_act(from: usize, stride: usize, fault: Fault, check: impl Fn(&Scene, &Act, &Call, &Output)) -> usize {
    if let Err(why) = can_trace() {
        needs::skip(&why);
        return 0;
    }
    let mut scene = Scene::new();
    let (mut tried, mut failed) = (0, Vec::new());
    let only = std::env::var("DEPLOYCTL_ACT").ok();
    for act in ACTS.iter().filter(|act| only.as_ref().is_none_or(|only| only == act.name)) {
        scene.begin(act);
        let calls = some(act, &scene, from, stride);
        scene.is_whole(act);
        assert!(!calls.is_empty(), "{} changes something", act.name);
        for call in calls {
            scene.begin(act);
            let Some(output) = with_fault(&scene.command(act), &call, fault, &scene.state(act)) else { continue };
            let checked = catch_unwind(AssertUnwindSafe(|| {
                check(&scene, act, &call, &output);
                scene.try_again(act);
            }));
            tried += 1;
            if checked.is_err() {
                failed.push(format!("{}: {fault:?} at {}", act.name, call.shown()));
            }
        }
    }
    assert!(only.is_some() || tried > 10, "{tried} calls met a fault");
    assert!(failed.is_empty(), "{} of {tried} failed: {failed:#?}", failed.len());
    tried
}

#[test]
fn a_command_of_a_session_that_is_killed_at_any_call_comes_to_its_end_the_next_time() {
    let killed = Cell::new(0);
    let tried = each_act(0, 13, Fault::Kill, |scene, act, _, output| match output.status.code() {
        // How often it looks at files before it is done is not the same each time.
        Some(0) => scene.is_whole(act),
        _ => killed.set(killed.get() + 1),
    });
    assert!(killed.get() * 10 >= tried * 9, "{} of {tried} were killed", killed.get());
}

#[test]
fn a_full_disk_at_any_call_of_a_session_is_told_and_leaves_nothing_half_done() {
    let fault = Fault::Error("ENOSPC");
    let _tried = each_act(1, 31, fault, |scene, act, call, output| scene.is_told(act, output, "disk-full", call));
}

#[test]
fn a_failing_disk_at_any_call_of_a_session_is_told_and_leaves_nothing_half_done() {
    let fault = Fault::Error("EIO");
    let _tried = each_act(2, 31, fault, |scene, act, call, output| scene.is_told(act, output, "io", call));
}
