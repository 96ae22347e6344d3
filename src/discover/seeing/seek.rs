//! Looking for services of other people's devices, by UPnP or DNS-SD, or at a place that a person names. A device is
//! believed for its own machine alone, and that has to be on the link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use mdns_sd::{ResolvedService, ServiceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::search::{self, Said, browse, by_ssdp};
use super::service::{SeenService, Sought};
use super::{EARS, Patience};
use crate::discover::link::{Link, check_names, links};
use crate::discover::plain::Url;
use crate::model::{Code, Error, Result};
use crate::service::ServiceType;

/// Services of one type on one network; more are not looked at.
const MAX_SERVICES: usize = 64;
/// Pairs of a TXT record that are kept.
const MAX_TXT: usize = 64;

/// What was found, in a stable order.
#[derive(Debug, Default)]
pub struct Found {
    pub services: Vec<SeenService>,
    /// Places of devices that are there, but do not describe themselves so that they can be used.
    pub unreadable: Vec<String>,
}

/// Looks for what is sought on the links of these interfaces, or on all where none is named.
///
/// # Errors
/// `usage` for an interface that is not there, and for a place that is on no link; `unreachable` and `bad-input` for a
/// place that does not answer with a description; `io`.
pub async fn seek(interfaces: &[String], sought: &Sought, patience: Patience) -> Result<Found> {
    check_names(interfaces)?;
    let links = links(interfaces)?;
    let mut found = match sought {
        Sought::Upnp(kind) => by_search(links, kind, patience).await,
        Sought::DnsSd { kind, instance } => by_browse(interfaces, &links, kind, instance.as_deref(), patience).await?,
        Sought::Description(url) => Found { services: vec![at(&links, url).await?], ..Found::default() },
    };
    found.services.sort_by(|one, other| (&one.name, one.place()).cmp(&(&other.name, other.place())));
    Ok(found)
}

/// The device that describes itself at a place.
async fn at(links: &[Link], url: &Url) -> Result<SeenService> {
    let ip = *url.at.ip();
    let Some(link) = links.iter().find(|link| link.holds(ip)) else {
        return Err(Error::new(Code::Usage, format!("{ip} is on no network that this machine is connected to"))
            .hint("devices are looked for on the local network alone; --interface names an interface, such as lo"));
    };
    let document = search::description(link.ip, url).await.ok_or_else(|| {
        Error::new(Code::Unreachable, format!("{url} gives no description"))
            .hint("is the device on, and is the URL right?")
    })?;
    SeenService::of_description(&document, url, None, None)
        .ok_or_else(|| Error::new(Code::BadInput, format!("what {url} gives is no description of a UPnP device")))
}

/// Where a device that was heard describes itself.
struct Place {
    udn: String,
    url: Url,
    own: Ipv4Addr,
}

async fn by_search(links: Vec<Link>, kind: &ServiceType, patience: Patience) -> Found {
    let (sender, mut heard) = mpsc::channel(EARS);
    let mut ears = JoinSet::new();
    for link in links {
        let wanted = kind.clone();
        // A link that cannot be searched has no services.
        drop(by_ssdp(&mut ears, link, kind.to_string(), &sender, move |said| place(said, &wanted)));
    }
    let (mut found, mut fetches) = (Found::default(), JoinSet::new());
    let mut known = BTreeSet::new();
    let began = Instant::now();
    let mut last = began;
    loop {
        let end = patience.end(began, fetches.is_empty().then_some(last));
        tokio::select! {
            Some(place) = heard.recv() => {
                if known.len() < MAX_SERVICES && known.insert(place.udn.clone()) {
                    fetches.spawn(fetch(place, kind.clone()));
                }
            }
            Some(Ok(fetched)) = fetches.join_next() => {
                last = Instant::now();
                match fetched {
                    Ok(service) => found.services.push(service),
                    Err(place) => found.unreadable.push(place),
                }
            }
            () = sleep_until(end.unwrap_or(began)), if end.is_some() => return found,
        }
    }
}

/// A device speaks for its own machine alone, or any of them could send us anywhere.
fn place(Said { notice, from, own }: Said, wanted: &ServiceType) -> Option<Place> {
    let is_it = notice.target.parse::<ServiceType>().is_ok_and(|kind| kind.is_a(wanted));
    let url = Url::read(&notice.location?).filter(|url| is_it && *url.at.ip() == from)?;
    Some(Place { udn: notice.udn, url, own })
}

async fn fetch(place: Place, kind: ServiceType) -> Result<SeenService, String> {
    let document = search::description(place.own, &place.url).await;
    document
        .and_then(|document| SeenService::of_description(&document, &place.url, Some(&kind), Some(&place.udn)))
        .ok_or_else(|| place.url.to_string())
}

async fn by_browse(
    interfaces: &[String],
    links: &[Link],
    kind: &ServiceType,
    instance: Option<&str>,
    patience: Patience,
) -> Result<Found> {
    let (browsing, events) = browse(interfaces, &format!("{kind}.local."))?;
    let mut services = BTreeMap::new();
    let began = Instant::now();
    let mut last = began;
    loop {
        let end = patience.end(began, Some(last));
        tokio::select! {
            Ok(event) = events.recv_async() => match event {
                ServiceEvent::ServiceResolved(found) if services.len() < MAX_SERVICES => {
                    last = Instant::now();
                    services.extend(resolved(kind, &found, links).map(|seen| (found.fullname.clone(), seen)));
                }
                ServiceEvent::ServiceRemoved(_, fullname) => drop(services.remove(&fullname)),
                _ => {}
            },
            () = sleep_until(end.unwrap_or(began)), if end.is_some() => break,
        }
    }
    browsing.end();
    let is_meant = |seen: &SeenService| instance.is_none_or(|name| seen.name.eq_ignore_ascii_case(name));
    Ok(Found { services: services.into_values().filter(is_meant).collect(), unreadable: Vec::new() })
}

fn resolved(kind: &ServiceType, found: &ResolvedService, links: &[Link]) -> Option<SeenService> {
    let addresses: Vec<IpAddr> = found.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
    let txt = found.txt_properties.iter().take(MAX_TXT);
    let txt = txt.map(|pair| (pair.key().to_owned(), pair.val_str().to_owned())).collect();
    let is_near = |ip| links.iter().any(|link| link.holds(ip));
    SeenService::of_instance(kind, &found.fullname, (&found.host, found.port, &addresses), txt, is_near)
}
