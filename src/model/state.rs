//! The words for where a session and a participant stand: the same for every party, in files, JSON and on the screen.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = super::Error;
            fn from_str(text: &str) -> super::Result<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    super::Error::new(super::Code::BadInput, format!("“{text}” is not one of {}", Self::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", ")))
                })
            }
        }
    };
}

pub(super) use words;

words!(
    /// The part that a node plays in a session.
    Party { Initiator = "initiator", Provider = "provider", Peer = "peer" }
);

words!(
    /// Where a session stands.
    SessionState {
        Requested = "requested",
        Registered = "registered",
        Inviting = "inviting",
        Building = "building",
        Delivering = "delivering",
        Starting = "starting",
        Running = "running",
        Terminating = "terminating",
        Closed = "closed",
        Failed = "failed",
        Expired = "expired",
        Withdrawn = "withdrawn",
        Declined = "declined",
        QuorumMissed = "quorum-missed",
        Unaccounted = "unaccounted",
    }
);

impl SessionState {
    /// Whether nothing more is to happen but late reports and accounting.
    pub fn is_end(self) -> bool {
        self >= SessionState::Closed
    }
}

words!(
    /// Where one participant of a session stands.
    ParticipantState {
        Invited = "invited",
        Accepted = "accepted",
        Declined = "declined",
        /// Its invitation was taken back.
        Withdrawn = "withdrawn",
        Delivered = "delivered",
        Installed = "installed",
        Confirmed = "confirmed",
        Stopped = "stopped",
        Removed = "removed",
        Failed = "failed",
        Left = "left",
    }
);
