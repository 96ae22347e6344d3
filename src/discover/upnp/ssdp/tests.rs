use super::*;
use proptest::prelude::*;

const UDN: &str = "uuid:00000000-0000-8000-8000-000000000001";
const DEVICE: &str = "urn:schemas-upnp-org:device:MediaServer:2";
const SERVICE: &str = "urn:schemas-upnp-org:service:ContentDirectory:1";

fn all() -> Vec<Target> {
    targets(UDN, DEVICE, &[SERVICE, "urn:example-org:service:X:1"])
}

fn advert() -> Advert {
    Advert {
        udn: UDN.to_owned(),
        location: "http://192.0.2.1:49152/device.xml".to_owned(),
        boot: 7,
        config: 3,
        max_age: 1800,
        server: "Linux/6.1 UPnP/1.1 deployctl/0.1.0".to_owned(),
    }
}

fn search(head: &str) -> Option<Search> {
    Search::read(format!("{head}\r\n\r\n").replace(" | ", "\r\n").as_bytes())
}

#[test]
fn every_target_has_its_usn_and_there_are_three_and_one_for_each_service() {
    let pairs: Vec<_> = all().into_iter().map(|one| (one.target, one.usn)).collect();
    let usn = |target: &str| (target.to_owned(), format!("{UDN}::{target}"));
    let expected = [usn("upnp:rootdevice"), (UDN.into(), UDN.into()), usn(DEVICE), usn(SERVICE)];
    assert_eq!(pairs[..4], expected);
    assert_eq!(pairs.len(), 5);
}

#[test]
fn a_search_is_answered_by_what_it_asks_for_and_by_nothing_else() {
    for (asked, answers) in [
        ("ssdp:all", 5),
        ("upnp:rootdevice", 1),
        (UDN, 1),
        (DEVICE, 1),
        (SERVICE, 1),
        ("urn:schemas-upnp-org:device:MediaServer:1", 1),
        ("urn:schemas-upnp-org:device:MediaServer:3", 0),
        ("urn:schemas-upnp-org:device:MediaServer:0", 0),
        ("urn:schemas-upnp-org:device:MediaServer:01", 0),
        ("urn:schemas-upnp-org:device:MediaServer:", 0),
        ("urn:schemas-upnp-org:service:ContentDirectory:2", 0),
        ("ssdp:nothing", 0),
        ("uuid:00000000-0000-8000-8000-00000000000A", 0),
        ("uuid:00000000-0000-8000-8000-000000000002", 0),
        ("", 0),
    ] {
        let found = matching(&all(), asked);
        assert_eq!(found.len(), answers, "{asked}");
        assert!(asked == "ssdp:all" || found.iter().all(|one| one.target == asked), "{asked}");
    }
}

#[test]
fn a_uuid_is_found_in_either_case_and_answered_as_it_was_asked_for() {
    let all = targets("uuid:00000000-0000-8000-8000-00000000000a", DEVICE, &[]);
    let found = matching(&all, "uuid:00000000-0000-8000-8000-00000000000A");
    assert_eq!((found.len(), found[0].target.as_str()), (1, "uuid:00000000-0000-8000-8000-00000000000A"));
    assert!(matching(&all, "UPNP:ROOTDEVICE").is_empty());
}

