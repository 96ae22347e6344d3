//! The log as the only truth: what a record holds, and how a machine comes back from its records.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::context::Outgoing;
use super::input::{Decision, Input, Outcome, What};
use super::machine::Machine;
use crate::message::{Body, Envelope, Verified};
use crate::model::{Address, Code, Error, Key, MessageId, Party, Result, Seed, SessionId, Time};

/// One record of a session's log: an input, or a message that the step of the input before it sent.
#[derive(Clone, Debug)]
pub enum Entry {
    Input(Input),
    Sent(Sent),
}

/// A message that was sealed and is to be sent until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub to: Address,
    pub envelope: Envelope,
    /// Names of the secrets that travel beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// It went back as the answer of the message before.
    #[serde(default)]
    pub reply: bool,
}

#[derive(Serialize, Deserialize)]
struct ReceivedBody {
    seed: Seed,
    envelope: Envelope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen_from: Option<String>,
}
#[derive(Serialize, Deserialize)]
struct DecidedBody {
    seed: Seed,
    #[serde(flatten)]
    decision: Decision,
}
#[derive(Serialize, Deserialize)]
struct ResultBody {
    seed: Seed,
    #[serde(flatten)]
    result: Outcome,
}
#[derive(Serialize, Deserialize)]
struct TimerBody {
    seed: Seed,
}

impl Entry {
    /// `received`, `sent`, `decided`, `result` or `timer`, and the body in JSON.
    pub fn to_record(&self) -> (&'static str, Value) {
        let (kind, body) = match self {
            Entry::Sent(sent) => ("sent", serde_json::to_value(sent)),
            Entry::Input(Input { seed, what, .. }) => match what {
                What::Received { message, seen_from } => {
                    let body = ReceivedBody {
                        seed: *seed,
                        envelope: message.envelope().clone(),
                        seen_from: seen_from.clone(),
                    };
                    ("received", serde_json::to_value(body))
                }
                What::Decided(decision) => {
                    ("decided", serde_json::to_value(DecidedBody { seed: *seed, decision: decision.clone() }))
                }
                What::Result(result) => {
                    ("result", serde_json::to_value(ResultBody { seed: *seed, result: result.clone() }))
                }
                What::Timer => ("timer", serde_json::to_value(TimerBody { seed: *seed })),
            },
        };
        (kind, body.expect("a record's fields serialize"))
    }
    /// # Errors
    /// `damaged` where it is not what this program writes.
    pub fn from_record(kind: &str, time: Time, body: Value) -> Result<Self> {
        let damaged =
            |why: serde_json::Error| Error::new(Code::Damaged, format!("a record of kind {kind} does not read: {why}"));
        let input = |seed, what| Entry::Input(Input { now: time, seed, what });
        Ok(match kind {
            "sent" => Entry::Sent(serde_json::from_value(body).map_err(damaged)?),
            "received" => {
                let body: ReceivedBody = serde_json::from_value(body).map_err(damaged)?;
                let message = Verified::from_own_log(body.envelope)?;
                input(body.seed, What::Received { message, seen_from: body.seen_from })
            }
            "decided" => {
                let body: DecidedBody = serde_json::from_value(body).map_err(damaged)?;
                input(body.seed, What::Decided(body.decision))
            }
            "result" => {
                let body: ResultBody = serde_json::from_value(body).map_err(damaged)?;
                input(body.seed, What::Result(body.result))
            }
            "timer" => {
                let body: TimerBody = serde_json::from_value(body).map_err(damaged)?;
                input(body.seed, What::Timer)
            }
            other => return Err(Error::new(Code::Damaged, format!("a record of the unknown kind {other:?}"))),
        })
    }
}

/// A message that waits to be acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub id: MessageId,
    sent: Arc<Sent>,
}
impl Deref for Waiting {
    type Target = Sent;
    fn deref(&self) -> &Sent {
        &self.sent
    }
}

/// A session as its log tells it. Every step works on a copy, so messages are shared by the copies.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub machine: Machine,
    /// Sent and not acknowledged, oldest first.
    pub outbox: Vec<Waiting>,
    /// Every message that came, with the answer that it got on the same connection.
    pub received: Vec<(MessageId, Arc<Envelope>, Option<Arc<Sent>>)>,
    /// Accountings with their receipts, in order: what the ledger must hold.
    pub accounts: Vec<(u64, Arc<Envelope>, Arc<Envelope>)>,
    /// What the last step sends and the log does not hold, because the append was torn: to be sealed and appended before
    /// anything else.
    pub unsent: Vec<Outgoing>,
}

