//! A change of one session: lock, read the log, step, append, unlock. Nobody steps anything but what the log says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::node::{Node, blocking, locked};
use super::turns::Turn;
use crate::message::Verified;
use crate::model::{Code, Error, Key, MessageId, Name, Party, Result, SessionId, SessionState, Span, Time};
use crate::session::record::{Entry, Replayed, Sent};
use crate::session::{Input, Machine, Participation, Stage, Step, Summary, What, Work, replay};
use crate::store::document;
use crate::store::log::{self, Head, LogRecord, RecordKind, SessionLog};

/// How long a change waits for another process that changes the same session.
const LOCK_WAIT: Span = Span::from_secs(10);
/// Sessions whose replay is remembered.
const REMEMBERED: usize = 64;
/// For so long after it was asked for last, one that is at rest.
const IDLE: Span = Span::from_secs(60);

/// A session that this process alone may change just now.
pub(super) struct Sitting<'n> {
    node: &'n Node,
    log: SessionLog,
    pub(super) session: SessionId,
    pub(super) party: Party,
    /// Absent in a session that is about to begin.
    pub(super) replayed: Option<Arc<Replayed>>,
    /// Last, so that whoever comes next finds the log unlocked.
    _turn: Turn,
}

/// What `status.json` beside the log holds: made from the log, trusted while its head is the log's, made again else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Projection {
    pub head: Head,
    pub summary: Summary,
    pub wake_at: Option<Time>,
    /// Something is still to be done or sent.
    pub live: bool,
    /// This node's own program has come to rest.
    pub at_rest: bool,
    /// Another generation is on its way in or out.
    #[serde(default)]
    pub updating: bool,
    /// Nothing of the software is on this machine.
    pub removed: bool,
    /// The running program is to be stopped.
    pub stop_wanted: bool,
    /// The session is over for this node, or about to be.
    pub ending: bool,
    /// To whom messages wait.
    pub recipients: BTreeSet<Key>,
    /// The invitations that this party sent or got, each with the peer's or the Initiator's name.
    #[serde(default)]
    pub invitations: BTreeMap<MessageId, Name>,
}

