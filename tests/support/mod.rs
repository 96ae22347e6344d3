//! Initiator, provider and peers in one process, with a virtual clock and a network that misbehaves.

pub mod node;
pub mod play;
pub mod theatre;
mod work;
