//! Ports of this machine alone, for trying things out.

#![expect(clippy::disallowed_methods, reason = "asks the system for a port, and whether one is free")]

use std::net::{Ipv4Addr, TcpListener};

use crate::model::{Code, Error, Result};

/// A TCP port of 127.0.0.1 on which nobody listens just now. Somebody may the next moment.
pub fn free() -> Result<u16> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map(|at| at.port()).map_err(|why| Error::new(Code::Io, format!("looking for a free port: {why}")))
}

/// Whether nobody listens on this TCP port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_until_somebody_listens() {
        let port = free().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
