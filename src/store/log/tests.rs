#![expect(clippy::disallowed_methods, reason = "tests damage logs")]

use serde_json::{Value, json};

use super::*;
use crate::store::fault::{Point, arm};

const WAIT: Span = Span::from_secs(10);
const PARTY: Party = Party::Provider;

struct Place {
    _folder: tempfile::TempDir,
    state: StateDir,
    session: SessionId,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("s"), true).unwrap();
        Self { _folder: folder, state, session: SessionId::from_bytes([5; 16]) }
    }
    fn path(&self) -> PathBuf {
        self.state.session_log(self.session, PARTY)
    }
    fn open(&self) -> Result<SessionLog> {
        SessionLog::open(&self.state, self.session, PARTY, WAIT)
    }
    fn read(&self) -> Result<Contents> {
        read(&self.path(), self.session, PARTY)
    }
    fn write(&self, bytes: &[u8]) {
        std::fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        std::fs::write(self.path(), bytes).unwrap();
    }
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
    /// Steps of these many records each; returns the bytes, and after how many of them each step ends.
    fn fill(&self, steps: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let mut log = self.open().unwrap();
        let mut ends = Vec::new();
        for count in steps {
            log.append(Time::from_unix_ms(1), &step(*count)).unwrap();
            ends.push(usize::try_from(log.head().length).unwrap());
        }
        (self.bytes(), ends)
    }
}

fn step(count: u64) -> Vec<(RecordKind, Value)> {
    (0..count).map(|n| (RecordKind::Sent, json!({"n": n, "text": "Jörg ⚙ \n\u{0}"}))).collect()
}

/// 20 records.
const STEPS: [u64; 9] = [1, 3, 1, 2, 4, 1, 3, 2, 3];

