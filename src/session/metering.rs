//! Usage: what the Initiator's supervisor counts, and the deltas that accountings carry.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::service::usage::{Amount, Usage};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;
/// Decimal places of an amount of minutes: 60 microseconds.
const MINUTE_PLACES: u32 = 6;
/// Meters that are counted here, whatever the program says.
pub const OWN_METERS: [&str; 3] = ["minute", "start", "session"];
/// Meters that a program may have: with ours, and with some that people add by hand, they fit one accounting.
pub const PROGRAM_METERS: usize = 128;

/// What was used since the first start; only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    pub running_ms: u64,
    pub starts: u64,
    /// What the program said that it used, meter by meter, all in all.
    #[serde(default, skip_serializing_if = "is_unused")]
    pub usage: Usage,
}

impl Meter {
    /// The larger of both, field by field and meter by meter: a late reading never takes usage back.
    #[must_use]
    pub fn max(self, other: &Meter) -> Meter {
        let mut usage = self.usage;
        for (meter, read) in other.usage.iter() {
            if usage.get(meter).is_none_or(|known| known.amount < read.amount) {
                // There is room but for a reading that no supervisor makes.
                usage.set(meter.clone(), read.clone()).ok();
            }
        }
        Meter { running_ms: self.running_ms.max(other.running_ms), starts: self.starts.max(other.starts), usage }
    }
    /// What came on top of `before`. The deltas of consecutive readings add up exactly.
    pub fn usage_since(&self, before: &Meter) -> Usage {
        let mut usage = Usage::default();
        let minutes = minutes(self.running_ms) - minutes(before.running_ms);
        if minutes > Decimal::ZERO {
            put(&mut usage, "minute", minutes, Some("min"));
        }
        if self.starts > before.starts {
            put(&mut usage, "start", Decimal::from(self.starts - before.starts), None);
        }
        let of_program = self.usage.iter().filter(|(meter, _)| !OWN_METERS.contains(&&***meter)).take(PROGRAM_METERS);
        for (meter, read) in of_program {
            let known = before.usage.get(meter).map_or(Decimal::ZERO, |known| known.amount);
            if read.amount > known {
                let delta = Amount { amount: read.amount - known, unit: read.unit.clone() };
                usage.add(meter.clone(), delta).expect("the program's meters fit beside ours");
            }
        }
        usage
    }
}

/// One running session, accounted once.
pub(super) fn one_session(usage: &mut Usage) {
    put(usage, "session", Decimal::ONE, None);
}

fn is_unused(usage: &Usage) -> bool {
    usage.is_empty()
}

/// Into a usage that has room: it holds the three meters of ours, and those of a program, at most.
fn put(usage: &mut Usage, meter: &str, amount: Decimal, unit: Option<&str>) {
    let meter = meter.parse().expect("a fixed name parses");
    usage.set(meter, Amount { amount, unit: unit.map(str::to_owned) }).expect("three meters fit");
}

fn minutes(ms: u64) -> Decimal {
    (Decimal::from(ms) / Decimal::from(MINUTE_MS)).round_dp(MINUTE_PLACES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::service::usage::parse_usage;

    fn usage(texts: &[String]) -> Usage {
        let mut usage = Usage::default();
        for text in texts {
            let (meter, amount) = parse_usage(text).unwrap();
            usage.add(meter, amount).unwrap();
        }
        usage
    }

    #[test]
    fn deltas_add_up_to_the_whole() {
        let readings = [0u64, 1, 77, 61_234, 61_235, 3_600_017];
        let meters = readings.map(|running_ms| Meter { running_ms, starts: 1, ..Meter::default() });
        let minutes_between = |pair: &[Meter]| pair[1].usage_since(&pair[0]).get("minute").map(|used| used.amount);
        let sum: Decimal = meters.windows(2).filter_map(minutes_between).sum();
        assert_eq!(sum, minutes(3_600_017));
    }

    #[test]
    fn a_reading_without_usage_is_one_of_an_earlier_version() {
        let old: Meter = serde_json::from_str(r#"{"running_ms":1,"starts":2}"#).unwrap();
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"running_ms":1,"starts":2}"#);
    }

    #[test]
    fn no_reading_overfills_an_accounting() {
        let many: Vec<_> = (0..256).map(|n| format!("m{n}=1")).collect();
        let mut due = Meter { running_ms: 60_000, starts: 1, usage: usage(&many) }.usage_since(&Meter::default());
        one_session(&mut due);
        assert_eq!(due.len(), PROGRAM_METERS + 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// Readings that come late or again change nothing; what was accounted for adds up to the last.
        #[test]
        fn a_programs_usage_is_accounted_once(readings in proptest::collection::vec((0..3_u32, 1..1000_u32, 0..4_usize), 1..30)) {
            let (mut all, mut metered, mut accounted) = (Vec::new(), Meter::default(), Meter::default());
            let mut sums = Usage::default();
            let mut made: Vec<Meter> = Vec::new();
            for (meter, amount, late) in readings {
                all.push(format!("m{meter}={amount}.25"));
                made.push(Meter { usage: usage(&all), ..Meter::default() });
                let reading = made[made.len() - 1 - late.min(made.len() - 1)].clone();
                metered = metered.max(&reading);
                for (meter, more) in metered.usage_since(&accounted).iter() {
                    sums.add(meter.clone(), more.clone()).unwrap();
                }
                accounted = metered.clone();
            }
            prop_assert_eq!(sums, metered.usage);
        }
    }
}
