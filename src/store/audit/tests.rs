#![expect(clippy::disallowed_methods, reason = "tests look at the file")]

use super::*;

fn audit() -> (tempfile::TempDir, Audit) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Audit::of(&state))
}

fn entry(what: &str) -> Entry {
    Entry {
        key: Some(Key::from_bytes([1; 32])),
        ip: Some("192.0.2.7".parse().unwrap()),
        what: what.into(),
        code: Some(Code::NotPermitted),
    }
}

fn at(seconds: u64) -> Time {
    Time::from_unix_ms(1_800_000_000_000) + Span::from_secs(seconds)
}

fn lines(audit: &Audit) -> Vec<Line> {
    let text = std::fs::read_to_string(&audit.path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_event_is_one_line_whatever_is_in_it() {
    let (_folder, audit) = audit();
    let hostile = format!("a\nb\r\u{1b}[2J{}", "x".repeat(2000));
    audit.record(at(0), entry(&hostile)).unwrap();
    let text = std::fs::read_to_string(&audit.path).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.bytes().all(|byte| byte == b'\n' || byte >= b' '));
    assert_eq!(lines(&audit)[0].entry.what.chars().count(), MAX_WHAT);
}

#[test]
fn what_comes_too_often_is_counted() {
    let (_folder, audit) = audit();
    for _ in 0..100 {
        audit.record(at(0), entry("the same")).unwrap();
    }
    for n in 0..1000 {
        audit.record(at(1), entry(&n.to_string())).unwrap();
    }
    assert_eq!(lines(&audit).len(), LINES_PER_MINUTE);
    audit.record(at(61), entry("later")).unwrap();
    let lines = lines(&audit);
    let merged: Vec<_> = lines[LINES_PER_MINUTE..].iter().map(|line| (line.time, line.repeated)).collect();
    assert_eq!(merged, [(at(0), 99), (at(0), 941), (at(61), 0)]);
    audit.record(at(0), entry("the clock was set back")).unwrap();
}

#[test]
fn what_was_counted_is_written_at_the_end_and_a_torn_line_spoils_no_other() {
    let (_folder, audit) = audit();
    std::fs::write(&audit.path, b"{\"time\":\"20").unwrap();
    audit.record(at(0), entry("a")).unwrap();
    audit.record(at(0), entry("a")).unwrap();
    audit.flush(at(1)).unwrap();
    audit.flush(at(1)).unwrap();
    let text = std::fs::read_to_string(&audit.path).unwrap();
    let good: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(good.iter().map(|line| line.repeated).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_long_file_is_exchanged() {
    let (_folder, audit) = audit();
    let old = std::fs::File::create(&audit.path).unwrap();
    old.set_len(ROTATE_AT).unwrap();
    audit.record(at(0), entry("a")).unwrap();
    assert_eq!(lines(&audit).len(), 1);
    assert_eq!(std::fs::metadata(audit.path.with_file_name("audit.1.jsonl")).unwrap().len(), ROTATE_AT);
}
