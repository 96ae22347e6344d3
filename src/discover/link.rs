//! The interfaces that this node is seen on: which there are now, and whether an address is on one's link.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use if_addrs::{IfAddr, IfOperStatus, get_if_addrs};
use socket2::{Domain, Protocol, Socket, Type};

use crate::model::{Code, Error, Result};

/// Where DNS-SD is told to everybody (RFC 6762 §3).
pub const MDNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// One interface with one of its IPv4 addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub name: String,
    pub ip: Ipv4Addr,
    /// Bits of the network's part.
    pub prefix: u8,
}

impl Link {
    /// Whether this is a host's address in the link's network.
    pub fn holds(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        let (ours, theirs) = (u32::from(self.ip), u32::from(ip));
        let is_host = self.prefix >= 31 || (theirs & !mask != 0 && theirs | mask != u32::MAX);
        ours & mask == theirs & mask && is_host && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified()
    }
    /// Tries whether what is told to a group can be heard here, beside other programs that hear it.
    ///
    /// # Errors
    /// What the system says.
    pub fn can_hear(&self, group: SocketAddrV4) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::V4(group).into())?;
        socket.join_multicast_v4(group.ip(), &self.ip)
    }
    pub fn is_loopback(&self) -> bool {
        self.ip.is_loopback()
    }
}

/// The links of the interfaces named, or of all that lead to a network: an address each. Sorted.
///
/// # Errors
/// `io` where the system does not say.
pub fn links(names: &[String]) -> Result<Vec<Link>> {
    let link = |one: if_addrs::Interface| match one.addr {
        IfAddr::V4(v4) => Some(Link { name: one.name, ip: v4.ip, prefix: v4.prefixlen }),
        IfAddr::V6(_) => None,
    };
    let mut links: Vec<Link> = served(names)?.filter_map(link).collect();
    links.sort();
    links.dedup();
    Ok(links)
}

/// An interface with all of its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// As the system counts them.
    pub index: u32,
    /// Sorted.
    pub v4: Vec<Link>,
    /// Each with the bits of its network's part; sorted.
    pub v6: Vec<(Ipv6Addr, u8)>,
}

impl Interface {
    /// Whether this is a host's address on the link.
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (v4(ip), ip) {
            (Some(ip), _) => self.v4.iter().any(|link| link.holds(ip)),
            (None, IpAddr::V6(ip)) => {
                let is_of = |(own, prefix): &(Ipv6Addr, u8)| {
                    let mask = u128::MAX.checked_shl(128 - u32::from((*prefix).min(128))).unwrap_or(0);
                    own.to_bits() & mask == ip.to_bits() & mask
                };
                self.has_link_local() && ip.is_unicast_link_local() || !ip.is_multicast() && self.v6.iter().any(is_of)
            }
            (None, IpAddr::V4(_)) => false,
        }
    }
    /// Whether it speaks IPv6 to its link.
    pub fn has_link_local(&self) -> bool {
        self.v6.iter().any(|(ip, _)| ip.is_unicast_link_local())
    }
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.v4.iter().map(|link| IpAddr::V4(link.ip));
        v4.chain(self.v6.iter().map(|(ip, _)| IpAddr::V6(*ip))).collect()
    }
}

/// The interfaces named, or all that lead to a network, by index.
///
/// # Errors
/// `io` where the system does not say.
pub fn interfaces(names: &[String]) -> Result<BTreeMap<u32, Interface>> {
    let mut all: BTreeMap<u32, Interface> = BTreeMap::new();
    for one in served(names)? {
        let Some(index) = one.index else { continue };
        let interface = all.entry(index).or_default();
        match one.addr {
            IfAddr::V4(v4) => interface.v4.push(Link { name: one.name.clone(), ip: v4.ip, prefix: v4.prefixlen }),
            IfAddr::V6(v6) => interface.v6.push((v6.ip, v6.prefixlen)),
        }
        (interface.name, interface.index) = (one.name, index);
        interface.v4.sort();
        interface.v6.sort_unstable();
    }
    Ok(all)
}

