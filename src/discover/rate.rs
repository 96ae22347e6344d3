//! How much may be said at once, and to whom: token buckets that are filled by time. The time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Bytes that may be sent at once, and how many more each second.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub burst_bytes: u32,
    pub bytes_per_sec: u32,
}

/// Whoever asks although there is nothing left for him gets nothing more until he has been quiet for so long: a flood
/// lives off its beginning, and several control points of one host get their answers all the same.
const PENALTY: Duration = Duration::from_millis(500);

/// One bucket, full at first.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes: f64,
    /// Until when it has been filled; in the future where it is not filled for a while.
    at: Duration,
}

impl Bucket {
    fn fill(&mut self, allowance: Allowance, now: Duration) {
        let gained = now.saturating_sub(self.at).as_secs_f64() * f64::from(allowance.bytes_per_sec);
        self.bytes = (self.bytes + gained).min(f64::from(allowance.burst_bytes));
        self.at = self.at.max(now);
    }
}

/// Bounds answers to datagrams, whose sources can be made up: a bucket for each source, and one for all of them.
#[derive(Debug)]
pub struct Meter {
    each: Allowance,
    all: Allowance,
    of_all: Bucket,
    by_source: HashMap<IpAddr, Bucket>,
}

/// Sources remembered at a time; beyond that, those that are full again are forgotten.
const MAX_SOURCES: usize = 1024;

impl Meter {
    pub fn new(each: Allowance, all: Allowance) -> Self {
        let of_all = Bucket { bytes: f64::from(all.burst_bytes), at: Duration::ZERO };
        Self { each, all, of_all, by_source: HashMap::new() }
    }
    /// Takes `bytes` for an answer to `source` if both buckets hold them. `now` is the time since some beginning.
    pub fn take(&mut self, source: IpAddr, bytes: usize, now: Duration) -> bool {
        let each = self.each;
        if self.by_source.len() >= MAX_SOURCES && !self.by_source.contains_key(&source) {
            self.by_source.retain(|_, bucket| {
                bucket.fill(each, now);
                bucket.bytes < f64::from(each.burst_bytes)
            });
            if self.by_source.len() >= MAX_SOURCES {
                return false;
            }
        }
        let full = Bucket { bytes: f64::from(each.burst_bytes), at: now };
        let own = self.by_source.entry(source).or_insert(full);
        own.fill(each, now);
        self.of_all.fill(self.all, now);
        let bytes = bytes as f64;
        let has_room = own.bytes >= bytes && self.of_all.bytes >= bytes;
        if has_room {
            own.bytes -= bytes;
            self.of_all.bytes -= bytes;
        } else if own.bytes < bytes {
            own.at = now + PENALTY;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Allowance = Allowance { burst_bytes: 1000, bytes_per_sec: 100 };
    const ALL: Allowance = Allowance { burst_bytes: 3000, bytes_per_sec: 100 };

    fn from(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn a_source_has_its_burst_and_then_what_time_gives() {
        let mut meter = Meter::new(EACH, ALL);
        let second = Duration::from_secs;
        assert!(meter.take(from(1), 1000, second(1)));
        assert!(!meter.take(from(1), 1, second(1)));
        assert!(meter.take(from(2), 1000, second(1)));
        // Half a second of the two was lost by asking for what was not there.
        assert!(meter.take(from(1), 150, second(3)));
        assert!(!meter.take(from(1), 1, second(3)));
    }

    #[test]
    fn a_source_that_does_not_stop_asking_gets_nothing_more_until_it_is_quiet() {
        let mut meter = Meter::new(EACH, ALL);
        let tenth = |n: u32| Duration::from_millis(100) * n;
        let answered = (0..200).filter(|n| meter.take(from(1), 500, tenth(*n))).count();
        assert_eq!(answered, 2, "a flood lives off its beginning");
        assert!(meter.take(from(2), 500, tenth(199)), "others are answered meanwhile");
        assert!(!meter.take(from(1), 500, tenth(225)));
        assert!(meter.take(from(1), 500, tenth(280)));
    }

    #[test]
    fn all_sources_together_have_theirs_however_many_they_are() {
        let mut meter = Meter::new(EACH, ALL);
        let sent = (0..=255).filter(|n| meter.take(from(*n), 1000, Duration::ZERO)).count();
        assert_eq!(sent, 3);
        for n in 0..5000u32 {
            meter.take(IpAddr::from(n.to_be_bytes()), 1, Duration::from_secs(10));
        }
        assert!(meter.by_source.len() <= MAX_SOURCES);
    }
}
