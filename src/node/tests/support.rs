//! A node for tests: a server with a handler that records what it was asked, and ways to knock at it.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::message::Envelope;
use crate::model::{Address, Code, Digest, Error, Host, Key, Result};
use crate::node::{
    Answer, Answering, Caller, Client, Handler, InboxBatch, NodeIdentity, Part, Posted, Server, Stored, generate, tls,
};
use crate::service::query::{self, Query};
use crate::system::System;

pub(super) fn identity() -> Arc<NodeIdentity> {
    let (key, certificate) = generate(&System::real()).unwrap();
    Arc::new(NodeIdentity::from_pem(&key, &certificate).unwrap())
}

pub(super) fn client() -> Client {
    Client::new(identity())
}

pub(super) fn posted(identity: &NodeIdentity, text: &str) -> Posted {
    Posted::open(Envelope::seal("text/plain", text.as_bytes().to_vec(), &identity.signing()))
}

/// Answers by what the payload says, and remembers.
pub(super) struct Recorder {
    pub(super) callers: Mutex<Vec<Caller>>,
    pub(super) refusals: Mutex<Vec<(Option<Key>, String)>>,
    pub(super) files: Mutex<HashMap<(Digest, Part), Vec<u8>>>,
    /// The inbox's messages; the sender end is for tests to add.
    pub(super) inbox: watch::Sender<Vec<Posted>>,
}

impl Recorder {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            callers: Mutex::default(),
            refusals: Mutex::default(),
            files: Mutex::default(),
            inbox: watch::Sender::new(Vec::new()),
        })
    }
    pub(super) fn with_package(bytes: &[u8]) -> (Arc<Self>, Digest) {
        let (recorder, digest) = (Self::new(), Digest::of(bytes));
        let mut files = recorder.files.lock().unwrap();
        files.insert((digest, Part::Package), bytes.to_vec());
        files.insert((digest, Part::Manifest(None)), b"{}".to_vec());
        drop(files);
        (recorder, digest)
    }
    /// Waits until a refusal that says `what` was recorded.
    pub(super) async fn refusal(&self, what: &str) -> (Option<Key>, String) {
        let until = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let found = self.refusals.lock().unwrap().iter().find(|(_, why)| why.contains(what)).cloned();
            if let Some(found) = found {
                return found;
            }
            assert!(tokio::time::Instant::now() < until, "no refusal says {what}: {:?}", self.refusals);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Handler for Recorder {
    fn message(&self, peer: Caller, posted: Posted) -> Answering<'_, Answer> {
        Box::pin(async move {
            self.callers.lock().unwrap().push(peer);
            match posted.envelope.payload.as_slice() {
                b"echo" => Answer::Reply(posted),
                b"refuse" => Answer::Refused(Error::new(Code::NotPermitted, "may not").hint("ask for it")),
                b"panic" => panic!("as the test asked"),
                _ => Answer::Accepted,
            }
        })
    }
    fn inbox(&self, _peer: Caller, after: u64, wait: Duration) -> Answering<'_, Result<InboxBatch>> {
        Box::pin(async move {
            let mut inbox = self.inbox.subscribe();
            let after = usize::try_from(after).unwrap();
            let _ = tokio::time::timeout(wait, inbox.wait_for(|messages| messages.len() > after)).await;
            let messages: Vec<_> = inbox.borrow().iter().skip(after).cloned().collect();
            Ok(InboxBatch { next: (after + messages.len()) as u64, messages })
        })
    }
    fn query(&self, _peer: Caller, query: Query) -> Answering<'_, Result<query::Answer>> {
        Box::pin(async move { Ok(query.answer([])) })
    }
    fn package(&self, _peer: Caller, digest: Digest, part: Part) -> Answering<'_, Result<Stored>> {
        Box::pin(async move {
            let bytes = self.files.lock().unwrap().get(&(digest, part)).cloned();
            let bytes = bytes.ok_or_else(|| Error::new(Code::NotFound, "no such package"))?;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            Ok(Stored { file, length: bytes.len() as u64 })
        })
    }
    fn node(&self, peer: Caller) -> Answering<'_, Result<serde_json::Value>> {
        Box::pin(async move { Ok(serde_json::json!({ "you": peer.key })) })
    }
    fn refused(&self, key: Option<Key>, _ip: IpAddr, what: &str) {
        self.refusals.lock().unwrap().push((key, what.to_owned()));
    }
}

/// A server that runs until it is dropped or stopped.
pub(super) struct Running {
    pub(super) identity: Arc<NodeIdentity>,
    pub(super) at: SocketAddr,
    pub(super) task: JoinHandle<Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Running {
    pub(super) async fn start(handler: Arc<Recorder>) -> Self {
        Self::start_at("127.0.0.1:0", identity(), handler).await
    }
    pub(super) async fn start_at(listen: &str, identity: Arc<NodeIdentity>, handler: Arc<Recorder>) -> Self {
        let server = Server::bind(listen).await.unwrap();
        let at = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.run(Arc::clone(&identity), handler, async { drop(stopped.await) });
        Self { identity, at, task: tokio::spawn(running), stop }
    }
    pub(super) fn address(&self) -> Address {
        Address { key: self.identity.key(), host: Some(host(self.at)) }
    }
    /// Stops it gracefully.
    pub(super) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
    /// A TLS connection of `client`'s own, past the handshake.
    pub(super) async fn connect(&self, client: &NodeIdentity) -> TlsStream<TcpStream> {
        let connector = TlsConnector::from(tls::client_config(client, Some(self.identity.key())).unwrap());
        let tcp = TcpStream::connect(self.at).await.unwrap();
        connector.connect(tls::server_name(), tcp).await.unwrap()
    }
    /// What is answered to these bytes, until the connection ends.
    pub(super) async fn answer_to(&self, request: &str) -> String {
        let mut stream = self.connect(&identity()).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }
    /// What is answered to one request with these header lines and no body.
    pub(super) async fn ask(&self, line: &str, headers: &str) -> String {
        self.answer_to(&format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
    }
}

pub(super) fn host(at: SocketAddr) -> Host {
    Host { name: at.ip().to_string(), port: at.port() }
}

/// Everything until the other side ends the connection, however it does.
pub(super) async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await.expect("it ends");
    String::from_utf8_lossy(&all).into_owned()
}