#[test]
fn a_search_is_one_only_with_all_that_it_must_have() {
    let good = "M-SEARCH * HTTP/1.1 | Host: 239.255.255.250:1900 | mAn:\"ssdp:discover\" | MX: 2 | ST: ssdp:all";
    let second = Duration::from_secs;
    assert_eq!(search(good).unwrap(), Search { target: "ssdp:all".into(), wait: Some(second(2)), names_group: true });
    assert_eq!(search(&good.replace("MX: 2", "MX: 99999999999")).unwrap().wait, Some(second(5)));
    assert_eq!(search(&good.replace("MX: 2", "X: 2")).unwrap().wait, None);
    let host = "Host: 239.255.255.250:1900";
    assert!(!search(&good.replace(host, "Host: 192.0.2.1:1900")).unwrap().names_group);
    for (from, to) in [
        (host, "Host:"),
        (host, "X: y"),
        ("\"ssdp:discover\"", "ssdp:discover"),
        ("MX: 2", "MX: 0"),
        ("MX: 2", "MX: -1"),
        ("MX: 2", "MX: x"),
        ("MX: 2", "MX:"),
        ("MX: 2", "MX: 1.5"),
        ("ST: ssdp:all", "X: y"),
        ("ST: ssdp:all", "ST: "),
        ("ST: ssdp:all", "ST: a | ST: b"),
        ("M-SEARCH * HTTP/1.1", "M-SEARCH / HTTP/1.1"),
        ("M-SEARCH * HTTP/1.1", "NOTIFY * HTTP/1.1"),
        ("mAn:", "no header at all | mAn:"),
    ] {
        assert_eq!(search(&good.replace(from, to)), None, "{from} → {to}");
    }
}

#[test]
fn our_own_search_reads_back() {
    let ours = Search { target: "upnp:rootdevice".into(), wait: Some(Duration::from_secs(1)), names_group: true };
    assert_eq!(Search::read(ours.write(GROUP, "a/1 UPnP/1.1 b/1").as_bytes()), Some(ours));
}

#[test]
fn a_notice_has_every_header_that_it_must_have_and_fits_a_small_datagram() {
    let one = &all()[3];
    let alive = advert().alive(one);
    for header in [
        "NOTIFY * HTTP/1.1",
        "HOST: 239.255.255.250:1900",
        "CACHE-CONTROL: max-age=1800",
        "LOCATION: http://192.0.2.1:49152/device.xml",
        "NTS: ssdp:alive",
        "SERVER: Linux/6.1 UPnP/1.1 deployctl/0.1.0",
        "BOOTID.UPNP.ORG: 7",
        "CONFIGID.UPNP.ORG: 3",
    ] {
        assert!(alive.split("\r\n").any(|line| line == header), "{header}: {alive}");
    }
    assert!(alive.ends_with("\r\n\r\n") && alive.len() < 512);
    let byebye = advert().byebye(one);
    assert!(!byebye.contains("LOCATION") && byebye.contains("ssdp:byebye"), "{byebye}");
    assert!(advert().update(one, 9).contains("\r\nNEXTBOOTID.UPNP.ORG: 9\r\n"));
    let answer = advert().answer(one, "Sun, 22 Nov 2026 01:00:00 GMT");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nEXT:\r\n"), "{answer}");
    assert!(answer.len() < 512, "{}", answer.len());
}

#[test]
fn notices_and_answers_read_back() {
    let one = &all()[2];
    let (udn, target) = (UDN.to_owned(), DEVICE.to_owned());
    let here = Some(advert().location);
    let seen = Notice { udn, target, location: here };
    assert_eq!(Notice::read(advert().alive(one).as_bytes()).unwrap(), seen);
    assert_eq!(Notice::read(advert().answer(one, "now").as_bytes()).unwrap(), seen);
    assert_eq!(Notice::read(advert().byebye(one).as_bytes()).unwrap(), Notice { location: None, ..seen });
    assert_eq!(Notice::read(b"HTTP/1.1 200 OK\r\nST: a\r\nUSN: nothing\r\nLOCATION: x\r\n\r\n"), None);
}

proptest! {
    #[test]
    fn no_datagram_makes_the_readers_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = (Search::read(&bytes), Notice::read(&bytes));
    }

    #[test]
    fn no_search_however_mangled_gets_more_than_the_full_set(
        head in "M-SEARCH \\* HTTP/1.1\r\nHOST: x\r\nMAN: \"ssdp:discover\"\r\n(MX: [0-9a-]{0,3}\r\n)?ST: [ -~]{0,40}(\r\n){0,2}[ -~]{0,20}",
    ) {
        if let Some(search) = Search::read(head.as_bytes()) {
            prop_assert!(matching(&all(), &search.target).len() <= 5);
            prop_assert!(search.wait.is_none_or(|wait| wait <= Duration::from_secs(5)));
        }
    }
}
