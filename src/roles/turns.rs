//! Who of this process's threads may change a session: one at a time, and the others wait to be woken. The lock file
//! behind it keeps other processes out; it can only be asked again and again.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::node::locked;
use crate::model::{Party, SessionId, Span};

/// One party of one session.
type Thing = (SessionId, Party);

/// The sessions that somebody is changing or waits for.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Thing, Arc<Gate>>>);

#[derive(Default)]
struct Gate {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// Held while a session is changed; dropping it lets the next one in.
pub(super) struct Turn(Arc<Gate>);

impl Turns {
    /// Waits until it is this thread's turn, at most `wait`: who holds it longer than that is found out, and named, by
    /// the lock file.
    pub(super) fn take(&self, thing: Thing, wait: Span) -> Turn {
        let gate = Arc::clone(locked(&self.0).entry(thing).or_default());
        let taken = locked(&gate.taken);
        let waited = gate.freed.wait_timeout_while(taken, wait.as_duration(), |taken| *taken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = true;
        Turn(gate)
    }
    /// Forgets the sessions that nobody changes.
    pub(super) fn drop_idle(&self) {
        locked(&self.0).retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *locked(&self.0.taken) = false;
        self.0.freed.notify_one();
    }
}
