//! What happens while a command or a node works, for `ui` to show as lines, bars or JSON.

use serde::Serialize;

use super::{Digest, MessageId, Name, ParticipantState, Party, RoleName, SessionId, SessionState};

/// One thing that happened. Foreign text inside is raw; `ui` escapes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A session changed its state for this party.
    Session {
        session: SessionId,
        party: Party,
        state: SessionState,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A participant stands elsewhere than before, or is seen for the first time, as far as this party knows.
    Participant {
        session: SessionId,
        party: Party,
        name: Name,
        role: RoleName,
        state: ParticipantState,
        #[serde(skip_serializing_if = "Option::is_none")]
        was: Option<ParticipantState>,
    },
    /// Something was done for a session, told in a sentence.
    Step { session: SessionId, party: Party, text: String },
    /// A message was sent and acknowledged, or received.
    Message { session: SessionId, party: Party, direction: Direction, kind: &'static str, id: MessageId, with: String },
    /// Bytes of a package came in, and were verified.
    Download {
        digest: Digest,
        done: u64,
        total: u64,
        /// Bytes a second since this download began; 0 while that cannot be said.
        per_second: u64,
        /// Seconds until it is complete, if it goes on like this.
        #[serde(skip_serializing_if = "Option::is_none")]
        remaining: Option<u64>,
    },
    /// Something that a person should know, and that is not an error of this command.
    Notice { text: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Sent,
    Received,
}

/// Where events go. Called from any thread; must not block for long.
pub type Sink = std::sync::Arc<dyn Fn(Event) + Send + Sync>;
