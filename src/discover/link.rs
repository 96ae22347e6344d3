//! The interfaces that this node is seen on: which there are now, and whether an address is on one's link.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

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
    let all = get_if_addrs().map_err(|why| Error::new(Code::Io, format!("looking for network interfaces: {why}")))?;
    let is_wanted = |one: &if_addrs::Interface| match names {
        [] => !one.is_loopback() && !one.is_p2p(),
        names => names.contains(&one.name),
    };
    let is_up = |one: &if_addrs::Interface| !matches!(one.oper_status, IfOperStatus::Down | IfOperStatus::NotPresent);
    let link = |one: if_addrs::Interface| match one.addr {
        IfAddr::V4(v4) => Some(Link { name: one.name, ip: v4.ip, prefix: v4.prefixlen }),
        IfAddr::V6(_) => None,
    };
    let mut links: Vec<Link> = all.into_iter().filter(|one| is_wanted(one) && is_up(one)).filter_map(link).collect();
    links.sort();
    links.dedup();
    Ok(links)
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
    fn the_loopback_is_taken_only_where_it_is_named() {
        let loopback = links(&["lo".to_owned()]).unwrap();
        assert!(loopback.iter().any(|link| link.ip == Ipv4Addr::LOCALHOST), "{loopback:?}");
        assert!(links(&[]).unwrap().iter().all(|link| !link.is_loopback()));
        assert!(check_names(&["lo".to_owned()]).is_ok());
        assert!(check_names(&["none7".to_owned()]).unwrap_err().hint.unwrap().contains("lo"));
    }
}
