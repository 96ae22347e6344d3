//! From a request to its answer: the paths of `/v1`, their limits, and refusals as problems.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPECT, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::body::{self, Content, Outgoing, Served};
use super::gate::Gate;
use super::handler::{Answer, Caller, Handler, Part, Stored};
use super::limits::{INBOX_WAIT, MESSAGE_BYTES, QUERY_BYTES, REQUESTS_PER_KEY, RETRY_AFTER_SECS, SHRUNK_BYTES};
use super::problem;
use super::range::{self, ByteRange};
use super::watched::Phase;
use super::wire::{InboxBatch, Posted, from_json};
use crate::model::{Code, Digest, Error, Result, SessionId};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GZIP: HeaderValue = HeaderValue::from_static("application/gzip");
const PATCH: HeaderValue = HeaderValue::from_static("application/vnd.deployctl.patch");
const PROBLEM: HeaderValue = HeaderValue::from_static(problem::MEDIA_TYPE);

/// Answers the requests of every connection of one server.
pub(super) struct Routes {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) gate: Arc<Gate>,
    /// Turns true when the server stops, which ends the polls.
    pub(super) stopping: watch::Receiver<bool>,
}

/// A refusal, and whether it is of the protocol (ours, for the audit) or the handler's.
struct Refusal {
    error: Error,
    status: StatusCode,
    ours: bool,
}

impl Refusal {
    /// The request breaks a rule of the protocol.
    fn ours(error: Error) -> Self {
        Self { ours: true, ..Self::from(error) }
    }
    /// With another status than its code's.
    fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { error, status, ours: false }
    }
}

type Answered = Result<Response<Content>, Refusal>;

impl Routes {
    /// Answers one request; never fails, as a refusal is an answer too.
    pub(super) async fn answer(
        &self,
        caller: Caller,
        request: Request<Incoming>,
        phase: Arc<Phase>,
    ) -> Response<Outgoing> {
        phase.serving();
        let served = Served { slot: self.gate.request(caller.key), phase };
        let answered = if served.slot.is_some() {
            self.route(caller, request).await
        } else {
            let busy = format!("more than {REQUESTS_PER_KEY} requests of one key at once");
            Err(Refusal::ours(Error::new(Code::Busy, busy).hint("send it again in a moment")))
        };
        let response = answered.unwrap_or_else(|refusal| {
            if refusal.ours {
                self.handler.refused(Some(caller.key), caller.ip, &refusal.error.message);
            }
            refused(&refusal)
        });
        response.map(|content| content.until_served(served))
    }

