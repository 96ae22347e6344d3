//! One node of the theatre: its log, its disk, its supervisor, and a driver that keeps the order of the real one.

use std::collections::BTreeMap;

use deployctl::message::{Body, Envelope, Message, SigningKey, Verified};
use deployctl::model::{Address, Code, Error, Key, MessageId, Party, Seed, SessionId, SessionState, Span, Time};
use deployctl::session::record::{Sent, id_of};
use deployctl::session::{
    Decision, Entry, Input, Machine, Meter, Outcome, Outgoing, Replayed, Summary, What, Work, replay,
};
use serde_json::Value;

use super::play::{Play, Script, address, give_interface, signing_key};

/// A record as a log holds it.
pub type Record = (String, Time, Value);

pub struct Node {
    pub party: Party,
    pub key: SigningKey,
    pub address: Address,
    pub session: SessionId,
    pub script: Script,
    pub alive: bool,
    /// Survives a crash.
    pub log: Vec<Record>,
    /// Software is on this machine.
    pub disk: bool,
    /// A supervisor runs the program, since when.
    pub running: Option<Time>,
    pub meter: Meter,
    /// Lost in a crash.
    pub live: Option<Replayed>,
    /// What is being carried out.
    pub busy: Vec<Work>,
    /// When to send what is in the outbox again, and how often it was sent.
    pub retries: BTreeMap<MessageId, (Time, u32)>,
    /// The outbox: ids and when they expire.
    pub waiting: Vec<(MessageId, Option<Time>)>,
    /// The provider's interfaces, by request.
    interfaces: BTreeMap<MessageId, (Envelope, Envelope)>,
    /// Crash in the middle of the next append, after so many records.
    pub tear_after: Option<usize>,
    drawn: u64,
}

/// What a node answers on the connection that a message came on.
pub type Answered = Result<Option<Envelope>, Error>;

