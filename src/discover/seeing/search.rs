//! Searching a link: who answers, and what they say of themselves. Nobody is believed further than his own machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use mdns_sd::{IfKind, IfPredicate, ServiceDaemon, ServiceEvent};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Sighting;
use crate::discover::Udn;
use crate::discover::link::Link;
use crate::discover::plain::{Url, exchange};
use crate::discover::upnp::multicast::{hear_group, speak};
use crate::discover::upnp::product;
use crate::discover::upnp::service::PROGRAM_DIRECTORY;
use crate::discover::upnp::ssdp::{GROUP, MAX_DATAGRAM, Notice, Search};
use crate::model::{Code, Error, Result, Way};

/// Within which devices answer: the least that there is.
const MX: Duration = Duration::from_secs(1);
/// Datagrams get lost: a search is sent again after so long, and then from time to time.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(20)];
/// The longest description and list of programs, in bytes.
const MAX_DESCRIPTION: usize = 64 << 10;
const MAX_LIST: usize = 1 << 20;
/// How long each of them may take.
const FETCH: Duration = Duration::from_secs(2);

/// What a device said of itself, by which machine, and what this machine is called on that link.
pub(super) struct Said {
    pub(super) notice: Notice,
    pub(super) from: Ipv4Addr,
    pub(super) own: Ipv4Addr,
}

/// A node that was heard on a link.
pub(super) enum Heard {
    /// A device is there, and describes itself at this place.
    Device(Place),
    Service(Sighting),
    Gone(Udn, Way),
}

/// Where a device that was heard describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) udn: Udn,
    location: String,
    /// The machine that said so.
    from: Ipv4Addr,
    /// This machine's address on that link.
    own: Ipv4Addr,
}

