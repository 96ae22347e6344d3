//! Types of services as local networks know them: UPnP's URNs and DNS-SD's `_NAME._tcp`; and whether a program for one of
//! them can use another.

use std::fmt;
use std::str::FromStr;

use crate::model::{Code, Error, Result, serde_as_text};

/// Bytes of a type.
const MAX_BYTES: usize = 200;
/// Bytes of a DNS-SD service's name (RFC 6335 §5.1).
const MAX_NAME: usize = 15;
/// Versions of a UPnP type that are gone through downwards; real ones are below 5.
const MAX_VERSION: u32 = 16;

/// What would be a type.
const REMEDY: &str =
    "write an UPnP type like \"urn:example-org:service:DoorOpener:1\" or a DNS-SD type like \"_door._tcp\"";

/// The type of a device or service that tells the local network of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    /// A device's or a service's (UPnP Device Architecture 2.0 §1.3.2).
    Upnp {
        /// All before the version: `urn:example-org:service:DoorOpener`.
        name: String,
        /// None where the last word is no version.
        version: Option<u32>,
    },
    /// `_door._tcp` (RFC 6763 §7), in lower case.
    DnsSd(String),
}

impl ServiceType {
    /// The types that a program may be for so that it can use this one: this itself, and UPnP's lower versions, which
    /// every later one includes (UDA 2.0 §2.3).
    pub fn usable_by(&self) -> Vec<Self> {
        match self {
            Self::Upnp { name, version: Some(version) } => {
                let at = |version| Self::Upnp { name: name.clone(), version: Some(version) };
                std::iter::once(at(*version)).chain((1..(*version).min(MAX_VERSION + 1)).rev().map(at)).collect()
            }
            _ => vec![self.clone()],
        }
    }
    /// Whether this is the type that is looked for, in its version or a later one.
    pub fn is_a(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Upnp { name, version: Some(ours) }, Self::Upnp { name: other, version: Some(least) }) => {
                name == other && ours >= least
            }
            _ => self == wanted,
        }
    }
}

impl FromStr for ServiceType {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::new(Code::BadInput, format!("“{text}” is not a service type")).hint(REMEDY);
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if text.len() > MAX_BYTES {
            return Err(refuse());
        }
        if let Some(rest) = text.strip_prefix("urn:") {
            let (name, last) = text.rsplit_once(':').ok_or_else(refuse)?;
            if !rest.contains(':') || !rest.split(':').all(word) {
                return Err(refuse());
            }
            let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) && !last.starts_with('0');
            return Ok(match last.parse().ok().filter(|_| is_number) {
                Some(version) => Self::Upnp { name: name.to_owned(), version: Some(version) },
                None => Self::Upnp { name: text.to_owned(), version: None },
            });
        }
        let (name, protocol) = text.strip_prefix('_').and_then(|rest| rest.split_once("._")).ok_or_else(refuse)?;
        if !matches!(protocol, "tcp" | "udp") || name.len() > MAX_NAME || !word(name) || name.contains('.') {
            return Err(refuse());
        }
        Ok(Self::DnsSd(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upnp { name, version: Some(version) } => write!(f, "{name}:{version}"),
            Self::Upnp { name, version: None } => f.write_str(name),
            Self::DnsSd(text) => f.write_str(text),
        }
    }
}
serde_as_text!(ServiceType);

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> ServiceType {
        text.parse().unwrap()
    }

    #[test]
    fn types_read_back_as_they_were_written() {
        for text in
            ["urn:example-org:service:DoorOpener:1", "urn:a:device:B:12", "urn:a:b:c", "urn:a:b:01", "_door._tcp"]
        {
            assert_eq!(kind(text).to_string(), text);
        }
        assert_eq!(kind("_Door._tcp"), kind("_door._tcp"));
        let long = format!("urn:a:{}", "b".repeat(200));
        for wrong in
            ["", "urn:", "urn:a", "urn:a::1", "urn:a:b c:1", "_door", "_door._sctp", "door._tcp", "_a.b._tcp", &long]
        {
            assert_eq!(wrong.parse::<ServiceType>().unwrap_err().code, Code::BadInput, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_is_usable_by_programs_for_an_earlier_one_and_not_the_other_way_round() {
        let third = kind("urn:a:service:B:3");
        let texts: Vec<_> = third.usable_by().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["urn:a:service:B:3", "urn:a:service:B:2", "urn:a:service:B:1"]);
        assert!(third.is_a(&kind("urn:a:service:B:1")) && third.is_a(&third));
        assert!(!third.is_a(&kind("urn:a:service:B:4")) && !third.is_a(&kind("urn:a:service:C:1")));
        assert_eq!(kind("_door._tcp").usable_by(), [kind("_door._tcp")]);
        // Whoever makes up a version makes no work with it.
        assert!(kind("urn:a:service:B:4000000000").usable_by().len() <= 17);
        assert!(kind("urn:a:b:c").is_a(&kind("urn:a:b:c")) && !kind("urn:a:b:c").is_a(&kind("urn:a:b:d")));
    }
}