impl Node {
    pub(super) fn sit(&self, session: SessionId, party: Party) -> Result<Sitting<'_>> {
        let turn = blocking(|| self.turns.take((session, party), LOCK_WAIT));
        let log = blocking(|| SessionLog::open(&self.state, session, party, LOCK_WAIT))?;
        if let Some(torn) = log.torn() {
            self.notice(torn.to_string());
        }
        let known = self.remembered(session, party);
        let records = match &known {
            Some((known, _)) => log.read_after(known)?,
            None => log.read_all()?,
        };
        let replayed = self.replayed(session, party, log.head(), known, &records)?;
        Ok(Sitting { node: self, log, session, party, replayed, _turn: turn })
    }
    /// One step of a session that exists.
    ///
    /// # Errors
    /// `not-found`; what the machine refuses; `locked`, `io`.
    pub fn step(&self, session: SessionId, party: Party, what: What) -> Result<Arc<Replayed>> {
        let mut sitting = self.sit(session, party)?;
        sitting.existing()?;
        sitting.step(what)?;
        Ok(sitting.into_replayed())
    }
    /// A session as its log tells it now, without locking it.
    pub fn read(&self, session: SessionId, party: Party) -> Result<Arc<Replayed>> {
        let path = self.state.session_log(session, party);
        let head = blocking(|| log::head(&path, session, party))?;
        if let Some(known) = self.remembered(session, party).filter(|(known, _)| *known == head) {
            return Ok(known.1);
        }
        let (_, replayed) = self.read_on(session, party)?;
        Ok(replayed)
    }
    /// Reads what was added since this process read the log last.
    fn read_on(&self, session: SessionId, party: Party) -> Result<(Head, Arc<Replayed>)> {
        let path = self.state.session_log(session, party);
        let known = self.remembered(session, party);
        let added = match &known {
            Some((known, _)) => blocking(|| log::read_after(&path, known))?,
            None => None,
        };
        let replayed = match added {
            Some(added) => self.replayed(session, party, added.head, known, &added.records)?.map(|it| (added.head, it)),
            None => {
                let all = blocking(|| log::read(&path, session, party))?;
                self.replayed(session, party, all.head, None, &all.records)?.map(|it| (all.head, it))
            }
        };
        replayed.ok_or_else(|| not_found(session, party))
    }
    fn remembered(&self, session: SessionId, party: Party) -> Option<(Head, Arc<Replayed>)> {
        let mut replays = locked(&self.replays);
        let (head, replayed, used) = replays.get_mut(&(session, party))?;
        *used = self.system.now();
        Some((*head, Arc::clone(replayed)))
    }
    /// Frees what sessions hold in memory that are not at work and were not asked for lately. Not at once: others go on
    /// reporting to a session that is over here.
    pub(super) fn put_down_idle(&self, at_work: &BTreeSet<(SessionId, Party)>) {
        let now = self.system.now();
        locked(&self.replays).retain(|part, (.., used)| at_work.contains(part) || now.since(*used) < IDLE);
        self.turns.drop_idle();
    }
    fn remember(&self, session: SessionId, party: Party, head: Head, replayed: &Arc<Replayed>) {
        let mut replays = locked(&self.replays);
        if replays.len() >= REMEMBERED && !replays.contains_key(&(session, party)) {
            let oldest = replays.iter().min_by_key(|(_, (.., used))| *used).map(|(part, _)| *part);
            oldest.and_then(|oldest| replays.remove(&oldest));
        }
        replays.insert((session, party), (head, Arc::clone(replayed), self.system.now()));
    }
    /// The session as the log tells it up to `head`. What this process replayed before is not replayed again: only the
    /// records after it are read, and they must continue it.
    fn replayed(
        &self,
        session: SessionId,
        party: Party,
        head: Head,
        known: Option<(Head, Arc<Replayed>)>,
        records: &[LogRecord],
    ) -> Result<Option<Arc<Replayed>>> {
        if let Some((_, replayed)) = known.as_ref().filter(|(known, _)| *known == head) {
            return Ok(Some(Arc::clone(replayed)));
        }
        let replayed = match known {
            // All records were read, or those after the known ones.
            Some((known, before)) if records.first().is_some_and(|first| first.seq == known.seq + 1) => {
                let mut next = Replayed::clone(&before);
                next.extend(session, usize::try_from(known.seq).unwrap_or(usize::MAX), &entries(records)?)?;
                Some(next)
            }
            _ => {
                let entries = entries(records)?;
                replay(party, self.me_in(&entries), session, &entries)?
            }
        };
        let replayed = replayed.map(Arc::new);
        if let Some(replayed) = &replayed {
            self.remember(session, party, head, replayed);
        }
        Ok(replayed)
    }
    /// What is known of a session, quickly.
    pub fn projection(&self, session: SessionId, party: Party) -> Result<Projection> {
        let path = self.state.session_log(session, party);
        let head = log::head(&path, session, party)?;
        let cached = document::read_json::<Projection>(&self.state.projection(session, party, "status"));
        if let Ok(Some(projection)) = cached
            && projection.head == head
        {
            return Ok(projection);
        }
        let (head, replayed) = self.read_on(session, party)?;
        let projection = Projection::of(&replayed, head);
        self.keep(session, party, &projection);
        Ok(projection)
    }
    /// A projection is a convenience: where it cannot be written, it is made anew each time.
    fn keep(&self, session: SessionId, party: Party, projection: &Projection) {
        let path = self.state.projection(session, party, "status");
        let _ = document::write_json_unsynced(&path, projection, crate::store::file::PRIVATE);
    }
}

