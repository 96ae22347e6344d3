//! A timeline as a sequence diagram for a terminal: a line down for each party, an arrow across for each message.

use crate::roles::timeline::{Row, Timeline};
use crate::ui::escape::{escape_line, shorten};

/// More parties than this make a list instead.
const MOST_LINES: usize = 5;
/// Columns of the clock and the gap after it.
const CLOCK: usize = 10;
/// Columns between two parties' lines.
const GAPS: std::ops::RangeInclusive<usize> = 7..=14;
/// Columns that the text beside the lines should have, and those that it must have.
const TEXT_WANTED: usize = 46;
const TEXT_NEEDED: usize = 30;

/// Draws it in at most `width` columns; as a list where it is too narrow for the parties.
pub(in crate::cli) fn draw(timeline: &Timeline, width: usize) -> String {
    let lines = timeline.lines.len();
    let gap = (width.saturating_sub(CLOCK + TEXT_WANTED) / lines.max(1)).clamp(*GAPS.start(), *GAPS.end());
    let text = width.saturating_sub(CLOCK + lines * gap);
    let mut out = vec![format!("session {} (times are UTC)", timeline.session)];
    if lines > MOST_LINES || text < TEXT_NEEDED {
        days(&timeline.timeline, &mut out, |row| list_row(row, width));
        return out.join("\n");
    }
    let names: String = timeline.lines.iter().map(|name| format!("{:gap$}", shorten(name, gap - 1))).collect();
    out.push(format!("{:CLOCK$}{names}", "").trim_end().to_owned());
    days(&timeline.timeline, &mut out, |row| drawn_row(row, lines, gap, text));
    out.join("\n")
}

/// The rows, with the day before the first of each.
fn days(rows: &[Row], out: &mut Vec<String>, draw: impl Fn(&Row) -> Vec<String>) {
    let mut day = String::new();
    for row in rows {
        let time = row.time.to_string();
        let today = time.get(..10).unwrap_or_default();
        if today != day {
            today.clone_into(&mut day);
            out.push(day.clone());
        }
        out.extend(draw(row));
    }
}

fn drawn_row(row: &Row, lines: usize, gap: usize, width: usize) -> Vec<String> {
    let texts = wrapped(&text(row), width);
    let drawn = |(at, text): (usize, &String)| {
        let (clock, ends) = if at == 0 { (clock(row), Some(row.ends)) } else { (String::new(), None) };
        format!("{clock:CLOCK$}{}{text}", strokes(ends, lines, gap)).trim_end().to_owned()
    };
    texts.iter().enumerate().map(drawn).collect()
}

/// The parties' lines with what happens on them: `│    ├─────▶│    │`.
fn strokes(ends: Option<(usize, Option<usize>)>, lines: usize, gap: usize) -> String {
    let mut cells: Vec<char> = (0..lines * gap).map(|at| if at % gap == 0 { '│' } else { ' ' }).collect();
    match ends {
        Some((from, Some(to))) if from != to => {
            let (left, right) = (from.min(to) * gap, from.max(to) * gap);
            cells[left..=right].fill('─');
            (cells[left], cells[right]) = if from < to { ('├', '│') } else { ('│', '┤') };
            let (at, tip) = if from < to { (right - 1, '▶') } else { (left + 1, '◀') };
            cells[at] = tip;
        }
        Some((at, _)) => cells[at * gap] = '●',
        None => {}
    }
    cells.into_iter().collect()
}

fn list_row(row: &Row, width: usize) -> Vec<String> {
    let way = match &row.to {
        Some(to) => format!("{} → {to}: {}", row.from, text(row)),
        None => format!("{}: {}", row.from, text(row)),
    };
    let texts = wrapped(&way, width.saturating_sub(CLOCK).max(TEXT_NEEDED));
    let first = |at: usize| if at == 0 { clock(row) } else { String::new() };
    texts.iter().enumerate().map(|(at, text)| format!("{:CLOCK$}{text}", first(at))).collect()
}

