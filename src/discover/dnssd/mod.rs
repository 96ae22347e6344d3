//! DNS-SD over multicast DNS (RFC 6762, RFC 6763): this node as one instance of our service, with the platforms and
//! categories of its programs as subtypes. `wire` and `responder` are pure; the sockets are in `sockets` and `publisher`.

pub mod instance;
pub mod name;
mod publisher;
pub mod responder;
mod sockets;
pub mod wire;

pub use publisher::Publisher;
