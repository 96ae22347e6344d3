//! Who takes part in a session: fixed when the answers are in, the same for every participant.

use serde::{Deserialize, Serialize};

use super::platform::Platform;
use crate::model::{Address, Key, Name, RoleName};

/// One participant, as templates, builds and programs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: Name,
    pub key: Key,
    pub address: Address,
    /// From the address, else the one that the provider saw the node come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    pub role: RoleName,
    pub platform: Platform,
}

/// The participants of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    pub initiator: Member,
    pub peers: Vec<Member>,
}

impl Roster {
    /// The Initiator first, then the peers.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.initiator).chain(&self.peers)
    }
}
