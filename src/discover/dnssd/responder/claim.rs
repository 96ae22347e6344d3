//! Names of one's own: probes, whose turn it is where two probe at once, and what becomes of a name that is another's
//! (RFC 6762 §8, §9).

use std::time::Duration;

use super::{AT_FIRST, MAX_DATAGRAM, Outgoing, Own, PAUSE, Responder, State, To};
use crate::discover::dnssd::name::DomainName;
use crate::discover::dnssd::wire::{Data, KIND_ANY, Message, Question, Record, Section, Writer};

const PROBES: u8 = 3;
/// Between probes, and after the last.
const BETWEEN: Duration = Duration::from_millis(250);
/// How long whoever loses waits for the other.
const AFTER_LOSS: Duration = Duration::from_secs(1);
/// So many conflicts, each within so long of the one before, are more than chance: then each costs this pause (RFC 6762
/// §8.1).
const MAX_CONFLICTS: u32 = 15;
const CONFLICTS_WITHIN: Duration = Duration::from_secs(10);
const AFTER_MANY: Duration = Duration::from_secs(5);

impl Responder {
    /// Begins to claim the names, after this and a random span.
    pub(super) fn probe_after(&mut self, pause: Duration, now: Duration) {
        let before = std::mem::take(&mut self.own);
        let records = self.instance.records(&self.names, &self.addresses).into_iter();
        self.own = records
            .map(|record| {
                let told = before.iter().find(|own| own.record.says_same(&record)).and_then(|own| own.told);
                Own { told, ..Own::new(record) }
            })
            .collect();
        self.private.clear();
        self.state = State::Probing { sent: 0, next: now + pause + self.random_below(AT_FIRST) };
    }
    /// The next step of claiming, if it is time.
    pub(super) fn step(&mut self, now: Duration) -> Option<Outgoing> {
        let State::Probing { sent, next } = self.state else { return None };
        if next > now {
            return None;
        }
        if sent < PROBES {
            self.state = State::Probing { sent: sent + 1, next: now + BETWEEN };
            return Some(Outgoing { to: To::Group, bytes: self.probe() });
        }
        self.state = State::Claimed;
        // The addresses may be others by now.
        self.own.clear();
        self.replace(now);
        None
    }
    fn probe(&self) -> Vec<u8> {
        let mut writer = Writer::new(MAX_DATAGRAM);
        for name in [&self.names.instance, &self.names.host] {
            writer.question(&Question { name: name.clone(), kind: KIND_ANY, unicast: true });
        }
        for record in self.proposed() {
            // The bit has no meaning here (RFC 6762 §10.2).
            writer.record(Section::Authorities, &Record { flush: false, ..record.clone() });
        }
        writer.finish(0, 0)
    }
    /// What the names are claimed for.
    fn proposed(&self) -> impl Iterator<Item = &Record> {
        let all = self.own.iter().filter(|own| !own.is_shared()).map(|own| &own.record);
        all.filter(|record| !matches!(record.data, Data::Nsec(_)))
    }
    /// Hears a query while claiming: another probe for the same name may come first.
    pub(super) fn hear_rival(&mut self, message: &Message, now: Duration) {
        let State::Probing { sent, .. } = self.state else { return };
        let is_asked = |name: &DomainName| message.questions.iter().any(|question| question.name == *name);
        let loses = [&self.names.instance, &self.names.host].into_iter().filter(|name| is_asked(name)).any(|name| {
            let theirs: Vec<_> = sorted(message.authorities.iter().filter(|record| record.name == *name));
            let ours = sorted(self.proposed().filter(|record| record.name == *name));
            !theirs.is_empty() && theirs > ours
        });
        if loses && sent > 0 {
            self.state = State::Probing { sent: 0, next: now + AFTER_LOSS };
        }
    }
    /// Hears what others say of our names: what contradicts, and what would be forgotten too soon.
    pub(super) fn hear_response(&mut self, message: &Message, now: Duration) {
        let is_probing = match self.state {
            // What has not been asked for cannot be refused.
            State::Probing { sent: 0, .. } => return,
            State::Probing { .. } => true,
            State::Claimed => false,
        };
        let mut is_contested = [false; 2];
        for record in message.answers.iter().chain(&message.additionals) {
            match self.own.iter_mut().find(|own| own.record.says_same(record)) {
                Some(own) if !is_probing => own.hear_again(record.ttl, now),
                Some(_) => {}
                None => {
                    for (is_contested, is_other) in is_contested.iter_mut().zip(self.contested_by(record, is_probing)) {
                        *is_contested |= is_other;
                    }
                }
            }
        }
        match (is_probing, is_contested) {
            (_, [false, false]) => {}
            // The other may be gone already, so the name is asked for once more.
            (false, _) => self.probe_after(Duration::ZERO, now),
            (true, _) => self.rename(is_contested, now),
        }
    }
    /// Whether the instance's name, and the host's, are another's by what he says here: anything at all while they are
    /// claimed, then what should be ours alone.
    fn contested_by(&self, record: &Record, is_probing: bool) -> [bool; 2] {
        let contradicts = |own: &Own| {
            !own.is_shared() && own.record.name == record.name && own.record.data.kind() == record.data.kind()
        };
        let is_nsec = matches!(record.data, Data::Nsec(_));
        let is_other = record.ttl > 0 && (is_probing || !is_nsec && self.own.iter().any(contradicts));
        [&self.names.instance, &self.names.host].map(|name| is_other && record.name == *name)
    }
    /// Takes other names in the place of those that another has.
    fn rename(&mut self, is_contested: [bool; 2], now: Duration) {
        for (conflicts, is_contested) in self.conflicts.iter_mut().zip(is_contested) {
            *conflicts = conflicts.saturating_add(is_contested.into());
        }
        if let Some(names) = self.instance.names(self.conflicts) {
            self.names = names;
        }
        let (count, last) = self.conflicted;
        self.conflicted = (if last + CONFLICTS_WITHIN > now { count + 1 } else { 1 }, now);
        let are_many = self.conflicted.0 > MAX_CONFLICTS;
        self.probe_after(if are_many { AFTER_MANY } else { Duration::ZERO }, now);
    }
}

impl Own {
    /// Hears that somebody else says the same, for so many seconds.
    fn hear_again(&mut self, ttl: u32, now: Duration) {
        if ttl < self.record.ttl / 2 {
            // Others would forget it early (RFC 6762 §6.6).
            self.due.get_or_insert(self.told.map_or(now, |told| now.max(told + PAUSE)));
        } else if ttl >= self.record.ttl && self.is_shared() && self.again == 0 {
            // What was asked for has been said (RFC 6762 §7.4).
            self.due = None;
        }
    }
}

/// In the order in which rivals compare: kind, then data, byte by byte (RFC 6762 §8.2).
fn sorted<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<(u16, Vec<u8>)> {
    let mut all: Vec<_> = records.map(|record| (record.data.kind(), record.data.bytes())).collect();
    all.sort();
    all
}
