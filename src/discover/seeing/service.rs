//! A service of somebody else's on the local network, as its device or its DNS-SD instance tells of it: what programs are
//! looked up for and started with (row B20). All of it is hearsay. No sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::Serialize;

use crate::discover::plain::Url;
use crate::discover::upnp::xml::{self, Element};
use crate::model::{Code, Error, Result, Way};
use crate::service::ServiceType;
use crate::service::query::MAX_ITEMS;

/// Characters of a name: UPnP has friendly names below 64, DNS-SD instances up to 63 bytes.
const NAME_CHARS: usize = 64;

/// What a person says is to be made usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A type of device or service.
    Upnp(ServiceType),
    DnsSd {
        kind: ServiceType,
        /// One of them by its name; any of them without.
        instance: Option<String>,
    },
    /// The device that describes itself at this place.
    Description(Url),
}

impl FromStr for Sought {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.contains("://") {
            let refuse = || {
                Error::new(Code::Usage, format!("{text} is not the URL of a description on the local network"))
                    .hint("it begins with http:// and the device's IPv4 address")
            };
            return Url::read(text).map(Self::Description).ok_or_else(refuse);
        }
        let kind = |text: &str| {
            text.parse::<ServiceType>().map_err(|why| Error { code: Code::Usage, ..why }.hint("or write an URL"))
        };
        let local = text.strip_suffix('.').unwrap_or(text);
        let local = local.strip_suffix(".local").unwrap_or(local);
        match local.rmatch_indices('.').nth(1) {
            Some((at, _)) if at > 0 && !text.starts_with("urn:") => {
                Ok(Self::DnsSd { kind: kind(&local[at + 1..])?, instance: Some(local[..at].to_owned()) })
            }
            _ => Ok(match kind(local)? {
                kind @ ServiceType::DnsSd(_) => Self::DnsSd { kind, instance: None },
                kind @ ServiceType::Upnp { .. } => Self::Upnp(kind),
            }),
        }
    }
}

/// A service that was seen. Its JSON is what a program that makes it usable is given (`$DEPLOYCTL_SEEN_SERVICE`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenService {
    /// What was looked for, as it is here; the device's own type where a place was named.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Of the device and its services, where it was the device that was looked for.
    pub types: Vec<ServiceType>,
    pub via: Way,
    /// For people.
    pub name: String,
    pub address: Ipv4Addr,
    pub port: u16,
    #[serde(flatten)]
    pub about: About,
}

/// What only one of the ways tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum About {
    Upnp {
        location: String,
        /// `uuid:…`, as the device writes it.
        udn: String,
        /// Of the device and those in it.
        services: Vec<Endpoint>,
        /// The document, as it came.
        description: String,
    },
    DnsSd {
        host: String,
        txt: BTreeMap<String, String>,
    },
}

/// Where a UPnP service is spoken to. A URL that leads to another machine is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    #[serde(rename = "type")]
    pub kind: ServiceType,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scpd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
}

