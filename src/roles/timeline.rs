//! What happened in a session, in order, from this node's own logs: the messages between the parties, what each proved,
//! and what was decided and done here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cast::Cast;
use super::node::Node;
use super::sitting::entries;
use crate::message::{Body, Failure, Invitee, Message, Verdict, Verified};
use crate::model::count::counted;
use crate::model::{Digest, Error, Key, MessageId, Party, Result, SessionId, Time};
use crate::service::usage::Usage;
use crate::session::{Decision, Entry, Input, Outcome, What};
use crate::store::log;

/// A session's timeline.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    pub session: SessionId,
    /// Everybody's name, Initiator and provider first: each has a line.
    #[serde(skip)]
    pub lines: Vec<String>,
    pub timeline: Vec<Row>,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    Sent,
    Received,
    /// Another party's message, which a third showed to this node.
    Shown,
    Decided,
    Result,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub time: Time,
    pub kind: RowKind,
    pub from: String,
    /// Absent where it happened at one party alone.
    pub to: Option<String>,
    /// The message's type, or the word for what was decided or done.
    pub message: String,
    pub id: Option<MessageId>,
    /// When the receiver was known to have it.
    pub acknowledged: Option<Time>,
    /// What it said, and what it proved.
    pub note: String,
    /// The two lines that it is drawn on.
    #[serde(skip)]
    pub ends: (usize, Option<usize>),
}

/// Reads the timeline of a session from all the logs that this node has of it.
///
/// # Errors
/// `not-found`, `ambiguous`; `broken-chain`, `damaged`.
pub fn timeline(node: &Node, prefix: &str) -> Result<Timeline> {
    let (session, parts) = node.parts_of(prefix)?;
    let mut logs = Vec::new();
    for part in parts {
        let party = part.summary.party;
        let contents = log::read(&node.state.session_log(session, party), session, party)?;
        logs.push((party, entries(&contents.records)?));
    }
    let mut cast = Cast::default();
    for (party, entries) in &logs {
        cast.join(&Cast::of(*party, node.me_in(entries), entries, |key| node.calls(key)));
    }
    let mut script = Script { cast: &cast, labels: cast.labels(), rows: Vec::new(), known: BTreeMap::new() };
    for (party, entries) in &logs {
        let me = node.me_in(entries);
        entries.iter().try_fold(Time::from_unix_ms(0), |now, entry| script.entry(*party, me, now, entry))?;
    }
    let mut rows = script.rows;
    rows.sort_by_key(|row| row.time);
    Ok(Timeline { session, lines: cast.labels(), timeline: rows })
}

impl Node {
    /// What this node calls a key: itself, or a contact.
    pub(super) fn calls(&self, key: &Key) -> Option<String> {
        if *key == self.key() || self.was(key) {
            return Some(self.name().to_string());
        }
        self.contacts.by_key(key, self.system.now()).ok().flatten().map(|contact| contact.name.to_string())
    }
}

struct Script<'a> {
    cast: &'a Cast,
    labels: Vec<String>,
    rows: Vec<Row>,
    /// Where each message's row is.
    known: BTreeMap<MessageId, usize>,
}

