//! The sessions that a running node works on: a driver each, woken at every change.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::drive::ByHand;
use super::inbox::Inboxes;
use super::node::{Node, blocking, locked};
use super::patches::Patches;
use crate::model::{Code, Event, Key, Party, Result, SessionId, Time};
use crate::store::file;

/// The longest sleep of a session's driver: clocks jump, and other processes may forget to poke.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The sessions at work, and the drivers' bells.
pub(super) struct Live {
    pub(super) node: Arc<Node>,
    pub(super) inboxes: Inboxes,
    sessions: Mutex<HashMap<(SessionId, Party), Arc<Notify>>>,
    /// Rung at every change, for polls that wait.
    pub(super) changed: Notify,
    pub(super) patches: Patches,
    /// Sessions that had come to rest when their logs were so long, in bytes.
    at_rest: Mutex<HashMap<(SessionId, Party), u64>>,
}

impl Live {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let now_ms = u64::try_from(node.system.now().unix_ms()).unwrap_or(0);
        Self {
            node,
            inboxes: Inboxes::new(now_ms),
            sessions: Mutex::default(),
            changed: Notify::new(),
            patches: Patches::default(),
            at_rest: Mutex::default(),
        }
    }
    /// Wakes the driver of a session, or starts one.
    pub(super) fn ring(self: &Arc<Self>, session: SessionId, party: Party) {
        {
            let mut sessions = locked(&self.sessions);
            if let Some(bell) = sessions.get(&(session, party)) {
                bell.notify_one();
            } else {
                let bell = Arc::new(Notify::new());
                sessions.insert((session, party), Arc::clone(&bell));
                tokio::spawn(drive_on(Arc::clone(self), session, party, bell));
            }
        }
        // Last: a poll that wakes looks at the sessions that are known by now.
        self.changed.notify_waiters();
    }
    /// Finds sessions that are live and have no driver: after a start, or where nobody could tell of them.
    pub(super) fn look_around(self: &Arc<Self>) -> Result<()> {
        self.node.put_down_idle(&self.keys());
        for (session, parties) in blocking(|| self.node.state.find_sessions())? {
            for party in parties {
                let length = file::length_of(&self.node.state.session_log(session, party))?;
                let known = locked(&self.sessions).contains_key(&(session, party));
                if known || locked(&self.at_rest).get(&(session, party)) == Some(&length) {
                    continue;
                }
                match blocking(|| self.node.projection(session, party)) {
                    Ok(projection) if projection.live => self.ring(session, party),
                    Ok(_) => drop(locked(&self.at_rest).insert((session, party), length)),
                    Err(error) => {
                        self.node
                            .notice(format!("session {} as {party} cannot be looked at: {error}", session.short()));
                        locked(&self.at_rest).insert((session, party), length);
                    }
                }
            }
        }
        Ok(())
    }
    pub(super) fn keys(&self) -> BTreeSet<(SessionId, Party)> {
        locked(&self.sessions).keys().copied().collect()
    }
    /// Someone is there again: what waits for it goes out now.
    pub(super) fn heard(&self, key: Key) {
        if self.node.heard_from(key) {
            for (session, party) in self.keys() {
                self.node.poke(session, party);
            }
        }
    }
}

/// One session's driver: works, then sleeps until something happens. Ends when nothing is left to do.
async fn drive_on(live: Arc<Live>, session: SessionId, party: Party, bell: Arc<Notify>) {
    let node = &live.node;
    loop {
        let next = match node.drive(session, party, ByHand::default()).await {
            Ok(Some(at)) => Some(at),
            Ok(None) => {
                locked(&live.sessions).remove(&(session, party));
                node.drop_locks(session, party);
                return;
            }
            Err(error) if error.code == Code::NotFound => {
                locked(&live.sessions).remove(&(session, party));
                return;
            }
            Err(error) => {
                node.emit(Event::Step { session, party, text: format!("cannot go on: {error}") });
                None
            }
        };
        let sleep = sleep_until(next, node.system.now());
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// How long to sleep until `at`, within bounds.
fn sleep_until(at: Option<Time>, now: Time) -> Duration {
    at.map_or(LONGEST_SLEEP, |at| at.since(now).as_duration()).min(LONGEST_SLEEP)
}
