//! Platforms that software is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::error::{Error, Result};
use crate::model::{Code, serde_as_text};

pub use super::requirement::Requirement;

/// The word for all platforms.
pub const ANY: &str = "any";
/// More than there are; a limit for lists that come from outside.
pub const MAX_PLATFORMS: usize = 64;

/// An operating system and a processor: `linux-x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

impl Platform {
    /// The one that this program was built for.
    pub fn here() -> Self {
        Self(format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH))
    }
    /// As Rust names it: `linux`, `windows`.
    pub fn os(&self) -> &str {
        self.0.split_once('-').map_or("", |(os, _)| os)
    }
    /// As Rust names it: `x86_64`, `aarch64`.
    pub fn cpu(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, cpu)| cpu)
    }
}
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl FromStr for Platform {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let fits = text.len() <= 63 && text.split_once('-').is_some_and(|(os, cpu)| word(os) && word(cpu));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            Error::new(Code::BadName, format!("“{text}” is not a platform")).hint("write it like linux-x86_64")
        })
    }
}
serde_as_text!(Platform);

/// The platforms of a role, or all of them. Written as a list of texts; all of them is `["any"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    Any,
    /// Not empty, each once, in the order of the definition.
    Only(Vec<Platform>),
}

impl Platforms {
    /// From the texts of a list.
    ///
    /// # Errors
    /// `bad-input` if the list is empty, too long, repeats itself, or mixes `any` with others; `bad-name` for what is
    /// no platform.
    pub fn from_texts<T: AsRef<str>>(texts: &[T]) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Code::BadInput, format!("a list of platforms {why}"))
                .hint("write [\"any\"], or platforms like [\"linux-x86_64\", \"linux-aarch64\"]")
        };
        match texts {
            [] => Err(refuse("must not be empty")),
            [one] if one.as_ref() == ANY => Ok(Self::Any),
            _ if texts.iter().any(|text| text.as_ref() == ANY) => Err(refuse("that says “any” names no others")),
            _ if texts.len() > MAX_PLATFORMS => Err(refuse("has at most 64 entries")),
            _ => {
                let mut platforms: Vec<Platform> = Vec::with_capacity(texts.len());
                for text in texts {
                    let platform = text.as_ref().parse()?;
                    if platforms.contains(&platform) {
                        return Err(refuse("names each only once"));
                    }
                    platforms.push(platform);
                }
                Ok(Self::Only(platforms))
            }
        }
    }

    /// Whether software of this role is for `platform`.
    pub fn accepts(&self, platform: &Platform) -> bool {
        match self {
            Self::Any => true,
            Self::Only(platforms) => platforms.contains(platform),
        }
    }

    /// What both accept; `None` if there is no such platform.
    pub fn common(&self, other: &Platforms) -> Option<Platforms> {
        match (self, other) {
            (Self::Any, platforms) | (platforms, Self::Any) => Some(platforms.clone()),
            (Self::Only(platforms), _) => {
                let both: Vec<_> = platforms.iter().filter(|platform| other.accepts(platform)).cloned().collect();
                (!both.is_empty()).then_some(Self::Only(both))
            }
        }
    }
}
impl fmt::Display for Platforms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(ANY),
            Self::Only(platforms) => {
                for (n, platform) in platforms.iter().enumerate() {
                    write!(f, "{}{platform}", if n == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
impl Serialize for Platforms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => [ANY].serialize(serializer),
            Self::Only(platforms) => platforms.serialize(serializer),
        }
    }
}
impl<'de> Deserialize<'de> for Platforms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_texts(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_platforms_reads_back_as_it_was_written() {
        for text in [r#"["any"]"#, r#"["linux-x86_64","linux-aarch64"]"#] {
            let platforms: Platforms = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&platforms).unwrap(), text);
        }
        for text in
            ["[]", r#"["any","linux-x86_64"]"#, r#"["Linux"]"#, r#"["linux-x86_64","linux-x86_64"]"#, r#""any""#]
        {
            assert!(serde_json::from_str::<Platforms>(text).is_err(), "{text}");
        }
        let many: Vec<_> = (0..65).map(|n| format!("linux-cpu{n}")).collect();
        assert!(Platforms::from_texts(&many).is_err());
    }

    #[test]
    fn platforms_accept_what_they_name_and_meet_where_they_overlap() {
        let linux = Platforms::from_texts(&["linux-x86_64", "linux-aarch64"]).unwrap();
        let arm = Platforms::from_texts(&["linux-aarch64", "macos-aarch64"]).unwrap();
        assert!(linux.accepts(&"linux-x86_64".parse().unwrap()));
        assert!(!arm.accepts(&"linux-x86_64".parse().unwrap()));
        assert!(Platforms::Any.accepts(&Platform::here()));
        assert_eq!(linux.common(&arm).unwrap().to_string(), "linux-aarch64");
        assert_eq!(Platforms::Any.common(&arm), Some(arm.clone()));
        assert_eq!(linux.common(&Platforms::from_texts(&["macos-x86_64"]).unwrap()), None);
    }
}