/// What stands beside the arrow: type, short id, what it proved.
fn text(row: &Row) -> String {
    let mut text = row.message.clone();
    if let Some(id) = row.id {
        text.push_str(&format!(" {}", id.short()));
    }
    if !row.note.is_empty() {
        text.push_str(&format!(": {}", row.note));
    }
    if let Some(at) = row.acknowledged {
        text.push_str(&format!("; acknowledged at {}", of_day(&at.to_string())));
    }
    escape_line(&text).into_owned()
}

fn clock(row: &Row) -> String {
    of_day(&row.time.to_string()).to_owned()
}

/// Hours, minutes and seconds of an RFC 3339 time.
fn of_day(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// Broken between words into lines of at most `width` characters; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let word = shorten(word, width);
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        let line = lines.last_mut().expect("there is a first");
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word);
        used += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, SessionId, Time};
    use crate::roles::timeline::RowKind;

    fn row(second: i64, ends: (usize, Option<usize>), message: &str, note: &str) -> Row {
        let name = |at: usize| NAMES[at].to_owned();
        Row {
            time: Time::from_unix_ms(1_795_000_000_000 + second * 1000),
            kind: RowKind::Sent,
            from: name(ends.0),
            to: ends.1.map(name),
            message: message.to_owned(),
            id: ends.1.map(|_| MessageId::from_bytes([7; 16])),
            acknowledged: ends.1.map(|_| Time::from_unix_ms(1_795_000_001_000 + second * 1000)),
            note: note.to_owned(),
            ends,
        }
    }
    const NAMES: [&str; 6] = ["anna", "shop", "ben", "cleo", "a-name-that-is-too-long", "eve"];

    fn timeline(parties: usize, rows: Vec<Row>) -> Timeline {
        let lines = NAMES[..parties].iter().map(|name| (*name).to_owned()).collect();
        Timeline { session: SessionId::from_bytes([1; 16]), lines, timeline: rows }
    }
    fn three() -> Timeline {
        timeline(
            3,
            vec![
                row(0, (0, None), "asks", "for notice"),
                row(1, (0, Some(1)), "service-request", "notice with ben; signed by anna"),
                row(2, (1, Some(2)), "invitation", "as reader; signed by shop"),
                row(3, (2, Some(1)), "answer", "accepts, “\u{1b}[2Jyes”; signed by ben"),
                row(90_000, (0, Some(2)), "start", ""),
            ],
        )
    }

    #[test]
    fn a_line_for_each_party_and_an_arrow_for_each_message() {
        let expected = "\
session aeaqcaibaeaqcaibaeaqcaibae (times are UTC)
          anna          shop          ben
2026-11-18
11:06:40  ●             │             │             asks: for notice
11:06:41  ├────────────▶│             │             service-request a4dqobyh: notice with ben;
          │             │             │             signed by anna; acknowledged at 11:06:42
11:06:42  │             ├────────────▶│             invitation a4dqobyh: as reader; signed by shop;
          │             │             │             acknowledged at 11:06:43
11:06:43  │             │◀────────────┤             answer a4dqobyh: accepts, “\\u{1b}[2Jyes”; signed
          │             │             │             by ben; acknowledged at 11:06:44
2026-11-19
12:06:40  ├──────────────────────────▶│             start a4dqobyh; acknowledged at 12:06:41";
        assert_eq!(draw(&three(), 100), expected);
    }

    #[test]
    fn nothing_is_wider_than_asked_for() {
        let note = "word ".repeat(40);
        for parties in 1..=6 {
            let rows = (0..parties).map(|from| row(1, (from, Some((from + 1) % parties)), "progress", &note)).collect();
            let timeline = timeline(parties, rows);
            for width in [60, 80, 100, 200] {
                let drawn = draw(&timeline, width);
                let widest = drawn.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width, "{parties} parties in {width}: {widest}\n{drawn}");
            }
        }
    }

    #[test]
    fn more_than_five_parties_make_a_list() {
        let rows = vec![row(0, (0, None), "asks", "for notice"), row(1, (5, Some(1)), "answer", "accepts")];
        let expected = "\
session aeaqcaibaeaqcaibaeaqcaibae (times are UTC)
2026-11-18
11:06:40  anna: asks: for notice
11:06:41  eve → shop: answer a4dqobyh: accepts; acknowledged at 11:06:42";
        assert_eq!(draw(&timeline(6, rows), 100), expected);
    }
}