    async fn route(&self, caller: Caller, request: Request<Incoming>) -> Answered {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/v1/messages") => self.message(caller, request).await,
            (&Method::POST, "/v1/programs/query") => {
                let query = read_body(request, QUERY_BYTES).await?;
                let query = from_json(&query, "a query for programs").map_err(Refusal::ours)?;
                let answer = self.handler.query(caller, query).await?;
                Ok(json(serde_json::to_vec(&answer).expect("strings and lists serialize")))
            }
            (&Method::GET, "/v1/inbox") => self.inbox(caller, request.uri().query().unwrap_or("")).await,
            (&Method::GET, "/v1/node") => Ok(json(self.handler.node(caller).await?.to_string())),
            (&Method::GET, "/v1/rotations") => {
                let rotations = serde_json::to_vec(&self.handler.rotations());
                Ok(json(rotations.expect("strings and lists serialize")))
            }
            (&Method::GET | &Method::HEAD, path) if path.starts_with("/v1/packages/") => {
                self.package(caller, path, request.uri().query().unwrap_or(""), request.headers()).await
            }
            (method, path) => Err(no_such(method, path)),
        }
    }

    async fn message(&self, caller: Caller, request: Request<Incoming>) -> Answered {
        let posted = Posted::from_json(&read_body(request, MESSAGE_BYTES).await?).map_err(Refusal::ours)?;
        match self.handler.message(caller, posted).await {
            Answer::Reply(posted) => Ok(json(posted.to_json())),
            Answer::Accepted => Ok(with_status(Response::new(Content::empty()), StatusCode::ACCEPTED)),
            Answer::Refused(error) => Err(error.into()),
        }
    }

    async fn inbox(&self, caller: Caller, query: &str) -> Answered {
        let (after, wait) = inbox_query(query).map_err(Refusal::ours)?;
        let mut stopping = self.stopping.clone();
        let batch = tokio::select! {
            batch = self.handler.inbox(caller, after, wait) => batch?,
            _ = stopping.wait_for(|stop| *stop) => InboxBatch { next: after, messages: Vec::new() },
        };
        Ok(json(serde_json::to_vec(&batch).expect("strings and lists serialize")))
    }

    async fn package(&self, caller: Caller, path: &str, query: &str, headers: &HeaderMap) -> Answered {
        let rest = path.strip_prefix("/v1/packages/").unwrap_or_default();
        let (digest, part) = match rest.split_once('/') {
            None => (rest, Part::Package),
            Some((digest, "manifest")) => (digest, manifest_query(query).map_err(Refusal::ours)?),
            Some((digest, "provenance")) => (digest, Part::Provenance(session_query(query).map_err(Refusal::ours)?)),
            Some((digest, "patch")) => (digest, Part::Patch(patch_query(query).map_err(Refusal::ours)?)),
            Some(_) => return Err(no_such(&Method::GET, path)),
        };
        let digest = digest.parse::<Digest>().map_err(Refusal::ours)?;
        let stored = self.handler.package(caller, digest, part).await?;
        let is_json = matches!(part, Part::Manifest(_) | Part::Named(_) | Part::Provenance(_));
        if is_json && stored.length <= SHRUNK_BYTES && takes_gzip(headers) {
            let shrunk = tokio::task::spawn_blocking(move || shrunk(&stored)).await;
            return shrunk.unwrap_or_else(|why| Err(Error::new(Code::Internal, why.to_string()).into()));
        }
        file(stored, digest, part, headers)
    }
}

/// The body of a request. One that is too large is read on for a little, so that its sender gets to read why.
async fn read_body(request: Request<Incoming>, limit: usize) -> Result<Vec<u8>, Refusal> {
    let expects = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    let read = if body.size_hint().lower() > limit as u64 {
        Err(body::too_large(limit))
    } else {
        body::read_request(&mut body, limit).await
    };
    read_or_refuse(read, body, expects).await
}

async fn read_or_refuse(read: Result<Vec<u8>>, body: Incoming, expects: bool) -> Result<Vec<u8>, Refusal> {
    match read {
        Ok(read) => Ok(read),
        Err(error) if error.code == Code::TimedOut => {
            Err(Refusal::ours(error).with_status(StatusCode::REQUEST_TIMEOUT))
        }
        Err(error) if error.code == Code::TooLarge => {
            if !expects {
                body::discard(body).await;
            }
            Err(Refusal::ours(error))
        }
        Err(error) => Err(Refusal::ours(error).with_status(StatusCode::BAD_REQUEST)),
    }
}

/// Which manifest: that of `session`, or the one of the digest `manifest`.
fn manifest_query(query: &str) -> Result<Part> {
    match query.split('&').find_map(|pair| pair.strip_prefix("manifest=")) {
        Some(digest) => digest.parse().map(Part::Named),
        None => session_query(query).map(Part::Manifest),
    }
}

/// `from`: the package that whoever asks for a patch has.
fn patch_query(query: &str) -> Result<Digest> {
    let from = query.split('&').find_map(|pair| pair.strip_prefix("from="));
    from.ok_or_else(|| Error::new(Code::BadInput, "a patch leads from another package: ?from=DIGEST"))?.parse()
}

/// `session` of a manifest's or provenance's query.
fn session_query(query: &str) -> Result<Option<SessionId>> {
    query.split('&').find_map(|pair| pair.strip_prefix("session=")).map(str::parse).transpose()
}

/// `after` and `wait` (seconds) of a poll; both may be left out, and unknown ones are ignored.
fn inbox_query(query: &str) -> Result<(u64, Duration)> {
    let (mut after, mut wait) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "after" => &mut after,
            "wait" => &mut wait,
            _ => continue,
        };
        let number = value.parse::<u64>().ok().filter(|_| slot.is_none());
        *slot =
            Some(number.ok_or_else(|| Error::new(Code::BadInput, format!("the query's {name} is not one number")))?);
    }
    Ok((after.unwrap_or(0), Duration::from_secs(wait.unwrap_or(0)).min(INBOX_WAIT)))
}

