//! What the tasks of the device share: the directory as it is now, how often it changed, and one face for each link.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::content::{Updates, View};
use super::description::{self, About, DESCRIPTION_PATH};
use super::gena::Subscriptions;
use super::guests::Guests;
use super::service::{DEVICE, SERVICES};
use super::ssdp::{Advert, Target, targets};
use crate::discover::link::Link;
use crate::discover::{Directory, Query};
use crate::model::Digest;
use crate::system::System;

/// Seconds that a notice holds: what the architecture recommends at least.
pub(super) const MAX_AGE_SECS: u32 = 1800;

/// The device, for all interfaces.
pub(super) struct Stage {
    pub(super) directory: watch::Receiver<Arc<Directory>>,
    pub(super) query: Query,
    pub(super) system: System,
    updates: Mutex<Updates>,
    boot: AtomicU32,
    began: Instant,
}

/// The device on one link.
pub(super) struct Face {
    pub(super) link: Link,
    /// Where the plain HTTP server listens.
    pub(super) http: SocketAddrV4,
    subscribers: Mutex<Subscribers>,
    pub(super) guests: Guests,
}

/// Who is subscribed, and the queue of each.
#[derive(Default)]
pub(super) struct Subscribers {
    pub(super) subscriptions: Subscriptions,
    pub(super) queues: HashMap<String, mpsc::Sender<Arc<str>>>,
}

impl Stage {
    pub(super) fn new(directory: watch::Receiver<Arc<Directory>>, query: Query, system: System) -> Self {
        // Below 2^31 until 2038, and rising from start to start as long as the clock does.
        let boot = u32::try_from(system.now().unix_ms() / 1000).unwrap_or(1) & 0x7fff_ffff;
        let updates = Mutex::new(Updates::new(boot));
        Self { directory, query, system, updates, boot: AtomicU32::new(boot), began: Instant::now() }
    }
    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.borrow())
    }
    pub(super) fn updates(&self) -> MutexGuard<'_, Updates> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Time since the device was made, which subscriptions are counted by.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }
    pub(super) fn boot(&self) -> u32 {
        self.boot.load(Ordering::Relaxed)
    }
    /// The next boot, which has begun when this returns.
    pub(super) fn boot_again(&self) -> u32 {
        self.boot.fetch_add(1, Ordering::Relaxed) + 1
    }
    /// 24 bits of what the description says, so that it changes with it and only with it.
    pub(super) fn config(&self) -> u32 {
        let text = self.describe(&self.directory(), "", 0);
        let digest = Digest::of(text.as_bytes());
        let [first, second, third, ..] = *digest.as_bytes();
        u32::from_be_bytes([0, first, second, third])
    }
    fn describe(&self, directory: &Directory, address: &str, config: u32) -> String {
        description::device(&About { directory, version: env!("CARGO_PKG_VERSION"), address, config })
    }
    pub(super) fn description(&self, face: &Face) -> String {
        let directory = self.directory();
        let updates = self.updates().clone();
        let address = self.view(&directory, &updates, face).address().to_string();
        self.describe(&directory, &address, self.config())
    }
    pub(super) fn view<'a>(&'a self, directory: &'a Directory, updates: &'a Updates, face: &Face) -> View<'a> {
        let node = SocketAddrV4::new(face.link.ip, directory.port);
        View { directory, updates, node, query: &self.query }
    }
    pub(super) fn advert(&self, face: &Face) -> Advert {
        Advert {
            udn: format!("uuid:{}", self.directory().udn()),
            location: format!("http://{}{DESCRIPTION_PATH}", face.http),
            boot: self.boot(),
            config: self.config(),
            max_age: MAX_AGE_SECS,
            server: product(),
        }
    }
    pub(super) fn targets(&self) -> Vec<Target> {
        let udn = format!("uuid:{}", self.directory().udn());
        targets(&udn, DEVICE, &SERVICES.map(|service| service.kind))
    }
    /// A random span below `most`.
    pub(super) fn random_below(&self, most: Duration) -> Duration {
        let share = f64::from(u32::from_be_bytes(self.system.random())) / f64::from(u32::MAX);
        most.mul_f64(share)
    }
}

impl Face {
    pub(super) fn new(link: Link, http: SocketAddrV4) -> Self {
        Self { link, http, subscribers: Mutex::default(), guests: Guests::default() }
    }
    pub(super) fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SERVER and USER-AGENT: system, UPnP's version, ours. Of the system's version no more than two numbers.
pub(crate) fn product() -> String {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let version: Vec<&str> = release.split('.').take(2).take_while(|part| digits(part)).collect();
    let version = if version.is_empty() { "1".to_owned() } else { version.join(".") };
    format!("Linux/{version} UPnP/1.1 deployctl/{}", env!("CARGO_PKG_VERSION"))
}