impl Sitting<'_> {
    pub(super) fn existing(&self) -> Result<&Replayed> {
        self.replayed.as_deref().ok_or_else(|| not_found(self.session, self.party))
    }
    pub(super) fn step(&mut self, what: What) -> Result<Vec<Sent>> {
        self.step_all(vec![what])
    }
    /// Takes several inputs in one append: all of them or none.
    pub(super) fn step_all(&mut self, inputs: Vec<What>) -> Result<Vec<Sent>> {
        let before = self.replayed.as_ref().map(|replayed| replayed.machine.summary());
        let mut next = self.replayed.as_deref().cloned();
        let (mut records, mut all_sent) = (Vec::new(), Vec::new());
        let now = self.node.system.now();
        for what in inputs {
            let input = Input { now, seed: self.node.system.seed(), what };
            let step = match &next {
                None => Machine::begin(self.party, self.node.key(), self.session, &input)?,
                Some(replayed) => replayed.machine.step(&input)?,
            };
            records.push(record(&Entry::Input(input.clone()))?);
            if step.sends.iter().any(|outgoing| outgoing.message.head.from != self.node.key()) {
                let message = "this session was held under this node's former key, which signs no more";
                return Err(Error::new(Code::WrongState, message).about(self.session));
            }
            let sent = self.seal(&step);
            for one in &sent {
                records.push(record(&Entry::Sent(one.clone()))?);
            }
            next = Some(advance(next, step, &input, &sent)?);
            all_sent.extend(sent);
        }
        blocking(|| self.log.append(now, &records))?;
        if let Some(next) = next.map(Arc::new) {
            self.node.remember(self.session, self.party, self.log.head(), &next);
            self.replayed = Some(next);
        }
        self.after_append(before.as_ref());
        Ok(all_sent)
    }
    fn seal(&self, step: &Step<Machine>) -> Vec<Sent> {
        let signer = self.node.identity.signing();
        let seal = |outgoing: &crate::session::Outgoing| Sent {
            to: outgoing.to.clone(),
            envelope: outgoing.message.seal(&signer),
            secrets: outgoing.secrets.clone(),
            reply: outgoing.reply,
        };
        step.sends.iter().map(seal).collect()
    }
    fn after_append(&self, before: Option<&Summary>) {
        let Some(replayed) = &self.replayed else { return };
        let projection = Projection::of(replayed, self.log.head());
        self.node.keep(self.session, self.party, &projection);
        let summary = projection.summary;
        if summary.state == SessionState::Requested && !projection.recipients.is_empty() && summary.initiator.is_none()
        {
            // Only the command that asks for an interface waits for it.
            return;
        }
        self.node.tell_since(before, &summary);
        self.node.poke(self.session, self.party);
    }
    fn into_replayed(self) -> Arc<Replayed> {
        self.replayed.expect("a step leaves a machine")
    }
}

impl Projection {
    fn of(replayed: &Replayed, head: Head) -> Self {
        let summary = replayed.machine.summary();
        let recipients: BTreeSet<_> = replayed.outbox.iter().map(|sent| sent.to.key).collect();
        let live = !summary.over || !recipients.is_empty() || !replayed.machine.work().is_empty();
        let part = replayed.machine.participation();
        Self {
            head,
            wake_at: replayed.machine.wake_at(),
            live,
            updating: part.is_some_and(Participation::is_updating),
            at_rest: part.is_none_or(Participation::is_at_rest),
            stop_wanted: replayed.machine.work() == [Work::Stop],
            removed: part.is_none_or(|part| {
                let is_past = summary.over || part.ending.is_some() || part.stage == Stage::Removed;
                is_past && !part.holds_software()
            }),
            ending: summary.over || part.is_some_and(|part| part.ending.is_some()),
            recipients,
            invitations: invitations(&replayed.machine),
            summary,
        }
    }
}

fn invitations(machine: &Machine) -> BTreeMap<MessageId, Name> {
    match machine {
        Machine::Provider(provider) => {
            let invited = provider.participants.iter().zip(machine.summary().participants);
            invited.filter_map(|(one, shown)| Some((one.invitation_id()?, shown.name))).collect()
        }
        Machine::Peer(peer) => BTreeMap::from([(peer.invitation_id, peer.invitation.initiator.name.clone())]),
        Machine::Initiator(_) => BTreeMap::new(),
    }
}

fn advance(before: Option<Replayed>, step: Step<Machine>, input: &Input, sent: &[Sent]) -> Result<Replayed> {
    let mut next = match before {
        None => Replayed::begun(step.state),
        Some(mut replayed) => {
            replayed.machine = step.state;
            replayed
        }
    };
    next.note_input(input);
    for one in sent {
        next.note_sent(one)?;
    }
    Ok(next)
}

fn record(entry: &Entry) -> Result<(RecordKind, Value)> {
    let (kind, body) = entry.to_record();
    let kind = serde_json::from_value(Value::from(kind));
    Ok((kind.map_err(|why| Error::new(Code::Internal, why.to_string()))?, body))
}

/// The entries that records hold.
pub(super) fn entries(records: &[LogRecord]) -> Result<Vec<Entry>> {
    records
        .iter()
        .map(|record| {
            let kind = serde_json::to_value(record.kind).map_err(|why| Error::new(Code::Internal, why.to_string()))?;
            Entry::from_record(kind.as_str().unwrap_or_default(), record.time, record.parse()?)
                .map_err(|error| error.while_doing(format!("record {}", record.seq)))
        })
        .collect()
}

fn not_found(session: SessionId, party: Party) -> Error {
    Error::new(Code::NotFound, format!("this node has no part as {party} in session {}", session.short()))
        .about(session)
        .hint("`deployctl status` lists the sessions that it knows")
}

/// The message of an envelope of this node's own log.
pub(super) fn message_of(sent: &Sent) -> Result<Verified<crate::message::Message>> {
    Verified::from_own_log(sent.envelope.clone())
}
