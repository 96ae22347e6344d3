//! The running node: server, sessions' work, polling, until it is asked to stop.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::live::Live;
use super::neighbourhood::{Advertise, Neighbourhood};
use super::node::{Node, Setting, blocking};
use super::poll::{greet, poll_all};
use super::rotate::announce_on;
use crate::model::error::IoContext;
use crate::model::{Address, Code, Error, Host, Party, Result, SessionId, Span};
use crate::node::Server;
use crate::process::pid::Identity;
use crate::store::lock::Lock;
use crate::store::{document, file, state::StateDir};

/// How often sessions are looked for that another process began and could not tell of.
const LOOK_AROUND: Duration = Duration::from_secs(2);
/// How often what nobody needs any more goes.
const TIDY_UP: Duration = Duration::from_secs(3600);
/// A command that looks whether a node runs holds its lock for a moment.
const LOCK_WAIT: Span = Span::from_secs(1);

/// What other commands of this state directory know of a running `serve`: `run/serve.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    pub address: Address,
    /// `IP:PORT`; none where it listens nowhere.
    pub listen: Option<String>,
}

/// The running `serve` of a state directory.
pub fn running(state: &StateDir) -> Result<Option<Running>> {
    let Some(running) = document::read_json::<Running>(&state.run().join("serve.json"))? else { return Ok(None) };
    if Identity::of(running.pid).is_none() {
        return Ok(None);
    }
    let free = Lock::try_acquire(&state.lock("serve"), "looking for a running node")?;
    Ok(free.is_none().then_some(running))
}

/// Tells a running `serve` that a session has changed. Where none runs, nobody is told.
pub fn poke_by_socket(state: &StateDir, session: SessionId, party: Party) {
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let Ok(short) = ShortPath::of(state) else { return };
        let _ = socket.send_to(format!("{session} {party}").as_bytes(), &short.path);
    }
}

/// What a node that serves has for others.
#[derive(Clone, Debug, Default)]
pub struct Offering {
    /// The folder of its services; else where its settings say.
    pub services: Option<std::path::PathBuf>,
    /// Whether installed programs are offered on.
    pub share: bool,
}

/// A node that serves.
pub struct Service {
    node: Arc<Node>,
    running: Running,
    server: Option<Server>,
    neighbourhood: Option<Neighbourhood>,
    pokes: mpsc::UnboundedReceiver<(SessionId, Party)>,
    /// Where other processes of this state directory tell of changes.
    socket: tokio::net::UnixDatagram,
    _lock: Lock,
}

