//! What strangers on the local network say: datagrams, calls, descriptions and records.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use deployctl::discover::dnssd::instance::Instance;
use deployctl::discover::dnssd::responder::Responder;
use deployctl::discover::link::Link;
use deployctl::discover::plain::Url;
use deployctl::discover::seeing::{SeenService, Sighting};
use deployctl::discover::upnp::didl::Filter;
use deployctl::discover::upnp::gena::{granted, read_callbacks};
use deployctl::discover::upnp::search::{Criteria, read_sort};
use deployctl::discover::upnp::service::SERVICES;
use deployctl::discover::upnp::soap::Call;
use deployctl::discover::upnp::ssdp::{Notice, Search, matching, targets};
use deployctl::discover::upnp::tree::{SEARCHABLE, SORTABLE};
use deployctl::discover::{Directory, Udn};
use deployctl::model::{Key, Time};
use deployctl::service::ServiceType;
use deployctl::system::System;

use super::texts;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// Datagrams: searches, notices and answers.
pub(super) fn ssdp(datagram: &[u8]) {
    let _ = Notice::read(datagram);
    if let Some(search) = Search::read(datagram) {
        let all = targets("uuid:0", "urn:a:device:B:1", &["urn:a:service:C:1"]);
        assert!(matching(&all, &search.target).len() <= all.len());
    }
}

/// Datagrams of multicast DNS, while names are claimed and afterwards. The first byte says when, how and from what port.
pub(super) fn mdns(input: &[u8]) {
    let Some((how, datagram)) = input.split_first() else { return };
    let (step, port) = (how % 6, if how & 0x40 == 0 { 5353 } else { 40_000 });
    let (name, key) = ("ada".parse().unwrap(), Key::from_bytes([3; 32]));
    let directory = Directory { name, key, port: 4800, takes_ipv6: true, programs: vec![] };
    let (mut now, system) = (Duration::ZERO, System::fixed(Time::from_unix_ms(0), 1));
    let mut responder = Responder::new(Instance::of(&directory), vec![HERE.into()], system, now).unwrap();
    for n in 0..30 {
        if n == step {
            responder.hear(datagram, SocketAddr::from((PEER, port)), how & 0x80 == 0, now);
        }
        let Some(next) = responder.next() else { continue };
        now = now.max(next);
        assert!(responder.due(now).iter().all(|outgoing| outgoing.bytes.len() <= 1400));
    }
    assert_eq!(responder.next(), None, "it comes to rest");
}

/// Bodies of calls: the XML reader, the envelope, the arguments of every action.
pub(super) fn soap(body: &[u8]) {
    for service in SERVICES {
        for action in service.actions {
            let named = format!("\"{}#{}\"", service.kind, action.name);
            let _ = Call::read(service, &named, body);
        }
    }
}

/// CALLBACK and TIMEOUT headers: no callback leads to anybody but who asked.
pub(super) fn callback(header: &[u8]) {
    let Ok(header) = std::str::from_utf8(header) else { return };
    let link = Link { name: "eth0".to_owned(), ip: HERE, prefix: 24 };
    for url in read_callbacks(header, PEER, &link).unwrap_or_default() {
        assert_eq!(*url.at.ip(), PEER);
    }
    granted(Some(header));
}

/// Search and sort criteria, and Filters.
pub(super) fn criteria(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(criteria) = Criteria::read(text, &SEARCHABLE) {
        criteria.fits(&|property| vec![property.to_owned().into()]);
    }
    let _ = (read_sort(text, &SORTABLE), Filter::read(text));
}

/// What a control point of ours reads: descriptions and lists of programs.
pub(super) fn description(document: &[u8]) {
    let udn = Udn::of(&Key::from_bytes([3; 32]));
    if let Some((seen, path)) = Sighting::of_description(document, udn, HERE) {
        assert!(seen.udn() == udn && path.starts_with('/'));
    }
    let _ = Sighting::programs(document);
    let at = Url::read("http://192.0.2.1:80/device.xml").unwrap();
    let kind: ServiceType = SERVICES[0].kind.parse().unwrap();
    for kind in [None, Some(&kind)] {
        let Some(seen) = SeenService::of_description(document, &at, kind, None) else { continue };
        let told = serde_json::to_value(&seen).unwrap();
        let urls = told["services"].as_array().unwrap().iter().flat_map(|one| [&one["control"], &one["events"]]);
        assert!(urls.filter_map(|url| url.as_str()).all(|url| *Url::read(url).unwrap().at.ip() == HERE));
        assert!(seen.enabled_by().len() <= 64);
    }
}

/// What a DNS-SD instance says: its name, type and host, and pairs of its TXT record, parted by zeros.
pub(super) fn txt(input: &[u8]) {
    let mut texts = texts(input);
    let [fullname, kind, host] = [(); 3].map(|()| texts.next().unwrap_or_default());
    let txt: BTreeMap<String, String> = texts.filter_map(|pair| pair.split_once('=')).map(owned).collect();
    let port = txt.get("port").and_then(|port| port.parse().ok()).unwrap_or(4800);
    let mut addresses = vec![IpAddr::V4(PEER)];
    addresses.extend(txt.get("ip").and_then(|ip| ip.parse::<IpAddr>().ok()));
    if let Some(seen) = Sighting::of_service(|name| txt.get(name).map(String::as_str), &addresses, port) {
        assert!(seen.host.port != 0 && seen.host.to_string().parse() == Ok(seen.host.clone()), "{seen:?}");
    }
    let Ok(kind) = kind.parse::<ServiceType>() else { return };
    let seen = SeenService::of_instance(&kind, fullname, (host, port, &addresses), txt, |ip| ip == PEER);
    if let Some(seen) = seen {
        assert_eq!(seen.address, PEER);
        serde_json::to_string(&seen).unwrap();
        let _ = (seen.place().parse::<deployctl::discover::seeing::Sought>(), seen.enabled_by());
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
