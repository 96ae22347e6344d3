//! What is played: the service, its interface, the request for it, and what goes wrong at whom.

use std::collections::BTreeMap;

use deployctl::message::body::{Presentation, options_digest};
use deployctl::message::{
    Body, Commitment, Envelope, Head, Interface, InterfaceRequest, Invitee, Message, Notification, OnFailure, Person,
    Quorum, Secret, ServiceId, ServiceRequest, ServiceWanted, SigningKey, Verdict,
};
use deployctl::model::{Address, Code, Digest, Key, MessageId, Nonce, RoleName, SessionId, Span, Time};
use deployctl::service::RoleTerms;
use serde_json::json;

/// How one session is set up.
#[derive(Clone, Debug)]
pub struct Play {
    pub peers: usize,
    /// How many of them the request does not name: the last ones.
    pub later: usize,
    /// The least and the most of a second role for peers, which the first of them takes.
    pub referees: Option<(u32, u32)>,
    pub quorum: Quorum,
    pub on_failure: OnFailure,
    pub hold: bool,
    /// How many guests the service needs at least.
    pub guests: u32,
    /// Whether the peers' role has a run section.
    pub runs: bool,
    pub answer_within: Span,
    pub lasts: Span,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            peers: 2,
            later: 0,
            referees: None,
            quorum: Quorum::All,
            on_failure: OnFailure::Abort,
            hold: false,
            guests: 1,
            runs: true,
            answer_within: Span::from_hours(1),
            lasts: Span::from_hours(8),
        }
    }
}

/// What a node's people and programs do.
#[derive(Clone, Debug)]
pub struct Script {
    /// How a peer answers by itself, and after how long.
    pub answer: Option<(Verdict, Span)>,
    /// Which kind of message its node turns away.
    pub turns_away: Option<&'static str>,
    pub build_fails: bool,
    pub install_fails: bool,
    pub install_takes: Span,
    pub never_ready: bool,
    /// The generation that never gets ready.
    pub unready: Option<u32>,
    /// Generations after the first cannot be installed.
    pub install_fails_later: bool,
    pub exits_after: Option<Span>,
    pub gives_up_after: Option<Span>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            answer: Some((Verdict::Accept, Span::from_secs(20))),
            turns_away: None,
            build_fails: false,
            install_fails: false,
            install_takes: Span::from_secs(5),
            never_ready: false,
            unready: None,
            install_fails_later: false,
            exits_after: None,
            gives_up_after: None,
        }
    }
}

pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 1; 32]).unwrap()
}

pub fn address(key: Key, number: u8) -> Address {
    format!("deploy://{key}@node{number}.example:4800").parse().unwrap()
}

pub fn person(name: &str, address: &Address) -> Person {
    Person { name: name.parse().unwrap(), address: address.clone() }
}

pub fn service() -> ServiceId {
    ServiceId {
        name: "chess".parse().unwrap(),
        version: "1.2.0".parse().unwrap(),
        definition: Digest::of(b"definition"),
    }
}

pub fn terms(side: &str, min: u32, runs: bool) -> RoleTerms {
    let mut terms = json!({ "for": side, "min": min, "platforms": ["any"] });
    if runs {
        terms["run"] = json!({ "command": ["./play"] });
    }
    serde_json::from_value(terms).unwrap()
}

pub fn key_secret() -> Secret {
    Secret::new(vec![7; 32], [1; 32]).unwrap()
}

pub fn commitment(of: u8) -> Commitment {
    Secret::new(vec![of; 32], [of; 32]).unwrap().commitment()
}

pub fn wanted() -> ServiceWanted {
    ServiceWanted { name: "chess".parse().unwrap(), version: None }
}

pub fn interface_request(initiator: &Address) -> InterfaceRequest {
    InterfaceRequest {
        initiator: initiator.clone(),
        service: wanted(),
        presentation: Presentation::default(),
        nonce: Nonce::from_bytes([4; 16]),
    }
}

