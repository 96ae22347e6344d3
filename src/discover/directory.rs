//! What a node offers, as discovery shows it: handed in from above, as a new snapshot whenever something changes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::model::{Code, Digest, Error, Key, Name, Result, ServiceName, Time, serde_as_text};
use crate::service::platform::Platforms;
use crate::service::requirement::Requirement;

/// Answers a query for programs (the text of a `POST /v1/programs/query`) with the text of its answer. May read the
/// disk: it is called where that holds nobody up.
///
/// # Errors
/// `bad-input` where the query is none; what looking says.
pub type Query = Arc<dyn Fn(&str) -> Result<String> + Send + Sync>;

/// One snapshot of what a node offers. Two that are equal are one state of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The node's own name, for people.
    pub name: Name,
    pub key: Key,
    /// The port of the node's TLS server, the same on every interface.
    pub port: u16,
    /// Whether that server can be spoken to by IPv6.
    pub takes_ipv6: bool,
    /// By [`Program::id`], each id once.
    pub programs: Vec<Program>,
}

impl Directory {
    pub fn udn(&self) -> Udn {
        Udn::of(&self.key)
    }
}

/// A program that is offered. Its JSON is what `deployctl discover` gets to see of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Names it among the programs of this node, the same after a restart: `NAME`, or `NAME@SIGNER` where it is offered
    /// on for another signer.
    pub id: String,
    pub name: ServiceName,
    pub version: Version,
    pub summary: String,
    /// Lower case, a path: `games/board`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Bytes of the package, once it has been built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of the package, once it has been built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    pub platforms: Platforms,
    /// What a machine must have for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// The advertised service types that it makes usable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enables: Vec<String>,
    /// When what is offered under this id last changed.
    pub changed: Time,
}

/// A node's UPnP Unique Device Name without the `uuid:` before it. It follows from the key, so it is the same after a
/// restart, and whoever is seen by both protocols can be told to be one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Udn([u8; 16]);

impl Udn {
    /// A UUID of version 8 (RFC 9562 §5.8).
    pub fn of(key: &Key) -> Self {
        let digest = Digest::of(format!("deployctl udn v1\n{key}\n").as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}
impl fmt::Display for Udn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid(&self.0))
    }
}
/// 128 bits as a UUID is written (RFC 9562 §4).
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = data_encoding::HEXLOWER.encode(bytes);
    [20, 16, 12, 8].iter().for_each(|&at| text.insert(at, '-'));
    text
}
impl fmt::Debug for Udn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Udn {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::new(Code::BadInput, format!("“{text}” is not a UUID"));
        let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|&at| text.as_bytes()[at] == b'-');
        let digits: String = text.to_ascii_lowercase().split('-').collect();
        let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).map_err(|_| refuse())?;
        bytes.try_into().ok().filter(|_| dashed).map(Self).ok_or_else(refuse)
    }
}
serde_as_text!(Udn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_udn_is_a_uuid_that_follows_from_the_key_and_reads_back() {
        let udn = Udn::of(&Key::from_bytes([7; 32]));
        assert_eq!(udn.to_string().parse::<Udn>().unwrap(), udn);
        assert_eq!(udn, Udn::of(&Key::from_bytes([7; 32])));
        assert_ne!(udn, Udn::of(&Key::from_bytes([8; 32])));
        let text = udn.to_string();
        assert_eq!(&text[14..15], "8", "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
        for wrong in ["", "uuid:", &text[1..], &text.replace('-', "0"), &format!("{}é", &text[..34])] {
            assert!(wrong.parse::<Udn>().is_err(), "{wrong}");
        }
    }
}
