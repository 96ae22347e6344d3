#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use super::*;
use crate::message::SigningKey;
use crate::store::fault::{Point, arm};

fn ledger() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Ledger::of(&state, SessionId::from_bytes([1; 16])))
}

fn line(sequence: u64) -> LedgerLine {
    let signer = SigningKey::from_seed(&[1; 32]).unwrap();
    let seal = |text: String| Envelope::seal("text/plain", text.into_bytes(), &signer);
    LedgerLine { sequence, accounting: seal(format!("used {sequence}")), receipt: seal(format!("got {sequence}")) }
}

#[test]
fn lines_are_added_once_and_in_order() {
    let (_folder, ledger) = ledger();
    assert_eq!(ledger.read().unwrap(), LedgerContents::default());
    for sequence in [1, 2, 2, 1, 5] {
        ledger.append(&line(sequence)).unwrap();
    }
    assert_eq!(ledger.read().unwrap().lines, [line(1), line(2), line(5)]);
    for (sequence, receipt) in [(2, line(1).receipt), (3, line(3).receipt)] {
        let error = ledger.append(&LedgerLine { receipt, ..line(sequence) }).unwrap_err();
        assert_eq!(error.code, Code::BrokenChain);
    }
    assert_eq!(ledger.read().unwrap().lines.len(), 3);
}

#[test]
fn a_torn_line_is_cut_off_by_the_next_and_anything_else_is_an_error() {
    let (_folder, ledger) = ledger();
    (1..=2).for_each(|n| assert_eq!(ledger.append(&line(n)).unwrap(), 0));
    let bytes = std::fs::read(&ledger.path).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in (0..bytes.len()).step_by(7).chain([first - 1, first, first + 1, bytes.len() - 1]) {
        std::fs::write(&ledger.path, &bytes[..cut]).unwrap();
        if cut < first {
            assert_eq!(ledger.read().unwrap_err().code, Code::BrokenChain);
            assert_eq!(ledger.append(&line(3)).unwrap_err().code, Code::BrokenChain);
            continue;
        }
        assert_eq!(ledger.read().unwrap().torn, (cut - first) as u64);
        assert_eq!(ledger.append(&line(3)).unwrap(), (cut - first) as u64);
        assert_eq!(ledger.read().unwrap(), LedgerContents { lines: vec![line(1), line(3)], torn: 0 });
    }
    for lines in [[&bytes[first..], &bytes[..first]], [&bytes[..first], &bytes[..first]], [&bytes[..first], b"{}\n"]] {
        std::fs::write(&ledger.path, lines.concat()).unwrap();
        let error = ledger.read().unwrap_err();
        assert_eq!(error.code, Code::BrokenChain);
        assert!(error.message.contains(&format!("record 2 at byte {}", lines[0].len())), "{error}");
    }
}

#[test]
fn a_line_that_could_not_be_written_is_not_there() {
    let (_folder, ledger) = ledger();
    for (before, point) in [(0, Point::Write), (0, Point::Rename), (1, Point::Write), (1, Point::Sync)] {
        (1..=before).for_each(|n| assert_eq!(ledger.append(&line(n)).unwrap(), 0));
        arm(point, 0);
        assert_eq!(ledger.append(&line(2)).unwrap_err().code, Code::Io);
        assert_eq!(ledger.read().unwrap().lines.len() as u64, before);
    }
}