fn refused(error: &Error, place: &Place) {
    assert_eq!(error.code, Code::BrokenChain, "{error}");
    for part in [place.path().to_str().unwrap(), "record ", " at byte "] {
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn what_was_appended_is_read_again_and_goes_on() {
    let place = Place::new();
    assert_eq!(place.read().unwrap().head, Head::genesis(place.session, PARTY));
    let (bytes, _) = place.fill(&STEPS);
    let records = place.open().unwrap().read_all().unwrap();
    assert_eq!(records.len(), 20);
    for (n, record) in (1..).zip(&records) {
        assert_eq!((record.seq, record.kind, record.time), (n, RecordKind::Sent, Time::from_unix_ms(1)));
        assert_eq!(record.parse::<Value>().unwrap()["text"], "Jörg ⚙ \n\u{0}");
    }
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(records[1].prev, Hash::of(lines[0]));
    let contents = place.read().unwrap();
    assert_eq!(contents.head, head(&place.path(), place.session, PARTY).unwrap());
    assert_eq!(contents.head.hash, Hash::of(lines[19]));
    assert_eq!(contents.torn, None);
}

#[test]
fn the_records_after_a_known_head_are_read_alone() {
    let place = Place::new();
    let mut log = place.open().unwrap();
    let empty = log.head();
    log.append(Time::from_unix_ms(1), &step(2)).unwrap();
    let known = log.head();
    assert!(log.read_after(&known).unwrap().is_empty());
    log.append(Time::from_unix_ms(2), &step(3)).unwrap();
    assert_eq!(log.read_after(&known).unwrap().iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(log.read_after(&empty).unwrap().len(), 5);
    let foreign = Head { hash: Hash::of(b"other"), ..known };
    refused(&log.read_after(&foreign).unwrap_err(), &place);
    log.append::<Value>(Time::from_unix_ms(2), &[]).unwrap();
    assert_eq!(log.head().seq, 5);
}

#[test]
fn a_log_cut_at_any_byte_keeps_its_whole_steps_and_tells() {
    let place = Place::new();
    let (bytes, ends) = place.fill(&STEPS);
    for cut in 0..=bytes.len() {
        place.write(&bytes[..cut]);
        let whole = ends.iter().rev().find(|end| **end <= cut).copied();
        let Some(whole) = whole else {
            refused(&place.open().unwrap_err(), &place);
            assert_eq!(place.bytes().len(), cut, "nothing was changed");
            continue;
        };
        let seen = place.read().unwrap();
        assert_eq!((seen.head.length, seen.torn.is_some()), (whole as u64, whole != cut));
        assert_eq!(place.bytes().len(), cut, "reading changes nothing");
        let mut log = place.open().unwrap();
        assert_eq!(
            log.torn().map(|torn| (torn.offset, torn.length)),
            (whole != cut).then_some((whole as u64, (cut - whole) as u64))
        );
        assert_eq!(place.bytes(), bytes[..whole]);
        log.append(Time::from_unix_ms(2), &step(2)).unwrap();
        let records = log.read_all().unwrap();
        assert_eq!(records.len() as u64, log.head().seq);
    }
}

#[test]
fn blocks_that_were_never_written_are_a_torn_step_only_at_the_end() {
    let place = Place::new();
    let (bytes, ends) = place.fill(&STEPS);
    let last = ends[ends.len() - 2];
    for (from, to) in [(last, last + 40), (last + 40, bytes.len() - 60), (last + 200, bytes.len()), (last, bytes.len())]
    {
        let mut zeroed = bytes.clone();
        zeroed[from..to].fill(0);
        place.write(&zeroed);
        let log = place.open().unwrap();
        assert!(log.torn().is_some(), "{from}..{to}");
        assert_eq!(place.bytes(), bytes[..last]);
    }
    // A step before the last was acknowledged.
    for end in &ends[..ends.len() - 2] {
        let mut zeroed = bytes.clone();
        zeroed[*end + 20..*end + 60].fill(0);
        place.write(&zeroed);
        refused(&place.read().unwrap_err(), &place);
    }
}

#[test]
fn no_bit_can_be_flipped_unseen() {
    let place = Place::new();
    let (bytes, _) = place.fill(&[1, 2, 1]);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            place.write(&flipped);
            refused(&place.read().unwrap_err(), &place);
        }
    }
    // The end of the log alone is enough to see a flip in the last step.
    let (long, ends) = {
        place.write(&bytes);
        place.fill(&[3])
    };
    for at in bytes.len()..ends[0] {
        let mut flipped = long.clone();
        flipped[at] ^= 4;
        place.write(&flipped);
        refused(&place.open().unwrap_err(), &place);
        assert_eq!(place.bytes(), flipped);
    }
}

#[test]
fn no_record_can_be_removed_moved_or_repeated_unseen() {
    let place = Place::new();
    let (bytes, _) = place.fill(&STEPS);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let mut changed: Vec<Vec<&[u8]>> = Vec::new();
    for n in 0..lines.len() {
        let mut repeated = lines.clone();
        repeated.insert(n, lines[n]);
        changed.push(repeated);
        if n + 1 < lines.len() {
            let mut removed = lines.clone();
            removed.remove(n);
            changed.push(removed);
            let mut moved = lines.clone();
            moved.swap(n, n + 1);
            changed.push(moved);
        }
    }
    for lines in changed {
        place.write(&lines.concat());
        refused(&place.read().unwrap_err(), &place);
        let opened = place.open().and_then(|log| log.read_all());
        refused(&opened.unwrap_err(), &place);
        assert_eq!(place.bytes(), lines.concat(), "nothing was changed");
    }
}

#[test]
fn the_log_of_another_session_or_party_does_not_fit() {
    let place = Place::new();
    for steps in [&[1][..], &STEPS] {
        place.write(&[]);
        std::fs::remove_file(place.path()).unwrap();
        let (bytes, _) = place.fill(steps);
        let other = Place { session: SessionId::from_bytes([6; 16]), ..Place::new() };
        other.write(&bytes);
        refused(&other.read().unwrap_err(), &other);
        refused(&other.open().and_then(|log| log.read_all()).unwrap_err(), &other);
        refused(&read(&place.path(), place.session, Party::Peer).unwrap_err(), &place);
    }
}

#[test]
fn a_step_that_could_not_be_written_is_not_in_the_log() {
    for point in [Point::Create, Point::Write, Point::Sync] {
        let place = Place::new();
        let (bytes, _) = place.fill(&[1, 2]);
        let mut log = place.open().unwrap();
        arm(point, 0);
        assert_eq!(log.append(Time::from_unix_ms(1), &step(2)).unwrap_err().code, Code::Io);
        assert_eq!(place.bytes(), bytes);
        let again = log.append(Time::from_unix_ms(1), &step(2));
        assert_eq!(again.is_err(), point == Point::Sync, "after a failed sync the log is opened anew");
        drop(log);
        place.open().unwrap().append(Time::from_unix_ms(1), &step(1)).unwrap();
        assert_eq!(place.read().unwrap().head.seq, if point == Point::Sync { 4 } else { 6 });
    }
}

#[test]
fn a_first_step_that_could_not_be_written_leaves_no_log() {
    for point in [Point::Create, Point::Write, Point::Sync, Point::Rename, Point::SyncDir] {
        let place = Place::new();
        std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
        let mut log = place.open().unwrap();
        arm(point, 0);
        assert_eq!(log.append(Time::from_unix_ms(1), &step(2)).unwrap_err().code, Code::Io);
        assert!(!place.path().exists(), "{point:?}");
        log.append(Time::from_unix_ms(1), &step(2)).unwrap();
        assert_eq!(log.read_all().unwrap().len(), 2);
    }
}

#[test]
fn where_even_cutting_back_fails_nothing_more_is_appended() {
    let place = Place::new();
    place.fill(&[1]);
    let mut log = place.open().unwrap();
    arm(Point::Write, 0);
    arm(Point::Truncate, 0);
    log.append(Time::from_unix_ms(1), &step(1)).unwrap_err();
    log.append(Time::from_unix_ms(1), &step(1)).unwrap_err();
}

#[test]
fn one_change_at_a_time() {
    let place = Place::new();
    let held = place.open().unwrap();
    let error = SessionLog::open(&place.state, place.session, PARTY, Span::from_ms(1)).unwrap_err();
    assert_eq!(error.code, Code::Locked);
    SessionLog::open(&place.state, place.session, Party::Peer, WAIT).unwrap();
    drop(held);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope
                .spawn(|| (0..10).for_each(|_| place.open().unwrap().append(Time::from_unix_ms(1), &step(2)).unwrap()));
        }
    });
    assert_eq!(place.read().unwrap().records.len(), 80);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_written() {
    let place = Place::new();
    let (bytes, _) = place.fill(&[1]);
    let mut log = place.open().unwrap();
    let large = Value::String("x".repeat(MAX_RECORD));
    let error = log.append(Time::from_unix_ms(1), &[(RecordKind::Decided, large)]).unwrap_err();
    assert_eq!((error.code, place.bytes()), (Code::TooLarge, bytes));
    // Longer than the window in which the end is looked for.
    let large = Value::String("x".repeat(300_000));
    log.append(Time::from_unix_ms(1), &[(RecordKind::Decided, large.clone()), (RecordKind::Timer, large)]).unwrap();
    drop(log);
    assert_eq!(place.open().unwrap().head(), place.read().unwrap().head);
}
