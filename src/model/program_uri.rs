//! Where a program can be had: `deploy://KEY@host:port/programs/NAME[?version=RANGE][&signer=KEY]` (row B24).

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::{Address, Code, Key, ServiceName, serde_as_text};

/// An installation URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramUri {
    /// The node that offers it.
    pub source: Address,
    pub name: ServiceName,
    /// A range of versions (`^1.2`); absent: any.
    pub version: Option<semver::VersionReq>,
    /// Whose program it is, where the node offers it on for another.
    pub signer: Option<Key>,
}

impl fmt::Display for ProgramUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/programs/{}", self.source, self.name)?;
        let version = self.version.as_ref().map(|range| format!("version={}", range.to_string().replace(' ', "")));
        let signer = self.signer.map(|key| format!("signer={key}"));
        for (n, pair) in [version, signer].into_iter().flatten().enumerate() {
            write!(f, "{}{pair}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}
impl FromStr for ProgramUri {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: String| {
            Error::new(Code::BadAddress, format!("“{text}” is not the URI of a program: {why}"))
                .hint("write it like deploy://KEY@host:port/programs/NAME?version=^1.2")
        };
        let (source, rest) = text.split_once("/programs/").ok_or_else(|| refuse("it names no program".to_owned()))?;
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { source: source.parse()?, name: name.parse()?, version: None, signer: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("version", range)) => {
                    uri.version =
                        Some(range.parse().map_err(|why| refuse(format!("{range} is no range of versions: {why}")))?);
                }
                Some(("signer", key)) => uri.signer = Some(key.parse()?),
                // Of later versions of deployctl.
                _ => {}
            }
        }
        Ok(uri)
    }
}
serde_as_text!(ProgramUri);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reads_back_as_it_was_written() {
        let key = Key::from_bytes([3; 32]);
        for rest in ["", "?version=^1.2", &format!("?signer={key}"), &format!("?version=>=1.2,<3&signer={key}")] {
            let text = format!("deploy://{key}@a.example:1/programs/chat{rest}");
            assert_eq!(text.parse::<ProgramUri>().unwrap().to_string(), text);
        }
        let text = format!("deploy://{key}@a.example:1/programs/chat?later=1");
        assert_eq!(text.parse::<ProgramUri>().unwrap().version, None);
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        let key = Key::from_bytes([3; 32]);
        for rest in
            ["", "/programs/", "/programs/A B", "/programs/x?version=one", "/programs/x?signer=me", "/services/x"]
        {
            assert!(format!("deploy://{key}@a.example:1{rest}").parse::<ProgramUri>().is_err(), "{rest}");
        }
        assert!("http://x/programs/chat".parse::<ProgramUri>().is_err());
    }
}
