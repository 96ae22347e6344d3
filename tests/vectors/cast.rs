//! Everybody in the vectors, and one good message of each type.

use std::collections::BTreeMap;

use deployctl::message::{
    Accounting, AccountingKind, AddPeers, Answer, Body, CloseAnswers, Delivery, Envelope, Failure, Head, Invitation,
    Leave, Message, PackageRef, Person, ProgramDelivery, ProgramReport, ProgramRequest, Progress, Receipt,
    Registration, Report, ReportState, ServiceId, ServiceRequest, ServiceWanted, SigningKey, Start, Terminate, Verdict,
    Verified, Withdraw,
};
use deployctl::model::{Address, Code, Digest, MessageId, Nonce, SessionId, SessionState, Span, Time};
use deployctl::service::{Member, Roster};
use serde_json::json;

use super::support::play::{
    Play, address, commitment, interface_request, key_secret, notification, person, service, signing_key, terms,
};

pub(crate) fn now() -> Time {
    "2026-01-31T18:00:00Z".parse().unwrap()
}
pub(crate) fn session() -> SessionId {
    SessionId::from_bytes([42; 16])
}

/// Everybody's key and address: the Initiator, the provider, a peer.
pub(crate) struct Cast {
    pub(crate) keys: [SigningKey; 3],
    pub(crate) people: [Person; 3],
}
pub(crate) const INITIATOR: usize = 0;
pub(crate) const PROVIDER: usize = 1;
pub(crate) const PEER: usize = 2;

impl Cast {
    pub(crate) fn new() -> Self {
        let keys = [0, 1, 2].map(signing_key);
        let at = |number: u8| address(signing_key(number).key(), number);
        let people = [person("alice", &at(0)), person("provider", &at(1)), person("bob", &at(2))];
        Self { keys, people }
    }
    pub(crate) fn address(&self, who: usize) -> Address {
        self.people[who].address.clone()
    }
    pub(crate) fn message(&self, number: u8, from: usize, to: usize, body: impl Into<Body>) -> Message {
        let body = body.into();
        let expiring = ["interface-request", "interface", "service-request", "invitation", "program-request"]
            .contains(&body.kind());
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
    pub(crate) fn notification(&self) -> Message {
        let signer = &self.keys[INITIATOR];
        let expires = now() + Span::from_hours(1);
        notification(session(), 1, now(), expires, signer, &self.people[INITIATOR], &self.people[PEER], "guest")
    }
    pub(crate) fn request(&self) -> ServiceRequest {
        let play = Play::default();
        let interface = play.interface(MessageId::from_bytes([1; 16]), Nonce::from_bytes([4; 16]));
        let people = [self.people[INITIATOR].clone(), self.people[PEER].clone()];
        play.request(&interface, session(), now(), &self.keys[INITIATOR], &people)
    }
    pub(crate) fn invitation(&self) -> Invitation {
        let request = self.request();
        Invitation {
            peer: "ben".parse().unwrap(),
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
            tariff: serde_json::from_value(json!({"currency": "EUR", "per": {"minute": "0.02"}})).unwrap(),
            key: key_secret().commitment(),
            notification: self.notification().seal(&self.keys[INITIATOR]),
            answer_by: request.answer_by,
            ends_at: request.ends_at,
        }
    }
    pub(crate) fn member(&self, who: usize, role: &str) -> Member {
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
    pub(crate) fn delivery(&self) -> Delivery {
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
    pub(crate) fn report(&self, of: SessionId) -> Envelope {
        let report = Report {
            session: of,
            generation: 1,
            package: Some(Digest::of(b"package")),
            state: ReportState::Failed,
            failure: Some(Failure { code: Code::NotReady, text: "too slow".to_owned(), tail: Some("…".to_owned()) }),
            back_to: None,
        };
        self.message(10, PEER, PROVIDER, report).seal(&self.keys[PEER])
    }
    pub(crate) fn progress(&self, reports: Vec<Envelope>) -> Progress {
        Progress {
            session: session(),
            state: SessionState::Running,
            answers: Vec::new(),
            reports,
            withdrawn: Vec::new(),
            failure: None,
        }
    }
    /// One of each type, in the order in which a session has them.
    /// A program is asked for, handed over, and runs well.
    pub(crate) fn program(&self) -> [Message; 3] {
        let program = ServiceId {
            name: "chess".parse().unwrap(),
            version: semver::Version::new(1, 2, 3),
            definition: Digest::of(b"definition"),
        };
        let package = PackageRef { digest: Digest::of(b"package"), size: 1000 };
        let request = ProgramRequest {
            program: ServiceWanted { name: program.name.clone(), version: Some("^1.2".parse().unwrap()) },
            signer: None,
            asked_by: self.people[PEER].clone(),
            device: serde_json::from_value(json!({
                "platform": "linux-x86_64", "system": "Debian GNU/Linux 12", "memory": 4_000_000_000_u64, "display": true,
                "tools": {"python": "3.11.2", "sh": true, "wine": false},
            }))
            .unwrap(),
            enables: Some("_door._tcp".to_owned()),
        };
        let request = self.message(20, PEER, PROVIDER, request);
        let delivery = ProgramDelivery {
            program: program.clone(),
            signer: self.keys[PROVIDER].key(),
            role: "board".parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            package,
            manifest: Digest::of(b"manifest"),
            options: serde_json::from_value(json!({"level": 3})).unwrap(),
            secret_options: BTreeMap::from([("code".parse().unwrap(), commitment(9))]),
            configuration: json!({ "name": "bob" }),
        };
        let mut delivery = self.message(21, PROVIDER, PEER, delivery);
        delivery.head.in_reply_to = Some(request.head.id);
        let report = ProgramReport {
            delivery: delivery.head.id,
            program,
            package: package.digest,
            state: ReportState::Confirmed,
            failure: None,
        };
        [request, delivery, self.message(22, PEER, PROVIDER, report)]
    }
    pub(crate) fn good(&self) -> Vec<Message> {
        let play = Play::default();
        let asked = MessageId::from_bytes([1; 16]);
        let interface = play.interface(asked, Nonce::from_bytes([4; 16]));
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
        let usage = serde_json::from_value(json!({"minute": {"amount": "1.5", "unit": "min"}})).unwrap();
        let accounting =
            Accounting { session: session(), sequence: 1, kind: AccountingKind::Final, usage, previous: None };
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
        let add = AddPeers { session: session(), peers: self.request().peers };
        let withdraw = Withdraw {
            session: session(),
            peer: self.keys[PEER].key(),
            reason: "we are full".to_owned(),
            asked_by: Some(MessageId::from_bytes([17; 16])),
        };
        let leave = Leave { session: session(), reason: "my train leaves".to_owned() };
        vec![
            self.message(1, INITIATOR, PROVIDER, interface_request(&self.address(INITIATOR))),
            self.message(2, PROVIDER, INITIATOR, interface),
            request,
            self.notification(),
            self.message(3, PROVIDER, INITIATOR, registration),
            invitation,
            self.message(15, INITIATOR, PROVIDER, add),
            self.message(16, INITIATOR, PROVIDER, CloseAnswers { session: session() }),
            self.message(18, PROVIDER, PEER, withdraw),
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
    pub(crate) fn signer(&self, message: &Message) -> &SigningKey {
        self.keys.iter().find(|key| key.key() == message.head.from).unwrap()
    }
}
