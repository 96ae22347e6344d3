//! Usage: what the Initiator's supervisor counts, and the deltas that accountings carry.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::service::counted::Counted;
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
    /// What the kernel counted of what the tariff names.
    #[serde(default, skip_serializing_if = "Counted::is_nothing")]
    pub counted: Counted,
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
        let counted = self.counted.max(other.counted);
        let (running_ms, starts) = (self.running_ms.max(other.running_ms), self.starts.max(other.starts));
        Meter { running_ms, starts, counted, usage }
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
        for (meter, amount, unit) in self.counted.less(before.counted).amounts() {
            put(&mut usage, meter, amount, Some(unit));
        }
        let of_program = self.usage.iter().filter(|(meter, _)| !OWN_METERS.contains(&&***meter)).take(PROGRAM_METERS);
        for (meter, read) in of_program {
            // Programs may have had such a meter of their own before the kernel's were counted.
            if usage.contains_key(&**meter) {
                continue;
            }
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

/// Into a usage that has room: it holds our meters, the kernel's, and those of a program, at most.
fn put(usage: &mut Usage, meter: &str, amount: Decimal, unit: Option<&str>) {
    let meter = meter.parse().expect("a fixed name parses");
    usage.set(meter, Amount { amount, unit: unit.map(str::to_owned) }).expect("a few meters fit");
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
    fn what_the_kernel_counted_is_accounted_once() {
        let counted = |cpu_ms, written_bytes| Counted { cpu_ms, written_bytes, ..Counted::default() };
        let meters = [(0, 0), (1_500, 0), (1_500, 2), (4_000, 1_000_000)];
        let meters = meters.map(|(cpu, written)| Meter { counted: counted(cpu, written), ..Meter::default() });
        let deltas: Vec<_> = meters.windows(2).map(|pair| pair[1].usage_since(&pair[0])).collect();
        let json = |usage: &Usage| serde_json::to_string(usage).unwrap();
        assert_eq!(json(&deltas[0]), r#"{"cpu-second":{"amount":"1.5","unit":"s"}}"#);
        assert_eq!(json(&deltas[1]), r#"{"megabyte-written":{"amount":"0.000002","unit":"MB"}}"#);
        assert_eq!(deltas[2]["cpu-second"].amount.to_string(), "2.5");
        assert_eq!(deltas[2]["megabyte-written"].amount.to_string(), "0.999998");
        assert_eq!(meters[3].clone().max(&meters[1]), meters[3], "a late reading takes nothing back");
    }

    #[test]
    fn no_reading_overfills_an_accounting() {
        let many: Vec<_> = (0..256).map(|n| format!("m{n}=1")).collect();
        let counted = Counted { cpu_ms: 1, read_bytes: 1, written_bytes: 1 };
        let meter = Meter { running_ms: 60_000, starts: 1, counted, usage: usage(&many) };
        let mut due = meter.usage_since(&Meter::default());
        one_session(&mut due);
        assert_eq!(due.len(), PROGRAM_METERS + 6);
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
