#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::store::fault::{Point, arm, disarm};

fn identity(key: &str) -> StoredIdentity {
    let settings = Settings { name: Some("alice".parse().unwrap()), host: Some("a.example:4800".parse().unwrap()) };
    StoredIdentity { key_pem: PrivatePem::new(key.into()), cert_pem: "CERT".into(), settings }
}

fn state() -> (tempfile::TempDir, StateDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, state)
}

#[test]
fn an_identity_is_kept_and_never_replaced() {
    let (_folder, state) = state();
    let error = StoredIdentity::load(&state).unwrap_err();
    assert_eq!((error.code, error.hint.unwrap().contains("deployctl init")), (Code::NoIdentity, true));
    identity("KEY").save(&state).unwrap();
    assert_eq!(StoredIdentity::load(&state).unwrap(), identity("KEY"));
    assert_eq!(identity("OTHER").save(&state).unwrap_err().code, Code::WrongState);
    let renamed = StoredIdentity { settings: Settings::default(), ..identity("KEY") };
    renamed.save(&state).unwrap();
    assert_eq!(StoredIdentity::load(&state).unwrap(), renamed);
    assert!(!format!("{renamed:?}").contains("KEY"));
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let (_folder, state) = state();
    identity("KEY").save(&state).unwrap();
    let key = state.identity().join("node.key");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o610] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = StoredIdentity::load(&state).unwrap_err();
        assert_eq!((error.code, error.hint), (Code::KeyExposed, Some(format!("chmod 600 {}", key.display()))));
    }
}

#[test]
fn an_init_that_was_interrupted_can_be_run_again() {
    let (_folder, state) = state();
    for after in 0..3 {
        arm(Point::Rename, after);
        assert!(identity("KEY").save(&state).is_err());
        assert_eq!(StoredIdentity::find(&state).unwrap(), None, "{after}");
    }
    disarm();
    identity("KEY").save(&state).unwrap();
    std::fs::remove_file(state.identity().join("node.crt")).unwrap();
    assert_eq!(StoredIdentity::load(&state).unwrap_err().code, Code::Damaged);
}
