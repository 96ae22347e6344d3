//! SSDP's datagrams (UPnP Device Architecture 2.0 §1): what a device says and hears, as texts and back. No sockets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Where everybody listens.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);
/// No search or notice of a real control point or device comes near.
pub const MAX_DATAGRAM: usize = 2048;
/// Header lines of a datagram.
const MAX_HEADERS: usize = 32;
/// A longer MX counts as this (UDA 2.0 §1.3.3).
const MAX_WAIT_SECS: u32 = 5;

/// What the root device and its services are to SSDP; all that the notices of one device on one interface share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// `uuid:…`.
    pub udn: String,
    /// The description's URL on this interface.
    pub location: String,
    /// Rises with every start, below 2^31.
    pub boot: u32,
    /// Of the description, below 2^24.
    pub config: u32,
    /// Seconds that a notice holds.
    pub max_age: u32,
    pub server: String,
}

/// One thing that is advertised: NT (or ST), and the USN that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub target: String,
    pub usn: String,
}

/// All that a root device without embedded devices advertises: three for the device, one for each type of service.
pub fn targets(udn: &str, device: &str, services: &[&str]) -> Vec<Target> {
    let named = |target: &str| Target { target: target.to_owned(), usn: format!("{udn}::{target}") };
    let mut all = vec![named("upnp:rootdevice"), Target { target: udn.to_owned(), usn: udn.to_owned() }, named(device)];
    all.extend(services.iter().map(|service| named(service)));
    all
}

/// What of `all` answers a search. Where a lower version of a type was asked for, the answer says that one (UDA §1.3.3).
pub fn matching(all: &[Target], asked: &str) -> Vec<Target> {
    if asked == "ssdp:all" {
        return all.to_vec();
    }
    // The digits of a UUID mean the same in either case (RFC 9562 §4).
    let is_it = |one: &Target| one.target == asked || (is_uuid(asked) && one.target.eq_ignore_ascii_case(asked));
    let fits = |one: &&Target| is_it(one) || is_older(asked, &one.target);
    all.iter().filter(fits).map(|one| Target { target: asked.to_owned(), usn: one.usn.clone() }).collect()
}

fn is_uuid(target: &str) -> bool {
    target.starts_with("uuid:")
}

/// Whether `asked` is `ours` in a lower version.
fn is_older(asked: &str, ours: &str) -> bool {
    let split = |text: &'_ str| -> Option<(String, u32)> {
        let (kind, version) = text.strip_prefix("urn:")?.rsplit_once(':')?;
        let digits = version.bytes().all(|byte| byte.is_ascii_digit()) && !version.starts_with('0');
        Some((kind.to_owned(), version.parse().ok().filter(|_| digits)?))
    };
    match (split(asked), split(ours)) {
        (Some((kind, version)), Some((our_kind, our_version))) => kind == our_kind && version < our_version,
        _ => false,
    }
}

impl Advert {
    pub fn alive(&self, one: &Target) -> String {
        let Self { location, boot, config, max_age, server, .. } = self;
        let Target { target, usn } = one;
        format!(
            "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nCACHE-CONTROL: max-age={max_age}\r\nLOCATION: {location}\r\nNT: {target}\r\n\
             NTS: ssdp:alive\r\nSERVER: {server}\r\nUSN: {usn}\r\nBOOTID.UPNP.ORG: {boot}\r\nCONFIGID.UPNP.ORG: {config}\r\n\r\n"
        )
    }
    pub fn byebye(&self, one: &Target) -> String {
        let Self { boot, config, .. } = self;
        let Target { target, usn } = one;
        format!(
            "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nNT: {target}\r\nNTS: ssdp:byebye\r\nUSN: {usn}\r\n\
             BOOTID.UPNP.ORG: {boot}\r\nCONFIGID.UPNP.ORG: {config}\r\n\r\n"
        )
    }
    /// Tells those who know this boot that the next one is the same device still, on one more interface.
    pub fn update(&self, one: &Target, next_boot: u32) -> String {
        let Self { location, boot, config, .. } = self;
        let Target { target, usn } = one;
        format!(
            "NOTIFY * HTTP/1.1\r\nHOST: {GROUP}\r\nLOCATION: {location}\r\nNT: {target}\r\nNTS: ssdp:update\r\nUSN: {usn}\r\n\
             BOOTID.UPNP.ORG: {boot}\r\nCONFIGID.UPNP.ORG: {config}\r\nNEXTBOOTID.UPNP.ORG: {next_boot}\r\n\r\n"
        )
    }
    /// The answer to a search; `date` as HTTP writes it (RFC 9110 §5.6.7).
    pub fn answer(&self, one: &Target, date: &str) -> String {
        let Self { location, boot, config, max_age, server, .. } = self;
        let Target { target, usn } = one;
        format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age={max_age}\r\nDATE: {date}\r\nEXT:\r\nLOCATION: {location}\r\n\
             SERVER: {server}\r\nST: {target}\r\nUSN: {usn}\r\nBOOTID.UPNP.ORG: {boot}\r\nCONFIGID.UPNP.ORG: {config}\r\n\
             CONTENT-LENGTH: 0\r\n\r\n"
        )
    }
}

