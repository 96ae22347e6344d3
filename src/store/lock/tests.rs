use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const NONE: Span = Span::from_ms(0);

#[test]
fn who_waits_too_long_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/locks/a");
    let held = Lock::acquire(&path, "the thing", NONE).unwrap();
    let error = Lock::acquire(&path, "the thing", Span::from_ms(5)).unwrap_err();
    assert_eq!(error.code, Code::Locked);
    let pid = std::process::id().to_string();
    for part in ["the thing", &pid, path.to_str().unwrap()] {
        assert!(error.message.contains(part), "{error}");
    }
    assert!(Lock::try_acquire(&path, "the thing").unwrap().is_none());
    drop(held);
    assert!(Lock::try_acquire(&path, "the thing").unwrap().is_some());
}

#[test]
fn one_at_a_time_even_if_the_file_is_removed_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (inside, done) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (path, inside, done) = (&path, &inside, &done);
            scope.spawn(move || {
                for round in 0..50 {
                    let lock = Lock::acquire(path, "the thing", Span::from_secs(60)).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    done.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if (thread + round) % 3 == 0 { lock.remove().unwrap() } else { drop(lock) }
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 200);
}

#[test]
fn the_lock_of_a_killed_process_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    // Another process: this test's program again, told below to take the lock and wait.
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::lock::tests::hold_until_killed", "--ignored", "--nocapture"])
        .env("LOCK_TO_HOLD", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while Lock::try_acquire(&path, "the thing").unwrap().is_some() || std::fs::read(&path).unwrap().is_empty() {
        std::thread::sleep(LONGEST_PAUSE);
    }
    let error = Lock::acquire(&path, "the thing", NONE).unwrap_err();
    assert!(error.message.contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(!std::fs::read(&path).unwrap().is_empty(), "its note is still there");
    Lock::acquire(&path, "the thing", Span::from_secs(10)).unwrap();
}

#[test]
#[ignore = "started by the test above, as another process"]
fn hold_until_killed() {
    let Some(path) = std::env::var_os("LOCK_TO_HOLD") else { return };
    let _lock = Lock::acquire(Path::new(&path), "the thing", Span::from_secs(60)).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