/// A file or the range of it that was asked for. Named by its content, it never changes: its digest is its tag.
fn file(stored: Stored, digest: Digest, part: Part, headers: &HeaderMap) -> Answered {
    let (media_type, tag) = match part {
        Part::Package => (GZIP, format!("\"{digest}\"")),
        Part::Manifest(_) | Part::Named(_) => (JSON, format!("\"{digest}.manifest\"")),
        Part::Provenance(_) => (JSON, format!("\"{digest}.provenance\"")),
        Part::Patch(from) => (PATCH, format!("\"{digest}.from.{from}\"")),
    };
    let range = asked_range(headers, &tag, stored.length)
        .map_err(|error| Refusal::ours(error).with_status(StatusCode::RANGE_NOT_SATISFIABLE))?;
    let left = range.unwrap_or(ByteRange { start: 0, end: stored.length });
    let mut response = Response::new(Content::File { file: stored.file, left });
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, CONTENT_RANGE, left.told(stored.length));
    }
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(&mut response, ETAG, tag);
    Ok(response)
}

/// The whole of a statement, compressed.
fn shrunk(stored: &Stored) -> Answered {
    let (mut whole, mut bytes) = (vec![0; usize::try_from(stored.length).unwrap_or(0)], Vec::new());
    let read = stored.file.read_exact_at(&mut whole, 0);
    read.and_then(|()| GzEncoder::new(&*whole, Compression::default()).read_to_end(&mut bytes))
        .map_err(|why| Error::io("reading", Path::new("a statement"), &why))?;
    let mut response = json(bytes);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}

/// Whether gzip will do, and the whole (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let wanted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let gzip = wanted.split(',').map(|one| one.replace(' ', "")).find(|one| one.split(';').next() == Some("gzip"));
    gzip.is_some_and(|gzip| !matches!(gzip.as_str(), "gzip;q=0" | "gzip;q=0.0")) && !headers.contains_key(RANGE)
}

/// The range that a request asks for; `None` for the whole, also where it wants a range of another version only.
fn asked_range(headers: &HeaderMap, tag: &str, size: u64) -> Result<Option<ByteRange>> {
    let other_version = headers.get(IF_RANGE).is_some_and(|wanted| wanted.as_bytes() != tag.as_bytes());
    match headers.get(RANGE) {
        Some(value) if !other_version => {
            let value = value.to_str().map_err(|_| Error::new(Code::BadInput, "the range asked for is not text"))?;
            range::parse(value, size)
        }
        _ => Ok(None),
    }
}

fn json(text: impl Into<bytes::Bytes>) -> Response<Content> {
    let mut response = Response::new(Content::text(text));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn refused(refusal: &Refusal) -> Response<Content> {
    let mut response = Response::new(Content::text(problem::to_json(&refusal.error, refusal.status)));
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    if matches!(refusal.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECS.into());
    }
    with_status(response, refusal.status)
}

fn no_such(method: &Method, path: &str) -> Refusal {
    let shown: String = path.chars().take(100).collect();
    Refusal::ours(Error::new(Code::NotFound, format!("there is no {method} {shown} here")))
}

fn with_status(mut response: Response<Content>, status: StatusCode) -> Response<Content> {
    *response.status_mut() = status;
    response
}

fn set(response: &mut Response<Content>, name: HeaderName, value: String) {
    let value = HeaderValue::try_from(value).expect("digits, letters and quotes make a header");
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_says_after_what_and_how_long_and_never_too_long() {
        let seconds = Duration::from_secs;
        assert_eq!(inbox_query("").unwrap(), (0, seconds(0)));
        assert_eq!(inbox_query("after=7&wait=30&x").unwrap(), (7, seconds(30)));
        assert_eq!(inbox_query("wait=99999999999").unwrap(), (0, INBOX_WAIT));
        for query in ["after=-1", "after=1&after=2", "wait=", "wait=1s"] {
            assert_eq!(inbox_query(query).unwrap_err().code, Code::BadInput, "{query}");
        }
    }
}
