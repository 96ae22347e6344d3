//! What a contact may do here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::suggest::nearest;
use crate::model::{Code, Error, Result, serde_as_text};

/// One thing that a contact may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Ask this provider for services.
    Request,
    /// Have its software installed here.
    Provide,
    /// Have the invitations that it originates looked at.
    Invite,
    /// Have them accepted without a person's yes.
    AutoAccept,
    /// Manage what is installed here.
    Manage,
}

impl Right {
    pub const ALL: [Right; 5] = [Right::Request, Right::Provide, Right::Invite, Right::AutoAccept, Right::Manage];

    pub fn as_str(self) -> &'static str {
        match self {
            Right::Request => "request",
            Right::Provide => "provide",
            Right::Invite => "invite",
            Right::AutoAccept => "auto-accept",
            Right::Manage => "manage",
        }
    }
}
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl FromStr for Right {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            let hint = match nearest(text, words) {
                Some(word) => format!("did you mean {word}?"),
                None => format!("rights are: {}", words.join(", ")),
            };
            Error::new(Code::Usage, format!("“{text}” is not a right")).hint(hint)
        })
    }
}
serde_as_text!(Right);

/// A set of rights: in files a list of words, on the command line `request,provide`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(BTreeSet<Right>);

impl Rights {
    /// Whether this right is among them.
    pub fn may(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = Right> {
        self.0.iter().copied()
    }
}
impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().collect())
    }
}
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.iter().map(Right::as_str).collect::<Vec<_>>().join(","))
    }
}
impl FromStr for Rights {
    type Err = Error;
    /// Nothing between the commas is nothing: the empty text is no rights.
    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_back_as_they_were_written() {
        let rights: Rights = "provide, request,auto-accept".parse().unwrap();
        assert_eq!(rights.to_string(), "request,provide,auto-accept");
        assert!(rights.may(Right::Request) && !rights.may(Right::Invite));
        let json = serde_json::to_string(&rights).unwrap();
        assert_eq!(json, r#"["request","provide","auto-accept"]"#);
        assert_eq!(serde_json::from_str::<Rights>(&json).unwrap(), rights);
        assert!("".parse::<Rights>().unwrap().is_empty());
    }

    #[test]
    fn a_slip_is_named_with_the_word_it_was_meant_to_be() {
        let error = "request,provid".parse::<Rights>().unwrap_err();
        assert_eq!((error.code, error.hint.as_deref()), (Code::Usage, Some("did you mean provide?")));
    }
}
