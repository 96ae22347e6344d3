//! The protocol as pure state machines, one per role: `step(input) → new state + what to send`. No file, socket, clock
//! or dice is touched here; what is still to be done is a function of the state ([`Machine::work`]), so that a process
//! that dies after it logged a step loses nothing.

mod context;
pub mod deadline;
pub mod initiator;
pub mod input;
pub mod machine;
pub mod metering;
pub mod participation;
pub mod peer;
pub mod provider;
pub mod record;
pub mod summary;

pub use context::Outgoing;
pub use initiator::Initiator;
pub use input::{Decision, Input, Outcome, What};
pub use machine::{Machine, Step, Work};
pub use metering::Meter;
pub use participation::{Participation, Stage};
pub use peer::Peer;
pub use provider::Provider;
pub use record::{Entry, Replayed, replay};
pub use summary::{ParticipantSummary, RolloutState, RolloutSummary, Summary};
