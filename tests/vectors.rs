//! Messages as files: one good envelope of each type, and bad ones, each named for its fault, with the code that it must
//! be refused with. `BLESS=1 cargo test --test vectors` writes them anew; all are made from fixed seeds.

#![expect(clippy::disallowed_methods, reason = "reads and writes the fixtures, which no room of the program does")]

#[expect(clippy::allow_attributes, reason = "each test program uses another part of the theatre")]
#[allow(dead_code, unreachable_pub)]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64;
use deployctl::message::verified::{MAX_PAYLOAD_BYTES, open_notification};
use deployctl::message::{
    Accounting, AccountingKind, Answer, Body, Delivery, Envelope, Failure, Head, Invitation, Leave, Message,
    PackageRef, Person, Progress, Receipt, Registration, Report, ReportState, ServiceRequest, SigningKey, Start,
    Terminate, Verdict, Verified,
};
use deployctl::model::{Address, Code, Digest, Error, MessageId, SessionId, SessionState, Span, Time};
use deployctl::service::{Member, Roster};
use serde_json::{Value, json};
use support::play::{
    Play, address, commitment, interface_request, key_secret, notification, person, service, signing_key, terms,
};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages").join(name)
}
fn now() -> Time {
    "2026-01-31T18:00:00Z".parse().unwrap()
}
fn session() -> SessionId {
    SessionId::from_bytes([42; 16])
}

/// Everybody's key and address: the Initiator, the provider, a peer.
struct Cast {
    keys: [SigningKey; 3],
    people: [Person; 3],
}
const INITIATOR: usize = 0;
const PROVIDER: usize = 1;
const PEER: usize = 2;