impl SeenService {
    /// Reads the description that was fetched from `at`: the first device in it that is of the type, or has a service that
    /// is, and has this UDN, where they are given; its own device where they are not. None where there is none.
    pub fn of_description(document: &[u8], at: &Url, wanted: Option<&ServiceType>, udn: Option<&str>) -> Option<Self> {
        let root = xml::read(document).ok()?;
        let all = devices(root.child("device")?);
        let is_named = |device: &&&Element| {
            udn.is_none_or(|udn| device.text_of("UDN").is_some_and(|own| own.eq_ignore_ascii_case(udn)))
        };
        let (device, types) = all.iter().filter(is_named).find_map(|device| Some((*device, meant(device, wanted)?)))?;
        let base = root.text_of("URLBase").and_then(Url::read).filter(|base| base.at.ip() == at.at.ip());
        let base = base.as_ref().unwrap_or(at);
        let services = devices(device).into_iter().flat_map(services).filter_map(|one| endpoint(one, base)).collect();
        Some(Self {
            kind: types.first()?.clone(),
            types,
            via: Way::Upnp,
            name: device.text_of("friendlyName").unwrap_or("no name").chars().take(NAME_CHARS).collect(),
            address: *at.at.ip(),
            port: at.at.port(),
            about: About::Upnp {
                location: at.to_string(),
                udn: device.text_of("UDN").unwrap_or_default().to_owned(),
                services,
                description: String::from_utf8_lossy(document).into_owned(),
            },
        })
    }
    /// Reads what a DNS-SD instance says; none where it is at no address that `is_near`.
    pub fn of_instance(
        kind: &ServiceType,
        fullname: &str,
        place: (&str, u16, &[IpAddr]),
        txt: BTreeMap<String, String>,
        is_near: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Self> {
        let (host, port, addresses) = place;
        let near = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip).filter(|ip| is_near(*ip)),
            IpAddr::V6(_) => None,
        });
        let address = near.min().filter(|_| port != 0)?;
        let end = fullname.len().checked_sub(format!(".{kind}.local.").len())?;
        let name = fullname.get(..end).filter(|name| !name.is_empty())?;
        Some(Self {
            kind: kind.clone(),
            types: vec![kind.clone()],
            via: Way::Mdns,
            name: name.chars().take(NAME_CHARS).collect(),
            address,
            port,
            about: About::DnsSd { host: host.trim_end_matches('.').to_owned(), txt },
        })
    }
    /// Names this very service for `--for`: the URL of its description, or the instance.
    pub fn place(&self) -> String {
        match &self.about {
            About::Upnp { location, .. } => location.clone(),
            About::DnsSd { .. } => format!("{}.{}", self.name, self.kind),
        }
    }
    /// The types that a program may say it enables so that it can be meant.
    pub fn enabled_by(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for kind in self.types.iter().flat_map(ServiceType::usable_by).map(|kind| kind.to_string()) {
            if !all.contains(&kind) && all.len() < MAX_ITEMS {
                all.push(kind);
            }
        }
        all
    }
}

/// A device and those in it, outermost first.
fn devices(device: &Element) -> Vec<&Element> {
    let inner = device.child("deviceList").into_iter().flat_map(|list| &list.children);
    let inner = inner.filter(|child| child.name == "device").flat_map(devices);
    std::iter::once(device).chain(inner).collect()
}

/// The services of this device alone.
fn services(device: &Element) -> impl Iterator<Item = &Element> {
    let all = device.child("serviceList").into_iter().flat_map(|list| &list.children);
    all.filter(|child| child.name == "service")
}

fn kind_of(element: &Element, name: &str) -> Option<ServiceType> {
    element.text_of(name)?.parse().ok()
}

/// The types that are meant: a device with all that is in it, or its service alone.
fn meant(device: &Element, wanted: Option<&ServiceType>) -> Option<Vec<ServiceType>> {
    let is_it = |kind: &ServiceType| wanted.is_none_or(|wanted| kind.is_a(wanted));
    if kind_of(device, "deviceType").as_ref().is_some_and(is_it) {
        let types = devices(device).into_iter().flat_map(|one| {
            kind_of(one, "deviceType").into_iter().chain(services(one).filter_map(|one| kind_of(one, "serviceType")))
        });
        return Some(types.collect());
    }
    services(device).filter_map(|one| kind_of(one, "serviceType")).find(is_it).map(|kind| vec![kind])
}

fn endpoint(service: &Element, base: &Url) -> Option<Endpoint> {
    let url = |name: &str| Some(base.join(service.text_of(name)?)?.to_string());
    Some(Endpoint {
        kind: kind_of(service, "serviceType")?,
        id: service.text_of("serviceId").unwrap_or_default().to_owned(),
        scpd: url("SCPDURL"),
        control: url("controlURL"),
        events: url("eventSubURL"),
    })
}

#[cfg(test)]
mod tests;
