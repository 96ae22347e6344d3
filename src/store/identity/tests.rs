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

#[test]
fn a_rotation_that_is_cut_off_anywhere_leaves_the_old_identity_or_the_new_one() {
    let signer = crate::message::SigningKey::from_seed(&[1; 32]).unwrap();
    let rotate = Envelope::seal("text/plain", b"over to you".to_vec(), &signer);
    let untold = BTreeSet::from([Key::from_bytes([7; 32])]);
    let (old, new) = (identity("OLD"), StoredIdentity { cert_pem: "NEW CERT".into(), ..identity("NEW") });
    let mut outcomes = BTreeSet::new();
    for point in [Point::Create, Point::Write, Point::Sync, Point::Rename, Point::SyncDir] {
        for after in 0..12 {
            let (_folder, state) = state();
            old.save(&state).unwrap();
            arm(point, after);
            let is_done = new.replace(&state, &[], &rotate, &untold).is_ok();
            disarm();
            let found = StoredIdentity::load(&state).unwrap();
            let is_new = found == new;
            assert!(is_new || (found == old && !is_done), "{point:?} {after}: {found:?}");
            assert_eq!(rotations(&state).unwrap().len(), usize::from(is_new), "{point:?} {after}");
            assert_eq!(super::untold(&state).unwrap().len(), usize::from(is_new));
            recover(&state).unwrap();
            assert!(!state.next_identity().exists());
            assert_eq!(StoredIdentity::load(&state).unwrap(), found);
            outcomes.insert((is_new, is_done));
            // What was cut off can be done again.
            if !is_new {
                new.replace(&state, &[], &rotate, &untold).unwrap();
            }
            told(&state, Key::from_bytes([7; 32])).unwrap();
            assert!(super::untold(&state).unwrap().is_empty());
        }
    }
    assert!(outcomes.contains(&(false, false)) && outcomes.contains(&(true, true)), "{outcomes:?}");
}