impl Script<'_> {
    /// Adds what one record tells; returns its time.
    fn entry(&mut self, party: Party, me: Key, before: Time, entry: &Entry) -> Result<Time> {
        let here = self.cast.find(party, &me).unwrap_or_default();
        match entry {
            // What a step sends has the time of its input.
            Entry::Sent(sent) => {
                let message = Verified::from_own_log(sent.envelope.clone())?;
                let there = self.other(party, &sent.to.key, &message.body);
                self.message(before, RowKind::Sent, (here, there), &message);
                if sent.reply {
                    self.answered(&message, before);
                }
                Ok(before)
            }
            Entry::Input(Input { now, what, .. }) => {
                match what {
                    What::Received { message, .. } => {
                        self.shown(*now, &message.body)?;
                        let there = self.other(party, &message.head.from, &message.body);
                        self.message(*now, RowKind::Received, (there, here), message);
                        self.answered(message, *now);
                    }
                    What::Decided(decision) => self.local(*now, RowKind::Decided, here, decided(decision)),
                    What::Result(outcome) => self.result(*now, here, outcome),
                    What::Timer => {}
                }
                Ok(*now)
            }
        }
    }
    /// The line of the other end of a message: all messages come from the provider or go to it.
    fn other(&self, party: Party, key: &Key, body: &Body) -> usize {
        let found = match party {
            Party::Provider => self.participant(key, body),
            Party::Initiator | Party::Peer => self.cast.only(Party::Provider),
        };
        found.unwrap_or_default()
    }
    fn participant(&self, key: &Key, body: &Body) -> Option<usize> {
        let is_of_peers = match body {
            Body::Invitation(_) | Body::Answer(_) | Body::Leave(_) => true,
            Body::Withdraw(withdraw) => withdraw.peer == *key,
            _ => false,
        };
        let initiator = self.cast.find(Party::Initiator, key).filter(|_| !is_of_peers);
        initiator.or_else(|| self.cast.find(Party::Peer, key))
    }
    fn message(&mut self, time: Time, kind: RowKind, (from, to): (usize, usize), message: &Message) {
        let id = message.head.id;
        // Where this node plays two parties, it has it twice.
        if self.known.contains_key(&id) {
            return;
        }
        self.known.insert(id, self.rows.len());
        let signed = format!("signed by {}", self.cast.name_of(&message.head.from));
        let says = says(&message.body);
        let note = if says.is_empty() { signed } else { format!("{says}; {signed}") };
        self.rows.push(Row {
            time,
            kind,
            from: self.labels[from].clone(),
            to: Some(self.labels[to].clone()),
            message: message.body.kind().to_owned(),
            id: Some(id),
            acknowledged: None,
            note,
            ends: (from, Some(to)),
        });
    }
    /// The participants' own envelopes in a progress.
    fn shown(&mut self, time: Time, body: &Body) -> Result<()> {
        let Body::Progress(progress) = body else { return Ok(()) };
        for envelope in progress.answers.iter().chain(&progress.reports) {
            let message = Verified::from_own_log(envelope.clone())?;
            let from = self.participant(&message.head.from, &message.body).unwrap_or_default();
            let to = self.cast.only(Party::Provider).unwrap_or_default();
            self.message(time, RowKind::Shown, (from, to), &message);
        }
        Ok(())
    }
    /// A reply acknowledges what it answers; a receipt countersigns it, too.
    fn answered(&mut self, message: &Message, time: Time) {
        let Some(question) = message.head.in_reply_to else { return };
        self.acknowledged(question, time);
        if let (Body::Receipt(receipt), Some(at)) = (&message.body, self.known.get(&question)) {
            let verb = if receipt.accepted { "countersigned" } else { "refused" };
            let who = self.cast.name_of(&message.head.from);
            self.rows[*at].note.push_str(&format!("; {verb} by {who}"));
        }
    }
    fn acknowledged(&mut self, message: MessageId, time: Time) {
        if let Some(at) = self.known.get(&message) {
            self.rows[*at].acknowledged.get_or_insert(time);
        }
    }
    fn result(&mut self, time: Time, here: usize, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged { message } => self.acknowledged(*message, time),
            Outcome::Refused { message, error } => {
                if let Some(at) = self.known.get(message) {
                    self.rows[*at].note.push_str(&format!("; refused: {}", told(error)));
                }
            }
            Outcome::Metered { account: false, .. } => {}
            outcome => self.local(time, RowKind::Result, here, done(outcome)),
        }
    }
    fn local(&mut self, time: Time, kind: RowKind, here: usize, (word, note): (&str, String)) {
        self.rows.push(Row {
            time,
            kind,
            from: self.labels[here].clone(),
            to: None,
            message: word.to_owned(),
            id: None,
            acknowledged: None,
            note,
            ends: (here, None),
        });
    }
}

/// What a message says, in a few words.
fn says(body: &Body) -> String {
    match body {
        Body::InterfaceRequest(asked) => asked.service.name.to_string(),
        Body::Interface(interface) => format!("{} {}", interface.service.name, interface.service.version),
        Body::ServiceRequest(request) => {
            format!("{} with {}", request.service.name, names(&request.peers))
        }
        Body::Notification(_)
        | Body::Start(_)
        | Body::CloseAnswers(_)
        | Body::Enrol(_)
        | Body::Enrolled(_)
        | Body::Rotate(_)
        | Body::Rotated(_)
        | Body::ProgramRequest(_)
        | Body::ProgramDelivery(_)
        | Body::ProgramReport(_) => String::new(),
        Body::AddPeers(add) => names(&add.peers),
        Body::Withdraw(withdraw) => with_reason("an invitation".to_owned(), Some(&withdraw.reason)),
        Body::Registration(registration) => format!("{} to be invited", registration.invited.len()),
        Body::Invitation(invitation) => format!("as {}, what {} signed", invitation.role, invitation.initiator.name),
        Body::Answer(answer) => {
            let verb = if answer.answer == Verdict::Accept { "accepts" } else { "declines" };
            with_reason(verb.to_owned(), answer.reason.as_deref())
        }
        Body::Progress(progress) => {
            with_reason(progress.state.to_string(), progress.failure.as_ref().map(|failure| failure.text.as_str()))
        }
        Body::Delivery(delivery) => {
            let later =
                if delivery.generation > 1 { format!(", generation {}", delivery.generation) } else { String::new() };
            format!("package {} for {}{later}", short(&delivery.package.digest), delivery.role)
        }
        Body::Report(report) => {
            let mut word = report.state.to_string();
            if report.generation > 1 {
                word.push_str(&format!(" generation {}", report.generation));
            }
            if let Some(back_to) = report.back_to {
                word.push_str(&format!(", back to {back_to}"));
            }
            with_reason(word, report.failure.as_ref().map(|failure| failure.text.as_str()))
        }
        Body::Terminate(terminate) => with_reason(terminate.outcome.to_string(), Some(&terminate.reason)),
        Body::Leave(leave) => leave.reason.clone(),
        Body::Accounting(accounting) => {
            let kind = format!("{:?}", accounting.kind).to_lowercase();
            format!("{}, {kind}: {}", accounting.sequence, used(&accounting.usage))
        }
        Body::Receipt(receipt) => with_reason(format!("for {}", receipt.sequence), receipt.why.as_deref()),
    }
}

