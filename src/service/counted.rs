//! What the kernel counts of a program's processes, and the meters that it comes under.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::tariff::Tariff;

/// The meters that the kernel counts, where a tariff names them, with their units.
pub const KERNEL_METERS: [(&str, &str); 3] = [("cpu-second", "s"), ("megabyte-read", "MB"), ("megabyte-written", "MB")];

/// Of a program and all that it started, since the first start; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Milliseconds on a processor, in the program and in the kernel for it.
    pub cpu_ms: u64,
    /// Bytes that `read` and its like gave it, of files, pipes and sockets, whether or not a disk was asked.
    pub read_bytes: u64,
    /// Bytes that `write` and its like took from it.
    pub written_bytes: u64,
}

impl Counted {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }
    /// The larger of both, field by field.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }
    fn zip(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            cpu_ms: of(self.cpu_ms, other.cpu_ms),
            read_bytes: of(self.read_bytes, other.read_bytes),
            written_bytes: of(self.written_bytes, other.written_bytes),
        }
    }
    /// What of it a tariff names.
    #[must_use]
    pub fn named_by(self, tariff: Option<&Tariff>) -> Self {
        let [cpu, read, written] =
            KERNEL_METERS.map(|(name, _)| tariff.is_some_and(|tariff| tariff.per.keys().any(|meter| **meter == *name)));
        let if_named = |is_named: bool, amount: u64| if is_named { amount } else { 0 };
        Self {
            cpu_ms: if_named(cpu, self.cpu_ms),
            read_bytes: if_named(read, self.read_bytes),
            written_bytes: if_named(written, self.written_bytes),
        }
    }
    /// Meter, amount and unit of what is there: seconds and megabytes (10^6 bytes), exact to what was counted.
    pub fn amounts(self) -> impl Iterator<Item = (&'static str, Decimal, &'static str)> {
        let counts = [(self.cpu_ms, 3), (self.read_bytes, 6), (self.written_bytes, 6)];
        let exact = |(count, digits)| Decimal::from_i128_with_scale(i128::from(count), digits).normalize();
        let all = KERNEL_METERS.into_iter().zip(counts.map(exact));
        all.filter(|(_, amount)| !amount.is_zero()).map(|((meter, unit), amount)| (meter, amount, unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: Counted = Counted { cpu_ms: 1_250, read_bytes: 7, written_bytes: 3_000_000 };

    #[test]
    fn amounts_are_exact_and_what_is_nothing_is_left_out() {
        let text = |counted: Counted| {
            counted.amounts().map(|(meter, amount, unit)| format!("{meter}={amount} {unit}")).collect::<Vec<_>>()
        };
        assert_eq!(text(COUNTED), ["cpu-second=1.25 s", "megabyte-read=0.000007 MB", "megabyte-written=3 MB"]);
        assert_eq!(text(Counted { read_bytes: 0, ..COUNTED }), ["cpu-second=1.25 s", "megabyte-written=3 MB"]);
        assert!(text(Counted::default()).is_empty());
    }

    #[test]
    fn only_what_the_tariff_names_is_accounted_for() {
        let tariff =
            serde_json::from_str(r#"{"currency": "EUR", "per": {"cpu-second": "0.01", "minute": "1"}}"#).unwrap();
        assert_eq!(COUNTED.named_by(Some(&tariff)), Counted { cpu_ms: 1_250, ..Counted::default() });
        assert!(COUNTED.named_by(None).is_nothing());
    }
}
