#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use super::*;

fn seen() -> (tempfile::TempDir, SeenStore) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, SeenStore::of(&state))
}

const MESSAGE: SeenId = SeenId::Message(MessageId::from_bytes([1; 16]));
const NONCE: SeenId = SeenId::Nonce(Nonce::from_bytes([1; 16]));

#[test]
fn a_repeat_is_told_from_a_replay() {
    let (_folder, seen) = seen();
    let (one, two, expires) = (Hash::of(b"one"), Hash::of(b"two"), Time::from_unix_ms(1000));
    assert_eq!(seen.remember(MESSAGE, one, expires).unwrap(), Seen::New);
    assert_eq!(seen.remember(MESSAGE, one, expires).unwrap(), Seen::Same(None));
    assert_eq!(seen.remember(MESSAGE, two, expires).unwrap(), Seen::Other);
    assert_eq!(seen.remember(NONCE, two, expires).unwrap(), Seen::New);
    seen.answer(MESSAGE, one, expires, b"\x00answer").unwrap();
    assert_eq!(seen.remember(MESSAGE, one, expires).unwrap(), Seen::Same(Some(b"\x00answer".to_vec())));
    assert_eq!(seen.look_up(MESSAGE, two).unwrap(), Some(Seen::Other));
}

#[test]
fn of_several_at_once_one_is_new() {
    let (_folder, seen) = seen();
    let new = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| seen.remember(NONCE, Hash::of(b""), Time::from_unix_ms(1)).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|seen| *seen == Seen::New).count()
    });
    assert_eq!(new, 1);
}

#[test]
fn what_expired_is_forgotten_and_what_is_damaged_is_set_aside() {
    let (_folder, seen) = seen();
    let hash = Hash::of(b"one");
    seen.remember(MESSAGE, hash, Time::from_unix_ms(1000)).unwrap();
    seen.remember(NONCE, hash, Time::from_unix_ms(2000)).unwrap();
    assert!(seen.expired(Time::from_unix_ms(1000)).unwrap().is_empty());
    assert_eq!(seen.expired(Time::from_unix_ms(1001)).unwrap(), [seen.path(MESSAGE)]);
    std::fs::write(seen.path(NONCE), b"{").unwrap();
    assert_eq!(seen.remember(NONCE, hash, Time::from_unix_ms(1)).unwrap_err().code, Code::Damaged);
    std::fs::write(seen.path(NONCE), b"{").unwrap();
    assert_eq!(seen.expired(Time::from_unix_ms(9000)).unwrap(), [seen.path(MESSAGE)]);
    assert!(!seen.path(NONCE).exists());
}
