//! Who takes part in a session and what they are called, as one party's log tells it.

use serde::{Deserialize, Serialize};

use crate::message::{Body, Message, Verified};
use crate::model::{Key, Party};
use crate::session::record::Sent;
use crate::session::{Decision, Entry, Input, What};

/// One party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub name: String,
    pub party: Party,
    pub key: Key,
}

/// The Initiator, the provider, then the peers in the order in which the log names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cast {
    pub members: Vec<Member>,
    /// Those that signed messages name; others are called as this node calls them.
    named: Vec<bool>,
}

impl Cast {
    /// Those whom a log names, called as signed messages call them; `named` says how this node calls the others.
    pub fn of(party: Party, me: Key, entries: &[Entry], named: impl Fn(&Key) -> Option<String>) -> Self {
        let mut cast = Self::default();
        cast.meet(party, me, None);
        for entry in entries {
            match entry {
                Entry::Sent(Sent { envelope, .. }) => {
                    if let Ok(message) = Verified::from_own_log(envelope.clone()) {
                        cast.hear(&message);
                    }
                }
                Entry::Input(Input { what: What::Received { message, .. }, .. }) => cast.hear(message),
                Entry::Input(Input { what: What::Decided(Decision::Ask { provider, .. }), .. }) => {
                    cast.meet(Party::Provider, provider.key, None);
                }
                Entry::Input(_) => {}
            }
        }
        cast.call(named);
        cast
    }
    /// Takes in those whom another log of the same session names.
    pub fn join(&mut self, other: &Cast) {
        for member in &other.members {
            if self.find(member.party, &member.key).is_none() {
                self.put(member.party, member.key, Some(&member.name));
            }
        }
    }
    /// Where one stands in [`Self::members`].
    pub fn find(&self, party: Party, key: &Key) -> Option<usize> {
        self.members.iter().position(|member| member.party == party && member.key == *key)
    }
    /// The Initiator or the provider.
    pub fn only(&self, party: Party) -> Option<usize> {
        self.members.iter().position(|member| member.party == party)
    }
    /// The names, each with its party where two have the same.
    pub fn labels(&self) -> Vec<String> {
        let is_twice = |name: &String| self.members.iter().filter(|member| member.name == *name).count() > 1;
        let label = |member: &Member| match is_twice(&member.name) {
            true => format!("{} ({})", member.name, member.party),
            false => member.name.clone(),
        };
        self.members.iter().map(label).collect()
    }
    /// What a key is called.
    pub fn name_of(&self, key: &Key) -> String {
        let found = self.members.iter().find(|member| member.key == *key);
        found.map_or_else(|| key.short(), |member| member.name.clone())
    }

    fn hear(&mut self, message: &Message) {
        match &message.body {
            Body::InterfaceRequest(_) => {
                self.meet(Party::Initiator, message.head.from, None);
                self.meet(Party::Provider, message.head.to, None);
            }
            Body::ServiceRequest(request) => {
                self.meet(Party::Initiator, message.head.from, Some(&request.initiator.name));
                self.meet(Party::Provider, message.head.to, None);
                for peer in &request.peers {
                    self.meet(Party::Peer, peer.address.key, Some(&peer.name));
                }
            }
            Body::AddPeers(add) => {
                for peer in &add.peers {
                    self.meet(Party::Peer, peer.address.key, Some(&peer.name));
                }
            }
            Body::Invitation(invitation) => {
                self.meet(Party::Initiator, invitation.initiator.address.key, Some(&invitation.initiator.name));
                self.meet(Party::Provider, message.head.from, None);
                self.meet(Party::Peer, message.head.to, None);
            }
            Body::Delivery(delivery) => {
                let roster = &delivery.roster;
                self.meet(Party::Initiator, roster.initiator.key, Some(&roster.initiator.name));
                for peer in &roster.peers {
                    self.meet(Party::Peer, peer.key, Some(&peer.name));
                }
            }
            _ => {}
        }
    }
    fn meet(&mut self, party: Party, key: Key, name: Option<&str>) {
        match (self.find(party, &key), name) {
            (None, name) => self.put(party, key, name),
            (Some(at), Some(name)) if !self.named[at] => {
                name.clone_into(&mut self.members[at].name);
                self.named[at] = true;
            }
            (Some(_), _) => {}
        }
    }
    fn put(&mut self, party: Party, key: Key, name: Option<&str>) {
        let at = self.members.partition_point(|member| member.party <= party);
        self.members.insert(at, Member { name: name.unwrap_or_default().to_owned(), party, key });
        self.named.insert(at, name.is_some());
    }
    fn call(&mut self, named: impl Fn(&Key) -> Option<String>) {
        for (member, is_named) in self.members.iter_mut().zip(&self.named) {
            if !is_named {
                member.name = named(&member.key).unwrap_or_else(|| match member.party {
                    Party::Peer => member.key.short(),
                    party => party.to_string(),
                });
            }
        }
    }
}
