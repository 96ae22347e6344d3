//! The network between nodes: HTTP/1.1 over mutual TLS 1.3, where the Ed25519 key in the certificate is the identity.
//!
//! `Server` takes requests and hands them upwards to a [`Handler`]; `Client` sends them; `download` fetches packages
//! piece by piece. What a key may do is not decided here: the handler is told which key asks.

mod authorities;
mod body;
mod client;
mod connect;
mod download;
mod gate;
mod handler;
pub mod identity;
pub mod limits;
mod pool;
pub mod port;
mod problem;
mod range;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod watched;
mod web;
mod wire;

pub use authorities::Authorities;
pub use client::{Client, PostAnswer};
pub use download::{Fetched, Here, Manners, PieceRef, Wanted, download};
pub use gate::place_of;
pub use handler::{Answer, Answering, Caller, Handler, Part, Stored};
pub use identity::{NodeIdentity, generate, public_key_of_certificate, signing_request};
pub use server::Server;
pub use wire::{InboxBatch, Posted};
