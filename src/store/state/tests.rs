#![expect(clippy::disallowed_methods, reason = "tests prepare files")]

use std::ffi::OsStr;

use super::*;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_state_directory_is_made_once_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/state");
    assert_eq!(StateDir::open(&root, false).unwrap_err().code, Code::NoIdentity);
    let state = StateDir::open(&root, true).unwrap();
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read(root.join("VERSION")).unwrap(), format!("{VERSION}\n").as_bytes());
    assert_eq!(StateDir::open(&root, false).unwrap(), state);
    assert_eq!(StateDir::open(&root, true).unwrap(), state);
}

#[test]
fn an_empty_or_prepared_folder_becomes_private_and_any_other_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    std::fs::create_dir_all(root.join("services/chat")).unwrap();
    chmod(&root, 0o755);
    assert_eq!(StateDir::open(&root, false).unwrap_err().code, Code::NoIdentity);
    StateDir::open(&root, true).unwrap();
    assert_eq!(std::fs::metadata(&root).unwrap().mode() & 0o777, 0o700);

    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.tex"), b"").unwrap();
    let error = StateDir::open(&other, true).unwrap_err();
    assert_eq!(error.code, Code::BadInput);
    assert!(error.message.contains("thesis.tex") && !other.join("VERSION").exists(), "{error}");
    assert_eq!(StateDir::open(&other.join("thesis.tex"), true).unwrap_err().code, Code::BadInput);
}

#[test]
fn an_open_folder_a_newer_format_and_a_damaged_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    StateDir::open(&root, true).unwrap();
    for mode in [0o750, 0o701, 0o720] {
        chmod(&root, mode);
        let error = StateDir::open(&root, false).unwrap_err();
        assert_eq!(error.code, Code::KeyExposed);
        assert_eq!(error.hint, Some(format!("chmod 700 {}", root.display())));
    }
    chmod(&root, 0o700);
    for (text, code) in [("99", Code::NewerState), ("x", Code::Damaged), ("", Code::Damaged), ("0", Code::Damaged)] {
        std::fs::write(root.join("VERSION"), text).unwrap();
        assert_eq!(StateDir::open(&root, true).unwrap_err().code, code, "{text}");
    }
}

#[test]
fn sessions_are_found_and_named_by_any_prefix_that_is_one_s_own() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("state"), true).unwrap();
    let [a, b, c] = [[0; 16], [1; 16], [0xff; 16]].map(SessionId::from_bytes);
    for (session, party) in [(a, Party::Initiator), (a, Party::Provider), (b, Party::Peer), (c, Party::Peer)] {
        std::fs::create_dir_all(state.party(session, party)).unwrap();
        std::fs::write(state.session_log(session, party), b"").unwrap();
    }
    std::fs::create_dir_all(state.secrets(SessionId::from_bytes([7; 16]))).unwrap();
    std::fs::create_dir_all(state.sessions().join("nonsense")).unwrap();
    let found = state.find_sessions().unwrap();
    assert_eq!(found, [(a, vec![Party::Initiator, Party::Provider]), (b, vec![Party::Peer]), (c, vec![Party::Peer])]);
    assert_eq!(state.resolve_session(&c.short().to_uppercase()).unwrap(), c);
    assert_eq!(state.resolve_session(&a.to_string()).unwrap(), a);
    let error = state.resolve_session("a").unwrap_err();
    assert_eq!(error.code, Code::Ambiguous);
    assert!(error.message.contains(&a.to_string()) && error.message.contains(&b.to_string()), "{error}");
    for none in ["zz", ""] {
        let error = state.resolve_session(none).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(error.hint.is_some());
    }
    assert!(state.abandoned(Time::from_unix_ms(0)).unwrap().is_empty());
}

#[test]
fn the_default_place_follows_the_environment() {
    let look_up = |set: &'static [(&str, &str)]| {
        default_state_dir(move |name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsStr::new(value).into())
        })
    };
    assert_eq!(look_up(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]).unwrap(), Path::new("/x/deployctl"));
    let home = look_up(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]).unwrap();
    assert!(home.starts_with("/h") && home.ends_with("deployctl"));
    assert_eq!(look_up(&[]).unwrap_err().code, Code::Usage);
}

#[test]
fn an_id_with_a_letter_wrong_is_asked_back() {
    let ids = ["7k3qabcdefgh", "m2p4xyzuvwst"].map(|id| format!("{id:a<26}"));
    let resolve = |typed: &str| {
        let ids: Vec<SessionId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        resolve_prefix("session", typed, ids.into_iter()).unwrap_err().hint
    };
    assert_eq!(resolve("7k3qabdc").as_deref(), Some("did you mean 7k3qabcd?"));
    assert_eq!(resolve("m2p5").as_deref(), Some("did you mean m2p4xyzu?"));
    for far in ["zzzz", "m3", "ünder"] {
        assert_eq!(resolve(far), None, "{far}");
    }
}
