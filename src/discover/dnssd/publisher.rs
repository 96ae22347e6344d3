//! Publishing: a responder for each interface that is served, as interfaces come and go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::instance::Instance;
use super::responder::{Outgoing, Responder, To};
use super::sockets::Sockets;
use crate::discover::Directory;
use crate::discover::link::{Interface, interfaces};
use crate::model::{Code, Error, Result};
use crate::system::System;

/// How often interfaces are looked for.
const LOOK: Duration = Duration::from_secs(3);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(1500);
/// Datagrams that are remembered as this node's own.
const ECHOES: usize = 64;

/// What was said to everybody lately, on any link. Whoever says it again is this node itself, heard by its own sockets or
/// by way of two interfaces that lead to one network; or somebody who wants it to quarrel with itself.
#[derive(Clone, Default)]
struct Echoes(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Echoes {
    fn remember(&self, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.truncate(ECHOES - 1);
        said.push_front(bytes.to_vec());
    }
    fn has(&self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|said| said == bytes)
    }
}

/// This node as the links see it. Dropped without [`Publisher::leave`], it goes without a word.
pub struct Publisher {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Publishes the node on the links of these interfaces, or on all where none is named, and on those that come.
    ///
    /// # Errors
    /// `io` where a link that is there cannot be served, or interfaces cannot be looked for.
    pub fn begin(names: Vec<String>, directory: watch::Receiver<Arc<Directory>>, system: System) -> Result<Self> {
        let mut stage =
            Stage { directory, system, echoes: Echoes::default(), shown: BTreeMap::new(), tasks: JoinSet::new() };
        for interface in interfaces(&names)?.into_values() {
            let (name, first) = (interface.name.clone(), interface.addresses().first().copied());
            stage.show(interface).map_err(|why| {
                let place = first.map_or(String::new(), |ip| format!(" ({ip})"));
                Error::new(Code::Io, format!("joining multicast DNS on {name}{place}: {why}"))
                    .hint("choose interfaces with --interface, or leave mdns out of --advertise")
            })?;
        }
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                // Said or dropped.
                _ = left => {}
                () = stage.follow(&names) => {}
            }
            stage.end().await;
        });
        Ok(Self { leave, task })
    }
    /// Says goodbye on all links and ends.
    pub async fn leave(self) {
        drop(self.leave);
        drop(self.task.await);
    }
}

/// What the responders share, and how they are told of their interface; who is told no more leaves.
struct Stage {
    directory: watch::Receiver<Arc<Directory>>,
    system: System,
    echoes: Echoes,
    shown: BTreeMap<u32, watch::Sender<Interface>>,
    tasks: JoinSet<()>,
}

impl Stage {
    fn show(&mut self, interface: Interface) -> std::io::Result<()> {
        let sockets = Sockets::open(&interface)?;
        let index = interface.index;
        let (sender, interface) = watch::channel(interface);
        let face = Face {
            directory: self.directory.clone(),
            interface,
            sockets,
            echoes: self.echoes.clone(),
            began: Instant::now(),
        };
        self.tasks.spawn(face.serve(self.system.clone()));
        self.shown.insert(index, sender);
        Ok(())
    }
    async fn follow(&mut self, names: &[String]) {
        loop {
            sleep(LOOK).await;
            // Where the system does not say, what is there stays.
            let Ok(now) = interfaces(names) else { continue };
            self.shown.retain(|index, shown| now.get(index).is_some_and(|one| speaks_alike(one, &shown.borrow())));
            for (index, interface) in now {
                match self.shown.get(&index) {
                    Some(shown) => drop(shown.send_if_modified(|known| {
                        let is_other = *known != interface;
                        *known = interface;
                        is_other
                    })),
                    // An address that came a moment ago may not be usable yet: it is tried again at the next look.
                    None => drop(self.show(interface)),
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }
    async fn end(mut self) {
        self.shown.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Whatever has not left by now would come too late.
        drop(timeout(GOODBYE, all).await);
    }
}

/// Whether the sockets of one are good for the other.
fn speaks_alike(one: &Interface, other: &Interface) -> bool {
    let first = |interface: &Interface| interface.v4.first().map(|link| link.ip);
    one.name == other.name && first(one) == first(other) && one.has_link_local() == other.has_link_local()
}

/// The node on one interface.
struct Face {
    directory: watch::Receiver<Arc<Directory>>,
    interface: watch::Receiver<Interface>,
    sockets: Sockets,
    echoes: Echoes,
    began: Instant,
}

impl Face {
    async fn serve(mut self, system: System) {
        let instance = Instance::of(&self.directory.borrow_and_update().clone());
        let addresses = self.interface.borrow_and_update().addresses();
        let Some(mut responder) = Responder::new(instance, addresses, system, self.began.elapsed()) else { return };
        loop {
            self.say(responder.due(self.began.elapsed())).await;
            let next = responder.next();
            let wake = self.began + next.unwrap_or_default();
            let heard = tokio::select! {
                changed = self.interface.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => break,
                },
                Ok(()) = self.directory.changed() => None,
                heard = self.sockets.hear() => Some(heard),
                () = sleep_until(wake), if next.is_some() => continue,
            };
            let now = self.began.elapsed();
            match heard {
                Some(Ok(heard)) => {
                    let is_near = self.interface.borrow().holds(heard.from.ip()) && heard.from.port() != 0;
                    if is_near && !self.echoes.has(heard.datagram) {
                        responder.hear(heard.datagram, heard.from, heard.to_all, now);
                    }
                }
                Some(Err(_)) => {}
                None => {
                    let instance = Instance::of(&self.directory.borrow_and_update().clone());
                    responder.publish(instance, self.interface.borrow_and_update().addresses(), now);
                }
            }
        }
        self.say(responder.leave()).await;
    }
    async fn say(&self, all: Vec<Outgoing>) {
        for outgoing in all {
            if outgoing.to == To::Group {
                self.echoes.remember(&outgoing.bytes);
            }
            self.sockets.send(&outgoing).await;
        }
    }
}
