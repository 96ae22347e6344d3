//! The inbox that this node keeps for nodes that listen nowhere: what its sessions have to say to the asking key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::node::{Node, locked};
use super::sitting::message_of;
use crate::model::{Key, MessageId, Party, Result, SessionId};
use crate::node::{InboxBatch, Posted};

/// Messages of one batch at most.
const BATCH: usize = 64;

/// Batches of one key that are remembered until they are acknowledged: a node polls once at a time, and its commands may
/// poll beside it.
const BATCHES: usize = 8;

/// A message of this node that waits for somebody.
type Waiting = (SessionId, Party, MessageId);

/// What was handed out and not acknowledged yet. A poll's `after` acknowledges the batch of that number; a number that is
/// not known (any more) acknowledges nothing, so nothing is lost when this node starts anew: it is handed out again.
pub struct Inboxes {
    next: AtomicU64,
    handed_out: Mutex<BTreeMap<(Key, u64), Vec<Waiting>>>,
}

impl Inboxes {
    /// `now_ms` sets the first number apart from those of earlier runs.
    pub fn new(now_ms: u64) -> Self {
        Self { next: AtomicU64::new(now_ms.saturating_mul(1000)), handed_out: Mutex::default() }
    }
    /// Acknowledges what was handed out as `after`.
    pub(super) fn acknowledge(&self, node: &Node, key: Key, after: u64) -> Result<()> {
        let batch = locked(&self.handed_out).remove(&(key, after)).unwrap_or_default();
        for (session, party, message) in batch {
            node.acknowledged(session, party, message)?;
        }
        Ok(())
    }
    /// What waits for `key` in these sessions, as a batch with a number of its own.
    pub(super) fn batch(&self, node: &Node, key: Key, live: &BTreeSet<(SessionId, Party)>) -> Result<InboxBatch> {
        let mut messages = Vec::new();
        let mut waiting = Vec::new();
        for (session, party) in live {
            if messages.len() >= BATCH || !node.projection(*session, *party)?.recipients.contains(&key) {
                continue;
            }
            let replayed = node.read(*session, *party)?;
            for sent in replayed.outbox.iter().filter(|sent| sent.to.key == key) {
                let head = &message_of(sent)?.head;
                if head.expires.is_some_and(|expires| expires < node.system.now()) {
                    continue;
                }
                let secrets = node.secrets_beside(*session, sent, &replayed.machine)?;
                messages.push(Posted { envelope: sent.envelope.clone(), secrets });
                waiting.push((*session, *party, head.id));
            }
        }
        let next = self.next.fetch_add(1, Ordering::SeqCst);
        if !waiting.is_empty() {
            let mut handed_out = locked(&self.handed_out);
            // Who never acknowledges gets everything again, so nothing is lost with the oldest.
            let of_key: Vec<u64> = handed_out.range((key, 0)..=(key, next)).map(|((_, number), _)| *number).collect();
            for number in of_key.iter().rev().skip(BATCHES - 1) {
                handed_out.remove(&(key, *number));
            }
            handed_out.insert((key, next), waiting);
        }
        Ok(InboxBatch { next, messages })
    }
}
