//! The plain HTTP server of one link: descriptions, control, subscriptions. Everybody on the link may ask, so whatever
//! is asked has a limit, and a browser that was led here by somebody's page gets nothing.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::description::{DESCRIPTION_PATH, PROGRAMS_PATH, scpd};
use super::events;
use super::gena::{granted, read_callbacks};
use super::service::{SERVICES, Service};
use super::soap::{Call, Fault, Refused};
use super::stage::{Face, Stage, product};
use crate::discover::link::v4;

/// The head of a request, and its lines.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 100;
/// The body of a call: the longest has a query of 8 KiB in it.
const MAX_BODY: usize = 64 << 10;
/// A head comes within this, or the connection is over; so is one that waits for its next request.
const HEAD_SPAN: Duration = Duration::from_secs(8);
/// A body comes, and its answer is there, within this.
const REQUEST_SPAN: Duration = Duration::from_secs(12);
/// How often idle connections are looked for while there are any.
const SWEEP: Duration = Duration::from_secs(10);
/// After an accept that failed (no descriptors left): the next one would at once.
const PAUSE: Duration = Duration::from_millis(100);
const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=\"utf-8\"");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

type Answer = Response<Full<Bytes>>;

/// Serves until the task is dropped.
pub(super) async fn serve(listener: TcpListener, stage: Arc<Stage>, face: Arc<Face>) {
    for number in 0.. {
        let (stream, peer) = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match v4(peer.ip()) {
                        Some(peer) if face.link.holds(peer) => break (stream, peer),
                        // Whoever is not on the link is not spoken to.
                        _ => drop(stream),
                    },
                    Err(_) => sleep(PAUSE).await,
                },
                () = sleep(SWEEP), if !face.guests.is_empty() => face.guests.sweep(Instant::now()),
            }
        };
        if face.guests.admit(number, peer, Instant::now()) {
            let task = tokio::spawn(converse(stream, number, peer, Arc::clone(&stage), Arc::clone(&face)));
            face.guests.seat(number, task.abort_handle());
        }
    }
}

/// Takes its place among the guests back, however a conversation ends.
struct Seat {
    face: Arc<Face>,
    number: u64,
}
impl Drop for Seat {
    fn drop(&mut self) {
        self.face.guests.leave(self.number);
    }
}

async fn converse(stream: TcpStream, number: u64, peer: Ipv4Addr, stage: Arc<Stage>, face: Arc<Face>) {
    let seat = Seat { face: Arc::clone(&face), number };
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_SPAN).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    server.title_case_headers(true);
    let service = service_fn(|request| async {
        seat.face.guests.serving(number, true, Instant::now());
        let answered = timeout(REQUEST_SPAN, answer(request, peer, &stage, &face)).await;
        seat.face.guests.serving(number, false, Instant::now());
        let mut answer = answered.unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT));
        if let Ok(product) = HeaderValue::try_from(product()) {
            answer.headers_mut().insert("server", product);
        }
        Ok::<_, Infallible>(answer)
    });
    // A connection that broke is the other side's affair.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, peer: Ipv4Addr, stage: &Arc<Stage>, face: &Arc<Face>) -> Answer {
    if let Err(status) = check_source(&request, face) {
        return plain(status);
    }
    let path = request.uri().path().to_owned();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        DESCRIPTION_PATH if is_read => document(XML, stage.description(face)),
        PROGRAMS_PATH if is_read => programs(stage),
        DESCRIPTION_PATH | PROGRAMS_PATH => not_that_way("GET, HEAD"),
        _ => match path[1..].split_once('/').and_then(|(name, what)| Some((service_at(name)?, what))) {
            Some((service, "scpd.xml")) if is_read => document(XML, scpd(SERVICES[service])),
            Some((_, "scpd.xml")) => not_that_way("GET, HEAD"),
            Some((service, "control")) if request.method() == Method::POST => {
                control(request, SERVICES[service], stage, face).await
            }
            Some((_, "control")) => not_that_way("POST"),
            Some((service, "event")) => match request.method().as_str() {
                "SUBSCRIBE" => subscribe(request.headers(), service, peer, stage, face),
                "UNSUBSCRIBE" => unsubscribe(request.headers(), service, peer, face),
                _ => not_that_way("SUBSCRIBE, UNSUBSCRIBE"),
            },
            _ => plain(StatusCode::NOT_FOUND),
        },
    }
}

fn service_at(name: &str) -> Option<usize> {
    SERVICES.iter().position(|service| service.path == name)
}

