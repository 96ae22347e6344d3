//! Initiator, provider and peer: carry out what a session asks for. A [`Node`] is one identity with its state directory
//! at work; everything it does is a step of a session's log first.

pub mod accountings;
pub mod books;
pub mod build;
pub mod cast;
pub mod catalogue;
mod desk;
pub mod doctor;
pub mod drive;
pub mod enrol;
mod fetch;
pub mod forks;
mod given;
pub mod housekeeping;
pub mod inbox;
pub mod install;
pub mod intake;
pub mod invitations;
mod inviting;
mod live;
pub mod neighbourhood;
pub mod node;
pub mod offers;
pub mod order;
pub mod outbox;
pub mod part;
pub mod policy;
pub mod poll;
pub mod programs;
pub mod proof;
pub mod rehearsal;
pub mod request;
pub mod rotate;
pub mod serve;
pub mod sitting;
pub mod statements;
pub mod supervise;
pub mod timeline;
pub mod transcript;
mod turns;
pub mod usage;
pub mod verify;
pub mod view;
pub mod workshop;

pub use desk::{Described, Listed};
pub use node::Node;
