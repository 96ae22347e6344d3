//! Times as a person says them: `in 3 min`, `2 h ago`.

use crate::model::{Span, Time};

/// Where `time` is as seen from `now`, in the largest unit that is at least one; days from two on.
pub fn relative(time: Time, now: Time) -> String {
    let (ahead, behind) = (in_words(time.since(now)), in_words(now.since(time)));
    match (ahead, behind) {
        (Some(ahead), _) => format!("in {ahead}"),
        (_, Some(behind)) => format!("{behind} ago"),
        (None, None) => "now".to_owned(),
    }
}

/// Rounded to the nearest; nothing below half a second.
fn in_words(span: Span) -> Option<String> {
    let seconds = rounded(span.as_ms(), 1000);
    let (minutes, hours, days) = (rounded(seconds, 60), rounded(seconds, 3600), rounded(seconds, 86_400));
    if seconds == 0 {
        None
    } else if seconds < 60 {
        Some(format!("{seconds} s"))
    } else if minutes < 60 {
        Some(format!("{minutes} min"))
    } else if hours < 48 {
        Some(format!("{hours} h"))
    } else {
        Some(format!("{days} d"))
    }
}

fn rounded(amount: u64, unit: u64) -> u64 {
    amount.saturating_add(unit / 2) / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Time::from_unix_ms(1_795_000_000_000);
        for (span, word) in [
            ("1s", "1 s"),
            ("59s", "59 s"),
            ("3m10s", "3 min"),
            ("59m59s800ms", "1 h"),
            ("1h", "1 h"),
            ("2h10m", "2 h"),
            ("47h", "47 h"),
            ("2d", "2 d"),
            ("14d", "14 d"),
            ("400d", "400 d"),
        ] {
            let span: Span = span.parse().unwrap();
            assert_eq!(relative(now + span, now), format!("in {word}"));
            assert_eq!(relative(now - span, now), format!("{word} ago"));
        }
        assert_eq!(relative(now, now), "now");
        assert_eq!(relative(now + Span::from_ms(499), now), "now");
    }
}
