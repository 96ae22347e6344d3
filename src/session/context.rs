//! What a step works with: it can queue messages, and nothing else. The caller reads the queue when the step is done.

use crate::message::{Body, Head, Message};
use crate::model::{Address, Error, Key, MessageId, Seed, SessionId, Span, Time};

/// A message that a step wants sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub to: Address,
    pub message: Message,
    /// Names of the secrets that travel beside it.
    pub secrets: Vec<String>,
    /// Whether it is the answer on the same connection rather than a message of its own.
    pub reply: bool,
}

/// What every machine knows of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Own {
    pub(super) me: Key,
    pub(super) session: SessionId,
    /// When the latest message was issued: messages of one party in one session are ordered by their `issued`.
    pub(super) last_issued: Time,
}

/// Collects what a step sends.
pub(super) struct Context<'a> {
    own: &'a mut Own,
    pub(super) now: Time,
    seed: Seed,
    drawn: u32,
    /// The sending party's session's first message has the session's id.
    pub(super) sends: Vec<Outgoing>,
}

impl<'a> Context<'a> {
    pub(super) fn new(own: &'a mut Own, now: Time, seed: Seed) -> Self {
        Self { own, now, seed, drawn: 0, sends: Vec::new() }
    }
    pub(super) fn session(&self) -> SessionId {
        self.own.session
    }
    fn head(&mut self, to: Key) -> Head {
        let id = self.seed.message_id(self.drawn);
        self.drawn += 1;
        let next = self.own.last_issued + Span::from_ms(1);
        self.own.last_issued = self.now.max(next);
        Head { id, from: self.own.me, to, issued: self.own.last_issued, in_reply_to: None, expires: None }
    }
    /// Queues a message; returns it for what the caller must remember of it.
    pub(super) fn send(&mut self, to: &Address, body: impl Into<Body>) -> &mut Outgoing {
        let head = self.head(to.key);
        let message = Message { head, body: body.into() };
        self.sends.push(Outgoing { to: to.clone(), message, secrets: Vec::new(), reply: false });
        self.sends.last_mut().expect("one was pushed")
    }
    /// Queues the answer to `question`.
    pub(super) fn reply(&mut self, to: &Address, question: MessageId, body: impl Into<Body>) {
        let outgoing = self.send(to, body);
        outgoing.message.head.in_reply_to = Some(question);
        outgoing.reply = true;
    }
    /// An error that concerns this session.
    pub(super) fn refuse(&self, code: crate::model::Code, message: impl Into<String>) -> Error {
        Error::new(code, message).about(self.own.session)
    }
}
