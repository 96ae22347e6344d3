//! Values of options: the public ones, which everybody sees, and the secret ones, which nothing prints.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::model::OptionName;

/// A value that an option can have. Written in JSON as what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    Boolean(bool),
    Integer(i64),
    /// Finite, and no whole number that was written as one.
    Number(f64),
    String(String),
}

impl OptionValue {
    /// The value in JSON, if it is one that options have: no list, no object, no null, no number beyond a double.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Bool(yes) => Some(Self::Boolean(*yes)),
            serde_json::Value::String(text) => Some(Self::String(text.clone())),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Some(Self::Integer(integer)),
                None => number.as_f64().filter(|float| float.is_finite()).map(Self::Number),
            },
            _ => None,
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Boolean(yes) => (*yes).into(),
            Self::Integer(number) => (*number).into(),
            Self::Number(number) => (*number).into(),
            Self::String(text) => text.clone().into(),
        }
    }

    /// By size, if both are numbers. Integers compare exactly.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            _ => self.as_f64()?.partial_cmp(&other.as_f64()?),
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the other side of the comparison is a double anyway")]
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            Self::Boolean(_) | Self::String(_) => None,
        }
    }
}
impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(yes) => write!(f, "{yes}"),
            Self::Integer(number) => write!(f, "{number}"),
            // As in JSON and in templates: a double shows its point.
            Self::Number(number) => write!(f, "{number:?}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// The public options of a session with their defaults filled in. `resolve` makes them; what was read from a message
/// or a file is as valid as who signed or wrote it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(BTreeMap<OptionName, OptionValue>);

impl Deref for Options {
    type Target = BTreeMap<OptionName, OptionValue>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
impl FromIterator<(OptionName, OptionValue)> for Options {
    fn from_iter<I: IntoIterator<Item = (OptionName, OptionValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The value of a secret option. It has no `Display` and no `Serialize`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The secret, for the one place that writes it to where it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_back_as_they_were_written() {
        let text = r#"{"a":true,"b":8080,"c":0.5,"d":"x","e":5.0,"f":-9223372036854775808}"#;
        let options: Options = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&options).unwrap(), text);
        for (name, value) in options.iter() {
            assert_eq!(OptionValue::from_json(&value.to_json()).as_ref(), Some(value), "{name}");
        }
    }

    #[test]
    fn lists_objects_and_null_are_no_values() {
        for value in [json!([1]), json!({"a": 1}), json!(null)] {
            assert_eq!(OptionValue::from_json(&value), None);
            assert!(serde_json::from_value::<OptionValue>(value).is_err());
        }
    }

    #[test]
    fn large_integers_compare_exactly() {
        let (a, b) = (OptionValue::Integer(i64::MAX), OptionValue::Integer(i64::MAX - 1));
        assert_eq!(a.compare(&b), Some(Ordering::Greater));
        assert_eq!(a.compare(&OptionValue::Number(0.5)), Some(Ordering::Greater));
        assert_eq!(a.compare(&OptionValue::Boolean(true)), None);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", SecretText::new("hunter2")).contains("hunter2"));
    }
}
