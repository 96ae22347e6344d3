//! What comes in: opened, looked up as a repeat, checked, admitted, stepped, answered. Nothing is said before it is
//! durable.

use std::net::IpAddr;
use std::sync::Arc;

use super::books;
use super::catalogue;
use super::forks;
use super::invitations;
use super::node::Node;
use super::programs::{handed, offer};
use super::sitting::{Sitting, message_of};
use crate::message::secret::roster_secret;
use crate::message::{Body, Commitment, Message, Secrets, Verified};
use crate::model::{Code, Error, Event, Key, Party, Result, SessionId};
use crate::node::Answer;
use crate::node::Posted;
use crate::session::record::{Replayed, Sent};
use crate::session::{Machine, What};
use crate::store::audit;
use crate::store::secrets::Secrets as SecretStore;

/// Who handed a message over: over its own connection, or through its provider's inbox.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub key: Key,
    /// Absent for what this node fetched itself.
    pub ip: Option<IpAddr>,
}

impl Node {
    /// Takes a message; its refusal is audited.
    pub fn take(&self, source: Source, posted: Posted) -> Answer {
        match self.take_in(source, posted) {
            Ok(Some(reply)) => Answer::Reply(reply),
            Ok(None) => Answer::Accepted,
            Err(error) => {
                self.audit_refusal(source, &error);
                Answer::Refused(error)
            }
        }
    }
    fn audit_refusal(&self, source: Source, error: &Error) {
        let entry =
            audit::Entry { key: Some(source.key), ip: source.ip, what: error.message.clone(), code: Some(error.code) };
        // An audit that cannot be written must not change the answer.
        let _ = self.audit.record(self.system.now(), entry);
    }
    fn take_in(&self, source: Source, posted: Posted) -> Result<Option<Posted>> {
        let message = Verified::open(posted.envelope)?;
        if message.head.from != source.key {
            return Err(Error::new(
                Code::WrongKey,
                format!(
                    "a {} from {} came over a connection of {}",
                    message.body,
                    message.head.from.short(),
                    source.key.short()
                ),
            ));
        }
        match &message.body {
            Body::InterfaceRequest(_) => catalogue::interface_request(self, &message, source).map(Some),
            Body::ServiceRequest(_) => catalogue::service_request(self, &message, &posted.secrets, source),
            Body::Rotated(rotated) => self.rotated(&message, rotated).map(|()| None),
            Body::Enrol(_) => self.enrol(&message, &posted.secrets, source).map(Some),
            Body::ProgramRequest(_) => offer::program_request(self, &message, source),
            Body::ProgramReport(_) => handed::program_report(self, &message).map(|()| None),
            Body::Invitation(_) => invitations::take(self, &message, &posted.secrets).map(|()| None),
            _ => self.take_in_session(source, &message, &posted.secrets),
        }
    }

    /// A message of a session that this node has a part in.
    fn take_in_session(
        &self,
        source: Source,
        message: &Verified<Message>,
        secrets: &Secrets,
    ) -> Result<Option<Posted>> {
        let session = message
            .body
            .session()
            .ok_or_else(|| Error::new(Code::WrongSession, format!("a {} names no session", message.body)))?;
        let party = self.addressed_party(session, message)?;
        let mut sitting = self.sit(session, party)?;
        forks::refuse(self, session, sitting.existing()?, message)?;
        if let Some(answer) = repeat(sitting.existing()?, message)? {
            return self.repeat_answer(&sitting, answer);
        }
        message.check_fresh(&self.key(), self.system.now())?;
        message.check_nested()?;
        self.keep_secrets(session, &commitments(message, sitting.existing()?, secrets), secrets)?;
        let seen_from = source.ip.map(|ip| ip.to_string());
        let sent = sitting.step(What::Received { message: message.clone(), seen_from })?;
        self.emit(Event::Message {
            session,
            party,
            direction: crate::model::event::Direction::Received,
            kind: message.body.kind(),
            id: message.head.id,
            with: source.key.short(),
        });
        books::keep(self, sitting.existing()?, session)?;
        Ok(sent
            .into_iter()
            .find(|sent| sent.reply)
            .map(|sent| Posted { envelope: sent.envelope, secrets: Secrets::new() }))
    }

    /// The stored answer again; what the ledger should hold is made sure of before.
    fn repeat_answer(&self, sitting: &Sitting<'_>, answer: Option<Arc<Sent>>) -> Result<Option<Posted>> {
        books::keep(self, sitting.existing()?, sitting.session)?;
        Ok(answer.map(|sent| Posted { envelope: sent.envelope.clone(), secrets: Secrets::new() }))
    }

