//! Identifiers: 128 random bits, written as 26 characters of lower-case base32 (RFC 4648, unpadded).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;

use super::error::{Error, Result};
use super::{Code, serde_as_text};

/// Characters of an id in full.
pub const ID_CHARS: usize = 26;
/// Characters of an id shown to a person.
pub const SHORT_CHARS: usize = 8;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
            /// The first characters, for people.
            pub fn short(&self) -> String {
                self.to_string()[..SHORT_CHARS].to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&lower_base32(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                parse_base32::<16>(text)
                    .map(Self)
                    .ok_or_else(|| Error::new(Code::BadInput, format!("“{text}” is not {} ({ID_CHARS} characters of base32)", $what)))
            }
        }
        serde_as_text!($name);
    };
}

id!(
    /// One message. Given by its sender; the receiver looks repeats up by it.
    MessageId, "a message id"
);
id!(
    /// One session: the id of its service request.
    SessionId, "a session id"
);
id!(
    /// A number used once.
    Nonce, "a nonce"
);

id!(
    /// One token for enrolment.
    TokenId, "a token's id"
);

impl SessionId {
    /// The session that a service request founds.
    pub fn of_request(id: MessageId) -> Self {
        Self(id.0)
    }
    /// The id of the service request that founded this session.
    pub fn request(&self) -> MessageId {
        MessageId(self.0)
    }
}

/// 32 random bytes drawn before a step of a state machine; every id that the step needs is derived from it, so that
/// replaying the step gives the same ids. Not a secret: it is written to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The `n`-th id of this step.
    pub fn message_id(&self, n: u32) -> MessageId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&n.to_le_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        MessageId(id)
    }
}
impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lower_base32(&self.0))
    }
}
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Seed {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        parse_base32::<32>(text)
            .map(Self)
            .ok_or_else(|| Error::new(Code::BadInput, "not a seed (52 characters of base32)"))
    }
}
serde_as_text!(Seed);

/// Lower-case base32 without padding.
pub(super) fn lower_base32(bytes: &[u8]) -> String {
    BASE32_NOPAD_NOCASE.encode(bytes).to_ascii_lowercase()
}

/// `N` bytes from their one lower-case base32 spelling; any other spelling is refused, so that equal means equal text.
pub(super) fn parse_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?;
    let bytes: [u8; N] = bytes.try_into().ok()?;
    (lower_base32(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = MessageId::from_bytes([7; 16]);
        let text = id.to_string();
        assert_eq!(text.len(), ID_CHARS);
        assert_eq!(text.parse::<MessageId>().unwrap(), id);
        assert!(text.to_uppercase().parse::<MessageId>().is_err());
        assert!(text[1..].parse::<MessageId>().is_err());
    }

    #[test]
    fn a_seed_gives_the_same_ids_again_and_different_ones_by_number() {
        let seed = Seed::from_bytes([1; 32]);
        assert_eq!(seed.message_id(0), seed.to_string().parse::<Seed>().unwrap().message_id(0));
        assert_ne!(seed.message_id(0), seed.message_id(1));
    }
}