impl Play {
    /// What the provider offers.
    pub fn interface(&self, request: MessageId, nonce: Nonce) -> Interface {
        Interface {
            interface_request: request,
            request_nonce: nonce,
            service: service(),
            summary: "a game".to_owned(),
            schema: json!({ "type": "object" }),
            roles: self.roles(),
            tariff: None,
            nonce: Nonce::from_bytes([5; 16]),
            key: key_secret().commitment(),
        }
    }
    fn roles(&self) -> BTreeMap<RoleName, RoleTerms> {
        let mut roles = BTreeMap::from([
            ("host".parse().unwrap(), terms("initiator", 1, true)),
            ("guest".parse().unwrap(), terms("peer", self.guests, self.runs)),
        ]);
        if let Some((min, max)) = self.referees {
            let referee = RoleTerms { max: Some(max), ..terms("peer", min, true) };
            roles.insert("referee".parse().unwrap(), referee);
        }
        roles
    }
    /// The role that the Initiator has in mind for the peer of this number, from 0.
    pub fn role_of(&self, peer: usize) -> &'static str {
        if peer == 0 && self.referees.is_some() { "referee" } else { "guest" }
    }
    /// The Initiator's request, with a signed notification to each peer.
    pub fn request(
        &self,
        interface: &Interface,
        session: SessionId,
        now: Time,
        signer: &SigningKey,
        people: &[Person],
    ) -> ServiceRequest {
        let answer_by = now + self.answer_within;
        let peers = people[1..].iter().enumerate().map(|(number, peer)| {
            invitee(session, number, now, answer_by, signer, &people[0], peer, self.role_of(number))
        });
        ServiceRequest {
            interface_request: interface.interface_request,
            interface_nonce: interface.nonce,
            service: interface.service.clone(),
            options: Default::default(),
            secret_options: BTreeMap::new(),
            initiator: people[0].clone(),
            role: "host".parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            quorum: self.quorum,
            on_failure: self.on_failure,
            answer_by,
            ends_at: now + self.lasts,
            hold: self.hold,
            peers: peers.collect(),
        }
    }
}

/// One to be invited, `number` being the peer's, from 0.
#[expect(clippy::too_many_arguments, reason = "all of what a notification says")]
pub fn invitee(
    session: SessionId,
    number: usize,
    now: Time,
    expires: Time,
    signer: &SigningKey,
    initiator: &Person,
    peer: &Person,
    role: &str,
) -> Invitee {
    let number = u8::try_from(number).unwrap() + 1;
    let message = notification(session, number, now, expires, signer, initiator, peer, role);
    let (name, address) = (peer.name.clone(), peer.address.clone());
    Invitee { name, address, role: role.parse().unwrap(), notification: message.seal(signer) }
}

#[expect(clippy::too_many_arguments, reason = "all of what a notification says")]
pub fn notification(
    session: SessionId,
    number: u8,
    issued: Time,
    expires: Time,
    signer: &SigningKey,
    initiator: &Person,
    peer: &Person,
    role: &str,
) -> Message {
    let id = MessageId::from_bytes([200 + number; 16]);
    let body = Notification {
        service_request: session.request(),
        address: peer.address.clone(),
        role: role.parse().unwrap(),
        text: "a game tonight?".to_owned(),
        initiator: initiator.clone(),
        service: service(),
        options: options_digest(&Default::default(), &BTreeMap::new()),
        key_proof: key_secret().prove(id),
    };
    let head = Head { id, from: signer.key(), to: peer.address.key, issued, in_reply_to: None, expires: Some(expires) };
    Message { head, body: body.into() }
}

/// The answer of a provider that gives its interface to everyone.
pub fn give_interface(play: &Play, asked: &Message, now: Time, signer: &SigningKey) -> Option<Envelope> {
    let Body::InterfaceRequest(request) = &asked.body else { return None };
    let mut id = *asked.head.id.as_bytes();
    id[0] ^= 0xff;
    let head = Head {
        id: MessageId::from_bytes(id),
        from: signer.key(),
        to: asked.head.from,
        issued: now,
        in_reply_to: Some(asked.head.id),
        expires: Some(now + Span::from_hours(1)),
    };
    let body = play.interface(asked.head.id, request.nonce).into();
    Some(Message { head, body }.seal(signer))
}

pub fn failure(code: Code, text: &str) -> deployctl::message::Failure {
    deployctl::message::Failure { code, text: text.to_owned(), tail: Some("the last words".to_owned()) }
}
