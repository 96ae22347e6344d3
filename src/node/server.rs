//! The server: accepts connections within their limits, shakes hands, and serves HTTP/1.1 until it is told to stop.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::gate::{ConnectionSlot, Gate};
use super::handler::{Caller, Handler};
use super::identity::NodeIdentity;
use super::limits::{
    ACCEPT_PAUSE, CONNECTION_BUFFER_BYTES, HANDSHAKE, HEADER_BYTES, HEADER_FIELDS, KEEP_ALIVE, SHUTDOWN, UNSENT_BYTES,
};
use super::routes::Routes;
use super::tls;
use super::watched::{Phase, Watched};
use crate::model::{Code, Error, Result};

/// A node's listening socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
}

/// What all connections of a server share.
struct Shared {
    acceptor: TlsAcceptor,
    routes: Routes,
}

impl Server {
    /// Listens on `HOST:PORT`; port 0 takes a free one.
    ///
    /// # Errors
    /// `io` where the port is taken, not allowed, or the host is not this machine's.
    pub async fn bind(listen: &str) -> Result<Self> {
        let refuse = |why: &std::io::Error| {
            Error::new(Code::Io, format!("listening on {listen}: {why}")).hint(bind_hint(why.kind()))
        };
        let listener = TcpListener::bind(listen).await.map_err(|why| refuse(&why))?;
        let local = listener.local_addr().map_err(|why| refuse(&why))?;
        Ok(Self { listener, local })
    }
    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
    /// Serves until `shutdown` is done; then takes no more connections, answers the polls, and gives what still runs
    /// five seconds.
    ///
    /// # Errors
    /// `internal` where TLS cannot be set up. Nothing that a client does is an error here.
    pub async fn run(
        self,
        identity: Arc<NodeIdentity>,
        handler: Arc<dyn Handler>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let acceptor = TlsAcceptor::from(tls::server_config(&identity)?);
        let (stop, stopping) = watch::channel(false);
        let routes = Routes { handler, gate: Arc::new(Gate::default()), stopping };
        let shared = Arc::new(Shared { acceptor, routes });
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = shutdown.as_mut() => break,
                // A panic ends its own connection and nothing else.
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, from)) => shared.admit(tcp, from.ip(), &mut connections),
                    // Out of open files, or gone before it was accepted: the listener itself is well.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop(self.listener);
        stop.send_replace(true);
        // Dropping the set afterwards ends what did not finish.
        let _ = timeout(SHUTDOWN, async { while connections.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

impl Shared {
    /// Starts serving a connection, or closes it at once where there is no room.
    fn admit(self: &Arc<Self>, tcp: TcpStream, ip: IpAddr, connections: &mut JoinSet<()>) {
        match self.routes.gate.connection(ip) {
            Ok(slot) => {
                connections.spawn(serve(Arc::clone(self), tcp, ip, slot));
            }
            Err(why) => self.routes.handler.refused(None, ip, why),
        }
    }
    async fn handshake(&self, tcp: TcpStream, phase: &Arc<Phase>) -> Result<TlsStream<Watched<TcpStream>>, String> {
        tcp.set_nodelay(true).map_err(|why| why.to_string())?;
        SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES).map_err(|why| why.to_string())?;
        let io = Watched::new(tcp, Arc::clone(phase));
        match timeout(HANDSHAKE, self.acceptor.accept(io)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(why)) => Err(format!("the TLS handshake failed: {why}")),
            Err(_) => Err(format!("the TLS handshake took longer than {} s", HANDSHAKE.as_secs())),
        }
    }
}

/// One connection, from the handshake to its end.
async fn serve(shared: Arc<Shared>, tcp: TcpStream, ip: IpAddr, slot: ConnectionSlot) {
    let phase = Phase::handshake();
    let handler = &shared.routes.handler;
    let stream = match shared.handshake(tcp, &phase).await {
        Ok(stream) => stream,
        Err(why) => return handler.refused(None, ip, &why),
    };
    let Some(key) = tls::peer_key(stream.get_ref().1.peer_certificates()) else {
        return handler.refused(None, ip, "no Ed25519 certificate");
    };
    phase.first_header();
    let caller = Caller { key, ip };
    if let Err(why) = serve_http(&shared, stream, caller, &phase).await
        && (why.is_parse() || why.is_timeout())
    {
        handler.refused(Some(key), ip, &format!("HTTP: {why}"));
    }
    drop(slot);
}

async fn serve_http(
    shared: &Arc<Shared>,
    stream: TlsStream<Watched<TcpStream>>,
    caller: Caller,
    phase: &Arc<Phase>,
) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, phase) = (Arc::clone(shared), Arc::clone(phase));
        async move { Ok::<_, std::convert::Infallible>(shared.routes.answer(caller, request, phase).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's timer runs while a connection lies idle, too; a header's own limit is `Watched`'s.
        .header_read_timeout(KEEP_ALIVE)
        .max_header_size(HEADER_BYTES)
        .max_headers(HEADER_FIELDS)
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stopping = shared.routes.stopping.clone();
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn bind_hint(why: std::io::ErrorKind) -> &'static str {
    match why {
        std::io::ErrorKind::AddrInUse => {
            "another program has that port, perhaps another `deployctl serve`; stop it or choose another port"
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 are the system's; choose a higher one",
        _ => "give an address of this machine and a port, like 0.0.0.0:4800",
    }
}
