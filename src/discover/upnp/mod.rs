//! The UPnP device: a MediaServer:1 whose content is the programs, with two services of our own beside the standard
//! ones. The codecs and state machines are pure; sockets are in `multicast`, `announce` (SSDP), `http` and `events` alone.

mod announce;
pub mod content;
pub mod description;
mod device;
pub mod didl;
mod events;
pub mod gena;
mod guests;
mod http;
pub(crate) mod multicast;
pub mod search;
pub mod service;
pub mod soap;
pub mod ssdp;
mod stage;
pub mod tree;
pub mod xml;

pub use device::Device;
pub(crate) use stage::product;
#[cfg(test)]
pub(crate) use tree::testing;
