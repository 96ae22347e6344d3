//! What was used: meters with their amounts, in exact decimals.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::error::{Error, Result};
use crate::model::{Code, serde_as_text};

/// Meters of one session.
pub const MAX_METERS: usize = 256;
/// Digits of an amount before its point.
const WHOLE_DIGITS: usize = 12;
/// Digits of an amount after its point.
const FRACTION_DIGITS: usize = 6;
/// The largest amount: 12 nines, and 6 more after the point.
const LARGEST: Decimal = Decimal::from_parts(2_808_348_671, 232_830_643, 0, false, 6);
const NAME_CHARS: usize = 63;
const UNIT_CHARS: usize = 32;

/// What is counted: `minute`, `session`, or a word of the service's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterName(String);

impl FromStr for MeterName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let fits = text.len() <= NAME_CHARS
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            Error::new(Code::BadName, format!("“{text}” is not the name of a meter"))
                .hint("allowed: letters a-z, digits, _ and -, beginning with a letter, at most 63")
        })
    }
}
impl Deref for MeterName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl std::borrow::Borrow<str> for MeterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for MeterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for MeterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
serde_as_text!(MeterName);

/// How much of one meter. Not negative; at most 12 digits before and 6 after the point; a text in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    #[serde(deserialize_with = "decimal_text")]
    pub amount: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unit_text")]
    pub unit: Option<String>,
}

/// The usage of a session: at most 256 meters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Usage(BTreeMap<MeterName, Amount>);

impl Usage {
    /// Adds to a meter; the unit given first stays.
    ///
    /// # Errors
    /// `too-large` if the sum has more than 12 digits before its point, or there are more than 256 meters.
    pub fn add(&mut self, meter: MeterName, amount: Amount) -> Result<()> {
        if !self.0.contains_key(&*meter) && self.0.len() >= MAX_METERS {
            return Err(Error::new(Code::TooLarge, format!("there are more than {MAX_METERS} meters")));
        }
        let Some(known) = self.0.get_mut(&*meter) else {
            self.0.insert(meter, amount);
            return Ok(());
        };
        known.amount = known.amount.checked_add(amount.amount).filter(|sum| *sum <= LARGEST).ok_or_else(|| {
            Error::new(Code::TooLarge, format!("meter {meter} counts more than {WHOLE_DIGITS} digits can say"))
        })?;
        known.unit = known.unit.take().or(amount.unit);
        Ok(())
    }

    /// Replaces what a meter counted, as for one that is read and not summed up.
    ///
    /// # Errors
    /// As `add`.
    pub fn set(&mut self, meter: MeterName, amount: Amount) -> Result<()> {
        self.0.remove(&*meter);
        self.add(meter, amount)
    }
}
impl Deref for Usage {
    type Target = BTreeMap<MeterName, Amount>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let meters = BTreeMap::<MeterName, Amount>::deserialize(deserializer)?;
        if meters.len() > MAX_METERS {
            return Err(serde::de::Error::custom(format!("more than {MAX_METERS} meters")));
        }
        Ok(Self(meters))
    }
}

/// `METER=AMOUNT`, as `account --usage` takes it; a unit may follow after a space: `readings=12 pages`.
///
/// # Errors
/// `bad-input` or `bad-name` saying what is wrong.
pub fn parse_usage(text: &str) -> Result<(MeterName, Amount)> {
    let (meter, rest) = text.split_once('=').ok_or_else(|| {
        Error::new(Code::BadInput, format!("“{text}” is not METER=AMOUNT")).hint("write it like readings=12")
    })?;
    let (amount, unit) = match rest.trim().split_once(' ') {
        Some((amount, unit)) => (amount, Some(parse_unit(unit.trim())?)),
        None => (rest.trim(), None),
    };
    Ok((meter.trim().parse()?, Amount { amount: parse_decimal(amount)?, unit }))
}