fn decided(decision: &Decision) -> (&'static str, String) {
    match decision {
        Decision::Ask { service, .. } => ("asks", format!("for {}", service.name)),
        Decision::Request { request } => {
            ("requests", format!("{}, {}", request.service.name, counted(request.peers.len(), "peer")))
        }
        Decision::AddPeers { peers } => ("invites", names(peers)),
        Decision::CloseAnswers => ("closes", "no more answers are waited for".to_owned()),
        Decision::Withdraw { reason, .. } => ("withdraws", reason.clone()),
        Decision::Start => ("starts", String::new()),
        Decision::Account { kind, usage } => {
            ("accounts", format!("{}: {}", format!("{kind:?}").to_lowercase(), used(usage)))
        }
        Decision::Rebuild => ("builds again", String::new()),
        Decision::RollBack => ("rolls back", String::new()),
        Decision::Stop { reason } => ("stops", reason.clone()),
        Decision::Open { .. } => ("opens", "for an interface that it gave out".to_owned()),
        Decision::Answer { answer, reason, by, rule, .. } => {
            let verb = if *answer == Verdict::Accept { "accepts" } else { "declines" };
            let rule = rule.as_ref().map(|rule| format!(" ({})", rule.name)).unwrap_or_default();
            let by = format!("by {}{rule}", format!("{by:?}").to_lowercase());
            (verb, with_reason(by, reason.as_deref()))
        }
    }
}

fn done(outcome: &Outcome) -> (&'static str, String) {
    let failed = |failure: &Failure| failure.text.clone();
    match outcome {
        Outcome::Acknowledged { .. } => ("acknowledged", String::new()),
        Outcome::Refused { error, .. } => ("refused", told(error)),
        Outcome::Built { role, platform, package, .. } => {
            ("built", format!("{role} for {platform}: {}", short(&package.digest)))
        }
        Outcome::BuildFailed { role, failure, .. } => ("build failed", format!("{role}: {}", failed(failure))),
        Outcome::Installed => ("installed", String::new()),
        Outcome::InstallFailed { failure } => ("install failed", failed(failure)),
        Outcome::RolledBack => ("rolled back", String::new()),
        Outcome::Started => ("started", String::new()),
        Outcome::Ready => ("ready", String::new()),
        Outcome::NotReady { failure } => ("not ready", failed(failure)),
        Outcome::Metered { .. } => ("metered", String::new()),
        Outcome::Exited { .. } => ("exited", "the program ended by itself".to_owned()),
        Outcome::GaveUp { failure, .. } => ("gave up", failed(failure)),
        Outcome::Stopped { .. } => ("stopped", String::new()),
        Outcome::Removed { kept } if kept.is_empty() => ("removed", String::new()),
        Outcome::Removed { kept } => ("removed", format!("kept {}", kept.join(", "))),
    }
}

fn names(peers: &[Invitee]) -> String {
    peers.iter().map(|peer| peer.name.to_string()).collect::<Vec<_>>().join(", ")
}

fn used(usage: &Usage) -> String {
    let meters: Vec<_> = usage.iter().map(|(meter, used)| format!("{} {meter}", used.amount.normalize())).collect();
    if meters.is_empty() { "nothing".to_owned() } else { meters.join(", ") }
}

fn with_reason(word: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{word}, “{reason}”"),
        None => word,
    }
}

fn told(error: &Error) -> String {
    format!("{} ({})", error.message, error.code)
}

fn short(digest: &Digest) -> String {
    digest.short()
}
