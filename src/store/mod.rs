//! The state directory.

pub mod installs;
