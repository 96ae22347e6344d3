//! The running node: server, sessions' work, polling, housekeeping.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

use super::drive::ByHand;
use super::inbox::Inboxes;
use super::intake::Source;
use super::node::{Node, Setting, blocking, locked};
use super::poll::Cursor;
use crate::model::error::IoContext;
use crate::model::{Address, Code, Digest, Error, Event, Host, Key, Party, Result, SessionId, Time};
use crate::node::{Answer, Answering, Caller, Handler, InboxBatch, Part, Posted, Server, Stored};
use crate::store::audit;
use crate::store::lock::Lock;
use crate::store::packages::Packages;
use crate::store::rights::Right;
use crate::store::{document, file, state::StateDir};

/// How long one poll waits at a provider.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// After a poll that failed.
const POLL_PAUSE: Duration = Duration::from_secs(2);
/// The longest sleep of a session's driver: clocks jump, and other processes may forget to poke.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often sessions are looked for that another process began and could not tell of.
const LOOK_AROUND: Duration = Duration::from_secs(2);

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

/// A node that serves.
pub struct Service {
    node: Arc<Node>,
    running: Running,
    server: Option<Server>,
    pokes: mpsc::UnboundedReceiver<(SessionId, Party)>,
    _lock: Lock,
}

/// The sessions at work, and the drivers' bells.
struct Live {
    node: Arc<Node>,
    inboxes: Inboxes,
    sessions: Mutex<HashMap<(SessionId, Party), Arc<Notify>>>,
    /// Rung at every change, for polls that wait.
    changed: Notify,
    /// Sessions that had come to rest when their logs were so long, in bytes.
    at_rest: Mutex<HashMap<(SessionId, Party), u64>>,
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
        services: Option<std::path::PathBuf>,
    ) -> Result<Self> {
        let lock = Lock::try_acquire(&state.lock("serve"), "this node's serve")?.ok_or_else(|| {
            Error::new(Code::Locked, "another `deployctl serve` runs on this state directory")
                .hint("stop it first, or name another directory with --state")
        })?;
        let (sender, pokes) = mpsc::unbounded_channel();
        setting.poke = Arc::new(move |session, party| {
            let _ = sender.send((session, party));
        });
        let mut node = Node::open(state, setting)?;
        if let Some(services) = services {
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
        blocking(|| node.recover())?;
        Ok(Self { node: Arc::new(node), running, server, pokes, _lock: lock })
    }
    pub fn running(&self) -> &Running {
        &self.running
    }
    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// What the server says; what no session can go on with.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let now_ms = u64::try_from(self.node.system.now().unix_ms()).unwrap_or(0);
        let live = Arc::new(Live {
            node: Arc::clone(&self.node),
            inboxes: Inboxes::new(now_ms),
            sessions: Mutex::default(),
            changed: Notify::new(),
            at_rest: Mutex::default(),
        });
        let (stopping, stopped) = watch::channel(false);
        let socket = listen_for_pokes(&self.node.state)?;
        live.look_around()?;
        let mut tasks = tokio::task::JoinSet::new();
        if let Some(server) = self.server.take() {
            let (identity, handler, mut stopped) =
                (Arc::clone(&self.node.identity), Arc::clone(&live), stopped.clone());
            tasks.spawn(async move {
                server.run(identity, handler, async move { drop(stopped.wait_for(|stop| *stop).await) }).await
            });
        } else {
            tasks.spawn(poll_all(Arc::clone(&live)));
        }
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        let mut stop = std::pin::pin!(stop);
        let mut buffer = [0u8; 256];
        loop {
            tokio::select! {
                () = stop.as_mut() => break,
                Some((session, party)) = self.pokes.recv() => live.ring(session, party),
                received = socket.recv(&mut buffer) => {
                    if let Some((session, party)) = received.ok().and_then(|length| parse_poke(&buffer[..length])) {
                        live.ring(session, party);
                    }
                }
                _ = look_around.tick() => live.look_around()?,
            }
        }
        stopping.send_replace(true);
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

impl Live {
    /// Wakes the driver of a session, or starts one.
    fn ring(self: &Arc<Self>, session: SessionId, party: Party) {
        let mut sessions = locked(&self.sessions);
        if let Some(bell) = sessions.get(&(session, party)) {
            bell.notify_one();
        } else {
            let bell = Arc::new(Notify::new());
            sessions.insert((session, party), Arc::clone(&bell));
            tokio::spawn(drive_on(Arc::clone(self), session, party, bell));
        }
        drop(sessions);
        // Now that it is among the sessions: a poll that wakes looks through these.
        self.changed.notify_waiters();
    }
    /// Finds sessions that are live and have no driver: after a start, or where nobody could tell of them.
    fn look_around(self: &Arc<Self>) -> Result<()> {
        for (session, parties) in blocking(|| self.node.state.find_sessions())? {
            for party in parties {
                let length = file::length_of(&self.node.state.session_log(session, party))?;
                let known = locked(&self.sessions).contains_key(&(session, party));
                if known || locked(&self.at_rest).get(&(session, party)) == Some(&length) {
                    continue;
                }
                match blocking(|| self.node.projection(session, party)) {
                    Ok(projection) if projection.live => self.ring(session, party),
                    Ok(_) => drop(locked(&self.at_rest).insert((session, party), length)),
                    Err(error) => {
                        self.node
                            .notice(format!("session {} as {party} cannot be looked at: {error}", session.short()));
                        locked(&self.at_rest).insert((session, party), length);
                    }
                }
            }
        }
        Ok(())
    }
    fn keys(&self) -> BTreeSet<(SessionId, Party)> {
        locked(&self.sessions).keys().copied().collect()
    }
    /// Someone is there again: what waits for it goes out now.
    fn heard(&self, key: Key) {
        if self.node.heard_from(key) {
            for (session, party) in self.keys() {
                self.node.poke(session, party);
            }
        }
    }
    async fn wait_for_messages(&self, peer: Caller, after: u64, wait: Duration) -> Result<InboxBatch> {
        let deadline = tokio::time::Instant::now() + wait;
        blocking(|| self.know(peer))?;
        self.heard(peer.key);
        blocking(|| self.inboxes.acknowledge(&self.node, peer.key, after))?;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let batch = blocking(|| self.inboxes.batch(&self.node, peer.key, &self.keys()))?;
            if !batch.messages.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(batch);
            }
        }
    }
    /// A contact, or a key that a live session names. All else is refused and audited.
    fn know(&self, peer: Caller) -> Result<()> {
        if self.node.contacts.by_key(&peer.key)?.is_some() {
            return Ok(());
        }
        for (session, party) in self.keys() {
            let projection = self.node.projection(session, party)?;
            let named = projection.summary.participants.iter().any(|one| one.key == peer.key);
            if named || projection.recipients.contains(&peer.key) {
                return Ok(());
            }
        }
        let error = Error::new(Code::NotPermitted, format!("{} is not known here", peer.key.short()))
            .hint(format!("on this node: deployctl trust add NAME deploy://{}", peer.key));
        self.audit(peer, &error);
        Err(error)
    }
    fn audit(&self, peer: Caller, error: &Error) {
        let entry = audit::Entry {
            key: Some(peer.key),
            ip: Some(peer.ip),
            what: error.message.clone(),
            code: Some(error.code),
        };
        // An audit that cannot be written must not change the answer.
        let _ = self.node.audit.record(self.node.system.now(), entry);
    }
    /// A12: only what was delivered to this key.
    fn stored(&self, peer: Caller, digest: Digest, part: Part) -> Result<Stored> {
        let packages = Packages::of(&self.node.state);
        if !packages.may_read(&digest, &peer.key)? {
            let error = Error::new(
                Code::NotPermitted,
                format!("the package {} is not for {}", digest.short(), peer.key.short()),
            );
            self.audit(peer, &error);
            return Err(error);
        }
        let file = match part {
            Part::Package => packages.open_package(&digest)?,
            Part::Manifest(session) => self.open_statement(peer.key, digest, session, Node::manifest_path)?,
            Part::Provenance(session) => self.open_statement(peer.key, digest, session, Node::provenance_path)?,
        };
        let length = file.metadata().map_err(|why| Error::io("reading", &self.node.state.packages(), &why))?.len();
        Ok(Stored { file, length })
    }
    /// The statement of the session that is named, or of any that the caller takes part in.
    fn open_statement(
        &self,
        key: Key,
        digest: Digest,
        session: Option<SessionId>,
        path: fn(&Node, SessionId, Party, &Digest) -> std::path::PathBuf,
    ) -> Result<std::fs::File> {
        let sessions = match session {
            Some(session) => vec![session],
            None => self.node.state.find_sessions()?.into_iter().map(|(session, _)| session).collect(),
        };
        for session in sessions {
            let Ok(projection) = self.node.projection(session, Party::Provider) else { continue };
            let takes_part = projection.summary.participants.iter().any(|one| one.key == key);
            if takes_part && let Some(file) = file::open_optional(&path(&self.node, session, Party::Provider, &digest))?
            {
                return Ok(file);
            }
        }
        Err(Error::new(Code::NotFound, format!("there is no such statement about {} for this node", digest.short())))
    }
    fn describe(&self, peer: Caller) -> Result<serde_json::Value> {
        self.know(peer)?;
        let contact = self.node.contacts.by_key(&peer.key)?;
        let mut services = Vec::new();
        if contact.is_some_and(|contact| contact.may.may(Right::Request)) {
            for name in self.node.offered()? {
                // One broken definition must not hide the others; `serve` told of it at its start.
                let Ok(offer) = self.node.offer(&name) else { continue };
                services.push(Listed::of(&offer.definition));
            }
        }
        let node = Described {
            name: self.node.name(),
            address: self.node.address(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services,
        };
        serde_json::to_value(node).map_err(|why| Error::new(Code::Internal, why.to_string()))
    }
}

