//! A node that does nothing but hand out one file to everybody, and the file cut into pieces.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "reads the file that it hands out")]

use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deployctl::model::{Code, Digest, Error, Hash, Result, Source};
use deployctl::node::{
    Answer, Answering, Caller, Client, Handler, InboxBatch, NodeIdentity, Part, PieceRef, Posted, Server, Stored,
    Wanted, generate,
};
use deployctl::service::query::{self, Query};
use deployctl::system::System;

/// Bytes of a piece.
pub const PIECE: usize = 256 * 1024;

/// Hands out one file, whatever it is asked for.
pub struct Shelf(pub PathBuf);

impl Handler for Shelf {
    fn message(&self, _peer: Caller, _posted: Posted) -> Answering<'_, Answer> {
        Box::pin(async { Answer::Accepted })
    }
    fn inbox(&self, _peer: Caller, after: u64, _wait: Duration) -> Answering<'_, Result<InboxBatch>> {
        Box::pin(async move { Ok(InboxBatch { next: after, messages: Vec::new() }) })
    }
    fn query(&self, _: Caller, query: Query) -> Answering<'_, Result<query::Answer>> {
        Box::pin(async move { Ok(query.answer([])) })
    }
    fn package(&self, _peer: Caller, _digest: Digest, _part: Part) -> Answering<'_, Result<Stored>> {
        Box::pin(async {
            let absent = |why: std::io::Error| Error::new(Code::NotFound, why.to_string());
            let file = File::open(&self.0).map_err(absent)?;
            let length = file.metadata().map_err(absent)?.len();
            Ok(Stored { file, length })
        })
    }
    fn node(&self, peer: Caller) -> Answering<'_, Result<serde_json::Value>> {
        Box::pin(async move { Ok(serde_json::json!({ "you": peer.key })) })
    }
    fn refused(&self, _key: Option<deployctl::model::Key>, _ip: IpAddr, _what: &str) {}
}

pub fn identity() -> Arc<NodeIdentity> {
    let (key, certificate) = generate(&System::real()).expect("a key");
    Arc::new(NodeIdentity::from_pem(&key, &certificate).expect("an identity"))
}

pub fn client() -> Client {
    Client::new(identity())
}

/// Serves a file until the runtime ends; gives the node's key and where it listens.
pub async fn serve(listen: &str, file: PathBuf) -> (deployctl::model::Key, String) {
    let (identity, server) = (identity(), Server::bind(listen).await.expect("a port"));
    let (key, at) = (identity.key(), server.local_addr().to_string());
    tokio::spawn(server.run(identity, Arc::new(Shelf(file)), std::future::pending()));
    (key, at)
}

/// What a manifest would say of a file.
pub struct Pieces {
    pub digest: Digest,
    pub size: u64,
    pub list: Vec<PieceRef>,
}

impl Pieces {
    pub fn of(bytes: &[u8]) -> Self {
        let piece = |(n, piece): (usize, &[u8])| PieceRef {
            offset: (n * PIECE) as u64,
            length: piece.len() as u64,
            hash: Hash::of(piece),
        };
        let list = bytes.chunks(PIECE).enumerate().map(piece).collect();
        Self { digest: Digest::of(bytes), size: bytes.len() as u64, list }
    }
    pub fn from(&self, sources: Vec<Source>) -> Wanted<'_> {
        let Self { digest, size, list } = self;
        Wanted { digest: *digest, size: *size, pieces: list, sources, otherwise: Vec::new(), here: Vec::new() }
    }
}
