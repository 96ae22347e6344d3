//! What a network permission's text means: `listen:PORT`, `connect:HOST:PORT`, `any`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::model::error::{Error, Result};
use crate::model::{Code, Host, serde_as_text};

/// One use of the network that a role may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The whole network.
    Any,
    /// Accept connections on this TCP port.
    Listen(u16),
    /// Connect to this host's TCP port.
    Connect(Host),
}

impl FromStr for Access {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Code::BadInput, format!("“{text}” is not a network permission: {why}"))
                .hint("write listen:PORT, connect:HOST:PORT, or any")
        };
        match text.split_once(':') {
            None if text == "any" => Ok(Self::Any),
            Some(("listen", port)) => {
                parse_port(port).map(Self::Listen).ok_or_else(|| refuse("the port is not 1 to 65535"))
            }
            Some(("connect", host)) => {
                parse_host(host).map(Self::Connect).ok_or_else(|| refuse("it names no host and port from 1 to 65535"))
            }
            _ => Err(refuse("it is of no kind that exists")),
        }
    }
}
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Listen(port) => write!(f, "listen:{port}"),
            Self::Connect(host) => write!(f, "connect:{host}"),
        }
    }
}
serde_as_text!(Access);

fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

/// `HOST:PORT` as of an address; a rendered `{{ roster.initiator.host }}` may be an IPv6 address without brackets.
pub(super) fn parse_host(text: &str) -> Option<Host> {
    let (name, port) = text.rsplit_once(':')?;
    let port = parse_port(port)?;
    match name.parse::<Ipv6Addr>() {
        Ok(_) => Some(Host { name: name.to_owned(), port }),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_back_as_they_were_written() {
        for text in ["any", "listen:8080", "connect:a.example:443", "connect:[::1]:80", "connect:10.0.0.1:1"] {
            assert_eq!(text.parse::<Access>().unwrap().to_string(), text);
        }
        assert_eq!("connect:fe80::1:443".parse::<Access>().unwrap().to_string(), "connect:[fe80::1]:443");
    }

    #[test]
    fn what_is_no_permission_is_refused() {
        for text in [
            "",
            "all",
            "listen",
            "listen:",
            "listen:0",
            "listen:65536",
            "listen:+1",
            "listen:http",
            "connect:443",
            "connect::443",
            "connect:a b:1",
            "connect:a:0",
            "bind:1",
            "any:1",
            "Listen:1",
        ] {
            assert!(text.parse::<Access>().is_err(), "{text}");
        }
    }
}
