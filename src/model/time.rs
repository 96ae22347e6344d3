//! Points in time (UTC, milliseconds, RFC 3339) and spans of time (`90s`, `1h30m`).

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{Error, Result};
use super::{Code, serde_as_text};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The year 9999's end, in milliseconds: the latest time that RFC 3339 can write.
    const LATEST_MS: i64 = 253_402_300_799_999;

    /// Clamped to the years 1970 to 9999.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(0, Self::LATEST_MS))
    }
    /// Of an HTTP `Date` (RFC 9110 §5.6.7), which has whole seconds.
    pub fn from_http(text: &str) -> Option<Self> {
        let date = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
        Some(Self::from_unix_ms(date.unix_timestamp().checked_mul(1000)?))
    }
    pub fn unix_ms(self) -> i64 {
        self.0
    }
    /// How long from `earlier` until this; nothing if this is not later.
    pub fn since(self, earlier: Time) -> Span {
        Span::from_ms(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}
impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time::from_unix_ms(self.0.saturating_add(i64::try_from(span.as_ms()).unwrap_or(i64::MAX)))
    }
}
impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time::from_unix_ms(self.0.saturating_sub(i64::try_from(span.as_ms()).unwrap_or(i64::MAX)))
    }
}
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).map_err(|_| fmt::Error)?;
        let (date, clock) = (at.date(), at.time());
        write!(f, "{date}T{:02}:{:02}:{:02}.{:03}Z", clock.hour(), clock.minute(), clock.second(), clock.millisecond())
    }
}
impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Time {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|why| {
            Error::new(Code::BadInput, format!("“{text}” is not a time: {why}"))
                .hint("write it like 2026-01-31T18:00:00Z")
        })?;
        Ok(Self::from_unix_ms(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)))
    }
}
serde_as_text!(Time);

/// A length of time with the resolution of a millisecond. Written like `500ms`, `30s`, `1h30m`, `14d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours * 3600)
    }
    pub const fn as_ms(self) -> u64 {
        self.0
    }
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}
/// Units, largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Span {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        parse_span(text).map(Span).ok_or_else(|| {
            Error::new(Code::BadDuration, format!("“{text}” is not a duration"))
                .hint("write it with units: 500ms, 30s, 15m, 1h30m, 14d")
        })
    }
}
serde_as_text!(Span);

fn parse_span(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, ms) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        total = total.checked_add(number.checked_mul(*ms)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_read_back_as_they_were_written() {
        let time = Time::from_unix_ms(1_795_000_000_123);
        assert_eq!(time.to_string(), "2026-11-18T11:06:40.123Z");
        assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        for text in ["500ms", "30s", "1h30m", "14d", "1s500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "5", "h", "1x", "-1s", "1.5h", "99999999999999999999d"] {
            assert_eq!(text.parse::<Span>().unwrap_err().code, Code::BadDuration, "{text}");
        }
    }

    #[test]
    fn the_date_of_http_is_read() {
        let time = Time::from_http("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(time.to_string(), "1994-11-06T08:49:37.000Z");
        assert_eq!(Time::from_http("yesterday"), None);
    }
}
