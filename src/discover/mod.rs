//! The local network: seeing other nodes and being seen, by UPnP and by DNS-SD over multicast DNS.
//!
//! What this node offers comes in from above as data, a [`Directory`] in a watch channel; what is found goes up as data.
//! The medium is open to everybody on the link: all that is learnt here is a hint, and trust begins in the handshake.

mod advertise;
#[cfg(test)]
mod changed_tests;
pub mod directory;
pub mod dnssd;
pub mod link;
pub mod plain;
pub mod rate;
pub mod seeing;
pub mod upnp;

pub use advertise::Advertising;
pub use directory::{Directory, Program, Query, Udn};
