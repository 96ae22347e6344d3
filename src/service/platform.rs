//! Platforms that software is for, and what a machine must have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};
use crate::model::{Code, serde_as_text};

/// An operating system and a processor: `linux-x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

impl Platform {
    /// The one that this program was built for.
    pub fn here() -> Self {
        Self(format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH))
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

/// The platforms of a role, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Platforms(pub Vec<String>);

impl Platforms {
    pub fn accepts(&self, platform: &Platform) -> bool {
        self.0.iter().any(|one| one == "any" || *one == platform.0)
    }
}

/// Something that a machine must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requirement(pub String);
