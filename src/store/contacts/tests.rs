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
    assert_eq!(contacts.by_key(&address(1).key, Time::from_unix_ms(NOW)).unwrap().as_ref(), Some(&alice));
    assert_eq!((alice.address.clone(), alice.may.to_string()), (address(1), "request,auto-accept".into()));
    assert_eq!(contacts.remove("alice").unwrap(), alice);
    assert_eq!(contacts.by_key(&address(1).key, Time::from_unix_ms(NOW)).unwrap(), None);
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
        assert_eq!(
            contacts.by_key(&address(2).key, Time::from_unix_ms(NOW)).unwrap_err().code,
            Code::Damaged,
            "{text}"
        );
        assert_eq!(contacts.by_key(&address(2).key, Time::from_unix_ms(NOW)).unwrap().unwrap().name.to_string(), "bob");
    }
}

#[test]
fn who_enrols_gets_the_name_it_wants_or_the_next_free_one_and_keeps_what_it_had() {
    let (_folder, contacts) = contacts();
    let now = Time::from_unix_ms(NOW);
    let enrol = |name: &str, n: u8, may: &str| {
        let contact = contacts.enrol(&name.parse().unwrap(), &address(n), &may.parse().unwrap(), now).unwrap();
        assert_eq!(contacts.by_name(&contact.name).unwrap(), contact);
        (contact.name.to_string(), contact.may.to_string())
    };
    let told = |name: &str, may: &str| (name.to_owned(), may.to_owned());
    assert_eq!(enrol("ada", 1, "request"), told("ada", "request"));
    assert_eq!(enrol("ada", 2, ""), told("ada-2", ""));
    assert_eq!(enrol("ada", 3, ""), told("ada-3", ""));
    assert_eq!(enrol("bob", 1, "invite"), told("ada", "request,invite"));
    let long = "a".repeat(63);
    assert_eq!(enrol(&long, 4, "").0, long);
    assert_eq!(enrol(&long, 5, "").0, format!("{}-2", "a".repeat(61)));
    // An address without a place does not take the known one away.
    let nowhere = Address { host: None, ..address(1) };
    assert_eq!(contacts.enrol(&"x".parse().unwrap(), &nowhere, &Rights::default(), now).unwrap().address, address(1));
}

#[test]
fn a_contact_follows_in_order_and_its_former_key_is_taken_for_the_time_of_grace() {
    let (_folder, contacts) = contacts();
    add(&contacts, "alice", 1, "request", 0).unwrap();
    let at = |ms: i64| Time::from_unix_ms(NOW + ms);
    let handover = |from: u8, to: u8, until: i64| Handover {
        from: Key::from_bytes([from; 32]),
        to: Key::from_bytes([to; 32]),
        until: at(until),
    };
    let follow = |chain: &[Handover], to: u8| contacts.follow(chain, &address(to), at(0));
    // Past a key that it does not know, and for a key that nobody knows.
    assert_eq!(follow(&[handover(2, 3, 9)], 3).unwrap_err().code, Code::NotPermitted);
    let (alice, is_new) = follow(&[handover(0, 1, 9), handover(1, 2, 10), handover(2, 3, 20)], 3).unwrap();
    assert!(is_new && alice.address == address(3) && alice.name.to_string() == "alice");
    let known = |n: u8, ms: i64| contacts.by_key(&address(n).key, at(ms)).unwrap().is_some();
    assert!(known(3, 0) && known(1, 10) && known(2, 20) && !known(0, 0));
    assert!(!known(1, 11) && !known(2, 21), "after the grace");
    assert!(!follow(&[handover(1, 2, 10), handover(2, 3, 20)], 3).unwrap().1, "a repeat is no news");
    // Whoever has a former key cannot lead the contact away with it.
    assert_eq!(follow(&[handover(1, 4, 9)], 4).unwrap_err().code, Code::WrongKey);
    assert_eq!(contacts.by_name("alice").unwrap(), alice);
}
