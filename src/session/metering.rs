//! Usage: what the Initiator's supervisor counts, and the deltas that accountings carry.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::service::usage::{Amount, Usage};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;
/// Decimal places of an amount of minutes: 60 microseconds.
const MINUTE_PLACES: u32 = 6;

/// What was used since the first start; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    pub running_ms: u64,
    pub starts: u64,
}

impl Meter {
    /// The larger of both, field by field: a late reading never takes usage back.
    #[must_use]
    pub fn max(self, other: Meter) -> Meter {
        Meter { running_ms: self.running_ms.max(other.running_ms), starts: self.starts.max(other.starts) }
    }
    /// What came on top of `before`. The deltas of consecutive readings add up exactly.
    pub fn usage_since(self, before: Meter) -> Usage {
        let mut usage = Usage::default();
        let minutes = minutes(self.running_ms) - minutes(before.running_ms);
        if minutes > Decimal::ZERO {
            put(&mut usage, "minute", minutes, Some("min"));
        }
        if self.starts > before.starts {
            put(&mut usage, "start", Decimal::from(self.starts - before.starts), None);
        }
        usage
    }
}

/// One running session, accounted once.
pub(super) fn one_session(usage: &mut Usage) {
    put(usage, "session", Decimal::ONE, None);
}

/// Into a usage that has room: it holds the three meters of ours at most.
fn put(usage: &mut Usage, meter: &str, amount: Decimal, unit: Option<&str>) {
    let meter = meter.parse().expect("a fixed name parses");
    usage.set(meter, Amount { amount, unit: unit.map(str::to_owned) }).expect("three meters fit");
}

fn minutes(ms: u64) -> Decimal {
    (Decimal::from(ms) / Decimal::from(MINUTE_MS)).round_dp(MINUTE_PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_add_up_to_the_whole() {
        let readings = [0u64, 1, 77, 61_234, 61_235, 3_600_017];
        let meters = readings.map(|running_ms| Meter { running_ms, starts: 1 });
        let minutes_between = |pair: &[Meter]| pair[1].usage_since(pair[0]).get("minute").map(|used| used.amount);
        let sum: Decimal = meters.windows(2).filter_map(minutes_between).sum();
        assert_eq!(sum, minutes(3_600_017));
    }
}
