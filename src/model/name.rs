//! Names that people give: each kind has one rule, and a name that does not keep it does not exist.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use super::error::{Error, Result};
use super::{Code, serde_as_text};

/// The longest name, so that it is a file name everywhere and fits a DNS label.
pub const NAME_CHARS: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                let first: fn(char) -> bool = $first;
                let rest: fn(char) -> bool = $rest;
                let fits = text.len() <= NAME_CHARS && text.starts_with(first) && text.chars().all(rest);
                fits.then(|| Self(text.to_owned())).ok_or_else(|| {
                    Error::new(Code::BadName, format!("“{text}” is not {}", $what)).hint(concat!("allowed: ", $rule, ", at most 63"))
                })
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        serde_as_text!($name);
    };
}

name!(
    /// A node's or a contact's name.
    Name, "a name", "letters a-z, digits, - _ and ., beginning with a letter or digit",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
);
name!(
    /// A service's name, which is also its folder's name.
    ServiceName, "a service name", "letters a-z, digits and -, beginning with a letter or digit",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);
name!(
    /// A role within a service.
    RoleName, "a role name", "letters a-z, digits and -, beginning with a letter or digit",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);
name!(
    /// An option of a service.
    OptionName, "an option name", "letters a-z, digits and _, beginning with a letter",
    |c| c.is_ascii_lowercase(),
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
);