impl Cast {
    fn new() -> Self {
        let keys = [0, 1, 2].map(signing_key);
        let at = |number: u8| address(signing_key(number).key(), number);
        let people = [person("alice", &at(0)), person("provider", &at(1)), person("bob", &at(2))];
        Self { keys, people }
    }
    fn address(&self, who: usize) -> Address {
        self.people[who].address.clone()
    }
    fn message(&self, number: u8, from: usize, to: usize, body: impl Into<Body>) -> Message {
        let body = body.into();
        let expiring = ["interface-request", "interface", "service-request", "invitation"].contains(&body.kind());
        let head = Head {
            id: MessageId::from_bytes([number; 16]),
            from: self.keys[from].key(),
            to: self.keys[to].key(),
            issued: now(),
            in_reply_to: None,
            expires: expiring.then(|| now() + Span::from_hours(1)),
        };
        Message { head, body }
    }
    fn notification(&self) -> Message {
        let signer = &self.keys[INITIATOR];
        let expires = now() + Span::from_hours(1);
        notification(session(), 1, now(), expires, signer, &self.people[INITIATOR], &self.people[PEER])
    }
    fn request(&self) -> ServiceRequest {
        let play = Play::default();
        let interface = play.interface(MessageId::from_bytes([1; 16]), deployctl::model::Nonce::from_bytes([4; 16]));
        let people = [self.people[INITIATOR].clone(), self.people[PEER].clone()];
        play.request(&interface, session(), now(), &self.keys[INITIATOR], &people)
    }
    fn invitation(&self) -> Invitation {
        let request = self.request();
        Invitation {
            session: session(),
            service: service(),
            summary: "a game".to_owned(),
            options: request.options,
            secret_options: BTreeMap::new(),
            role: "guest".parse().unwrap(),
            interface: terms("peer", 1, true),
            initiator: self.people[INITIATOR].clone(),
            provider: self.address(PROVIDER),
            about: "alice invites you to chess".to_owned(),
            key: key_secret().commitment(),
            notification: self.notification().seal(&self.keys[INITIATOR]),
            answer_by: request.answer_by,
            ends_at: request.ends_at,
        }
    }
    fn member(&self, who: usize, role: &str) -> Member {
        Member {
            name: self.people[who].name.clone(),
            key: self.keys[who].key(),
            address: self.address(who),
            host: None,
            port: None,
            role: role.parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
        }
    }
    fn delivery(&self) -> Delivery {
        Delivery {
            session: session(),
            generation: 1,
            role: "guest".parse().unwrap(),
            package: PackageRef { digest: Digest::of(b"package"), size: 1000 },
            manifest: Digest::of(b"manifest"),
            roster: Roster { initiator: self.member(INITIATOR, "host"), peers: vec![self.member(PEER, "guest")] },
            roster_value: commitment(9),
            configuration: json!({ "name": "bob" }),
            ends_at: now() + Span::from_hours(8),
        }
    }
    fn report(&self, of: SessionId) -> Envelope {
        let report = Report {
            session: of,
            generation: 1,
            package: Some(Digest::of(b"package")),
            state: ReportState::Failed,
            failure: Some(Failure { code: Code::NotReady, text: "too slow".to_owned(), tail: Some("…".to_owned()) }),
        };
        self.message(10, PEER, PROVIDER, report).seal(&self.keys[PEER])
    }
    fn progress(&self, reports: Vec<Envelope>) -> Progress {
        Progress { session: session(), state: SessionState::Running, answers: Vec::new(), reports, failure: None }
    }
    /// One of each type, in the order in which a session has them.
    fn good(&self) -> Vec<Message> {
        let play = Play::default();
        let asked = MessageId::from_bytes([1; 16]);
        let interface = play.interface(asked, deployctl::model::Nonce::from_bytes([4; 16]));
        let mut request = self.message(42, INITIATOR, PROVIDER, self.request());
        request.head.id = session().request();
        let registration = Registration {
            service_request: session().request(),
            session: session(),
            invited: vec![self.keys[PEER].key()],
        };
        let invitation = self.message(4, PROVIDER, PEER, self.invitation());
        let answer = Answer {
            session: session(),
            invitation: invitation.head.id,
            invitation_hash: invitation.hash(),
            answer: Verdict::Accept,
            reason: None,
            platform: "linux-x86_64".parse().unwrap(),
            address: self.address(PEER),
        };
        let usage =
            [("minute".parse().unwrap(), serde_json::from_value(json!({"amount": "1.5", "unit": "min"})).unwrap())];
        let accounting = Accounting {
            session: session(),
            sequence: 1,
            kind: AccountingKind::Final,
            usage: usage.into_iter().collect(),
            previous: None,
        };
        let accounting = self.message(13, INITIATOR, PROVIDER, accounting);
        let receipt = Receipt {
            session: session(),
            accounting: accounting.head.id,
            sequence: 1,
            hash: accounting.hash(),
            accepted: true,
            why: None,
        };
        let report = self.report(session());
        let reported = Verified::open(report.clone()).unwrap().into_parts().0;
        let terminate = Terminate {
            session: session(),
            reason: "the game is over".to_owned(),
            outcome: SessionState::Closed,
            asked_by: None,
            failure: None,
        };
        let leave = Leave { session: session(), reason: "my train leaves".to_owned() };
        vec![
            self.message(1, INITIATOR, PROVIDER, interface_request(&self.address(INITIATOR))),
            self.message(2, PROVIDER, INITIATOR, interface),
            request,
            self.notification(),
            self.message(3, PROVIDER, INITIATOR, registration),
            invitation,
            self.message(5, PEER, PROVIDER, answer),
            self.message(6, PROVIDER, INITIATOR, self.progress(vec![report])),
            self.message(7, PROVIDER, PEER, self.delivery()),
            reported,
            self.message(8, PROVIDER, PEER, Start { session: session() }),
            self.message(9, INITIATOR, PROVIDER, terminate),
            self.message(11, PEER, PROVIDER, leave),
            accounting,
            self.message(14, PROVIDER, INITIATOR, receipt),
        ]
    }
    fn signer(&self, message: &Message) -> &SigningKey {
        self.keys.iter().find(|key| key.key() == message.head.from).unwrap()
    }
    /// The bad ones: name, expected code, the bytes of the file.
    fn bad(&self) -> Vec<(&'static str, Code, Vec<u8>)> {
        let start = self.message(8, PROVIDER, PEER, Start { session: session() });
        let signer = &self.keys[PROVIDER];
        let kind = start.body.media_type();
        let good = start.seal(signer);
        let json = serde_json::to_value(&good).unwrap();
        let edited = |edit: &dyn Fn(&mut Value)| {
            let mut json = json.clone();
            edit(&mut json);
            serde_json::to_vec(&json).unwrap()
        };
        let text = String::from_utf8(start.to_payload()).unwrap();
        let payload = |text: String| Envelope::seal(&kind, text.into_bytes(), signer).to_json();
        let sealed = |message: Message| message.seal(self.signer(&message)).to_json();
        let headed = |edit: &dyn Fn(&mut Head)| {
            let mut message = start.clone();
            edit(&mut message.head);
            sealed(message)
        };
        let open = text.strip_suffix('}').unwrap().to_owned();
        let mut request = self.message(1, INITIATOR, PROVIDER, interface_request(&self.address(INITIATOR)));
        request.head.expires = Some(now() - Span::from_ms(1));
        let mut unlimited = request.clone();
        unlimited.head.expires = None;
        let twice = json["signatures"][0].clone();
        let mut list = vec![
            (
                "bad-signature",
                Code::BadSignature,
                edited(&|json| json["signatures"][0]["sig"] = json!(BASE64.encode(&[1; 64]))),
            ),
            ("short-signature", Code::BadSignature, edited(&|json| json["signatures"][0]["sig"] = json!("AAAA"))),
            (
                "changed-payload",
                Code::BadSignature,
                edited(&|json| json["payload"] = json!(BASE64.encode(open.as_bytes()))),
            ),
            (
                "changed-payload-type",
                Code::BadSignature,
                edited(&|json| json["payloadType"] = json!(kind.replace("start", "leave"))),
            ),
            ("wrong-signer", Code::WrongKey, start.seal(&self.keys[PEER]).to_json()),
            (
                "foreign-keyid",
                Code::BadSignature,
                edited(&|json| json["signatures"][0]["keyid"] = json!(self.keys[PEER].key())),
            ),
            ("keyid-not-a-key", Code::BadSignature, edited(&|json| json["signatures"][0]["keyid"] = json!("me"))),
            ("two-signatures", Code::BadSignature, edited(&|json| json["signatures"] = json!([twice, twice]))),
            ("no-signature", Code::BadSignature, edited(&|json| json["signatures"] = json!([]))),
            ("duplicate-keys", Code::BadMessage, payload(format!("{open},\"id\":\"{}\"}}", session()))),
            ("trailing-garbage", Code::BadMessage, payload(format!("{text} {{}}"))),
            ("bom", Code::BadMessage, payload(format!("\u{feff}{text}"))),
            ("deep-nesting", Code::BadMessage, payload(format!("{open},\"x\":{}{}}}", "[".repeat(40), "]".repeat(40)))),
            ("not-json", Code::BadMessage, payload("start".to_owned())),
            ("not-an-object", Code::BadMessage, payload("[]".to_owned())),
            ("missing-field", Code::BadMessage, payload(text.replace("\"session\"", "\"sesson\""))),
            (
                "unknown-type",
                Code::UnknownType,
                Envelope::seal(&kind.replace("start", "teleport"), text.clone().into_bytes(), signer).to_json(),
            ),
            (
                "unknown-version",
                Code::UnknownType,
                Envelope::seal(&kind.replace("v1", "v2"), text.clone().into_bytes(), signer).to_json(),
            ),
            (
                "foreign-type",
                Code::UnknownType,
                Envelope::seal("application/vnd.in-toto+json", text.clone().into_bytes(), signer).to_json(),
            ),
            ("wrong-recipient", Code::WrongRecipient, headed(&|head| head.to = self.keys[INITIATOR].key())),
            ("from-future", Code::FromFuture, headed(&|head| head.issued = now() + Span::from_secs(301))),
            ("unexpected-expires", Code::BadMessage, headed(&|head| head.expires = Some(now() + Span::from_hours(1)))),
            ("missing-expires", Code::BadMessage, sealed(unlimited)),
            ("expired", Code::Expired, sealed(request)),
            ("bad-base64", Code::BadMessage, edited(&|json| json["payload"] = json!("e30_!"))),
            ("payload-not-text", Code::BadMessage, edited(&|json| json["payload"] = json!({}))),
            ("envelope-trailing-garbage", Code::BadMessage, [good.to_json(), b"x".to_vec()].concat()),
            ("envelope-duplicate-keys", Code::BadMessage, {
                let text = String::from_utf8(good.to_json()).unwrap();
                text.replacen('{', "{\"payloadType\":\"text/plain\",", 1).into_bytes()
            }),
        ];
        list.extend(self.bad_inside());
        list
    }
    /// Sound envelopes with something false inside.
    fn bad_inside(&self) -> Vec<(&'static str, Code, Vec<u8>)> {
        let progress =
            |reports| self.message(6, PROVIDER, PEER, self.progress(reports)).seal(&self.keys[PROVIDER]).to_json();
        let mut forged = self.report(session());
        forged.payload[20] ^= 1;
        let mut misled = self.message(10, PEER, INITIATOR, Start { session: session() });
        misled.head.id = MessageId::from_bytes([77; 16]);
        let invitation = |edit: &dyn Fn(&mut Invitation)| {
            let mut invitation = self.invitation();
            edit(&mut invitation);
            self.message(4, PROVIDER, PEER, invitation).seal(&self.keys[PROVIDER]).to_json()
        };
        let other = notification(
            session(),
            3,
            now(),
            now() + Span::from_hours(1),
            &self.keys[INITIATOR],
            &self.people[INITIATOR],
            &self.people[PROVIDER],
        );
        let forger = self.notification();
        let forger = Message { head: Head { from: self.keys[PROVIDER].key(), ..forger.head }, ..forger };
        vec![
            (
                "progress-with-a-report-of-another-session",
                Code::WrongSession,
                progress(vec![self.report(SessionId::from_bytes([43; 16]))]),
            ),
            ("progress-with-a-forged-report", Code::BadSignature, progress(vec![forged])),
            ("progress-with-a-report-to-another", Code::WrongRecipient, progress(vec![misled.seal(&self.keys[PEER])])),
            (
                "notification-re-aimed-to-another-peer",
                Code::WrongRecipient,
                invitation(&|it| it.notification = other.seal(&self.keys[INITIATOR])),
            ),
            (
                "notification-signed-by-the-provider",
                Code::WrongKey,
                invitation(&|it| it.notification = forger.seal(&self.keys[PROVIDER])),
            ),
            (
                "notification-of-altered-options",
                Code::BadProof,
                invitation(&|it| {
                    it.options = serde_json::from_value(json!({ "level": 9 })).unwrap();
                }),
            ),
            (
                "notification-of-another-session",
                Code::BadProof,
                invitation(&|it| it.session = SessionId::from_bytes([43; 16])),
            ),
            (
                "notification-of-another-service",
                Code::BadProof,
                invitation(&|it| it.service.definition = Digest::of(b"other")),
            ),
            ("notification-of-another-role", Code::BadProof, invitation(&|it| it.role = "host".parse().unwrap())),
            (
                "notification-is-another-message",
                Code::BadMessage,
                invitation(&|it| {
                    it.notification =
                        self.message(8, INITIATOR, PEER, Start { session: session() }).seal(&self.keys[INITIATOR]);
                }),
            ),
        ]
    }
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
    let good = cast.good();
    assert_eq!(good.len(), 15, "one of each type");
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
