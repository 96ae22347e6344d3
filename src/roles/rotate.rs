//! A new key for this node, and new keys of others: the former key signs the new one over, and contacts follow.

use std::sync::Arc;
use std::time::Duration;

use super::live::Live;
use super::node::{Node, blocking};
use crate::message::rotate::{Handover, LONGEST_GRACE, MAX_ROTATIONS, open_chain};
use crate::message::{Body, Envelope, Head, Message, Rotate, Rotated, Verified};
use crate::model::{Address, Code, Error, Key, Name, Result, Span};
use crate::node::{NodeIdentity, PostAnswer, Posted, generate};
use crate::session::{Decision, Entry, What};
use crate::store::audit;
use crate::store::contacts::Contact;
use crate::store::floors::Floors;
use crate::store::identity::{self, PrivatePem, StoredIdentity};
use crate::store::lock::Lock;

/// How often contacts that could not be told of a new key are tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// A command that looks whether a node runs holds its lock for a moment.
const SERVE_WAIT: Span = Span::from_secs(1);

impl Node {
    /// Makes a new key, signed over by the present one, which is gone afterwards. After a crash at any point the node has
    /// the one or the other.
    ///
    /// # Errors
    /// `wrong-state` while sessions go on, which name the present key; `locked` while this node serves; `usage` for a
    /// grace too long; `io`.
    pub fn rotate(&self, grace: Span) -> Result<Key> {
        if grace > LONGEST_GRACE {
            return Err(Error::new(
                Code::Usage,
                format!("a former key is taken for at most {LONGEST_GRACE}, not {grace}"),
            ));
        }
        let _serve =
            Lock::acquire(&self.state.lock("serve"), "a new key", SERVE_WAIT).map_err(|error| match error.code {
                Code::Locked => Error::new(Code::Locked, "this node is running, under its present key")
                    .hint("stop `deployctl serve`, rotate, and start it again"),
                _ => error,
            })?;
        let live: Vec<_> = self.parts()?.into_iter().filter(|part| part.live).collect();
        if !live.is_empty() {
            let ids: Vec<_> = live.iter().map(|part| part.summary.session.short()).collect();
            let message = format!("sessions that go on name this node's present key: {}", ids.join(", "));
            return Err(
                Error::new(Code::WrongState, message).hint("wait for their end, or end them: deployctl stop SESSION")
            );
        }
        let (key_pem, cert_pem) = generate(&self.system)?;
        let key = NodeIdentity::from_pem(&key_pem, &cert_pem)?.key();
        let now = self.system.now();
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: key,
            issued: now,
            in_reply_to: None,
            expires: None,
        };
        let rotate = Message { head, body: Rotate { until: now + grace }.into() }.seal(&self.identity.signing());
        let untold = self.contacts.list()?.into_iter().map(|contact| contact.address);
        let untold = untold.filter(|address| address.host.is_some()).map(|address| address.key).collect();
        let next = StoredIdentity { key_pem: PrivatePem::new(key_pem), cert_pem, settings: self.settings.clone() };
        next.replace(&self.state, &self.rotations, &rotate, &untold)?;
        Ok(key)
    }

    /// Tells contacts of this node's new key, all that do not know it yet or only one; names those that could not be told.
    /// They find out by themselves when they connect.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub async fn announce(&self, only: Option<Key>) -> Result<Vec<Name>> {
        let mut untold = Vec::new();
        if self.rotations.is_empty() {
            return Ok(untold);
        }
        for key in blocking(|| identity::untold(&self.state))? {
            if only.is_some_and(|only| only != key) {
                continue;
            }
            let contact = blocking(|| self.contacts.by_key(&key, self.system.now()))?;
            let Some(contact) = contact.filter(|contact| contact.address.host.is_some()) else {
                blocking(|| identity::told(&self.state, key))?;
                continue;
            };
            match self.tell(&contact.address).await {
                // Who refuses it does not know this node, and will not by hearing it again.
                Ok(()) => blocking(|| identity::told(&self.state, key))?,
                Err(error) if error.code == Code::NotPermitted => blocking(|| identity::told(&self.state, key))?,
                Err(_) => untold.push(contact.name),
            }
        }
        Ok(untold)
    }
    async fn tell(&self, to: &Address) -> Result<()> {
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: to.key,
            issued: self.system.now(),
            in_reply_to: None,
            expires: None,
        };
        let chain = last_of(&self.rotations).to_vec();
        let body = Rotated { address: self.address(), chain };
        let posted = Posted::open(Message { head, body: body.into() }.seal(&self.identity.signing()));
        match self.or_follow(to, self.client.post(to, &posted).await).await? {
            PostAnswer::Accepted => Ok(()),
            PostAnswer::Reply(_) => Err(Error::new(Code::BadMessage, "a rotated was answered with a message")),
        }
    }

    /// Takes a `rotated`: the contact follows, if its present key began the chain or stands in it.
    pub(super) fn rotated(&self, message: &Verified<Message>, rotated: &Rotated) -> Result<()> {
        message.check_fresh(&self.key(), self.system.now())?;
        let chain = open_chain(&rotated.chain, self.system.now())?;
        let is_sender = chain.last().is_some_and(|last| last.to == message.head.from);
        if !is_sender || rotated.address.key != message.head.from {
            return Err(Error::new(Code::WrongKey, "the rotations lead to another key than the one that shows them"));
        }
        self.follow(&chain, &rotated.address).map(drop)
    }

    /// Lets the contact follow a verified chain to `address`.
    fn follow(&self, chain: &[Handover], address: &Address) -> Result<Contact> {
        let now = self.system.now();
        let (contact, is_new) = self.contacts.follow(chain, address, now)?;
        // Also where it has followed before: then this may not have been done.
        let former: Vec<_> = chain.iter().map(|handover| handover.from).filter(|key| *key != address.key).collect();
        Floors::of(&self.state).carry_over(&former, &address.key)?;
        if is_new {
            let former = contact.former.last().map(|former| former.key.short()).unwrap_or_default();
            let what = format!("{} has a new key, signed over by its former one, {former}", contact.name);
            self.notice(what.clone());
            // An audit that cannot be written must not change the answer.
            let _ = self.audit.record(now, audit::Entry { key: Some(address.key), ip: None, what, code: None });
        }
        Ok(contact)
    }

    /// Where another key answered at a contact's address, asks that one for what the contact's key signed over to it.
    /// If it did, the contact follows, and the error says to try again; else it stays what it was.
    pub(super) async fn or_follow<T>(&self, at: &Address, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        if error.code != Code::WrongKey || at.host.is_none() {
            return Err(error);
        }
        let Ok((seen, chain)) = self.client.rotations(at).await else { return Err(error) };
        let followed = blocking(|| {
            let chain = open_chain(&chain, self.system.now())?;
            if chain.last().is_none_or(|last| last.to != seen) || chain.iter().all(|handover| handover.from != at.key) {
                return Err(Error::new(Code::WrongKey, "its rotations do not lead from the one to the other"));
            }
            self.follow(&chain, &Address { key: seen, host: at.host.clone() })
        });
        match followed {
            Err(why) => Err(Error { message: format!("{} ({why})", error.message), ..error }),
            Ok(contact) => {
                let message = format!("{} has a new key, which its former one signed over", contact.name);
                Err(Error::new(Code::WrongKey, message).hint("the contact follows it now: run the same command again"))
            }
        }
    }

    /// The key under which this node took part in what a log tells: its own of that time.
    pub(super) fn me_in(&self, entries: &[Entry]) -> Key {
        let claimed = entries.first().and_then(own_key);
        claimed.filter(|key| self.was(key)).unwrap_or_else(|| self.key())
    }
    /// Whether this was a key of this node.
    pub(super) fn was(&self, key: &Key) -> bool {
        self.former.iter().any(|handover| handover.from == *key)
    }
    /// The rotations from `key` on, for those who know this node by it.
    pub(super) fn rotations_from(&self, key: &Key) -> Vec<Envelope> {
        let first = self.former.iter().position(|handover| handover.from == *key);
        first.map(|first| self.rotations[first..].to_vec()).unwrap_or_default()
    }
    /// As many rotations as are shown at once.
    pub(super) fn shown_rotations(&self) -> &[Envelope] {
        last_of(&self.rotations)
    }
}

fn last_of(rotations: &[Envelope]) -> &[Envelope] {
    &rotations[rotations.len().saturating_sub(MAX_ROTATIONS)..]
}

/// Who wrote a log, as its first entry says.
fn own_key(first: &Entry) -> Option<Key> {
    let Entry::Input(input) = first else { return None };
    match &input.what {
        What::Decided(Decision::Ask { initiator, .. }) => Some(initiator.key),
        What::Decided(Decision::Open { provider, .. }) => Some(provider.key),
        What::Received { message, .. } => Some(message.head.to),
        _ => None,
    }
}

/// Opens this node's own rotations.
pub(super) fn open_own(rotations: &[Envelope]) -> Result<Vec<Handover>> {
    let mut all = Vec::new();
    for envelope in rotations {
        let message = Verified::from_own_log(envelope.clone())?;
        if let Body::Rotate(rotate) = &message.body {
            all.push(Handover { from: message.head.from, to: message.head.to, until: rotate.until });
        }
    }
    Ok(all)
}

/// While the node runs: tells the contacts that could not be told before.
pub(super) async fn announce_on(live: Arc<Live>) -> Result<()> {
    while !live.node.announce(None).await?.is_empty() {
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}