/// A line that a program wrote to `$DEPLOYCTL_USAGE_FILE`: `{"meter": "readings", "amount": "1", "unit": "page"}`.
///
/// # Errors
/// `bad-input` if it does not read as that.
pub fn parse_usage_line(line: &str) -> Result<(MeterName, Amount)> {
    #[derive(Deserialize)]
    struct Line {
        meter: MeterName,
        #[serde(flatten)]
        amount: Amount,
    }
    let line: Line = serde_json::from_str(line).map_err(|why| {
        Error::new(Code::BadInput, format!("a line of usage does not read: {why}"))
            .hint(r#"write lines like {"meter": "readings", "amount": "1"}"#)
    })?;
    Ok((line.meter, line.amount))
}

/// A non-negative number in plain digits, as it was written: `0.50` keeps its zero.
///
/// # Errors
/// `bad-input` for a sign, an exponent, or more than 12 digits before and 6 after the point.
pub fn parse_decimal(text: &str) -> Result<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole, WHOLE_DIGITS)
        && digits(fraction, FRACTION_DIGITS)
        && let Ok(decimal) = Decimal::from_str_exact(text)
    {
        return Ok(decimal);
    }
    Err(Error::new(Code::BadInput, format!("“{text}” is not an amount"))
        .hint("write digits, at most 12 before and 6 after the point, like 12 or 0.25"))
}

fn parse_unit(text: &str) -> Result<String> {
    let fits = !text.is_empty() && text.chars().count() <= UNIT_CHARS && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| {
        Error::new(Code::BadInput, format!("a unit has 1 to {UNIT_CHARS} characters, none of them control"))
    })
}

fn decimal_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    parse_decimal(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn unit_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let unit = Option::<String>::deserialize(deserializer)?;
    unit.map(|unit| parse_unit(&unit)).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_reads_back_as_it_was_written() {
        let text = r#"{"minute":{"amount":"12.50"},"readings":{"amount":"3","unit":"page"}}"#;
        let usage: Usage = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&usage).unwrap(), text);
        let (meter, amount) = parse_usage("readings=12.5 pages").unwrap();
        assert_eq!(
            (&*meter, amount.amount.to_string(), amount.unit.as_deref()),
            ("readings", "12.5".into(), Some("pages"))
        );
        let (meter, amount) = parse_usage_line(r#"{"meter": "a-b", "amount": "1"}"#).unwrap();
        assert_eq!((&*meter, amount.amount), ("a-b", Decimal::ONE));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in
            ["", "-1", "+1", "1e3", "1.", ".5", "1.1234567", "1234567890123", "0x1", "1_000", "١", "NaN", "1 2 3\n4\n"]
        {
            assert!(parse_usage(&format!("m={text}")).is_err(), "{text}");
        }
        for text in ["m", "=1", "M=1", "1m=1"] {
            assert!(parse_usage(text).is_err(), "{text}");
        }
        for json in [
            r#"{"m":{"amount":1}}"#,
            r#"{"m":{"amount":"-1"}}"#,
            r#"{"M":{"amount":"1"}}"#,
            r#"{"m":{"amount":"1","unit":"\n"}}"#,
        ] {
            assert!(serde_json::from_str::<Usage>(json).is_err(), "{json}");
        }
        let many: String = (0..257).map(|n| format!(r#""m{n}":{{"amount":"1"}},"#)).collect();
        assert!(serde_json::from_str::<Usage>(&format!("{{{}}}", many.trim_end_matches(','))).is_err());
    }

    #[test]
    fn meters_sum_up_exactly_until_they_overflow() {
        let mut usage = Usage::default();
        for _ in 0..10 {
            let (meter, amount) = parse_usage("m=0.1").unwrap();
            usage.add(meter, amount).unwrap();
        }
        assert_eq!(usage["m"].amount, Decimal::ONE);
        let (meter, amount) = parse_usage("m=999999999999.999999").unwrap();
        assert_eq!(amount.amount, LARGEST);
        assert_eq!(usage.add(meter.clone(), amount.clone()).unwrap_err().code, Code::TooLarge);
        usage.set(meter, amount).unwrap();
        assert_eq!(usage["m"].amount, LARGEST);
    }
}
