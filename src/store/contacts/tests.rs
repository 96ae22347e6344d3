#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn contacts() -> (tempfile::TempDir, Contacts) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Contacts::of(&state))
}

fn address(n: u8) -> Address {
    Address { key: Key::from_bytes([n; 32]), host: Some("h.example:1".parse().unwrap()) }
}

fn add(contacts: &Contacts, name: &str, n: u8, may: &str, ms: i64) -> Result<Added> {
    contacts.add(&name.parse().unwrap(), &address(n), &may.parse().unwrap(), Time::from_unix_ms(NOW + ms))
}

#[test]
fn a_contact_is_found_by_name_and_key_until_it_is_removed() {
    let (_folder, contacts) = contacts();
    assert_eq!(contacts.list().unwrap(), []);
    assert_eq!(add(&contacts, "alice", 1, "request,auto-accept", 0).unwrap(), Added::New);
    assert_eq!(add(&contacts, "bob", 2, "", 0).unwrap(), Added::New);
    let alice = contacts.by_name("alice").unwrap();
    assert_eq!(contacts.by_key(&address(1).key).unwrap().as_ref(), Some(&alice));
    assert_eq!((alice.address.clone(), alice.may.to_string()), (address(1), "request,auto-accept".into()));
    assert_eq!(contacts.remove("alice").unwrap(), alice);
    assert_eq!(contacts.by_key(&address(1).key).unwrap(), None);
    assert_eq!(contacts.remove("alice").unwrap_err().code, Code::UnknownContact);
    assert_eq!(contacts.list().unwrap().len(), 1);
}

#[test]
fn the_same_again_changes_rights_and_keeps_its_age() {
    let (_folder, contacts) = contacts();
    add(&contacts, "alice", 1, "request", 0).unwrap();
    assert_eq!(add(&contacts, "alice", 1, "request", 5).unwrap(), Added::Unchanged);
    assert_eq!(add(&contacts, "alice", 1, "provide", 5).unwrap(), Added::Changed);
    let alice = contacts.by_name("alice").unwrap();
    assert_eq!((alice.may.to_string(), alice.since), ("provide".into(), Time::from_unix_ms(NOW)));
}

#[test]
fn a_name_and_a_key_belong_together() {
    let (_folder, contacts) = contacts();
    add(&contacts, "alice", 1, "", 0).unwrap();
    for (name, n) in [("alice", 2), ("alicia", 1)] {
        let error = add(&contacts, name, n, "", 0).unwrap_err();
        assert_eq!(error.code, Code::WrongState);
        assert!(error.hint.unwrap().contains("deployctl trust remove alice"));
    }
    assert_eq!(contacts.list().unwrap().len(), 1);
}

#[test]
fn a_slip_is_told_the_name_it_meant() {
    let (_folder, contacts) = contacts();
    add(&contacts, "alice", 1, "", 0).unwrap();
    let hint = |name: &str| {
        let error = contacts.by_name(name).unwrap_err();
        assert_eq!(error.code, Code::UnknownContact);
        error.hint.unwrap()
    };
    assert_eq!(hint("alce"), "did you mean alice?");
    assert_eq!(hint("Alice"), "did you mean alice?");
    assert!(hint("../../etc").contains("trust list"));
}

#[test]
fn a_damaged_contact_is_set_aside_and_the_others_go_on() {
    let (_folder, contacts) = contacts();
    add(&contacts, "alice", 1, "", 0).unwrap();
    add(&contacts, "bob", 2, "", 0).unwrap();
    let path = contacts.state.contact(&"alice".parse().unwrap());
    for text in ["address = 1", "addres = \"x\"", "", "\u{0}"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(contacts.by_key(&address(2).key).unwrap_err().code, Code::Damaged, "{text}");
        assert_eq!(contacts.by_key(&address(2).key).unwrap().unwrap().name.to_string(), "bob");
    }
}
