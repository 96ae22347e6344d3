use super::*;
use crate::store::fault::{arm, disarm};

fn names(folder: &Path) -> Vec<String> {
    let mut names = read_names(folder).unwrap();
    names.sort_unstable();
    names
}

#[test]
fn a_write_that_fails_anywhere_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write_atomic(&path, b"old", PRIVATE).unwrap();
    for point in [Point::Create, Point::Write, Point::Sync, Point::Rename] {
        arm(point, 0);
        let error = write_atomic(&path, b"new", PRIVATE).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(error.message.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(read_limited(&path, 10).unwrap(), b"old", "{point:?}");
        assert_eq!(names(folder.path()), ["a"], "{point:?}");
    }
    arm(Point::SyncDir, 0);
    assert!(write_atomic(&path, b"new", PRIVATE).is_err(), "an unsynced rename is no success");
    disarm();
    write_atomic(&path, b"new", PLAIN).unwrap();
    assert_eq!(read_limited(&path, 3).unwrap(), b"new");
}

#[test]
fn modes_hold_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let deep = folder.path().join("a/b/c");
    create_dir_private(&deep).unwrap();
    create_dir_private(&deep).unwrap();
    assert_eq!((mode(&deep), mode(deep.parent().unwrap())), (0o700, 0o700));
    for wanted in [PRIVATE, PLAIN] {
        write_atomic(&deep.join("f"), b"", wanted).unwrap();
        assert_eq!(mode(&deep.join("f")), wanted);
    }
    append_durable(&deep.join("log"), b"x", PRIVATE).unwrap();
    assert_eq!(mode(&deep.join("log")), PRIVATE);
    std::fs::write(folder.path().join("file"), b"").unwrap();
    assert!(create_dir_private(&folder.path().join("file")).is_err());
}

#[test]
fn folders_that_could_not_be_made_durable_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    for after in 0..3 {
        arm(Point::SyncDir, after);
        create_dir_private(&folder.path().join("a/b/c/d")).unwrap_err();
        assert_eq!(names(&folder.path().join("a")), [""; 0], "nobody takes for durable what is not");
        disarm();
    }
    create_dir_private(&folder.path().join("a/b/c/d")).unwrap();
    create_dir_private(&folder.path().join("a/b/c/d")).unwrap();
}

#[test]
fn of_several_writers_of_a_new_file_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let won = std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..8u8).map(|n| (n, &path)).map(|(n, path)| scope.spawn(move || write_new(path, &[n], PRIVATE))).collect();
        let done = writers.into_iter().map(|writer| writer.join().unwrap().unwrap());
        done.filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn an_append_that_fails_leaves_the_old_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    append_durable(&path, b"one\n", PRIVATE).unwrap();
    for point in [Point::Create, Point::Write, Point::Sync] {
        arm(point, 0);
        append_durable(&path, b"two\n", PRIVATE).unwrap_err();
        assert_eq!(read_limited(&path, 100).unwrap(), b"one\n", "{point:?}");
    }
}

#[test]
fn a_file_over_the_limit_is_refused_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write_atomic_unsynced(&path, b"12345", PRIVATE).unwrap();
    assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
    assert_eq!(read_limited(&path, 4).unwrap_err().code, Code::TooLarge);
    assert_eq!(read_optional(&folder.path().join("none"), 4).unwrap(), None);
    assert!(remove_durable(&path).unwrap() && !remove_durable(&path).unwrap());
}

#[test]
fn leftovers_of_the_dead_and_the_old_are_swept_and_those_of_the_living_stay() {
    let folder = tempfile::tempdir().unwrap();
    // Beyond the largest process number of Linux and macOS.
    let dead = ".a.tmp-99999999-0";
    let alive = format!(".a.tmp-{}-0", std::process::id());
    for name in [dead, &alive, ".hidden", "kept"] {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    assert_eq!(list(folder.path()).unwrap(), ["kept"]);
    let written = std::fs::metadata(folder.path().join(&alive)).unwrap().mtime();
    let now = Time::from_unix_ms(written * 1000);
    sweep(folder.path(), now);
    assert_eq!(names(folder.path()), [&alive, ".hidden", "kept"]);
    sweep(folder.path(), now + Span::from_hours(2));
    assert_eq!(names(folder.path()), [".hidden", "kept"]);
    assert!(list(&folder.path().join("none")).unwrap().is_empty());
}

#[test]
fn an_interrupted_builds_folder_is_swept_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join(".build.tmp-99999999-0");
    std::fs::create_dir_all(dead.join("source")).unwrap();
    std::fs::write(dead.join("source/file"), b"").unwrap();
    sweep(folder.path(), Time::from_unix_ms(0));
    assert!(!dead.exists());
}

fn sweep(folder: &Path, now: Time) {
    abandoned(folder, now).unwrap().iter().for_each(|path| crate::store::tree::remove(path).unwrap());
}
