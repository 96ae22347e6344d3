//! Web servers as sources of packages: ranges over HTTP/1.1, over TLS with the certificates that this system trusts, or
//! without. What comes is believed for its pieces' hashes; TLS keeps from others what is fetched.

use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderValue, LOCATION, RANGE, USER_AGENT};
use hyper::{Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::client::Begun;
use super::connect::{broken, reach, speak};
use super::limits::{CONNECT, REQUEST};
use super::pool::Link;
use super::range::ByteRange;
use super::tls;
use crate::model::{Code, Error, Result, Source, WebUrl};

/// What servers read of us in their logs.
const AGENT: &str = concat!("deployctl/", env!("CARGO_PKG_VERSION"));

/// The beginning of the answer to a request for a range, over the kept connection where it still lives. Servers that know
/// no ranges answer with the whole.
///
/// # Errors
/// `unreachable`, `timed-out`, `busy`, `not-found`, `not-permitted`, `bad-certificate`, `refused`.
pub(super) async fn begin(kept: Option<Link>, url: &WebUrl, range: ByteRange) -> Result<Begun> {
    let who = Source::Web(url.clone()).named();
    let late = |_| Error::new(Code::TimedOut, format!("{who} did not answer within {} s", REQUEST.as_secs()));
    let begun = timeout(REQUEST, ask(kept, url, range, &who)).await.map_err(late)??;
    match refusal(&begun, &who) {
        None => Ok(begun),
        Some(error) => Err(error),
    }
}

async fn ask(kept: Option<Link>, url: &WebUrl, range: ByteRange, who: &str) -> Result<Begun> {
    if let Some(mut link) = kept
        && let Ok(response) = link.send_request(request(url, range)?).await
    {
        return Ok(Begun { response, link });
    }
    let late = |_| Error::new(Code::TimedOut, format!("could not connect to {who} within {} s", CONNECT.as_secs()));
    let mut link = timeout(CONNECT, connect(url, who)).await.map_err(late)??;
    let response = link.send_request(request(url, range)?).await.map_err(|why| broken(who, &why))?;
    Ok(Begun { response, link })
}

async fn connect(url: &WebUrl, who: &str) -> Result<Link> {
    let tcp = reach(&url.host, who).await?;
    if !url.secure {
        return speak(tcp, who).await;
    }
    let name = ServerName::try_from(url.host.name.clone())
        .map_err(|_| Error::new(Code::BadAddress, format!("{who} has a host that no certificate can name")))?;
    let connector = TlsConnector::from(tls::web_config()?);
    let stream = connector.connect(name, tcp).await.map_err(|why| no_handshake(who, &why))?;
    speak(stream, who).await
}

fn no_handshake(who: &str, why: &io::Error) -> Error {
    match tls::about_certificate(why) {
        Some(why) => Error::new(Code::BadCertificate, format!("the TLS handshake with {who} failed: {why}"))
            .hint("name another source, or add the server's authority to the certificates of this system"),
        None => Error::new(Code::Unreachable, format!("the TLS handshake with {who} failed: {why}"))
            .hint("it has to speak TLS 1.3"),
    }
}

fn request(url: &WebUrl, range: ByteRange) -> Result<Request<Full<Bytes>>> {
    let internal = |why: String| Error::new(Code::Internal, format!("making a request: {why}"));
    let default = if url.secure { 443 } else { 80 };
    // Without a port that goes without saying: buckets sign the name as it is usually written.
    let whole = url.host.to_string();
    let host = if url.host.port == default { whole.rsplit_once(':').map_or(&*whole, |(name, _)| name) } else { &whole };
    Request::get(url.target())
        .header(HOST, host)
        .header(RANGE, range.asked())
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(Full::default())
        .map_err(|why| internal(why.to_string()))
}

fn refusal(begun: &Begun, who: &str) -> Option<Error> {
    let status = begun.response.status();
    let code = match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => return None,
        StatusCode::NOT_FOUND | StatusCode::GONE => Code::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::NotPermitted,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::Busy,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::TimedOut,
        status if status.is_server_error() => Code::Unreachable,
        _ => Code::Refused,
    };
    let error = Error::new(code, format!("{who} answered {status}"));
    let to = begun.response.headers().get(LOCATION).filter(|_| status.is_redirection());
    Some(match to.and_then(|to| to.to_str().ok()) {
        Some(to) => error.hint(format!("the package seems to be at {to}: name that as the source")),
        None => error,
    })
}