/// Runs the inputs of a log through the machine again. There is no session while a torn first append holds only what the
/// provider opened: the request comes again, and is registered as if for the first time.
///
/// # Errors
/// As [`Replayed::extend`].
pub fn replay(party: Party, me: Key, session: SessionId, entries: &[Entry]) -> Result<Option<Replayed>> {
    let Some((Entry::Input(first), rest)) = entries.split_first() else {
        return match entries {
            [] => Ok(None),
            _ => Err(differs(session, 0, "it begins with a message that was sent")),
        };
    };
    let step = Machine::begin(party, me, session, first).map_err(|why| differs(session, 0, &why.message))?;
    let mut replayed = Replayed::begun(step.state);
    replayed.unsent = step.sends;
    replayed.note_input(first);
    replayed.extend(session, 1, rest)?;
    let founded = !matches!(&replayed.machine, Machine::Provider(provider) if provider.request.is_none());
    Ok(founded.then_some(replayed))
}

impl Replayed {
    /// Goes on with the entries that follow, of which the first has `number` others before it.
    ///
    /// # Errors
    /// `damaged` where a message in the log is not the one that the machine sends at that point, or an input is not one
    /// that it takes.
    pub fn extend(&mut self, session: SessionId, number: usize, entries: &[Entry]) -> Result<()> {
        for (number, entry) in (number..).zip(entries) {
            match entry {
                Entry::Input(input) => {
                    if let Some(missing) = self.unsent.first() {
                        let why = format!("the {} that was to be sent is missing", missing.message.body);
                        return Err(differs(session, number, &why));
                    }
                    let step = self.machine.step(input).map_err(|why| differs(session, number, &why.message))?;
                    self.machine = step.state;
                    self.unsent = step.sends;
                    self.note_input(input);
                }
                Entry::Sent(sent) => {
                    let expected = self.unsent.first().map(|outgoing| outgoing.message.to_payload());
                    if expected.as_ref() != Some(&sent.envelope.payload) {
                        return Err(differs(session, number, "it is not what the machine sends at this point"));
                    }
                    self.unsent.remove(0);
                    self.note_sent(sent)?;
                }
            }
        }
        Ok(())
    }
}

impl Replayed {
    /// The record of a machine that has just begun.
    pub fn begun(machine: Machine) -> Self {
        Self { machine, outbox: Vec::new(), received: Vec::new(), accounts: Vec::new(), unsent: Vec::new() }
    }
    /// Keeps the projections up to date with an input that was taken.
    pub fn note_input(&mut self, input: &Input) {
        match &input.what {
            What::Received { message, .. } => {
                self.received.push((message.head.id, Arc::new(message.envelope().clone()), None));
                if let Some(question) = message.head.in_reply_to {
                    if let Body::Receipt(receipt) = &message.body
                        && let Some(accounting) = self.outbox.iter().find(|sent| sent.id == question)
                    {
                        // Receipts overtake each other on their way back.
                        let place = self.accounts.partition_point(|(sequence, _, _)| *sequence < receipt.sequence);
                        let accounting = Arc::new(accounting.envelope.clone());
                        let account = (receipt.sequence, accounting, Arc::new(message.envelope().clone()));
                        self.accounts.insert(place, account);
                    }
                    self.acknowledge(question);
                }
            }
            What::Result(Outcome::Acknowledged { message } | Outcome::Refused { message, .. }) => {
                self.acknowledge(*message);
            }
            _ => {}
        }
    }
    /// Keeps the projections up to date with a message that was sealed.
    ///
    /// # Errors
    /// `damaged` where it does not parse.
    pub fn note_sent(&mut self, sent: &Sent) -> Result<()> {
        if !sent.reply {
            let id = id_of(sent).ok_or_else(|| Error::new(Code::Damaged, "a message that was sent has no id"))?;
            self.outbox.push(Waiting { id, sent: Arc::new(sent.clone()) });
            return Ok(());
        }
        let message = Verified::from_own_log(sent.envelope.clone())?;
        let question = self.received.iter_mut().rev().find(|(id, _, _)| message.head.in_reply_to == Some(*id));
        if let Some((_, asked, answer)) = question {
            if let Body::Receipt(receipt) = &message.body {
                self.accounts.push((receipt.sequence, Arc::clone(asked), Arc::new(sent.envelope.clone())));
            }
            *answer = Some(Arc::new(sent.clone()));
        }
        Ok(())
    }
    fn acknowledge(&mut self, message: MessageId) {
        self.outbox.retain(|sent| sent.id != message);
    }
}

/// The id of a message that was sent.
pub fn id_of(sent: &Sent) -> Option<MessageId> {
    #[derive(Deserialize)]
    struct Id {
        id: MessageId,
    }
    serde_json::from_slice::<Id>(&sent.envelope.payload).ok().map(|head| head.id)
}

/// `number` counts from 0; people count the records from 1, as their `seq` does.
fn differs(session: SessionId, number: usize, why: &str) -> Error {
    let number = number + 1;
    Error::new(
        Code::Damaged,
        format!("record {number} of the log of session {} does not replay: {why}", session.short()),
    )
    .about(session)
    .hint("the log was changed or written by another version; `deployctl verify` says more")
}
