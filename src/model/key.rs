//! A node's public key, which is its identity.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::id::{SHORT_CHARS, lower_base32, parse_base32};
use super::{Code, serde_as_text};

/// Characters of a key in full.
pub const KEY_CHARS: usize = 52;

/// An Ed25519 public key (RFC 8032), written as 52 characters of lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// The first characters, for people.
    pub fn short(&self) -> String {
        self.to_string()[..SHORT_CHARS].to_owned()
    }
}
impl Key {
    /// All of it in groups of four characters, for people who compare it by eye.
    pub fn groups(&self) -> String {
        let text = self.to_string();
        let groups: Vec<&str> = (0..KEY_CHARS).step_by(4).map(|at| &text[at..at + 4]).collect();
        groups.join(" ")
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&lower_base32(&self.0))
    }
}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Key {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        parse_base32::<32>(text).map(Self).ok_or_else(|| {
            Error::new(Code::BadAddress, format!("“{text}” is not a key ({KEY_CHARS} characters of lower-case base32)"))
                .hint("copy the whole address that the other node's `deployctl init` printed")
        })
    }
}
serde_as_text!(Key);
