//! The UDP sockets of multicast DNS: each is of one interface, whatever else the machine is connected to.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::responder::{Outgoing, PORT, To};
use super::wire::MAX_MESSAGE;
use crate::discover::link::{Interface, Link, MDNS};

/// RFC 6762 §3.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762 §11.
const TTL: u32 = 255;

/// The sockets of an interface, for what it has.
pub(super) struct Sockets {
    v4: Option<V4>,
    /// Hears what everybody is told, and speaks. It does not hear what this address alone is asked.
    v6: Option<UdpSocket>,
    group_v6: SocketAddr,
    buffers: [Vec<u8>; 3],
}

struct V4 {
    /// Hears what everybody on the link is told.
    group: UdpSocket,
    /// Says what is said, and hears what this address alone is asked.
    own: UdpSocket,
}

/// What was heard.
pub(super) struct Heard<'a> {
    pub(super) datagram: &'a [u8],
    pub(super) from: SocketAddr,
    /// Whether everybody was told.
    pub(super) to_all: bool,
}

impl Sockets {
    /// # Errors
    /// What the system says, where neither IPv4 nor IPv6 can be spoken.
    pub(super) fn open(interface: &Interface) -> io::Result<Self> {
        let group_v6 = SocketAddr::V6(SocketAddrV6::new(GROUP_V6, PORT, 0, interface.index));
        let v4 = interface.v4.first().map(open_v4).transpose();
        let v6 = interface.has_link_local().then(|| open_v6(group_v6, interface.index)).transpose();
        let (v4, v6) = match (v4, v6) {
            (Ok(None), Err(why)) | (Err(why), Ok(None) | Err(_)) => return Err(why),
            (v4, v6) => (v4.ok().flatten(), v6.ok().flatten()),
        };
        Ok(Self { v4, v6, group_v6, buffers: std::array::from_fn(|_| vec![0; MAX_MESSAGE]) })
    }
    pub(super) async fn hear(&mut self) -> io::Result<Heard<'_>> {
        let [first, second, third] = &mut self.buffers;
        let (group, own) = self.v4.as_ref().map(|v4| (&v4.group, &v4.own)).unzip();
        let (datagram, (length, from), to_all) = tokio::select! {
            heard = receive(group, first) => (first, heard?, true),
            heard = receive(own, second) => (second, heard?, false),
            heard = receive(self.v6.as_ref(), third) => (third, heard?, true),
        };
        Ok(Heard { datagram: &datagram[..length], from, to_all })
    }
    pub(super) async fn send(&self, outgoing: &Outgoing) {
        let own = self.v4.as_ref().map(|v4| &v4.own);
        let ways = match outgoing.to {
            To::Group => [own.map(|own| (own, MDNS.into())), self.v6.as_ref().map(|v6| (v6, self.group_v6))],
            To::One(to) => [if to.is_ipv4() { own } else { self.v6.as_ref() }.map(|socket| (socket, to)), None],
        };
        for (socket, to) in ways.into_iter().flatten() {
            // A datagram may be lost anywhere; why this one was does not matter.
            drop(socket.send_to(&outgoing.bytes, to).await);
        }
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

fn open_v4(link: &Link) -> io::Result<V4> {
    let group = bind(MDNS.into())?;
    group.join_multicast_v4(MDNS.ip(), &link.ip)?;
    // Or it would hear what any socket of this machine has joined, on any link.
    group.set_multicast_all_v4(false)?;
    let own = bind((link.ip, PORT).into())?;
    own.set_multicast_if_v4(&link.ip)?;
    own.set_multicast_ttl_v4(TTL)?;
    own.set_ttl_v4(TTL)?;
    Ok(V4 { group: UdpSocket::from_std(group.into())?, own: UdpSocket::from_std(own.into())? })
}

fn open_v6(group: SocketAddr, index: u32) -> io::Result<UdpSocket> {
    // The group's zone makes it a socket of this interface alone.
    let socket = bind(group)?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_unicast_hops_v6(TTL)?;
    UdpSocket::from_std(socket.into())
}

/// A place, beside other programs that have it, too.
fn bind(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}
