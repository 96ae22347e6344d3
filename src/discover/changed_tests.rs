//! Real messages of the local network, changed at random: 10,000 of each kind, and no reader falls over or is led astray.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::dnssd::instance::Instance;
use super::dnssd::responder::{Outgoing, Responder};
use super::link::Link;
use super::plain::Url;
use super::seeing::{SeenService, Sighting, Sought};
use super::upnp::description::{About, device};
use super::upnp::didl::Filter;
use super::upnp::gena::{granted, read_callbacks};
use super::upnp::search::{Criteria, read_sort};
use super::upnp::service::SERVICES;
use super::upnp::soap::Call;
use super::upnp::ssdp::{Advert, GROUP, Notice, Search, Target, matching, targets};
use super::upnp::testing::directory;
use super::upnp::tree::{SEARCHABLE, SORTABLE};
use crate::model::Time;
use crate::system::System;

/// Cases of each kind.
const CASES: u32 = 10_000;
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// What means something to one of the readers.
const TOKENS: [&str; 20] = [
    "\r\n",
    "\n",
    ":",
    "\"",
    "\\",
    "(",
    ")",
    "<",
    "/>",
    "<!DOCTYPE a>",
    "<![CDATA[",
    "]]>",
    "&#0;",
    "&amp;",
    "xmlns:a='b'",
    "http://",
    "uuid:",
    "-1",
    "4294967296",
    "\u{0}",
];

/// One change: at a place, something is taken away, put in, repeated, or made another byte.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, u8),
    Repeat(Index, u8),
    Put(Index, Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, token)| Change::Put(at, token)),
    ];
    proptest::collection::vec(change, 0..6)
}

fn changed(message: impl AsRef<[u8]>, changes: &[Change]) -> Vec<u8> {
    let mut bytes = message.as_ref().to_vec();
    for change in changes {
        let (Change::Flip(at, _) | Change::Cut(at, _) | Change::Repeat(at, _) | Change::Put(at, _)) = change;
        let at = at.index(bytes.len() + 1);
        let end = |length: u8| (at + usize::from(length)).min(bytes.len());
        match change {
            Change::Flip(_, byte) if at < bytes.len() => bytes[at] = *byte,
            Change::Flip(_, byte) => bytes.push(*byte),
            Change::Cut(_, length) => drop(bytes.drain(at..end(*length))),
            Change::Repeat(_, length) => {
                let again = bytes[at..end(*length)].to_vec();
                bytes.splice(at..at, again);
            }
            Change::Put(_, token) => drop(bytes.splice(at..at, token.get(&TOKENS).bytes())),
        }
    }
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn datagrams() -> Vec<String> {
    let advert = Advert {
        udn: "uuid:0".to_owned(),
        location: "http://192.0.2.7:80/device.xml".to_owned(),
        boot: 7,
        config: 9,
        max_age: 1800,
        server: "Linux UPnP/1.1 x/1".to_owned(),
    };
    let target = Target { target: "urn:a:service:C:2".to_owned(), usn: "uuid:0::urn:a:service:C:2".to_owned() };
    let search = Search { target: target.target.clone(), wait: Some(Duration::from_secs(1)), names_group: true };
    vec![
        advert.alive(&target),
        advert.byebye(&target),
        advert.update(&target, 8),
        advert.answer(&target, "Sun, 22 Nov 2026 05:00:00 GMT"),
        search.write(GROUP, "x/1"),
    ]
}

fn calls() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for service in SERVICES {
        for action in service.actions {
            let inner: String = action.inputs.iter().map(|(name, _)| format!("<{name}>0</{name}>")).collect();
            let (kind, name) = (service.kind, action.name);
            all.push((
                format!("\"{kind}#{name}\""),
                format!(
                    "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                     <u:{name} xmlns:u=\"{kind}\">{inner}</u:{name}></s:Body></s:Envelope>"
                ),
            ));
        }
    }
    all
}

fn description() -> String {
    let directory = directory();
    let address = format!("deploy://{}@{HERE}:4800", directory.key);
    device(&About { directory: &directory, version: "1", address: &address, config: 1 })
}