impl Node {
    pub fn new(party: Party, number: u8, session: SessionId) -> Self {
        let key = signing_key(number);
        let address = address(key.key(), number);
        Self {
            party,
            key,
            address,
            session,
            script: Script::default(),
            alive: true,
            log: Vec::new(),
            disk: false,
            running: None,
            meter: Meter::default(),
            live: None,
            busy: Vec::new(),
            retries: BTreeMap::new(),
            waiting: Vec::new(),
            interfaces: BTreeMap::new(),
            tear_after: None,
            drawn: 0,
        }
    }
    pub fn me(&self) -> Key {
        self.key.key()
    }
    pub fn machine(&self) -> Option<&Machine> {
        self.live.as_ref().map(|live| &live.machine)
    }
    pub fn summary(&self) -> Summary {
        self.machine().expect("the session is known here").summary()
    }
    pub fn state(&self) -> Option<SessionState> {
        self.machine().map(|machine| machine.summary().state)
    }
    /// What the log says, read back as the real driver does.
    pub fn replayed(&self) -> Option<Replayed> {
        let entries: Vec<_> =
            self.log.iter().map(|(kind, time, body)| Entry::from_record(kind, *time, body.clone()).unwrap()).collect();
        replay(self.party, self.me(), self.session, &entries).unwrap_or_else(|why| panic!("{}: {why}", self.party))
    }
    /// The log alone gives the same state, outbox and accounts as what was kept in memory.
    pub fn assert_log_tells_state(&self) {
        let (Some(live), Some(replayed)) = (&self.live, self.replayed()) else { return };
        assert_eq!(replayed.machine.summary(), live.machine.summary());
        assert_eq!(replayed.machine.work(), live.machine.work());
        assert_eq!(replayed.machine.wake_at(), live.machine.wake_at());
        assert_eq!(replayed.outbox, live.outbox);
        assert_eq!(replayed.received, live.received);
        assert_eq!(replayed.accounts, live.accounts);
        assert!(replayed.unsent.is_empty());
    }
    /// To whom a message in the outbox goes.
    pub fn receiver_of(&self, id: MessageId) -> Option<Key> {
        let sent = self.live.as_ref()?.outbox.iter().find(|sent| id_of(sent) == Some(id))?;
        Some(sent.to.key)
    }
    /// Everything in memory is lost.
    pub fn crash(&mut self) {
        self.alive = false;
        self.live = None;
        self.busy.clear();
        self.retries.clear();
        self.waiting.clear();
    }
    /// Reads the log, and writes what the last append did not get to.
    pub fn restart(&mut self, now: Time) {
        self.alive = true;
        self.tear_after = None;
        self.live = self.replayed();
        let Some(live) = &mut self.live else { return };
        for outgoing in std::mem::take(&mut live.unsent) {
            let sent = seal(&outgoing, &self.key);
            live.note_sent(&sent).unwrap();
            let (kind, body) = Entry::Sent(sent).to_record();
            self.log.push((kind.to_owned(), now, body));
        }
        self.note_waiting();
    }
    fn note_waiting(&mut self) {
        let outbox = self.live.iter().flat_map(|live| &live.outbox);
        self.waiting = outbox.map(|sent| (id_of(sent).unwrap(), expires(sent))).collect();
    }
    fn input(&mut self, now: Time, what: What) -> Input {
        self.drawn += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.drawn.to_le_bytes());
        seed[8..16].copy_from_slice(&self.me().as_bytes()[..8]);
        Input { now, seed: Seed::from_bytes(seed), what }
    }
    /// One step: state changes only if it is in the log, and nothing is said before.
    pub fn take(&mut self, now: Time, what: What) -> Result<(), Error> {
        let input = self.input(now, what);
        let step = match &self.live {
            None => Machine::begin(self.party, self.me(), self.session, &input)?,
            Some(live) => live.machine.step(&input)?,
        };
        self.append(&[input], step.state, &step.sends)
    }
    /// The provider's first step: what was given out, then the request, or nothing at all.
    fn open(&mut self, now: Time, message: Verified<Message>) -> Result<(), Error> {
        let Body::ServiceRequest(request) = &message.body else {
            return Err(Error::new(Code::NotFound, "there is no such session here"));
        };
        let interface = self.interfaces.get(&request.interface_request).map(|(_, given)| given.clone());
        let interface = interface.ok_or_else(|| Error::new(Code::NotFound, "no such interface was given out"))?;
        let opened = Decision::Open { interface, provider: self.address.clone(), tells_tariff: true };
        let first = self.input(now, What::Decided(opened));
        let begun = Machine::begin(self.party, self.me(), self.session, &first)?;
        let second = self.input(now, What::Received { message, seen_from: None });
        let step = begun.state.step(&second)?;
        self.append(&[first, second], step.state, &step.sends)
    }
    fn append(&mut self, inputs: &[Input], state: Machine, sends: &[Outgoing]) -> Result<(), Error> {
        let now = inputs[0].now;
        let sealed: Vec<_> = sends.iter().map(|outgoing| seal(outgoing, &self.key)).collect();
        let records = inputs.iter().cloned().map(Entry::Input).chain(sealed.iter().cloned().map(Entry::Sent));
        let mut records: Vec<_> = records.map(|entry| entry.to_record()).collect();
        if let Some(kept) = self.tear_after.take() {
            records.truncate(kept);
        }
        let torn = records.len() < inputs.len() + sealed.len();
        self.log.extend(records.into_iter().map(|(kind, body)| (kind.to_owned(), now, body)));
        if torn {
            self.crash();
            return Err(Error::new(Code::Io, "crashed while writing the log"));
        }
        let live = match &mut self.live {
            Some(live) => {
                live.machine = state;
                live
            }
            none => none.insert(Replayed::begun(state)),
        };
        inputs.iter().for_each(|input| live.note_input(input));
        sealed.iter().for_each(|sent| live.note_sent(sent).unwrap());
        self.note_waiting();
        Ok(())
    }
    /// A message came in.
    pub fn deliver(&mut self, now: Time, bytes: &[u8], play: &Play) -> Answered {
        let envelope = Envelope::from_json(bytes)?;
        let message = Verified::open(envelope)?;
        if matches!(message.body, Body::InterfaceRequest(_)) {
            return self.asked(now, &message, play);
        }
        if let Some(answer) = self.repeated(&message)? {
            return Ok(answer);
        }
        message.check_fresh(&self.me(), now)?;
        message.check_nested()?;
        if self.script.turns_away == Some(message.body.kind()) {
            return Err(Error::new(Code::NotPermitted, "we do not know you"));
        }
        let id = message.head.id;
        if self.party == Party::Provider && self.live.is_none() {
            self.open(now, message)?;
        } else {
            self.take(now, What::Received { message, seen_from: None })?;
        }
        Ok(self.stored_answer(id))
    }
    fn asked(&mut self, now: Time, message: &Verified<Message>, play: &Play) -> Answered {
        if let Some((asked, given)) = self.interfaces.get(&message.head.id) {
            let same = asked == message.envelope();
            return if same { Ok(Some(given.clone())) } else { Err(Error::new(Code::Replay, "another request")) };
        }
        message.check_fresh(&self.me(), now)?;
        let given = give_interface(play, message, now, &self.key).unwrap();
        self.interfaces.insert(message.head.id, (message.envelope().clone(), given.clone()));
        Ok(Some(given))
    }
    /// The answer that an equal message got before.
    fn repeated(&self, message: &Verified<Message>) -> Result<Option<Option<Envelope>>, Error> {
        let before = self.live.iter().flat_map(|live| &live.received).find(|(id, _, _)| *id == message.head.id);
        match before {
            None => Ok(None),
            Some((_, envelope, answer)) if **envelope == *message.envelope() => {
                Ok(Some(answer.as_ref().map(|sent| sent.envelope.clone())))
            }
            Some(_) => Err(Error::new(Code::Replay, "another message of the same id came before")),
        }
    }
    fn stored_answer(&self, id: MessageId) -> Option<Envelope> {
        let received = &self.live.as_ref()?.received;
        received.iter().find(|(known, _, _)| *known == id)?.2.as_ref().map(|sent| sent.envelope.clone())
    }
    /// The answer to a message that this node sent came back.
    pub fn answered(&mut self, now: Time, question: MessageId, answer: Answered) {
        if !self.waiting.iter().any(|(id, _)| *id == question) {
            return;
        }
        if answer.as_ref().is_err_and(|error| error.code == Code::OutOfOrder) {
            self.retries.insert(question, (now + Span::from_secs(10), 0));
        }
        let outcome = match answer {
            Ok(None) => Some(Outcome::Acknowledged { message: question }),
            Ok(Some(envelope)) => self.reply_came(now, envelope).err().map(|error| (question, error).into_outcome()),
            Err(error) if error.code.may_pass_later() => None,
            Err(error) => Some(Outcome::Refused { message: question, error }),
        };
        if let Some(outcome) = outcome
            && self.alive
        {
            let taken = self.take(now, What::Result(outcome));
            assert!(taken.is_ok() || !self.alive, "what became of a message is always taken: {taken:?}");
        }
    }
    fn reply_came(&mut self, now: Time, envelope: Envelope) -> Result<(), Error> {
        let message = Verified::open(envelope)?;
        if self.repeated(&message)?.is_some() {
            return Ok(());
        }
        if message.head.to != self.me() {
            return Err(Error::new(Code::WrongRecipient, "a reply to somebody else"));
        }
        self.take(now, What::Received { message, seen_from: None })
    }
}

trait IntoOutcome {
    fn into_outcome(self) -> Outcome;
}
impl IntoOutcome for (MessageId, Error) {
    fn into_outcome(self) -> Outcome {
        Outcome::Refused { message: self.0, error: self.1 }
    }
}

fn seal(outgoing: &Outgoing, key: &SigningKey) -> Sent {
    Sent {
        to: outgoing.to.clone(),
        envelope: outgoing.message.seal(key),
        secrets: outgoing.secrets.clone(),
        reply: outgoing.reply,
    }
}

/// When a message that was sent expires.
pub fn expires(sent: &Sent) -> Option<Time> {
    let payload: Value = serde_json::from_slice(&sent.envelope.payload).unwrap();
    payload.get("expires").map(|time| serde_json::from_value(time.clone()).unwrap())
}
