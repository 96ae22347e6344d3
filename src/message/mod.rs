//! Every message between nodes: its fields and limits, the signed envelope it travels in, and the proof that it was
//! verified.

pub mod envelope;

pub use envelope::{Envelope, SigningKey};