    /// Which of this node's parts a message is for. A node does not take its own messages: where it plays two parts in
    /// a session, the one that sent it is not the one that it is for.
    fn addressed_party(&self, session: SessionId, message: &Verified<Message>) -> Result<Party> {
        let candidates: &[Party] = match message.body {
            Body::Answer(_)
            | Body::Report(_)
            | Body::Leave(_)
            | Body::Accounting(_)
            | Body::AddPeers(_)
            | Body::CloseAnswers(_) => &[Party::Provider],
            Body::Withdraw(_) => &[Party::Provider, Party::Peer],
            Body::Start(_) | Body::Terminate(_) => &[Party::Provider, Party::Initiator, Party::Peer],
            _ => &[Party::Initiator, Party::Peer],
        };
        let mut refused = None;
        for party in candidates {
            let Ok(replayed) = self.read(session, *party) else { continue };
            let own = replayed.outbox.iter().any(|sent| sent.id == message.head.id);
            if !own && may_come_from(&replayed.machine, message.head.from) {
                return Ok(*party);
            }
            refused = Some(*party);
        }
        let error = match refused {
            Some(_) => Error::new(
                Code::NotPermitted,
                format!(
                    "{} has no part in session {} from which it may send a {}",
                    message.head.from.short(),
                    session.short(),
                    message.body
                ),
            ),
            None => Error::new(Code::NotFound, format!("this node has no part in session {}", session.short())),
        };
        Err(error.about(session))
    }

    /// Secrets are durable before the message that brought them counts as taken.
    pub(super) fn keep_secrets(
        &self,
        session: SessionId,
        due: &[(String, Commitment)],
        secrets: &Secrets,
    ) -> Result<()> {
        let store = SecretStore::of(&self.state, session);
        for (name, commitment) in due {
            let secret = secrets.get(name).ok_or_else(|| {
                Error::new(Code::BadProof, format!("the secret {name:?} is missing beside the message"))
            })?;
            secret.open(commitment, name)?;
            store.put_json(name, secret)?;
        }
        Ok(())
    }
}

/// The secrets that a message commits to and that must come beside it.
fn commitments(message: &Message, replayed: &Replayed, secrets: &Secrets) -> Vec<(String, Commitment)> {
    let Body::Delivery(delivery) = &message.body else { return Vec::new() };
    let mut due = vec![(roster_secret(delivery.generation), delivery.roster_value)];
    let options = match &replayed.machine {
        Machine::Peer(peer) => Some(&peer.invitation.secret_options),
        Machine::Initiator(initiator) => initiator.active().map(|active| &active.request.secret_options),
        Machine::Provider(_) => None,
    };
    let named = options.into_iter().flatten().map(|(name, commitment)| (format!("option.{name}"), *commitment));
    due.extend(named.filter(|(name, _)| secrets.contains_key(name)));
    due
}

fn may_come_from(machine: &Machine, from: Key) -> bool {
    match machine {
        Machine::Initiator(initiator) => initiator.provider.key == from,
        Machine::Peer(peer) => peer.provider.key == from,
        Machine::Provider(provider) => provider.participants.iter().any(|one| one.key() == from),
    }
}

/// A repeat is not an attack: the same id with the same bytes gets the stored answer, with other bytes it is refused.
#[expect(clippy::option_option, reason = "no repeat, a repeat without an answer, a repeat with one")]
pub(super) fn repeat(replayed: &Replayed, message: &Verified<Message>) -> Result<Option<Option<Arc<Sent>>>> {
    let Some((_, envelope, answer)) = replayed.received.iter().find(|(id, _, _)| *id == message.head.id) else {
        return Ok(None);
    };
    if envelope.payload == message.envelope().payload && envelope.payload_type == message.envelope().payload_type {
        return Ok(Some(answer.clone()));
    }
    Err(Error::new(Code::Replay, format!("the id of this {} was used before for another message", message.body)))
}

impl Node {
    /// Steps a reply that came on the connection of a message of ours.
    pub(super) fn take_reply(&self, session: SessionId, party: Party, posted: Posted) -> Result<()> {
        let message = Verified::open(posted.envelope)?;
        let mut sitting = self.sit(session, party)?;
        let replayed = sitting.existing()?;
        if let Err(error) = forks::refuse(self, session, replayed, &message) {
            self.audit_refusal(Source { key: message.head.from, ip: None }, &error);
            return Err(error);
        }
        if repeat(replayed, &message)?.is_some() {
            return Ok(());
        }
        let asked = replayed.outbox.iter().find(|sent| Some(sent.id) == message.head.in_reply_to);
        let Some(asked) = asked else { return Ok(()) };
        if message_of(asked)?.head.to != message.head.from {
            return Err(Error::new(
                Code::WrongKey,
                format!("a {} from another than the one that was asked", message.body),
            )
            .about(session));
        }
        message.check_fresh(&self.key(), self.system.now())?;
        match &message.body {
            Body::Interface(interface) => {
                self.keep_secrets(session, &[("key".to_owned(), interface.key)], &posted.secrets)?;
            }
            Body::Receipt(receipt) if receipt.hash != asked.envelope.hash() => {
                let why = format!("the receipt for accounting {} is for another than was sent", receipt.sequence);
                return Err(Error::new(Code::BrokenChain, why).about(session));
            }
            _ => {}
        }
        sitting.step(What::Received { message, seen_from: None })?;
        books::keep(self, sitting.existing()?, session)
    }
}
