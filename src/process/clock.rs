//! Elapsed time that survives a wall clock which is set forwards or backwards.

use crate::model::Time;
use crate::system::System;

/// The most that one tick counts, in milliseconds. A clock that was set on, or a machine that slept, makes no timer
/// fire in a burst; whoever ticks does so several times a second.
const LONGEST_TICK_MS: u64 = 10_000;

/// Counts milliseconds, tick by tick.
pub(super) struct Ticker {
    system: System,
    last: Time,
    elapsed_ms: u64,
}

impl Ticker {
    /// `elapsed_ms` is where the count begins.
    pub(super) fn new(system: &System, elapsed_ms: u64) -> Self {
        Self { system: system.clone(), last: system.now(), elapsed_ms }
    }
    /// Milliseconds since the tick before.
    pub(super) fn tick(&mut self) -> u64 {
        let now = self.system.now();
        let passed_ms = now.since(self.last).as_ms().min(LONGEST_TICK_MS);
        self.last = now;
        self.elapsed_ms += passed_ms;
        passed_ms
    }
    /// The count, in milliseconds, as of the last tick.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }
    /// The wall clock, for records.
    pub(super) fn now(&self) -> Time {
        self.system.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;

    #[test]
    fn a_clock_that_jumps_counts_little() {
        let system = System::fixed(Time::from_unix_ms(1_000_000), 1);
        let mut ticker = Ticker::new(&system, 5);
        system.advance(Span::from_ms(20));
        assert_eq!(ticker.tick(), 20);
        system.advance(Span::from_hours(24 * 3650));
        assert_eq!(ticker.tick(), LONGEST_TICK_MS);
        assert_eq!(ticker.elapsed_ms(), LONGEST_TICK_MS + 25);
    }
}