/// Searches a link for a type again and again, and hears what devices there say; what `take` makes something of is heard.
pub(super) fn by_ssdp<T: Send + 'static>(
    ears: &mut JoinSet<()>,
    link: Link,
    target: String,
    heard: &Sender<T>,
    take: impl Fn(Said) -> Option<T> + Send + 'static,
) -> io::Result<()> {
    let own = speak(&link, 0)?;
    // Port 1900 may be somebody's alone; searching needs it not.
    let group = hear_group(&link).ok();
    let heard = heard.clone();
    ears.spawn(async move {
        let search = Search { target, wait: Some(MX), names_group: true }.write(GROUP, &product());
        let mut pauses = AGAIN.into_iter();
        let mut pause = Duration::ZERO;
        let mut next = Instant::now();
        let (mut answers, mut notices) = ([0; MAX_DATAGRAM + 1], [0; MAX_DATAGRAM + 1]);
        loop {
            let one = tokio::select! {
                received = own.recv_from(&mut answers) => read(received, &answers, &link).and_then(&take),
                received = receive(group.as_ref(), &mut notices) => read(received, &notices, &link).and_then(&take),
                () = sleep_until(next) => {
                    // A datagram may be lost anywhere; why this one was does not matter.
                    drop(own.send_to(search.as_bytes(), GROUP).await);
                    pause = pauses.next().unwrap_or(pause);
                    next += pause;
                    None
                }
            };
            if let Some(one) = one
                && heard.send(one).await.is_err()
            {
                return;
            }
        }
    });
    Ok(())
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

fn read(received: io::Result<(usize, SocketAddr)>, buffer: &[u8], link: &Link) -> Option<Said> {
    let (length, SocketAddr::V4(from)) = received.ok()? else { return None };
    let from = *from.ip();
    let notice = Notice::read(&buffer[..length]).filter(|_| link.holds(from))?;
    Some(Said { notice, from, own: link.ip })
}

/// A node, if that is what said so.
pub(super) fn node(Said { notice, from, own }: Said) -> Option<Heard> {
    let udn: Udn = notice.udn.strip_prefix("uuid:")?.parse().ok()?;
    if notice.target != PROGRAM_DIRECTORY.kind {
        return None;
    }
    Some(match notice.location {
        Some(location) => Heard::Device(Place { udn, location, from, own }),
        None => Heard::Gone(udn, Way::Upnp),
    })
}

/// Fetches a device's description and the list of its programs. What does not answer in time, or speaks for others, is
/// not there.
pub(super) async fn fetch(place: Place) -> Option<Sighting> {
    // A device speaks for its own machine alone, or any of them could send us anywhere.
    let url = Url::read(&place.location).filter(|url| *url.at.ip() == place.from)?;
    let description = description(place.own, &url).await?;
    let (mut sighting, path) = Sighting::of_description(&description, place.udn, place.from)?;
    let list = get(place.own, &Url { path, ..url }, MAX_LIST).await;
    sighting.programs = list.and_then(|list| Sighting::programs(&list));
    Some(sighting)
}

/// Fetches a device's description, from the address `own` of this machine.
pub(super) async fn description(own: Ipv4Addr, url: &Url) -> Option<Bytes> {
    get(own, url, MAX_DESCRIPTION).await
}

async fn get(own: Ipv4Addr, url: &Url, limit: usize) -> Option<Bytes> {
    let request = Request::builder().uri(&url.path).header("host", url.at.to_string()).header("connection", "close");
    let request = request.header("user-agent", product()).body(Full::<Bytes>::default()).ok()?;
    let (status, body) = exchange(own, url.at, request, limit, FETCH).await?;
    status.is_success().then_some(body)
}

/// A browse that goes on until it is ended.
pub(super) struct Browsing(ServiceDaemon);

impl Browsing {
    pub(super) fn end(self) {
        // Its thread ends by itself; nothing waits for it.
        drop(self.0.shutdown());
    }
}

/// What nodes are instances of.
const SERVICE_TYPE: &str = "_deployctl._tcp.local.";

/// A daemon on these interfaces alone, or on all that lead to a network.
fn daemon(names: &[String]) -> Result<ServiceDaemon> {
    let failed = |why| Error::new(Code::Io, format!("starting multicast DNS: {why}"));
    let daemon = ServiceDaemon::new().map_err(failed)?;
    daemon.disable_interface(IfKind::All).map_err(failed)?;
    let names = names.to_vec();
    let wanted = IfPredicate::new(move |interface| match names.as_slice() {
        [] => !interface.is_loopback() && !interface.is_p2p(),
        names => names.contains(&interface.name),
    });
    daemon.enable_interface(IfKind::Predicate(wanted)).map_err(failed)?;
    Ok(daemon)
}

/// Browses for a type, `_NAME._tcp.local.`, by multicast DNS.
pub(super) fn browse(interfaces: &[String], kind: &str) -> Result<(Browsing, mdns_sd::Receiver<ServiceEvent>)> {
    let daemon = daemon(interfaces)?;
    let failed = |why| Error::new(Code::Io, format!("browsing by multicast DNS: {why}"));
    let events = daemon.browse(kind).map_err(failed)?;
    Ok((Browsing(daemon), events))
}

/// Browses for nodes.
pub(super) fn by_mdns(ears: &mut JoinSet<()>, interfaces: &[String], heard: Sender<Heard>) -> Result<Browsing> {
    let (browsing, events) = browse(interfaces, SERVICE_TYPE)?;
    ears.spawn(async move {
        // An instance that goes says its name alone.
        let mut names: Vec<(String, Udn)> = Vec::new();
        while let Ok(event) = events.recv_async().await {
            let one = match event {
                ServiceEvent::ServiceResolved(found) => {
                    let addresses: Vec<IpAddr> = found.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
                    let txt = |name: &str| found.get_property_val_str(name);
                    Sighting::of_service(txt, &addresses, found.port).map(|sighting| {
                        names.retain(|(name, _)| *name != found.fullname);
                        names.push((found.fullname.clone(), sighting.udn()));
                        Heard::Service(sighting)
                    })
                }
                ServiceEvent::ServiceRemoved(_, fullname) => {
                    let at = names.iter().position(|(name, _)| *name == fullname);
                    at.map(|at| Heard::Gone(names.swap_remove(at).1, Way::Mdns))
                }
                _ => None,
            };
            if let Some(one) = one
                && heard.send(one).await.is_err()
            {
                return;
            }
        }
    });
    Ok(browsing)
}
