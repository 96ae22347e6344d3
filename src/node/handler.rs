//! What the server hands upwards: the questions that other nodes ask, each with the key that asks.

use std::fs::File;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use super::wire::{InboxBatch, Posted};
use crate::message::Envelope;
use crate::model::{Digest, Error, Key, Result, SessionId};
use crate::service::query::{self, Query};

/// An answer on its way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who asks: proved by the handshake. What it may do is for the handler to decide, at every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub key: Key,
    pub ip: IpAddr,
}

/// The answer to a message.
#[derive(Debug)]
pub enum Answer {
    /// 200 with an envelope.
    Reply(Posted),
    /// 202: taken, and durable.
    Accepted,
    /// A problem.
    Refused(Error),
}

/// Which file of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Package,
    /// As it was signed for this session; where none is named, for one that the caller takes part in.
    Manifest(Option<SessionId>),
    /// By its own digest, of a program.
    Named(Digest),
    /// What it was made of, like the manifest.
    Provenance(Option<SessionId>),
    /// Its pieces in terms of another package.
    Patch(Digest),
}

/// An opened file and how many bytes of it are to be served, from its beginning.
#[derive(Debug)]
pub struct Stored {
    pub file: File,
    pub length: u64,
}

/// Answers the requests that the server has taken. Calls run at the same time, also for the same key.
pub trait Handler: Send + Sync {
    /// `POST /v1/messages`. The envelope's signature is not checked yet.
    fn message(&self, peer: Caller, posted: Posted) -> Answering<'_, Answer>;
    /// `GET /v1/inbox`: what waits for this key beyond `after`; returns within `wait`, empty where nothing came.
    /// May be dropped before it returns, when the caller goes or the server stops.
    fn inbox(&self, peer: Caller, after: u64, wait: Duration) -> Answering<'_, Result<InboxBatch>>;
    /// `POST /v1/programs/query`: the programs that fit. The query is not checked yet.
    fn query(&self, peer: Caller, query: Query) -> Answering<'_, Result<query::Answer>>;
    /// `GET /v1/packages/DIGEST`, `…/manifest`, `…/provenance` and `…/patch`.
    fn package(&self, peer: Caller, digest: Digest, part: Part) -> Answering<'_, Result<Stored>>;
    /// `GET /v1/node`.
    fn node(&self, peer: Caller) -> Answering<'_, Result<serde_json::Value>>;
    /// `GET /v1/rotations`: what led to this node's key, for everybody to read.
    fn rotations(&self) -> Vec<Envelope> {
        Vec::new()
    }
    /// The server itself refused something, in the handshake (no key known) or as HTTP: for the audit. Called often
    /// under attack: must be quick, and merge what repeats. `what` may hold foreign text.
    fn refused(&self, key: Option<Key>, ip: IpAddr, what: &str);
}