/// The addresses of the interfaces named, or of all that lead to a network.
fn served(names: &[String]) -> Result<impl Iterator<Item = if_addrs::Interface>> {
    let all = get_if_addrs().map_err(|why| Error::new(Code::Io, format!("looking for network interfaces: {why}")))?;
    let is_wanted = move |one: &if_addrs::Interface| match names {
        [] => !one.is_loopback() && !one.is_p2p(),
        names => names.contains(&one.name),
    };
    let is_up = |one: &if_addrs::Interface| !matches!(one.oper_status, IfOperStatus::Down | IfOperStatus::NotPresent);
    Ok(all.into_iter().filter(move |one| is_wanted(one) && is_up(one)))
}

/// Refuses names that no interface has just now.
///
/// # Errors
/// `usage` with the names that there are.
pub fn check_names(names: &[String]) -> Result<()> {
    let all = get_if_addrs().map_err(|why| Error::new(Code::Io, format!("looking for network interfaces: {why}")))?;
    let mut there: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    there.sort_unstable();
    there.dedup();
    match names.iter().find(|name| !there.contains(&name.as_str())) {
        Some(name) => Err(Error::new(Code::Usage, format!("there is no network interface “{name}” with an address"))
            .hint(format!("there are: {}", there.join(", ")))),
        None => Ok(()),
    }
}

/// The IPv4 address that a socket's other end has; none for IPv6.
pub fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_the_hosts_of_its_network_and_nobody_else() {
        let link = Link { name: "eth0".to_owned(), ip: Ipv4Addr::new(192, 0, 2, 65), prefix: 26 };
        for (ip, expected) in [
            ([192, 0, 2, 66], true),
            ([192, 0, 2, 126], true),
            ([192, 0, 2, 64], false),
            ([192, 0, 2, 127], false),
            ([192, 0, 2, 128], false),
            ([192, 0, 3, 66], false),
            ([0, 0, 0, 0], false),
            ([239, 255, 255, 250], false),
            ([255, 255, 255, 255], false),
        ] {
            assert_eq!(link.holds(ip.into()), expected, "{ip:?}");
        }
        let all = Link { prefix: 0, ..link.clone() };
        assert!(all.holds([8, 8, 8, 8].into()) && !all.holds([239, 1, 1, 1].into()));
        let two = Link { prefix: 31, ..link };
        assert!(two.holds([192, 0, 2, 64].into()) && !two.holds([192, 0, 2, 66].into()));
    }

    #[test]
    fn an_interface_holds_the_hosts_of_all_its_networks() {
        let v4 =
            ["192.0.2.65", "198.51.100.1"].map(|ip| Link { name: String::new(), ip: ip.parse().unwrap(), prefix: 26 });
        let v6 = [("fe80::1", 64), ("2001:db8::1", 64)].map(|(ip, prefix)| (ip.parse().unwrap(), prefix));
        let interface = Interface { v4: v4.into(), v6: v6.into(), ..Interface::default() };
        for (ip, expected) in [
            ("192.0.2.66", true),
            ("198.51.100.2", true),
            ("::ffff:192.0.2.66", true),
            ("192.0.2.1", false),
            ("fe80::7", true),
            ("2001:db8::ffff", true),
            ("2001:db8:0:1::1", false),
            ("ff02::1", false),
            ("::", false),
        ] {
            assert_eq!(interface.holds(ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(!Interface { v6: vec![], ..interface }.holds("fe80::7".parse().unwrap()));
    }

    #[test]
    fn the_loopback_is_taken_only_where_it_is_named() {
        let loopback = links(&["lo".to_owned()]).unwrap();
        assert!(loopback.iter().any(|link| link.ip == Ipv4Addr::LOCALHOST), "{loopback:?}");
        assert!(links(&[]).unwrap().iter().all(|link| !link.is_loopback()));
        let whole = interfaces(&["lo".to_owned()]).unwrap();
        assert_eq!(whole.len(), 1);
        assert!(whole.values().all(|one| one.index > 0 && one.addresses().contains(&Ipv4Addr::LOCALHOST.into())));
        assert!(check_names(&["lo".to_owned()]).is_ok());
        assert!(check_names(&["none7".to_owned()]).unwrap_err().hint.unwrap().contains("lo"));
    }
}
