//! What is told of sessions while they go on: each change once, whichever process of this node brought it about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::node::{Node, locked};
use crate::model::{Event, Key, ParticipantState, Party, SessionId, SessionState};
use crate::session::Summary;

/// What was told last of each session.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<(SessionId, Party), Standing>>);

struct Standing {
    state: SessionState,
    participants: BTreeMap<Key, ParticipantState>,
}

impl Standing {
    fn of(summary: &Summary) -> Self {
        let participants = summary.participants.iter().map(|who| (who.key, who.state)).collect();
        Self { state: summary.state, participants }
    }
}

impl Node {
    /// Tells what is new since `before`, as the log had it then; nothing before it: everything.
    pub(super) fn tell_since(&self, before: Option<&Summary>, now: &Summary) {
        self.tell_news(before.map(Standing::of), now);
    }
    /// Tells what is new since the last time; for the first time where everybody stands, to those who wait.
    pub(super) fn tell_waiting(&self, now: &Summary) {
        self.tell_news(Some(Standing { state: now.state, participants: BTreeMap::new() }), now);
    }
    fn tell_news(&self, before: Option<Standing>, now: &Summary) {
        let (session, party) = (now.session, now.party);
        let mut told = locked(&self.told.0);
        let before = told.remove(&(session, party)).or(before);
        if before.as_ref().map(|before| before.state) != Some(now.state) {
            self.emit(Event::Session { session, party, state: now.state, reason: now.reason.clone() });
        }
        for who in &now.participants {
            let was = before.as_ref().and_then(|before| before.participants.get(&who.key).copied());
            if was != Some(who.state) {
                let (name, role) = (who.name.clone(), who.role.clone());
                self.emit(Event::Participant { session, party, name, role, state: who.state, was });
            }
        }
        // Of what is over there is little more to come, and a node that serves for long has many of those.
        if !now.over {
            told.insert((session, party), Standing::of(now));
        }
    }
}