/// A search for devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub target: String,
    /// MX: answers come at a random moment within it. None in a search of one device alone.
    pub wait: Option<Duration>,
    /// HOST is the group, as it is in every search of all devices.
    pub names_group: bool,
}

impl Search {
    /// Reads a datagram. What is no search gets no answer, so why it is none does not matter.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let head = Head::read(datagram)?;
        if head.first != "M-SEARCH * HTTP/1.1" || head.of("MAN")? != "\"ssdp:discover\"" {
            return None;
        }
        let host = head.of("HOST").filter(|host| !host.is_empty())?;
        let names_group = host == GROUP.to_string() || host == GROUP.ip().to_string();
        let target = head.of("ST")?.to_owned();
        let wait = match head.of("MX") {
            None => None,
            Some(mx) => Some(whole(mx).filter(|mx| *mx >= 1)?),
        };
        let wait = wait.map(|mx| Duration::from_secs(mx.min(MAX_WAIT_SECS).into()));
        (!target.is_empty()).then_some(Self { target, wait, names_group })
    }
    /// As our own control point sends it.
    pub fn write(&self, to: SocketAddrV4, agent: &str) -> String {
        let mx = self.wait.map(|wait| format!("MX: {}\r\n", wait.as_secs())).unwrap_or_default();
        let target = &self.target;
        format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: {to}\r\nMAN: \"ssdp:discover\"\r\n{mx}ST: {target}\r\nUSER-AGENT: {agent}\r\n\r\n"
        )
    }
}

/// What a device said of itself: in a notice, or in an answer to a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `uuid:…`, in what case the device writes it.
    pub udn: String,
    /// NT or ST.
    pub target: String,
    /// Where its description is; none where it says goodbye.
    pub location: Option<String>,
}

impl Notice {
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let head = Head::read(datagram)?;
        let (target, location) = match head.first {
            "NOTIFY * HTTP/1.1" => match head.of("NTS")? {
                "ssdp:alive" | "ssdp:update" => (head.of("NT")?, Some(head.of("LOCATION")?)),
                "ssdp:byebye" => (head.of("NT")?, None),
                _ => return None,
            },
            first if first.starts_with("HTTP/1.1 200") => (head.of("ST")?, Some(head.of("LOCATION")?)),
            _ => return None,
        };
        let udn = head.of("USN")?.split("::").next().filter(|udn| udn.starts_with("uuid:"))?;
        Some(Self { udn: udn.to_owned(), target: target.to_owned(), location: location.map(str::to_owned) })
    }
}

/// The start line and the header of a datagram.
struct Head<'a> {
    first: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    /// Lenient in how lines end, strict in all else: a header that is there twice could mean two things.
    fn read(datagram: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok().filter(|text| text.len() <= MAX_DATAGRAM)?;
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let first = lines.next()?.trim_end();
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic()) && !value.chars().any(char::is_control);
            let is_new = !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            if name.is_empty() || !is_plain || !is_new || headers.len() >= MAX_HEADERS {
                return None;
            }
            headers.push((name, value.trim()));
        }
        Some(Self { first, headers })
    }
    fn of(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// A number of nothing but digits.
fn whole(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than fit are a number still, and a large one.
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
