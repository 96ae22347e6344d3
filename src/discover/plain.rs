//! Plain HTTP to a neighbour: its URLs, and one request with a limit for everything.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// Characters of a URL's path.
const MAX_PATH: usize = 512;

/// An http URL that names a host by its IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub at: SocketAddrV4,
    /// With its query; begins with `/`.
    pub path: String,
}

impl Url {
    /// No names, which would have to be looked up; no user, no fragment.
    pub fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_at_checked("http://".len())?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let (ip, port) = host.split_once(':').unwrap_or((host, "80"));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let at = SocketAddrV4::new(ip.parse().ok()?, port);
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        (scheme.eq_ignore_ascii_case("http://") && is_plain).then_some(Self { at, path })
    }
    /// What a document that was fetched from here refers to (RFC 3986 §5.2, without dot segments, which servers resolve);
    /// none where that is on another machine.
    pub fn join(&self, reference: &str) -> Option<Self> {
        let folder = &self.path[..self.path.split('?').next()?.rfind('/')? + 1];
        let url = match reference {
            reference if reference.contains("://") => reference.to_owned(),
            reference if reference.starts_with("//") => return None,
            reference if reference.starts_with('/') => format!("http://{}{reference}", self.at),
            reference => format!("http://{}{folder}{reference}", self.at),
        };
        Self::read(&url).filter(|url| url.at.ip() == self.at.ip())
    }
}
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.at, self.path)
    }
}

/// Sends a request to `to` from the address `from`; gives the answer with at most `limit` bytes of body, which is read
/// within `span` altogether. No redirect is followed. None where anything of it fails.
pub(super) async fn exchange(
    from: Ipv4Addr,
    to: SocketAddrV4,
    request: Request<Full<Bytes>>,
    limit: usize,
    span: Duration,
) -> Option<(StatusCode, Bytes)> {
    timeout(span, async {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((from, 0).into()).ok()?;
        let stream = socket.connect(to.into()).await.ok()?;
        let mut client = hyper::client::conn::http1::Builder::new();
        client.max_buf_size(MAX_HEAD).title_case_headers(true);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.ok()?;
        // Ends with this exchange, whatever the other side does.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let response: Response<_> = sender.send_request(request).await.ok()?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await.ok()?;
        Some((status, body.to_bytes()))
    })
    .await
    .ok()?
}
