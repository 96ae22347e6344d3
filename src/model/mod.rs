//! Ids, names, addresses, times, states and errors: each parses or is refused. Imports nothing of the crate.

pub mod address;
pub mod code;
pub mod count;
pub mod digest;
pub mod error;
pub mod event;
pub mod id;
pub mod key;
pub mod name;
pub mod program_uri;
pub mod source;
pub mod state;
pub mod suggest;
pub mod time;
pub mod token;
pub mod way;

pub use address::{Address, Host};
pub use code::Code;
pub use digest::{Digest, Hash};
pub use error::{Error, Result};
pub use event::Event;
pub use id::{MessageId, Nonce, Seed, SessionId, TokenId};
pub use key::Key;
pub use name::{Name, OptionName, RoleName, ServiceName};
pub use source::{Source, WebUrl};
pub use state::{ParticipantState, Party, SessionState};
pub use time::{Span, Time};
pub use token::{Token, TokenSecret};
pub use way::Way;

/// Implements `Serialize` and `Deserialize` through `Display` and `FromStr`, so that a value which arrives in a
/// message is parsed by the same code as one that a person typed.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;
