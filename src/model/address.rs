//! Where a node is and who it is: `deploy://KEY@host:port`, or `deploy://KEY` for a node that listens nowhere.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::{Code, Key, serde_as_text};

const SCHEME: &str = "deploy://";
/// A DNS name's limit (RFC 1035 §2.3.4); IP addresses are shorter.
const HOST_CHARS: usize = 253;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// A DNS name, an IPv4 address, or an IPv6 address without its brackets.
    pub name: String,
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}
impl FromStr for Host {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Code::BadAddress, format!("“{text}” is not a HOST:PORT: {why}"))
                .hint("write it like 192.0.2.7:4800 or node.example:4800")
        };
        let (name, port) = text.rsplit_once(':').ok_or_else(|| refuse("the port is missing"))?;
        let port = port.parse().map_err(|_| refuse("the port is not a number up to 65535"))?;
        let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let (name, allowed): (&str, fn(char) -> bool) = match bracketed {
            Some(inner) => (inner, |c| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '%')),
            None => (name, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        };
        let is_in_its_brackets = bracketed.is_none_or(|inner| inner.contains(':'));
        if name.is_empty() || name.len() > HOST_CHARS || !name.chars().all(allowed) || !is_in_its_brackets {
            return Err(refuse(
                "the host is empty, too long, or holds other characters than a name or an IP address has (IPv6 goes in brackets)",
            ));
        }
        Ok(Self { name: name.to_owned(), port })
    }
}
serde_as_text!(Host);

/// A node's identity and, where it listens, its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub key: Key,
    pub host: Option<Host>,
}

impl Address {
    /// In the words of an error.
    pub fn named(&self) -> String {
        match &self.host {
            Some(host) => format!("the node {} at {host}", self.key.short()),
            None => format!("the node {}", self.key.short()),
        }
    }
}
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{SCHEME}{}@{host}", self.key),
            None => write!(f, "{SCHEME}{}", self.key),
        }
    }
}
impl FromStr for Address {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.contains(super::token::MARK) {
            // Not quoted: there is a secret in it.
            return Err(Error::new(Code::BadAddress, "that is a token, or holds a “#”, and is not an address")
                .hint("a token is for `deployctl trust join`"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            Error::new(Code::BadAddress, format!("“{text}” is not an address: it does not begin with {SCHEME}"))
                .hint("an address looks like deploy://KEY@host:port; `deployctl init` prints it")
        })?;
        let (key, host) = match rest.split_once('@') {
            Some((key, host)) => (key, Some(host.parse()?)),
            None => (rest, None),
        };
        Ok(Self { key: key.parse()?, host })
    }
}
serde_as_text!(Address);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_written() {
        let key = Key::from_bytes([3; 32]);
        for text in
            [format!("deploy://{key}"), format!("deploy://{key}@a.example:1"), format!("deploy://{key}@[::1]:4800")]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let key = Key::from_bytes([3; 32]);
        for text in [
            "",
            "deploy://",
            "http://x",
            &format!("deploy://{key}@"),
            &format!("deploy://{key}@host"),
            &format!("deploy://{key}@ho st:1"),
            &format!("deploy://{key}@[%]:1"),
            &format!("deploy://{key}@[192.0.2.7]:1"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err().code, Code::BadAddress, "{text}");
        }
    }
}
