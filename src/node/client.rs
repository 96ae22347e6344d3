//! The client: asks other nodes, each over connections that have proved that node's key.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use super::body::{inflate, read_answer};
use super::connect::{broken, connect, connect_to_any, host_of};
use super::identity::NodeIdentity;
use super::limits::{
    ANSWER_BYTES, INBOX_BYTES, INBOX_MARGIN, INBOX_WAIT, MANIFEST_BYTES, PATCH_BYTES, PROBLEM_BYTES, REQUEST,
};
use super::pool::{Link, Pool};
use super::problem;
use super::range::ByteRange;
use super::wire::{InboxBatch, Posted, from_json};
use crate::message::Envelope;
use crate::model::{Address, Code, Digest, Error, Key, Result, SessionId, Time};
use crate::service::query::{Answer, Query};

/// Asks other nodes in the name of one identity. Must be used within a tokio runtime; any number of calls may run at
/// once, and its copies share their connections. Requests can be sent again without harm, and are, once, where a kept connection turns out to be gone.
#[derive(Clone)]
pub struct Client {
    identity: Arc<NodeIdentity>,
    pool: Arc<Mutex<Pool>>,
}

/// What a node answered to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostAnswer {
    Reply(Posted),
    /// Taken, with nothing to say yet.
    Accepted,
}

/// One request as it can be sent several times.
struct Ask {
    method: Method,
    path: String,
    range: Option<ByteRange>,
    /// Whether the answer may come compressed.
    gzip: bool,
    body: Bytes,
    /// From the call to the end of the answer.
    within: Duration,
    /// Bytes of the answer.
    limit: usize,
}

impl Ask {
    fn get(path: String, limit: usize) -> Self {
        Self { method: Method::GET, path, range: None, gzip: false, body: Bytes::new(), within: REQUEST, limit }
    }
    /// A signed statement about a package: half of it repeats.
    fn statement(path: String) -> Self {
        Self { gzip: true, ..Self::get(path, MANIFEST_BYTES) }
    }
}

/// An answer whose body is still to come, and the connection that it comes over.
pub(super) struct Begun {
    pub(super) response: Response<Incoming>,
    pub(super) link: Link,
}

impl Client {
    pub fn new(identity: Arc<NodeIdentity>) -> Self {
        Self { identity, pool: Arc::default() }
    }

