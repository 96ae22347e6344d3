//! One node as one protocol shows it: descriptions, TXT records and lists of programs, read as the hints that they are.
//! No sockets.

use std::net::{IpAddr, Ipv4Addr};

use crate::discover::upnp::description::NAMESPACE;
use crate::discover::upnp::xml;
use crate::discover::{Program, Udn};
use crate::model::{Address, Host, Key, Name, Way};

/// Programs of one node; more are not looked at.
const MAX_PROGRAMS: usize = 4096;

/// What was seen. The key is what the node says that it is: the handshake will tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub name: Name,
    pub key: Key,
    /// Where its TLS server is.
    pub host: Host,
    pub way: Way,
    /// None where this way does not tell, or it could not be read.
    pub programs: Option<Vec<Program>>,
}

impl Sighting {
    pub fn udn(&self) -> Udn {
        Udn::of(&self.key)
    }
    /// Reads a device's description that came from `from`; gives the path of its list of programs beside what it says.
    /// None where it is not of a node, or speaks for another machine or another device than the one that was asked.
    pub fn of_description(document: &[u8], udn: Udn, from: Ipv4Addr) -> Option<(Self, String)> {
        let root = xml::read(document).ok()?;
        let node = root.child("device")?.child("X_node").filter(|node| node.namespace == NAMESPACE)?;
        let address: Address = node.text_of("address")?.parse().ok()?;
        let host = address.host.filter(|host| host.name == from.to_string())?;
        let name = node.text_of("name")?.parse().ok()?;
        let path = node.text_of("programs")?.to_owned();
        let seen = Self { name, key: address.key, host, way: Way::Upnp, programs: None };
        (seen.udn() == udn && path.starts_with('/')).then_some((seen, path))
    }
    /// Reads a list of programs; none where it is none.
    pub fn programs(document: &[u8]) -> Option<Vec<Program>> {
        let mut programs: Vec<Program> = serde_json::from_slice(document).ok()?;
        programs.truncate(MAX_PROGRAMS);
        Some(programs)
    }
    /// Reads what a DNS-SD instance says: its TXT record, addresses and port.
    pub fn of_service<'a>(txt: impl Fn(&str) -> Option<&'a str>, addresses: &[IpAddr], port: u16) -> Option<Self> {
        if txt("txtvers") != Some("1") || port == 0 {
            return None;
        }
        // IPv4 first: a link-local IPv6 address is good for nothing without its zone.
        let is_usable = |ip: &&IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
        };
        let ip = addresses.iter().filter(is_usable).min()?;
        let host = Host { name: ip.to_string(), port };
        let (name, key) = (txt("name")?.parse().ok()?, txt("key")?.parse().ok()?);
        Some(Self { name, key, host, way: Way::Mdns, programs: None })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::discover::upnp::description::{About, device};
    use crate::discover::upnp::testing::directory;

    const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn description(address: &str) -> String {
        device(&About { directory: &directory(), version: "1", address, config: 1 })
    }

    #[test]
    fn our_own_description_and_list_read_back() {
        let directory = directory();
        let address = format!("deploy://{}@192.0.2.1:4800", directory.key);
        let (seen, path) = Sighting::of_description(description(&address).as_bytes(), directory.udn(), HERE).unwrap();
        assert_eq!(
            (seen.name, seen.key, seen.host.to_string()),
            (directory.name.clone(), directory.key, "192.0.2.1:4800".into())
        );
        assert_eq!(path, "/programs.json");
        let list = serde_json::to_vec(&directory.programs).unwrap();
        assert_eq!(Sighting::programs(&list).unwrap(), directory.programs);
    }

    #[test]
    fn a_description_that_speaks_for_another_is_none() {
        let directory = directory();
        let good = format!("deploy://{}@192.0.2.1:4800", directory.key);
        let other = Key::from_bytes([9; 32]);
        for (address, udn) in [
            (good.clone(), Udn::of(&other)),
            (format!("deploy://{other}@192.0.2.1:4800"), directory.udn()),
            (good.replace("192.0.2.1", "192.0.2.2"), directory.udn()),
            (good.replace("192.0.2.1", "evil.example"), directory.udn()),
            (format!("deploy://{}", directory.key), directory.udn()),
        ] {
            assert_eq!(Sighting::of_description(description(&address).as_bytes(), udn, HERE), None, "{address}");
        }
        let foreign = description(&good).replace(NAMESPACE, "urn:x");
        assert_eq!(Sighting::of_description(foreign.as_bytes(), directory.udn(), HERE), None);
    }

    #[test]
    fn an_instance_says_name_key_and_place() {
        let key = Key::from_bytes([3; 32]).to_string();
        let txt = |name: &str| match name {
            "txtvers" => Some("1"),
            "name" => Some("ada"),
            "key" => Some(key.as_str()),
            _ => None,
        };
        let ips: Vec<IpAddr> = ["fe80::1", "192.0.2.9", "2001:db8::1"].iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(Sighting::of_service(txt, &ips, 4800).unwrap().host.to_string(), "192.0.2.9:4800");
        assert_eq!(Sighting::of_service(txt, &ips[2..], 4800).unwrap().host.to_string(), "[2001:db8::1]:4800");
        assert_eq!(Sighting::of_service(txt, &ips[..1], 4800), None);
        assert_eq!(Sighting::of_service(txt, &ips, 0), None);
        assert_eq!(Sighting::of_service(|name| txt(name).filter(|_| name != "key"), &ips, 4800), None);
        assert_eq!(
            Sighting::of_service(|name| if name == "name" { Some("\u{1b}[2J") } else { txt(name) }, &ips, 1),
            None
        );
    }

    proptest! {
        #[test]
        fn no_document_makes_the_readers_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let udn = Udn::of(&Key::from_bytes([3; 32]));
            prop_assert_eq!(Sighting::of_description(&bytes, udn, HERE), None);
            let _ = Sighting::programs(&bytes);
        }
    }
}
