//! Messages as files: one good envelope of each type, and bad ones, each named for its fault, with the code that it must
//! be refused with. `BLESS=1 cargo test --test vectors` writes them anew; all are made from fixed seeds.

#![expect(clippy::disallowed_methods, reason = "reads and writes the fixtures, which no room of the program does")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[expect(clippy::allow_attributes, reason = "each test program uses another part of the theatre")]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod support;

#[path = "vectors/bad.rs"]
mod bad;
#[path = "vectors/cast.rs"]
mod cast;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use cast::{Cast, PEER, PROVIDER, now, session};
use deployctl::message::verified::{MAX_PAYLOAD_BYTES, open_notification};
use deployctl::message::{Body, Envelope, Message, ServiceRequest, SigningKey, Start, Verified};
use deployctl::model::{Code, Error};
use serde_json::Value;
use support::play::key_secret;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages").join(name)
}
/// What a node does with bytes that come in, up to where the session takes over.
fn receive(bytes: &[u8], me: &SigningKey) -> Result<Message, Error> {
    let message = Verified::open(Envelope::from_json(bytes)?)?;
    message.check_fresh(&me.key(), now())?;
    message.check_nested()?;
    if let Body::Invitation(invitation) = &message.body {
        let (head, notification) =
            open_notification(&invitation.notification, &invitation.initiator.address.key, &me.key())?;
        notification.check_invitation(invitation, &me.key())?;
        key_secret().check_proof(head.head.id, &notification.key_proof)?;
    }
    Ok(message.into_parts().0)
}

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// What a file holds, for people to read too.
fn pretty(bytes: &[u8]) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(&serde_json::from_slice::<Value>(bytes).unwrap()).unwrap();
    text.push('\n');
    text.into_bytes()
}

#[test]
fn every_good_message_reads_and_is_sealed_to_the_same_bytes() {
    let cast = Cast::new();
    let good = [cast.good(), cast.program().to_vec()].concat();
    assert_eq!(good.len(), 21, "one of each type");
    for message in good {
        let signer = cast.signer(&message);
        let me = cast.keys.iter().find(|key| key.key() == message.head.to).unwrap();
        let path = folder("good").join(format!("{}.json", message.body.kind()));
        if blessing() {
            fs::create_dir_all(folder("good")).unwrap();
            fs::write(&path, pretty(&message.seal(signer).to_json())).unwrap();
        }
        let bytes = fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert_eq!(receive(&bytes, me).unwrap(), message);
        assert_eq!(Envelope::from_json(&bytes).unwrap(), message.seal(signer), "{}", path.display());
    }
}

#[test]
fn every_bad_message_is_refused_with_its_code() {
    let cast = Cast::new();
    let index = folder("bad").join("expected.json");
    if blessing() {
        fs::create_dir_all(folder("bad")).unwrap();
        let mut expected = BTreeMap::new();
        for (name, code, bytes) in cast.bad() {
            fs::write(folder("bad").join(format!("{name}.json")), bytes).unwrap();
            expected.insert(name, code.as_str());
        }
        fs::write(&index, pretty(&serde_json::to_vec(&expected).unwrap())).unwrap();
    }
    let expected: BTreeMap<String, Code> = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let files = fs::read_dir(folder("bad")).unwrap().count();
    assert_eq!(files, expected.len() + 1, "each file is named in expected.json");
    assert_eq!(expected.len(), cast.bad().len(), "run it with BLESS=1");
    for (name, code) in expected {
        let bytes = fs::read(folder("bad").join(format!("{name}.json"))).unwrap();
        let me = if ["expired", "missing-expires"].contains(&name.as_str()) { PROVIDER } else { PEER };
        let refused = receive(&bytes, &cast.keys[me]).expect_err(&name);
        assert_eq!(refused.code, code, "{name}: {refused}");
    }
}

#[test]
fn a_payload_of_more_than_a_mebibyte_is_refused() {
    let cast = Cast::new();
    let signer = &cast.keys[PROVIDER];
    let start = cast.message(8, PROVIDER, PEER, Start { session: session() });
    let text = String::from_utf8(start.to_payload()).unwrap();
    let sized = |bytes: usize| {
        let padded = format!("{text}{}", " ".repeat(bytes - text.len()));
        Envelope::seal(&start.body.media_type(), padded.into_bytes(), signer).to_json()
    };
    assert_eq!(receive(&sized(MAX_PAYLOAD_BYTES + 1), &cast.keys[PEER]).unwrap_err().code, Code::TooLarge);
    receive(&sized(MAX_PAYLOAD_BYTES), &cast.keys[PEER]).unwrap();
}

#[test]
fn a_request_is_refused_whose_notification_says_something_else() {
    let cast = Cast::new();
    let request = cast.request();
    let check = |request: &ServiceRequest| {
        let invitee = &request.peers[0];
        let (_, notification) =
            open_notification(&invitee.notification, &request.initiator.address.key, &invitee.address.key)?;
        notification.check_matches(request, session(), invitee)
    };
    check(&request).unwrap();
    let mut other = request.clone();
    other.peers[0].role = "host".parse().unwrap();
    assert_eq!(check(&other).unwrap_err().code, Code::BadProof);
    let mut other = request;
    other.peers[0].address = cast.address(PROVIDER);
    assert_eq!(check(&other).unwrap_err().code, Code::WrongRecipient);
}