    /// Sends a message (`POST /v1/messages`), within 30 s.
    ///
    /// # Errors
    /// What the node refused with; else `unreachable`, `timed-out`, `wrong-key`, `too-large`, `bad-message`.
    pub async fn post(&self, to: &Address, posted: &Posted) -> Result<PostAnswer> {
        let body = posted.to_json().into();
        let ask = Ask { method: Method::POST, body, ..Ask::get("/v1/messages".to_owned(), ANSWER_BYTES) };
        match self.ask(to, ask).await? {
            (StatusCode::ACCEPTED, _) => Ok(PostAnswer::Accepted),
            (_, body) => Ok(PostAnswer::Reply(parse(to, &body, "a message")?)),
        }
    }
    /// Polls for messages beyond `after`; the node answers within `wait` (at most 60 s), empty where none came.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn inbox(&self, from: &Address, after: u64, wait: Duration) -> Result<InboxBatch> {
        let wait = wait.min(INBOX_WAIT);
        let path = format!("/v1/inbox?after={after}&wait={}", wait.as_secs());
        let ask = Ask { within: wait + INBOX_MARGIN, ..Ask::get(path, INBOX_BYTES) };
        parse(from, &self.ask(from, ask).await?.1, "an inbox")
    }
    /// A package's manifest: the envelope's bytes as they came, not verified.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn manifest(&self, at: &Address, digest: Digest, session: Option<SessionId>) -> Result<Vec<u8>> {
        let query = session.map(|session| format!("?session={session}")).unwrap_or_default();
        let ask = Ask::statement(format!("/v1/packages/{digest}/manifest{query}"));
        Ok(self.ask(at, ask).await?.1)
    }
    /// The manifest of a program's package by its own digest: the envelope's bytes as they came, not verified.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn manifest_named(&self, at: &Address, digest: Digest, manifest: &Digest) -> Result<Vec<u8>> {
        let ask = Ask::statement(format!("/v1/packages/{digest}/manifest?manifest={manifest}"));
        Ok(self.ask(at, ask).await?.1)
    }
    /// What makes pieces of a package of those of another one, see [`crate::package::make_patch`]; signed by nobody.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn patch(&self, at: &Address, new: Digest, old: Digest) -> Result<Vec<u8>> {
        Ok(self.ask(at, Ask::get(format!("/v1/packages/{new}/patch?from={old}"), PATCH_BYTES)).await?.1)
    }
    /// What a package was made of: the envelope's bytes as they came, not verified.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn provenance(&self, at: &Address, digest: Digest, session: Option<SessionId>) -> Result<Vec<u8>> {
        let query = session.map(|session| format!("?session={session}")).unwrap_or_default();
        let ask = Ask::statement(format!("/v1/packages/{digest}/provenance{query}"));
        Ok(self.ask(at, ask).await?.1)
    }
    /// The programs of a node that fit a query (`POST /v1/programs/query`), as it says.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn query(&self, at: &Address, query: &Query) -> Result<Answer> {
        let body = serde_json::to_vec(query).expect("strings and lists serialize").into();
        let path = "/v1/programs/query".to_owned();
        let ask = Ask { method: Method::POST, body, ..Ask::get(path, ANSWER_BYTES) };
        parse(at, &self.ask(at, ask).await?.1, "an answer to a query")
    }
    /// What a node says of itself.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn node(&self, at: &Address) -> Result<serde_json::Value> {
        parse(at, &self.ask(at, Ask::get("/v1/node".to_owned(), ANSWER_BYTES)).await?.1, "a node's description")
    }

    /// Who answers at this address, and what time it is there as far as it says; nothing is kept of it.
    ///
    /// # Errors
    /// `unreachable`, `timed-out`.
    pub async fn look(&self, at: &Address) -> Result<(Key, Option<Time>)> {
        let ask = Ask::get("/v1/rotations".to_owned(), ANSWER_BYTES);
        let exchange = async {
            let (mut link, seen) = connect_to_any(&self.identity, at).await?;
            let at = Address { key: seen, host: at.host.clone() };
            let response = send(&mut link, &at, &ask).await?;
            let date = response.headers().get(hyper::header::DATE).and_then(|date| date.to_str().ok());
            Ok((seen, date.and_then(Time::from_http)))
        };
        timeout(ask.within, exchange).await.map_err(|_| late(at, ask.within))?
    }
    /// Whose key answers at this address, whichever it is, and what led to it, not verified.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn rotations(&self, at: &Address) -> Result<(Key, Vec<Envelope>)> {
        let ask = Ask::get("/v1/rotations".to_owned(), ANSWER_BYTES);
        let exchange = async {
            let (mut link, seen) = connect_to_any(&self.identity, at).await?;
            let at = Address { key: seen, host: at.host.clone() };
            let response = send(&mut link, &at, &ask).await?;
            let (status, body) = self.finish(&at, Begun { response, link }, ask.limit).await?;
            if !status.is_success() {
                return Err(problem::to_error(&at, status, &body));
            }
            Ok((seen, parse(&at, &body, "rotations")?))
        };
        timeout(ask.within, exchange).await.map_err(|_| late(at, ask.within))?
    }

    /// The beginning of the answer to a ranged request for a package; the time of its body is the caller's to bound.
    pub(super) async fn package(&self, at: &Address, digest: Digest, range: ByteRange) -> Result<Begun> {
        let ask = Ask { range: Some(range), ..Ask::get(format!("/v1/packages/{digest}"), PROBLEM_BYTES) };
        let begun = timeout(ask.within, self.begin(at, &ask)).await.map_err(|_| late(at, ask.within))??;
        if begun.response.status().is_success() {
            return Ok(begun);
        }
        let (status, body) =
            timeout(ask.within, self.finish(at, begun, ask.limit)).await.map_err(|_| late(at, ask.within))??;
        Err(problem::to_error(at, status, &body))
    }
    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, to: &Address, link: Link) {
        self.pool().keep(to, link);
    }

    /// The whole answer, where it is a success.
    async fn ask(&self, to: &Address, ask: Ask) -> Result<(StatusCode, Vec<u8>)> {
        let exchange = async {
            let begun = self.begin(to, &ask).await?;
            let limit = if begun.response.status().is_success() { ask.limit } else { PROBLEM_BYTES };
            self.finish(to, begun, limit).await
        };
        let (status, body) = timeout(ask.within, exchange).await.map_err(|_| late(to, ask.within))??;
        if status.is_success() { Ok((status, body)) } else { Err(problem::to_error(to, status, &body)) }
    }
    /// Sends over a kept connection, or a fresh one where there is none or it is gone.
    async fn begin(&self, to: &Address, ask: &Ask) -> Result<Begun> {
        let kept = self.pool().take(to);
        if let Some(mut link) = kept
            && let Ok(response) = send(&mut link, to, ask).await
        {
            return Ok(Begun { response, link });
        }
        let mut link = connect(&self.identity, to).await?;
        let response = send(&mut link, to, ask).await?;
        Ok(Begun { response, link })
    }
    async fn finish(&self, to: &Address, begun: Begun, limit: usize) -> Result<(StatusCode, Vec<u8>)> {
        let status = begun.response.status();
        let is_gzip = begun.response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let body = read_answer(begun.response.into_body(), limit).await;
        let body = body.and_then(|body| if is_gzip { inflate(&body, limit) } else { Ok(body) });
        let body = body.map_err(|error| error.while_doing(format!("reading the answer of {}", to.named())))?;
        self.keep(to, begun.link);
        Ok((status, body))
    }
    /// How many connections are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.pool().len()
    }
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.identity.key())
    }
}

async fn send(link: &mut Link, to: &Address, ask: &Ask) -> Result<Response<Incoming>> {
    let internal = |why: String| Error::new(Code::Internal, format!("making a request: {why}"));
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = ask.path.parse().map_err(|why| internal(format!("{why}")))?;
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(host_of(to)?.to_string()).map_err(|why| internal(why.to_string()))?;
    headers.insert(HOST, host);
    if ask.method == Method::POST {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if ask.gzip {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(range) = ask.range {
        headers.insert(RANGE, HeaderValue::try_from(range.asked()).map_err(|why| internal(why.to_string()))?);
    }
    link.ready().await.map_err(|why| broken(&to.named(), &why))?;
    link.send_request(request).await.map_err(|why| broken(&to.named(), &why))
}

fn parse<T: serde::de::DeserializeOwned>(from: &Address, body: &[u8], what: &str) -> Result<T> {
    from_json(body, what).map_err(|error| error.while_doing(format!("the answer of {}", from.named())))
}

fn late(to: &Address, within: Duration) -> Error {
    Error::new(Code::TimedOut, format!("{} did not answer within {} s", to.named(), within.as_secs()))
        .hint("the node may be overloaded or the network cut; try again")
}
