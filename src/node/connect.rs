//! From an address to a connection whose other end has proved to hold that address's key.

use std::error::Error as StdError;
use std::io;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::identity::NodeIdentity;
use super::limits::{CONNECT, CONNECTION_BUFFER_BYTES};
use super::pool::Link;
use super::tls;
use crate::model::{Address, Code, Error, Host, Key, Result};

/// Connects, shakes hands, and hands the connection to a task of its own, which ends when the link is dropped.
///
/// # Errors
/// `wrong-key` where another key answers, `unreachable`, `timed-out`.
pub(super) async fn connect(identity: &NodeIdentity, to: &Address) -> Result<Link> {
    Ok(connect_to(identity, to, Some(to.key)).await?.0)
}

/// Connects to whoever answers there, and tells whose key it is.
///
/// # Errors
/// `unreachable`, `timed-out`.
pub(super) async fn connect_to_any(identity: &NodeIdentity, to: &Address) -> Result<(Link, Key)> {
    connect_to(identity, to, None).await
}

async fn connect_to(identity: &NodeIdentity, to: &Address, expected: Option<Key>) -> Result<(Link, Key)> {
    let host = host_of(to)?;
    let late = |_| {
        let why = format!("could not connect to {} within {} s", to.named(), CONNECT.as_secs());
        Error::new(Code::TimedOut, why).hint("check the address, and that a firewall lets the port through")
    };
    timeout(CONNECT, shake_hands(identity, to, host, expected)).await.map_err(late)?
}

/// Where a node listens.
///
/// # Errors
/// `unreachable` where it listens nowhere.
pub(super) fn host_of(to: &Address) -> Result<&Host> {
    to.host.as_ref().ok_or_else(|| {
        Error::new(Code::Unreachable, format!("{} listens nowhere", to.named()))
            .hint("its address has no HOST:PORT: it fetches its messages itself, from nodes that listen")
    })
}

async fn shake_hands(identity: &NodeIdentity, to: &Address, host: &Host, expected: Option<Key>) -> Result<(Link, Key)> {
    let connector = TlsConnector::from(tls::client_config(identity, expected)?);
    let tcp = reach(host, &to.named()).await?;
    let stream = connector.connect(tls::server_name(), tcp).await.map_err(|why| no_handshake(to, &why))?;
    let seen = tls::peer_key(stream.get_ref().1.peer_certificates()).unwrap_or(to.key);
    Ok((speak(stream, &to.named()).await?, seen))
}

/// Connects to `host`, which errors call `who`. The time is the caller's to bound.
///
/// # Errors
/// `unreachable`.
pub(super) async fn reach(host: &Host, who: &str) -> Result<TcpStream> {
    let tcp = TcpStream::connect((host.name.as_str(), host.port)).await.map_err(|why| no_connection(who, &why))?;
    tcp.set_nodelay(true).map_err(|why| no_connection(who, &why))?;
    Ok(tcp)
}

/// Speaks HTTP over a connection, in a task of its own, which ends when the link is dropped.
///
/// # Errors
/// `unreachable`.
pub(super) async fn speak<S>(stream: S, who: &str) -> Result<Link>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (link, connection) = http1::Builder::new()
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|why| broken(who, &why))?;
    // What goes wrong with it, the request in flight gets to know.
    tokio::spawn(connection);
    Ok(link)
}

fn no_connection(who: &str, why: &io::Error) -> Error {
    let hint = match why.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: is `deployctl serve` running, and the port right?",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "check this machine's network",
        _ => "check the host's name and the network",
    };
    Error::new(Code::Unreachable, format!("could not connect to {who}: {why}")).hint(hint)
}

fn no_handshake(to: &Address, why: &io::Error) -> Error {
    if let Some(other) = tls::other_key(why) {
        let message = format!(
            "{} is another node than its address says: expected the key {}, saw {}",
            to.named(),
            other.expected,
            other.seen
        );
        return Error::new(Code::WrongKey, message).hint(
            "somebody else answers there, or the node has a new identity: ask its owner for the address, and trust it only then",
        );
    }
    if let Some(certificate) = tls::about_certificate(why) {
        return bad_certificate(&to.named(), &certificate);
    }
    Error::new(Code::Unreachable, format!("the TLS handshake with {} failed: {why}", to.named()))
        .hint("something else than a deployctl node may be listening there")
}

fn bad_certificate(who: &str, why: &str) -> Error {
    Error::new(Code::BadCertificate, format!("the TLS handshake with {who} failed: {why}"))
        .hint("`[tls] ca` in config.toml says whose certificates are taken; `deployctl init --csr` asks for one")
}

/// A connection that broke in mid-request, or an answer that is no HTTP.
pub(super) fn broken(who: &str, why: &hyper::Error) -> Error {
    if let Some(certificate) = tls::about_certificate(why) {
        return bad_certificate(who, &certificate);
    }
    let cause = StdError::source(why).map_or_else(String::new, |cause| format!(" ({cause})"));
    Error::new(Code::Unreachable, format!("the connection to {who} broke: {why}{cause}"))
        .hint("the node may be stopping or out of room; try again in a moment")
}
