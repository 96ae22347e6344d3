//! The device: a face on each link that is served, as links come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::announce::{Order, Sockets, announce};
use super::description::DESCRIPTION_PATH;
use super::stage::{Face, Stage};
use super::{events, http};
use crate::discover::link::{Link, links};
use crate::discover::{Directory, Query};
use crate::model::{Code, Error, Result};
use crate::system::System;

/// How often links are looked for.
const LOOK: Duration = Duration::from_secs(3);
/// How long goodbyes may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Orders that wait for an announcer.
const ORDERS: usize = 4;

/// A running device. Dropped without [`Device::leave`], it goes without a word.
pub struct Device {
    stage: Arc<Stage>,
    names: Vec<String>,
    faces: Arc<Mutex<BTreeMap<Link, Shown>>>,
    tasks: JoinSet<()>,
}

/// A face, and what makes it one.
struct Shown {
    face: Arc<Face>,
    orders: mpsc::Sender<Order>,
    announcer: tokio::task::JoinHandle<()>,
    server: tokio::task::AbortHandle,
}

impl Device {
    /// Shows the device on the links of these interfaces, or on all where none is named, and on those that come.
    ///
    /// # Errors
    /// `io` where a link that is there cannot be served, or links cannot be looked for.
    pub async fn begin(
        names: Vec<String>,
        directory: watch::Receiver<Arc<Directory>>,
        query: Query,
        system: System,
    ) -> Result<Self> {
        let stage = Arc::new(Stage::new(directory, query, system));
        let faces = Arc::new(Mutex::new(BTreeMap::new()));
        let mut device = Self { stage, names, faces, tasks: JoinSet::new() };
        for link in links(&device.names)? {
            show(&device.stage, &device.faces, &link).await?;
        }
        let (stage, faces, names) = (Arc::clone(&device.stage), Arc::clone(&device.faces), device.names.clone());
        device.tasks.spawn(follow_links(stage, faces, names));
        let (stage, faces) = (Arc::clone(&device.stage), Arc::clone(&device.faces));
        device.tasks.spawn(events::tell_changes(stage, move || {
            locked(&faces).values().map(|shown| Arc::clone(&shown.face)).collect()
        }));
        Ok(device)
    }
    /// The description's URL on the first of the links, if there is one just now.
    pub fn url(&self) -> Option<String> {
        let faces = locked(&self.faces);
        faces.values().next().map(|shown| format!("http://{}{DESCRIPTION_PATH}", shown.face.http))
    }
    /// Says goodbye on all links and ends.
    pub async fn leave(mut self) {
        self.tasks.shutdown().await;
        let faces = std::mem::take(&mut *locked(&self.faces));
        let mut goodbyes: JoinSet<()> = faces.into_values().map(hide).collect();
        let all = async { while goodbyes.join_next().await.is_some() {} };
        // Whatever has not left by now would come too late.
        drop(timeout(GOODBYE, all).await);
    }
}

fn locked(faces: &Mutex<BTreeMap<Link, Shown>>) -> MutexGuard<'_, BTreeMap<Link, Shown>> {
    faces.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a link.
async fn show(stage: &Arc<Stage>, faces: &Mutex<BTreeMap<Link, Shown>>, link: &Link) -> Result<()> {
    let failed = |what: &str, why: &std::io::Error| {
        Error::new(Code::Io, format!("{what} on {} ({}): {why}", link.name, link.ip))
            .hint("choose interfaces with --interface, or leave upnp out of --advertise")
    };
    let listener = TcpListener::bind((link.ip, 0)).await;
    let listener = listener.map_err(|why| failed("listening for control points", &why))?;
    let local = listener.local_addr().map_err(|why| failed("listening for control points", &why))?;
    let sockets = Sockets::open(link).map_err(|why| failed("joining the SSDP group", &why))?;
    let face = Arc::new(Face::new(link.clone(), std::net::SocketAddrV4::new(link.ip, local.port())));
    let (orders, taken) = mpsc::channel(ORDERS);
    let server = tokio::spawn(http::serve(listener, Arc::clone(stage), Arc::clone(&face))).abort_handle();
    let announcer = tokio::spawn(announce(Arc::clone(stage), Arc::clone(&face), sockets, taken));
    locked(faces).insert(link.clone(), Shown { face, orders, announcer, server });
    Ok(())
}

/// Says goodbye on a link and ends what serves it.
async fn hide(shown: Shown) {
    // Where its queue is full it says something just now, and hears of the end by the queue's own.
    let _full = shown.orders.try_send(Order::Leave);
    drop(shown.orders);
    drop(shown.announcer.await);
    shown.server.abort();
    shown.face.guests.dismiss();
}

/// Shows the device on links that come and takes it from those that go.
async fn follow_links(stage: Arc<Stage>, faces: Arc<Mutex<BTreeMap<Link, Shown>>>, names: Vec<String>) {
    loop {
        sleep(LOOK).await;
        // Where the system does not say, what is there stays.
        let Ok(now) = links(&names) else { continue };
        let gone: Vec<Shown> = {
            let mut faces = locked(&faces);
            let gone: Vec<Link> = faces.keys().filter(|link| !now.contains(link)).cloned().collect();
            gone.iter().filter_map(|link| faces.remove(link)).collect()
        };
        for shown in gone {
            tokio::spawn(async { drop(timeout(GOODBYE, hide(shown)).await) });
        }
        let new: Vec<Link> = now.into_iter().filter(|link| !locked(&faces).contains_key(link)).collect();
        if new.is_empty() {
            continue;
        }
        let known: Vec<_> = locked(&faces).values().map(|shown| shown.orders.clone()).collect();
        let mut has_grown = false;
        for link in new {
            // An address that came a moment ago may not be usable yet: it is tried again at the next look.
            has_grown |= show(&stage, &faces, &link).await.is_ok();
        }
        if has_grown {
            let boot = stage.boot();
            let next = stage.boot_again();
            for orders in known {
                let _full = orders.try_send(Order::Update { boot, next });
            }
        }
    }
}
