//! Byte ranges (RFC 9110 §14): one range per request, which is what a resumed download needs.

use crate::model::{Code, Error, Result};

/// The bytes from `start` up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl ByteRange {
    pub(super) fn length(self) -> u64 {
        self.end - self.start
    }
    /// The value of `Range` that asks for it.
    pub(super) fn asked(self) -> String {
        format!("bytes={}-{}", self.start, self.end.saturating_sub(1))
    }
    /// The value of `Content-Range` that answers with it; the size is `*` where it is not said.
    pub(super) fn told(self, size: impl std::fmt::Display) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end.saturating_sub(1))
    }
}

/// What the value of `Range` asks of `size` bytes; `None` (the whole) where its unit is another than bytes.
///
/// # Errors
/// `bad-input` (to be answered 416) where it is malformed, holds several ranges, or lies outside.
pub(super) fn parse(value: &str, size: u64) -> Result<Option<ByteRange>> {
    let refuse = |why: &str| Error::new(Code::BadInput, format!("the range asked for {why}"));
    let Some((unit, ranges)) = value.split_once('=') else { return Err(refuse("does not read as unit=from-to")) };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ok(None);
    }
    if ranges.contains(',') {
        return Err(refuse("is more than one; ask for one at a time"));
    }
    let (first, last) = ranges.trim().split_once('-').ok_or_else(|| refuse("does not read as from-to"))?;
    let range = match (first, last) {
        ("", count) => ByteRange { start: size.saturating_sub(number(count)?), end: size },
        (first, "") => ByteRange { start: number(first)?, end: size },
        (first, last) => ByteRange { start: number(first)?, end: number(last)?.saturating_add(1).min(size) },
    };
    if range.start >= range.end {
        return Err(refuse(&format!("is empty or lies outside of the {size} bytes")));
    }
    Ok(Some(range))
}

fn number(digits: &str) -> Result<u64> {
    let refuse = || Error::new(Code::BadInput, "the range asked for is not made of decimal numbers");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    digits.parse().map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (value, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            ("bytes=5-", 5, 100),
            ("bytes=-3", 97, 100),
            ("bytes=-300", 0, 100),
            ("bytes=90-500", 90, 100),
            ("BYTES=0-", 0, 100),
            ("bytes=0-18446744073709551615", 0, 100),
        ] {
            assert_eq!(parse(value, 100).unwrap(), Some(ByteRange { start, end }), "{value}");
        }
        assert_eq!(parse("pages=1-2", 100).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=-0",
            "bytes=100-",
            "bytes=9-5",
            "bytes=0-1,2-3",
            "bytes=+1-2",
            "bytes=a-b",
            "bytes=99999999999999999999-",
            "bytes=1--2",
        ] {
            assert!(parse(value, 100).is_err(), "{value}");
        }
        assert!(parse("bytes=0-", 0).is_err());
    }

    #[test]
    fn what_a_client_asks_is_what_a_server_reads() {
        let range = ByteRange { start: 7, end: 12 };
        assert_eq!(parse(&range.asked(), 100).unwrap(), Some(range));
        assert_eq!(range.told(100), "bytes 7-11/100");
    }
}
