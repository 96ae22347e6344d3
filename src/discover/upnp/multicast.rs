//! The UDP sockets of SSDP: each is of one link, whatever else the machine is connected to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::ssdp::GROUP;
use crate::discover::link::Link;

/// UDA 2.0 §1.1.2.
const TTL: u32 = 2;

/// Hears what everybody on the link is told.
///
/// # Errors
/// What the system says.
pub(crate) fn hear_group(link: &Link) -> io::Result<UdpSocket> {
    let socket = bind(*GROUP.ip(), GROUP.port())?;
    socket.join_multicast_v4(GROUP.ip(), &link.ip)?;
    // Or it would hear what any socket of this machine has joined, on any link.
    socket.set_multicast_all_v4(false)?;
    UdpSocket::from_std(socket.into())
}

/// Speaks to everybody on the link from a port of this machine's address there; 0 takes a free one.
///
/// # Errors
/// What the system says.
pub(crate) fn speak(link: &Link, port: u16) -> io::Result<UdpSocket> {
    let socket = bind(link.ip, port)?;
    socket.set_multicast_if_v4(&link.ip)?;
    socket.set_multicast_ttl_v4(TTL)?;
    UdpSocket::from_std(socket.into())
}

/// A port of an address, beside other programs that have it, too.
fn bind(ip: Ipv4Addr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(port != 0)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((ip, port)).into())?;
    Ok(socket)
}
