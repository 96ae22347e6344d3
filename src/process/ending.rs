//! Ending all that belongs to a run.

#![expect(clippy::disallowed_methods, reason = "waits for processes of others, of which nothing else tells")]

use std::time::Duration;

use rustix::process::Signal;

use super::pid::{self, Identity, Member};
use super::record::Record;
use super::spawn::Leader;
use crate::service::definition::Signal as Defined;

/// What lives so long after SIGKILL, in milliseconds, is left alone and named.
pub(super) const KILL_LIMIT_MS: u64 = 5_000;
/// A guard that stays so long after all others, in milliseconds, is killed, too.
pub(super) const GUARD_LIMIT_MS: u64 = 1_000;
/// Between two looks at what is left, in milliseconds.
const NAP_MS: u64 = 20;

/// A program on its way out, with all that it started.
pub(super) struct Ending {
    pub(super) leader: Leader,
    /// Whether its exit has been told.
    pub(super) told: bool,
    /// In elapsed milliseconds.
    pub(super) kill_at_ms: u64,
    pub(super) killed_at_ms: Option<u64>,
    pub(super) next: Next,
}

/// What follows when nothing of it is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start again after a pause that ends then.
    Start { at_ms: u64 },
    /// Nothing more; `Stopped` is told.
    Stopped,
    /// Nothing more, and all has been told.
    Ended,
}

/// Kills what is left of a run that cannot be adopted, as its program ended or its supervisor died while starting it,
/// and takes its record's word for what belongs to it. Blocks until nothing is left, or 5 s; names what is.
pub fn clear(record: &Record) -> Vec<String> {
    let mut spent_ms = if record.boot == pid::boot() { 0 } else { KILL_LIMIT_MS };
    loop {
        let (others, guard) = record.living();
        if (others.is_empty() && guard.is_none()) || spent_ms >= KILL_LIMIT_MS {
            return others.iter().chain(&guard).map(Member::to_string).collect();
        }
        kill(record.child, &others);
        if spent_ms >= GUARD_LIMIT_MS {
            kill(None, guard.as_slice());
        }
        std::thread::sleep(Duration::from_millis(NAP_MS));
        spent_ms += NAP_MS;
    }
}

/// The group at one blow, so that none of it can start more meanwhile; then who left the group.
pub(super) fn kill(leader: Option<Identity>, living: &[Member]) {
    if let Some(leader) = leader {
        leader.signal_group(Signal::KILL);
    }
    for member in living {
        member.identity.signal(Signal::KILL);
    }
}

/// The system's signal.
pub(super) fn signal_of(signal: Defined) -> Signal {
    match signal {
        Defined::Term => Signal::TERM,
        Defined::Int => Signal::INT,
        Defined::Hup => Signal::HUP,
        Defined::Quit => Signal::QUIT,
        Defined::Usr1 => Signal::USR1,
        Defined::Usr2 => Signal::USR2,
        Defined::Kill => Signal::KILL,
    }
}
