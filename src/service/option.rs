//! Options of a service: what may be chosen, and what was chosen.

pub(super) mod coherence;
pub mod given;
pub mod resolve;
mod value;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::error::{Error, Result};
use crate::model::{Code, OptionName, RoleName, serde_as_text};

pub use given::{Given, missing, parse_set, parse_values, typed};
pub use resolve::{Resolved, resolve};
pub use value::{OptionValue, Options, SecretText};

/// Options of one service: more than a form can show.
pub const MAX_OPTIONS: usize = 256;
/// Choices of one enum.
pub const MAX_CHOICES: usize = 256;
/// Characters of a title.
pub const TITLE_CHARS: usize = 200;
/// Characters of a description.
pub const DESCRIPTION_CHARS: usize = 2000;
/// Characters of a text where the definition gives no `max_length`, and the most that it may give.
pub const TEXT_CHARS: u64 = 16_384;
/// Characters of a pattern.
const PATTERN_CHARS: usize = 500;
/// Bytes of a compiled pattern: a search takes time in proportion to it and to the text.
const PATTERN_BYTES: usize = 256 * 1024;

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    pub name: OptionName,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Keeps the option's own constraints. A secret option has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<OptionValue>,
    /// For text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// For numbers; itself a number, and allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<OptionValue>,
    /// For numbers; itself a number, and allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<OptionValue>,
    /// For text, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// Must be given if there is no default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Goes only to `roles`, as a file, and is shown nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// Of a secret option: the roles that get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleName>,
}

impl OptionSpec {
    /// An option without any constraint.
    pub fn new(name: OptionName, kind: Kind) -> Self {
        Self {
            name,
            kind,
            title: None,
            description: None,
            default: None,
            pattern: None,
            minimum: None,
            maximum: None,
            max_length: None,
            required: false,
            secret: false,
            roles: Vec::new(),
        }
    }

    /// What a form shows beside the field.
    pub fn label(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// What is allowed, in words: `a whole number from 1024 to 65535`.
    pub fn allowed(&self) -> String {
        let text = match &self.kind {
            Kind::Enum(choices) => return format!("one of {}", choices.join(", ")),
            Kind::Boolean => return "true or false".to_owned(),
            Kind::String => {
                let length = self.max_length.map(|_| format!(" of at most {} characters", self.text_limit()));
                let pattern = self.pattern.as_ref().map(|pattern| format!(" that matches {pattern}"));
                return format!("text{}{}", length.unwrap_or_default(), pattern.unwrap_or_default());
            }
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
        };
        match (&self.minimum, &self.maximum) {
            (Some(minimum), Some(maximum)) => format!("{text} from {minimum} to {maximum}"),
            (Some(minimum), None) => format!("{text} of {minimum} or more"),
            (None, Some(maximum)) => format!("{text} of {maximum} or less"),
            (None, None) => text.to_owned(),
        }
    }

    /// Characters that a text may have.
    pub fn text_limit(&self) -> u64 {
        self.max_length.unwrap_or(TEXT_CHARS).min(TEXT_CHARS)
    }
}

/// The type of an option's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    String,
    /// From -2⁶³ to 2⁶³-1.
    Integer,
    /// A finite double, or an integer as above.
    Number,
    Boolean,
    /// One of these texts.
    Enum(Vec<String>),
}

impl Kind {
    /// Its word in `service.toml`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Enum(_) => "enum",
        }
    }
}

/// A regular expression that compiles within bounds. As in JSON Schema it may match anywhere in the text; `^` and `$`
/// tie it to the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it matches somewhere in `text`; the time is in proportion to the lengths of both.
    pub fn matches(&self, text: &str) -> bool {
        compile(&self.0).is_ok_and(|regex| regex.is_match(text))
    }
}
impl FromStr for Pattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: String| {
            Error::new(Code::BadInput, format!("the pattern cannot be used: {why}"))
                .hint("write a regular expression like ^[a-z0-9-]{1,32}$")
        };
        if text.chars().count() > PATTERN_CHARS {
            return Err(refuse(format!("it is longer than {PATTERN_CHARS} characters")));
        }
        compile(text).map_err(|why| refuse(why.to_string()))?;
        Ok(Self(text.to_owned()))
    }
}
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
serde_as_text!(Pattern);

fn compile(pattern: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
    regex_lite::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_unless_it_is_tied() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        assert!(pattern("b+").matches("abba"));
        assert!(!pattern("^b+$").matches("abba"));
    }

    #[test]
    fn a_pattern_that_would_cost_too_much_is_refused() {
        for text in ["(", "a{1000}{1000}{1000}", &"a".repeat(501), "(?P<x", &"(".repeat(400)] {
            assert_eq!(text.parse::<Pattern>().unwrap_err().code, Code::BadInput, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_said_in_words() {
        let mut spec = OptionSpec::new("port".parse().unwrap(), Kind::Integer);
        assert_eq!(spec.allowed(), "a whole number");
        spec.minimum = Some(OptionValue::Integer(1));
        assert_eq!(spec.allowed(), "a whole number of 1 or more");
        spec.maximum = Some(OptionValue::Integer(9));
        assert_eq!(spec.allowed(), "a whole number from 1 to 9");
        spec.kind = Kind::Enum(vec!["a".into(), "b".into()]);
        assert_eq!(spec.allowed(), "one of a, b");
    }
}
