//! One identity with its state directory, ready to work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::enrol::Guesses;
use super::rotate::open_own;
use super::telling::Told;
use super::turns::Turns;
use crate::message::Envelope;
use crate::message::rotate::Handover;
use crate::model::event::Sink;
use crate::model::{Address, Event, Key, Name, Party, Result, SessionId, Time};
use crate::node::Client;
use crate::node::{Authorities, NodeIdentity};
use crate::session::record::Replayed;
use crate::store::audit::Audit;
use crate::store::config::Config;
use crate::store::contacts::Contacts;
use crate::store::file;
use crate::store::identity::{self, Settings, StoredIdentity};
use crate::store::log::Head;
use crate::store::state::StateDir;
use crate::system::System;

/// Messages that are worked on at once. Each holds a thread while it waits for its session and for the disk; more would
/// only wait there.
const AT_ONCE: usize = 8;

/// The longest file of certificate authorities, in bytes: a system's whole bundle has a quarter of it.
const MAX_AUTHORITIES: u64 = 1 << 20;

/// Told when a session has changed, so that what waits for it goes on.
pub type Poke = Arc<dyn Fn(SessionId, Party) + Send + Sync>;

/// A session as its log tells it up to a head, and when it was asked for last.
pub(super) type UpTo = (Head, Arc<Replayed>, Time);

pub struct Node {
    pub state: StateDir,
    pub identity: Arc<NodeIdentity>,
    /// What this node's former keys signed, oldest first.
    pub(super) rotations: Vec<Envelope>,
    /// The same, as it reads.
    pub(super) former: Vec<Handover>,
    pub settings: Settings,
    pub config: Config,
    pub contacts: Contacts,
    pub system: System,
    pub client: Client,
    pub audit: Audit,
    pub sink: Sink,
    /// The folder of the services offered.
    pub services: PathBuf,
    /// Whether installed programs are offered on, and whether this node tells the local network of itself.
    pub shares: bool,
    pub advertises: bool,
    /// This program's file, for starting supervisors.
    pub program: PathBuf,
    pub(super) poke: Poke,
    /// Where this node can be reached while it serves.
    pub(super) listening: Option<Address>,
    /// See [`Setting::leaving`].
    pub(super) leaving: Arc<AtomicBool>,
    /// The environment that supervisors get.
    pub inherited: BTreeMap<String, String>,
    /// `DISPLAY` and the like, for what a role requires.
    pub display: BTreeMap<String, String>,
    /// Recipients that could not be reached: not before this time again, after so many failures.
    pub(super) back_off: Mutex<HashMap<Key, (Time, u32)>>,
    /// Sendings under way, one for each session and recipient.
    sending: Mutex<HashSet<(SessionId, Party, Key)>>,
    /// What was replayed of sessions' logs, up to which head.
    pub(super) replays: Mutex<HashMap<(SessionId, Party), UpTo>>,
    pub(super) guesses: Guesses,
    /// The threads of this process that want to change the same session, one after the other.
    pub(super) turns: Turns,
    /// Messages that are being taken, or whose answers are.
    pub(super) at_once: Semaphore,
    /// Supervisors that were started and have not taken their locks yet.
    expected: Mutex<HashMap<(SessionId, Party), Time>>,
    pub(super) told: Told,
}

/// What a node is made of beside its state directory.
pub struct Setting {
    pub system: System,
    pub sink: Sink,
    pub program: PathBuf,
    pub poke: Poke,
    /// What supervisors get of this process's environment.
    pub inherited: BTreeMap<String, String>,
    /// Whether this process was asked to end: a build is left off then, for whoever comes next.
    pub leaving: Arc<AtomicBool>,
}