impl Service {
    /// Binds and gets ready. From here on the node is reachable.
    ///
    /// # Errors
    /// `locked` where another `serve` runs; `io` where the address cannot be listened on; what [`Node::open`] says.
    pub async fn begin(
        state: StateDir,
        listen: Option<String>,
        mut setting: Setting,
        offering: Offering,
        advertise: Advertise,
    ) -> Result<Self> {
        let lock =
            blocking(|| Lock::acquire(&state.lock("serve"), "this node's serve", LOCK_WAIT)).map_err(|error| {
                match error.code {
                    Code::Locked => Error::new(Code::Locked, "another `deployctl serve` runs on this state directory")
                        .hint("stop it first, or name another directory with --state"),
                    _ => error,
                }
            })?;
        let (sender, pokes) = mpsc::unbounded_channel();
        setting.poke = Arc::new(move |session, party| {
            let _ = sender.send((session, party));
        });
        let mut node = Node::open(state, setting)?;
        node.shares = offering.share;
        if let Some(services) = offering.services {
            node.services = services;
        }
        let listen = listen
            .or_else(|| node.config.serve.listen.map(|at| at.to_string()))
            .or_else(|| node.settings.host.as_ref().map(ToString::to_string));
        let server = match &listen {
            Some(listen) => Some(Server::bind(listen).await?),
            None => None,
        };
        let local = server.as_ref().map(Server::local_addr);
        let host = local.map(|local| {
            node.settings.host.clone().filter(|host| host.port == local.port()).unwrap_or_else(|| reachable(local))
        });
        let address = Address { key: node.key(), host };
        node.listening = Some(address.clone());
        let running = Running { pid: std::process::id(), address, listen: local.map(|local| local.to_string()) };
        file::create_dir_private(&node.state.run())?;
        document::write_json_unsynced(&node.state.run().join("serve.json"), &running, file::PRIVATE)?;
        let socket = listen_for_pokes(&node.state)?;
        blocking(|| node.recover().and_then(|()| node.recover_programs()))?;
        if let Some(why) = node.identity.objection(node.system.now()) {
            node.notice(format!("nodes with the same authority will refuse this node's certificate: {why}"));
        }
        let how = advertise.or(&node.config.serve);
        node.advertises = !how.ways.is_empty();
        // Who advertises watches the folder, and tells at every change.
        if !node.advertises {
            blocking(|| node.tell_of_broken_services())?;
        }
        let node = Arc::new(node);
        let neighbourhood = Neighbourhood::begin(&node, local, &how).await?;
        Ok(Self { node, running, server, neighbourhood, pokes, socket, _lock: lock })
    }
    pub fn running(&self) -> &Running {
        &self.running
    }
    /// Where control points find the description of this node, if it is seen by UPnP.
    pub fn upnp_url(&self) -> Option<String> {
        self.neighbourhood.as_ref().and_then(Neighbourhood::url)
    }
    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// What the server says; what no session can go on with.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let live = Arc::new(Live::new(Arc::clone(&self.node)));
        let (stopping, stopped) = watch::channel(false);
        live.look_around()?;
        let mut tasks = tokio::task::JoinSet::new();
        if let Some(server) = self.server.take() {
            let (identity, handler, mut stopped) =
                (Arc::clone(&self.node.identity), Arc::clone(&live), stopped.clone());
            tasks.spawn(async move {
                server.run(identity, handler, async move { drop(stopped.wait_for(|stop| *stop).await) }).await
            });
            tasks.spawn(greet(Arc::clone(&live)));
        } else {
            tasks.spawn(poll_all(Arc::clone(&live)));
        }
        tokio::spawn(announce_on(Arc::clone(&live)));
        tasks.spawn(look_after_programs(Arc::clone(&self.node), stopped.clone()));
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        let mut tidy_up = tokio::time::interval(TIDY_UP);
        let mut stop = std::pin::pin!(stop);
        let mut buffer = [0u8; 256];
        loop {
            tokio::select! {
                () = stop.as_mut() => break,
                Some((session, party)) = self.pokes.recv() => live.ring(session, party),
                received = self.socket.recv(&mut buffer) => {
                    if let Some((session, party)) = received.ok().and_then(|length| parse_poke(&buffer[..length])) {
                        live.ring(session, party);
                    }
                }
                _ = look_around.tick() => live.look_around()?,
                _ = tidy_up.tick() => {
                    let node = Arc::clone(&self.node);
                    tokio::spawn(async move { node.keep_house_quietly() });
                }
            }
        }
        stopping.send_replace(true);
        if let Some(neighbourhood) = self.neighbourhood.take() {
            neighbourhood.leave().await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(6), async {
            if self.running.listen.is_some() {
                while tasks.join_next().await.is_some() {}
            }
        })
        .await;
        drop(file::remove_unsynced(&self.node.state.serve_socket()));
        drop(file::remove_unsynced(&self.node.state.run().join("serve.json")));
        self.node.audit.flush(self.node.system.now())
    }
}

async fn look_after_programs(node: Arc<Node>, mut stopped: watch::Receiver<bool>) -> Result<()> {
    loop {
        node.look_after_programs().await;
        if tokio::time::timeout(LOOK_AROUND, stopped.wait_for(|stop| *stop)).await.is_ok() {
            return Ok(());
        }
    }
}

/// A datagram socket in the state directory. A stale one of a serve that died is replaced.
fn listen_for_pokes(state: &StateDir) -> Result<tokio::net::UnixDatagram> {
    let path = state.serve_socket();
    file::create_dir_private(&state.run())?;
    file::remove_unsynced(&path)?;
    let short = ShortPath::of(state)?;
    tokio::net::UnixDatagram::bind(&short.path).map_err(|why| Error::io("listening on", &path, &why))
}

/// A socket's path has at most 107 bytes, a state directory's may have more: the socket is named through its opened folder.
struct ShortPath {
    path: std::path::PathBuf,
    _folder: std::os::fd::OwnedFd,
}

impl ShortPath {
    fn of(state: &StateDir) -> Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        let run = state.run();
        let folder =
            open(&run, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).doing("opening", &run)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
        let name = state.serve_socket();
        let path =
            std::path::Path::new("/proc/self/fd").join(number.to_string()).join(name.file_name().unwrap_or_default());
        Ok(Self { path, _folder: folder })
    }
}

fn parse_poke(bytes: &[u8]) -> Option<(SessionId, Party)> {
    let (session, party) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    Some((session.parse().ok()?, party.parse().ok()?))
}

/// The address under which others find what listens at `local`: itself, or where it listens on all interfaces the one
/// that leads outside.
fn reachable(local: std::net::SocketAddr) -> Host {
    let ip = if local.ip().is_unspecified() { outward().unwrap_or_else(|| local.ip()) } else { local.ip() };
    Host { name: ip.to_string(), port: local.port() }
}

/// The source address of a route to a documentation address (RFC 5737); nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}
