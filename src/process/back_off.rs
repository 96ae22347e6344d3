//! When a program that ended is started again: pauses that double, and a limit after which it is given up.

use std::collections::VecDeque;

/// The first pause, in milliseconds; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 500;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A run of so many milliseconds counts as good: the pauses begin anew.
const GOOD_RUN_MS: u64 = 60_000;
/// Restarts allowed …
pub(super) const MOST_RESTARTS: usize = 5;
/// … within so many milliseconds.
const LIMIT_WINDOW_MS: u64 = 600_000;

/// What the restarts of one program have been so far.
#[derive(Default)]
pub(super) struct BackOff {
    /// When restarts were decided, in elapsed milliseconds.
    recent: VecDeque<u64>,
    /// Restarts since the last good run.
    attempts: u32,
}

/// One more restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) pause_ms: u64,
    /// Counts from 1 after each good run.
    pub(super) attempt: u32,
}

impl BackOff {
    /// What follows a run of `ran_ms` that ended at `now_ms`: nothing where it has been restarted too often.
    pub(super) fn next(&mut self, now_ms: u64, ran_ms: u64) -> Option<Retry> {
        if ran_ms >= GOOD_RUN_MS {
            self.attempts = 0;
        }
        self.recent.retain(|at| now_ms.saturating_sub(*at) < LIMIT_WINDOW_MS);
        if self.recent.len() >= MOST_RESTARTS {
            return None;
        }
        self.recent.push_back(now_ms);
        let pause_ms = FIRST_PAUSE_MS.saturating_mul(2_u64.saturating_pow(self.attempts)).min(LONGEST_PAUSE_MS);
        self.attempts += 1;
        Some(Retry { pause_ms, attempt: self.attempts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_begin_anew_after_a_good_run() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..3).map(|n| back_off.next(n, 10).unwrap().pause_ms).collect();
        assert_eq!(pauses, [500, 1000, 2000]);
        assert_eq!(back_off.next(70_000, GOOD_RUN_MS), Some(Retry { pause_ms: 500, attempt: 1 }));
    }

    #[test]
    fn the_sixth_restart_within_ten_minutes_is_one_too_many() {
        let mut back_off = BackOff::default();
        for n in 0..5 {
            assert!(back_off.next(n * 1000, 10).is_some());
        }
        assert_eq!(back_off.next(6000, 10), None);
        assert!(back_off.next(LIMIT_WINDOW_MS + 10, 10).is_some());
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let mut back_off = BackOff { attempts: 63, ..BackOff::default() };
        assert_eq!(back_off.next(0, 10).unwrap().pause_ms, LONGEST_PAUSE_MS);
        back_off.attempts = 64;
        assert_eq!(back_off.next(1, 10).unwrap().pause_ms, LONGEST_PAUSE_MS);
    }
}