impl Node {
    /// Opens the node whose state is `state`.
    ///
    /// # Errors
    /// `no-identity`, `key-exposed`, `damaged`, `bad-input` for its settings.
    pub fn open(state: StateDir, setting: Setting) -> Result<Self> {
        let stored = StoredIdentity::load(&state)?;
        let identity = NodeIdentity::from_pem(stored.key_pem.reveal(), &stored.cert_pem)?;
        let rotations = identity::rotations(&state)?;
        let config = Config::load(&state.config())?;
        let identity = Arc::new(match &config.tls.ca {
            Some(ca) => {
                let path = state.root().join(ca);
                let authorities = Authorities::from_pem(&file::read_limited(&path, MAX_AUTHORITIES)?)
                    .map_err(|error| error.while_doing(format!("reading {}", path.display())))?;
                identity.with_authorities(authorities)
            }
            None => identity,
        });
        let services =
            config.serve.services.as_ref().map_or_else(|| state.services(), |folder| state.root().join(folder));
        Ok(Self {
            contacts: Contacts::of(&state),
            audit: Audit::of(&state),
            client: Client::new(identity.clone()),
            identity,
            former: open_own(&rotations)?,
            rotations,
            settings: stored.settings,
            config,
            services,
            shares: false,
            advertises: false,
            system: setting.system,
            sink: setting.sink,
            program: setting.program,
            poke: setting.poke,
            listening: None,
            display: setting
                .inherited
                .iter()
                .filter(|(name, _)| name.ends_with("DISPLAY"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            inherited: setting.inherited,
            leaving: setting.leaving,
            back_off: Mutex::default(),
            sending: Mutex::default(),
            guesses: Guesses::default(),
            expected: Mutex::default(),
            told: Told::default(),
            replays: Mutex::default(),
            turns: Turns::default(),
            at_once: Semaphore::new(AT_ONCE),
            state,
        })
    }
    /// Takes the address of a `serve` that runs on the same state directory.
    ///
    /// # Errors
    /// `io`, `damaged`.
    pub fn find_listening(&mut self) -> Result<()> {
        self.listening = super::serve::running(&self.state)?.map(|running| running.address);
        Ok(())
    }
    pub fn key(&self) -> Key {
        self.identity.key()
    }
    /// Where others reach this node: while it serves, there; else as its settings say.
    pub fn address(&self) -> Address {
        self.listening.clone().unwrap_or_else(|| Address { key: self.key(), host: self.settings.host.clone() })
    }
    /// The node's own name for others to read.
    pub fn name(&self) -> Name {
        self.settings
            .name
            .clone()
            .unwrap_or_else(|| format!("node-{}", self.key().short()).parse().expect("a key's characters are a name's"))
    }
    /// Where to find a node: as its contact says, else as given.
    pub fn reach(&self, address: &Address) -> Address {
        match self.contacts.by_key(&address.key, self.system.now()) {
            Ok(Some(contact)) if contact.address.host.is_some() => contact.address,
            _ => address.clone(),
        }
    }
    /// Says whether nobody else is sending that already.
    pub(super) fn begin_sending(&self, session: SessionId, party: Party, to: Key) -> bool {
        locked(&self.sending).insert((session, party, to))
    }
    pub(super) fn end_sending(&self, session: SessionId, party: Party, to: Key) {
        locked(&self.sending).remove(&(session, party, to));
    }
    pub(super) fn expect_supervisor(&self, session: SessionId, party: Party, until: Time) {
        locked(&self.expected).insert((session, party), until);
    }
    pub(super) fn supervisor_expected(&self, session: SessionId, party: Party) -> Time {
        locked(&self.expected).get(&(session, party)).copied().unwrap_or_else(|| Time::from_unix_ms(0))
    }
    pub(super) fn emit(&self, event: Event) {
        (self.sink)(event);
    }
    pub(super) fn notice(&self, text: impl Into<String>) {
        self.emit(Event::Notice { text: text.into() });
    }
    pub(super) fn poke(&self, session: SessionId, party: Party) {
        (self.poke)(session, party);
    }
}

/// A panic of another task leaves the collections here whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something that blocks (the disk, a child) without holding up the other tasks.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
