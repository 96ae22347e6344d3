use proptest::prelude::*;

use super::*;

const DOOR: &str = "urn:example-org:service:DoorOpener:2";

fn at() -> Url {
    Url::read("http://192.0.2.7:8080/d/device.xml").unwrap()
}

fn description(base: &str, control: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device>\
         <deviceType>urn:a:device:House:1</deviceType><friendlyName>House &lt;1&gt;</friendlyName><UDN>uuid:house</UDN>\
         <serviceList><service><serviceType>urn:a:service:Bell:1</serviceType><serviceId>bell</serviceId></service></serviceList>\
         <deviceList><device><deviceType>urn:a:device:Garage:1</deviceType><friendlyName>Garage</friendlyName>\
         <UDN>uuid:Garage</UDN><serviceList><service><serviceType>{DOOR}</serviceType><serviceId>door</serviceId>\
         <SCPDURL>scpd.xml</SCPDURL><controlURL>{control}</controlURL></service></serviceList></device></deviceList>\
         </device></root>"
    )
}

fn read(document: &str, wanted: Option<&str>, udn: Option<&str>) -> Option<SeenService> {
    let wanted = wanted.map(|text| text.parse().unwrap());
    SeenService::of_description(document.as_bytes(), &at(), wanted.as_ref(), udn)
}

fn texts(types: &[ServiceType]) -> Vec<String> {
    types.iter().map(ToString::to_string).collect()
}

#[test]
fn a_device_a_service_in_it_and_a_place_are_each_told_with_what_they_have() {
    let document = description("", "/control");
    let service = read(&document, Some("urn:example-org:service:DoorOpener:1"), Some("UUID:garage")).unwrap();
    assert_eq!((service.name.as_str(), texts(&service.types)), ("Garage", vec![DOOR.to_owned()]));
    assert_eq!(service.enabled_by(), [DOOR, "urn:example-org:service:DoorOpener:1"]);
    let told = serde_json::to_value(&service).unwrap();
    assert_eq!((&told["type"], &told["via"], &told["address"]), (&DOOR.into(), &"upnp".into(), &"192.0.2.7".into()));
    assert_eq!((&told["port"], &told["udn"]), (&8080.into(), &"uuid:Garage".into()));
    assert_eq!(told["location"], "http://192.0.2.7:8080/d/device.xml");
    assert_eq!(told["services"][0]["control"], "http://192.0.2.7:8080/control");
    assert_eq!(told["services"][0]["scpd"], "http://192.0.2.7:8080/d/scpd.xml");
    assert_eq!(told["description"], document);

    let garage = read(&document, Some("urn:a:device:Garage:1"), None).unwrap();
    assert_eq!(texts(&garage.types), ["urn:a:device:Garage:1", DOOR]);
    let house = read(&document, None, None).unwrap();
    assert_eq!(house.name, "House <1>");
    assert_eq!(texts(&house.types), ["urn:a:device:House:1", "urn:a:service:Bell:1", "urn:a:device:Garage:1", DOOR]);
}

#[test]
fn what_is_of_another_type_or_device_is_none() {
    let document = description("", "/control");
    for (wanted, udn) in [
        ("urn:example-org:service:DoorOpener:3", None),
        ("urn:example-org:service:Window:1", None),
        (DOOR, Some("uuid:house")),
        (DOOR, Some("uuid:another")),
    ] {
        assert_eq!(read(&document, Some(wanted), udn), None, "{wanted} {udn:?}");
    }
    let evil = document.replace("<root", "<!DOCTYPE root [<!ENTITY x 'y'>]><root");
    assert_eq!(read(&evil, None, None), None);
}

#[test]
fn no_url_of_a_description_leads_to_another_machine() {
    for (base, control, expected) in [
        ("", "http://192.0.2.7:99/c", Some("http://192.0.2.7:99/c")),
        ("", "http://192.0.2.8/c", None),
        ("", "http://evil.example/c", None),
        ("", "//192.0.2.8/c", None),
        ("", "https://192.0.2.7/c", None),
        ("", "file:///etc/passwd", None),
        ("<URLBase>http://192.0.2.7:90/</URLBase>", "c", Some("http://192.0.2.7:90/c")),
        ("<URLBase>http://192.0.2.8/</URLBase>", "c", Some("http://192.0.2.7:8080/d/c")),
    ] {
        let seen = read(&description(base, control), Some(DOOR), None).unwrap();
        let About::Upnp { services, .. } = &seen.about else { panic!("it is UPnP's") };
        assert_eq!(services[0].control.as_deref(), expected, "{base} {control}");
    }
}

#[test]
fn an_instance_is_told_where_it_is_near() {
    let kind = "_door._tcp".parse().unwrap();
    let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
    let see = |fullname: &str, port, all: &[&str]| {
        let is_near = |ip: Ipv4Addr| ip.octets()[0] == 192;
        SeenService::of_instance(&kind, fullname, ("d.local.", port, &ips(all)), BTreeMap::new(), is_near)
    };
    let seen = see("My left. door._door._tcp.local.", 80, &["203.0.113.1", "fe80::1", "192.0.2.2"]).unwrap();
    assert_eq!((seen.name.as_str(), seen.address.to_string()), ("My left. door", "192.0.2.2".to_owned()));
    assert_eq!(
        seen.place().parse::<Sought>().unwrap(),
        Sought::DnsSd { kind: kind.clone(), instance: Some(seen.name) }
    );
    assert_eq!(see("a._door._tcp.local.", 80, &["203.0.113.1"]), None);
    assert_eq!(see("a._door._tcp.local.", 0, &["192.0.2.2"]), None);
    assert_eq!(see("é", 80, &["192.0.2.2"]), None);
}

#[test]
fn what_is_sought_is_a_type_an_instance_or_a_place() {
    let sought = |text: &str| text.parse::<Sought>();
    let door = |instance: Option<&str>| Sought::DnsSd {
        kind: "_door._tcp".parse().unwrap(),
        instance: instance.map(str::to_owned),
    };
    assert_eq!(sought("_door._tcp").unwrap(), door(None));
    assert_eq!(sought("_Door._tcp.local.").unwrap(), door(None));
    assert_eq!(sought("Left v1.2._door._tcp.local").unwrap(), door(Some("Left v1.2")));
    assert!(matches!(sought("urn:schemas-upnp.org:service:A.b.c:1").unwrap(), Sought::Upnp(_)));
    assert_eq!(sought("http://192.0.2.7:8080/d/device.xml").unwrap(), Sought::Description(at()));
    for wrong in ["", "door", "https://192.0.2.7/x", "http://door.local/x", "http://[::1]/x", "urn:a", "._door._tcp"] {
        assert_eq!(sought(wrong).unwrap_err().code, Code::Usage, "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(SeenService::of_description(&bytes, &at(), None, None), None);
    }
    #[test]
    fn a_real_description_that_was_changed_is_read_or_not_but_leads_nowhere_else(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = description("<URLBase>http://192.0.2.7:90/</URLBase>", "http://192.0.2.7/c").into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(seen) = SeenService::of_description(&bytes, &at(), None, None) {
            let About::Upnp { services, .. } = &seen.about else { panic!("it is UPnP's") };
            for url in services.iter().flat_map(|one| [&one.scpd, &one.control, &one.events]).flatten() {
                prop_assert_eq!(*Url::read(url).unwrap().at.ip(), *at().at.ip());
            }
        }
    }
}