/// Host must be this very address: a name would be somebody's, led here by his DNS. A page of another origin has no
/// business here. A target that is no path, or a URL of somebody else's (RFC 9112 §3.2.2), is none of ours.
fn check_source(request: &Request<Incoming>, face: &Face) -> Result<(), StatusCode> {
    let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let hosts = request.headers().get_all(HOST).iter().count();
    let here = face.http.to_string();
    match text(HOST) {
        Some(host) if hosts == 1 && (host == here || host == face.http.ip().to_string()) => {}
        Some(_) => return Err(StatusCode::MISDIRECTED_REQUEST),
        // Before Host there were no browsers that could be misled.
        None if request.version() == Version::HTTP_10 => {}
        None => return Err(StatusCode::BAD_REQUEST),
    }
    if text(ORIGIN).is_some_and(|origin| origin != format!("http://{here}")) {
        return Err(StatusCode::FORBIDDEN);
    }
    let is_here = request.uri().authority().is_none_or(|authority| authority.as_str() == here);
    if is_here && request.uri().path().starts_with('/') { Ok(()) } else { Err(StatusCode::BAD_REQUEST) }
}

fn programs(stage: &Stage) -> Answer {
    match serde_json::to_string(&stage.directory().programs) {
        Ok(text) => document(JSON, text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn control(
    request: Request<Incoming>,
    service: &'static Service,
    stage: &Arc<Stage>,
    face: &Arc<Face>,
) -> Answer {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let media = text("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("text/xml") {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let Some(soap_action) = text("soapaction").map(str::to_owned) else { return plain(StatusCode::BAD_REQUEST) };
    let said = text(CONTENT_LENGTH.as_str()).map(|length| length.parse::<usize>().unwrap_or(usize::MAX));
    if said.is_some_and(|length| length > MAX_BODY) {
        return closing(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(why) if why.is::<http_body_util::LengthLimitError>() => return closing(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return closing(StatusCode::BAD_REQUEST),
    };
    let (stage, face) = (Arc::clone(stage), Arc::clone(face));
    // A query may read the disk.
    let performed = tokio::task::spawn_blocking(move || perform(service, &soap_action, &body, &stage, &face)).await;
    performed.unwrap_or_else(|_| fault(&Fault::new(501, "Action Failed")))
}

fn perform(service: &Service, soap_action: &str, body: &[u8], stage: &Stage, face: &Face) -> Answer {
    let call = match Call::read(service, soap_action, body) {
        Ok(call) => call,
        Err(Refused::NoCall(_)) => return closing(StatusCode::BAD_REQUEST),
        Err(Refused::Fault(told)) => return fault(&told),
    };
    let directory = stage.directory();
    let updates = stage.updates().clone();
    match stage.view(&directory, &updates, face).perform(service, &call) {
        Ok(values) => with_ext(document(XML, call.answer(service, &values))),
        Err(told) => fault(&told),
    }
}

fn fault(told: &Fault) -> Answer {
    let mut answer = with_ext(document(XML, told.write()));
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}

fn subscribe(headers: &HeaderMap, service: usize, peer: Ipv4Addr, stage: &Arc<Stage>, face: &Arc<Face>) -> Answer {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    let span = granted(text("timeout"));
    if let Some(sid) = text("sid") {
        if text("nt").is_some() || text("callback").is_some() {
            return plain(StatusCode::BAD_REQUEST);
        }
        return match face.subscribers().subscriptions.renew(sid, service, peer, span, stage.now()) {
            true => subscribed(sid, span),
            false => plain(StatusCode::PRECONDITION_FAILED),
        };
    }
    let callbacks = text("callback").and_then(|callback| read_callbacks(callback, peer, &face.link));
    let (Some("upnp:event"), Some(callbacks)) = (text("nt"), callbacks) else {
        return plain(StatusCode::PRECONDITION_FAILED);
    };
    match events::subscribe(stage, face, service, peer, callbacks, span) {
        Ok(sid) => subscribed(&sid, span),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn subscribed(sid: &str, span: Duration) -> Answer {
    let mut answer = plain(StatusCode::OK);
    for (name, value) in [("sid", sid.to_owned()), ("timeout", format!("Second-{}", span.as_secs()))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn unsubscribe(headers: &HeaderMap, service: usize, peer: Ipv4Addr, face: &Face) -> Answer {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    if text("nt").is_some() || text("callback").is_some() {
        return plain(StatusCode::BAD_REQUEST);
    }
    let sid = text("sid").unwrap_or_default();
    let mut subscribers = face.subscribers();
    match subscribers.subscriptions.cancel(sid, service, peer) {
        true => {
            subscribers.queues.remove(sid);
            plain(StatusCode::OK)
        }
        false => plain(StatusCode::PRECONDITION_FAILED),
    }
}

fn document(media_type: HeaderValue, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    answer
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// The rest of what comes on this connection is not wanted.
fn closing(status: StatusCode) -> Answer {
    let mut answer = plain(status);
    answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
    answer
}

fn not_that_way(allowed: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert("allow", HeaderValue::from_static(allowed));
    answer
}

fn with_ext(mut answer: Answer) -> Answer {
    answer.headers_mut().insert("ext", HeaderValue::from_static(""));
    answer
}