/// A responder after so many steps from its beginning, and what it said until then: probes, then announcements.
fn responder(steps: usize) -> (Responder, Duration, Vec<Outgoing>) {
    let system = System::fixed(Time::from_unix_ms(0), 1);
    let mut responder = Responder::new(Instance::of(&directory()), vec![HERE.into()], system, Duration::ZERO).unwrap();
    let (mut now, mut said) = (Duration::ZERO, Vec::new());
    for _ in 0..steps {
        now = responder.next().unwrap();
        said.extend(responder.due(now));
    }
    (responder, now, said)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn datagrams_are_read_or_not(which in any::<Index>(), changes in changes()) {
        let all = datagrams();
        let datagram = changed(&all[which.index(all.len())], &changes);
        drop(Notice::read(&datagram));
        if let Some(search) = Search::read(&datagram) {
            let all = targets("uuid:0", "urn:a:device:B:1", &["urn:a:service:C:1"]);
            prop_assert!(matching(&all, &search.target).len() <= all.len());
        }
    }

    #[test]
    fn what_a_node_says_by_multicast_dns_is_heard_or_not(
        steps in 1_usize..6,
        which in any::<Index>(),
        changes in changes(),
        port in prop_oneof![Just(5353), 1_u16..],
        to_all in any::<bool>(),
    ) {
        let (mut responder, mut now, _) = responder(steps);
        let (.., messages) = self::responder(5);
        let datagram = changed(&which.get(&messages).bytes, &changes);
        responder.hear(&datagram, SocketAddr::from((PEER, port)), to_all, now);
        for _ in 0..20 {
            let Some(next) = responder.next() else { break };
            now = now.max(next);
            prop_assert!(responder.due(now).iter().all(|outgoing| outgoing.bytes.len() <= 1400));
        }
        prop_assert!(responder.next().is_none(), "it comes to rest");
    }

    #[test]
    fn calls_are_read_or_refused(which in any::<Index>(), changes in changes()) {
        let all = calls();
        let (action, body) = which.get(&all);
        let (body, header) = (changed(body, &changes), text(&changed(action, &changes[..changes.len().min(1)])));
        for service in SERVICES {
            drop((Call::read(service, action, &body), Call::read(service, &header, &body)));
        }
    }

    #[test]
    fn callbacks_lead_to_nobody_but_who_asked(changes in changes()) {
        let link = Link { name: "eth0".to_owned(), ip: HERE, prefix: 24 };
        let header = text(&changed("<http://192.0.2.7:8000/event><http://192.0.2.7/other?x=1>", &changes));
        for url in read_callbacks(&header, PEER, &link).unwrap_or_default() {
            prop_assert_eq!(*url.at.ip(), PEER);
        }
        granted(Some(&text(&changed("Second-1800", &changes))));
    }

    #[test]
    fn criteria_are_read_or_refused(changes in changes()) {
        let criteria = "dc:title contains \"a \\\"b\\\"\" and (res@size <= \"70\" or upnp:class derivedfrom \"object.item\")";
        if let Ok(criteria) = Criteria::read(&text(&changed(criteria, &changes)), &SEARCHABLE) {
            criteria.fits(&|property| vec![property.to_owned().into()]);
        }
        drop(read_sort(&text(&changed("+dc:title,-res@size,+d:version", &changes)), &SORTABLE));
        drop(Filter::read(&text(&changed("dc:title,res@size,@childCount,upnp:class", &changes))));
    }

    #[test]
    fn descriptions_speak_for_their_own_machine_alone(changes in changes()) {
        let (directory, document) = (directory(), changed(description(), &changes));
        if let Some((seen, path)) = Sighting::of_description(&document, directory.udn(), HERE) {
            prop_assert!(seen.udn() == directory.udn() && path.starts_with('/'));
            prop_assert_eq!(seen.host.name, HERE.to_string());
        }
        let at = Url::read("http://192.0.2.1:80/device.xml").unwrap();
        let kind = SERVICES[0].kind.parse().unwrap();
        for seen in [None, Some(&kind)].map(|kind| SeenService::of_description(&document, &at, kind, None)).into_iter().flatten() {
            let told = serde_json::to_value(&seen).unwrap();
            let urls = told["services"].as_array().unwrap().iter().flat_map(|one| [&one["control"], &one["events"]]);
            for url in urls.filter_map(|url| url.as_str()) {
                prop_assert_eq!(*Url::read(url).unwrap().at.ip(), HERE);
            }
            prop_assert!(seen.enabled_by().len() <= 64);
        }
    }

    #[test]
    fn lists_of_programs_and_what_people_type_are_read_or_not(changes in changes()) {
        let list = serde_json::to_string(&directory().programs).unwrap();
        drop(Sighting::programs(&changed(&list, &changes)));
        for typed in ["urn:a:service:B:3", "Left door._door._tcp.local.", "http://192.0.2.7:80/d/device.xml"] {
            drop(text(&changed(typed, &changes)).parse::<Sought>());
        }
        let url = Url::read("http://192.0.2.7:80/d/device.xml?a/b").unwrap();
        if let Some(joined) = url.join(&text(&changed("../control?x=http://y", &changes))) {
            prop_assert_eq!(joined.at.ip(), url.at.ip());
        }
    }
}