/// What `GET /v1/node` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    pub name: crate::model::Name,
    pub address: Address,
    pub version: String,
    /// Only for those who may request.
    pub services: Vec<Listed>,
}

/// One service of a list (A1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    pub name: crate::model::ServiceName,
    pub version: semver::Version,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    pub roles: BTreeMap<crate::model::RoleName, crate::service::definition::Side>,
}

impl Listed {
    fn of(definition: &crate::service::Definition) -> Self {
        Self {
            name: definition.name.clone(),
            version: definition.version.clone(),
            summary: definition.summary.clone(),
            category: definition.category.clone(),
            roles: definition.roles.iter().map(|(name, role)| (name.clone(), role.terms.side)).collect(),
        }
    }
}

/// One session's driver: works, then sleeps until something happens. Ends when nothing is left to do.
async fn drive_on(live: Arc<Live>, session: SessionId, party: Party, bell: Arc<Notify>) {
    let node = &live.node;
    loop {
        let next = match node.drive(session, party, ByHand::default()).await {
            Ok(Some(at)) => Some(at),
            Ok(None) => {
                locked(&live.sessions).remove(&(session, party));
                return;
            }
            Err(error) => {
                node.emit(Event::Step { session, party, text: format!("cannot go on: {error}") });
                None
            }
        };
        let sleep = sleep_until(next, node.system.now());
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// How long to sleep until `at`, within bounds.
pub(super) fn sleep_until(at: Option<Time>, now: Time) -> Duration {
    at.map_or(LONGEST_SLEEP, |at| at.since(now).as_duration()).min(LONGEST_SLEEP)
}

/// A node that listens nowhere asks its providers: those it trusts, and those of its sessions.
async fn poll_all(live: Arc<Live>) -> Result<()> {
    let mut pollers: BTreeMap<Key, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        for (key, provider) in providers(&live)? {
            let live = Arc::clone(&live);
            pollers.entry(key).or_insert_with(|| tokio::spawn(poll_on(live, provider)));
        }
        tokio::time::sleep(LOOK_AROUND).await;
    }
}

fn providers(live: &Live) -> Result<BTreeMap<Key, Address>> {
    let mut all = BTreeMap::new();
    for contact in live.node.contacts.list()? {
        if contact.may.may(Right::Provide) && contact.address.host.is_some() {
            all.insert(contact.address.key, contact.address);
        }
    }
    for (session, party) in live.keys() {
        if let Ok(projection) = live.node.projection(session, party)
            && party != Party::Provider
        {
            let provider = live.node.reach(&projection.summary.provider);
            all.entry(provider.key).or_insert(provider);
        }
    }
    all.retain(|_, address| address.host.is_some());
    Ok(all)
}

async fn poll_on(live: Arc<Live>, provider: Address) {
    let mut cursor = Cursor::default();
    loop {
        match live.node.poll(&provider, &mut cursor, POLL_WAIT).await {
            Ok(_) => live.heard(provider.key),
            Err(_) => tokio::time::sleep(POLL_PAUSE).await,
        }
    }
}

impl Handler for Live {
    fn message(&self, peer: Caller, posted: Posted) -> Answering<'_, Answer> {
        Box::pin(async move {
            let answer = blocking(|| self.node.take(Source { key: peer.key, ip: Some(peer.ip) }, posted));
            self.heard(peer.key);
            answer
        })
    }
    fn inbox(&self, peer: Caller, after: u64, wait: Duration) -> Answering<'_, Result<InboxBatch>> {
        Box::pin(async move { self.wait_for_messages(peer, after, wait).await })
    }
    fn package(&self, peer: Caller, digest: Digest, part: Part) -> Answering<'_, Result<Stored>> {
        Box::pin(async move { blocking(|| self.stored(peer, digest, part)) })
    }
    fn node(&self, peer: Caller) -> Answering<'_, Result<serde_json::Value>> {
        Box::pin(async move { blocking(|| self.describe(peer)) })
    }
    fn refused(&self, key: Option<Key>, ip: IpAddr, what: &str) {
        let entry = audit::Entry { key, ip: Some(ip), what: what.to_owned(), code: Some(Code::Refused) };
        // An audit that cannot be written must not stop the server.
        let _ = self.node.audit.record(self.node.system.now(), entry);
    }
}
