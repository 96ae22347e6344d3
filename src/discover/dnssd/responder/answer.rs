//! Questions: who is told what, when, and what he knows already (RFC 6762 §5 to §7).

use std::net::SocketAddr;
use std::time::Duration;

use super::{MAX_DATAGRAM, Outgoing, PAUSE, PORT, Responder, To, to_group};
use crate::discover::dnssd::wire::{
    Data, FLAG_TRUNCATED, FLAGS_RESPONSE, Message, Question, Record, Section, Writer, responses,
};

/// An answer that several may give comes after a random span, so that they do not speak at once (RFC 6762 §6).
const SHARED_WAIT: Duration = Duration::from_millis(20);
const SHARED_RANGE: Duration = Duration::from_millis(100);
/// What an asker knows already comes in further messages: they are waited for (RFC 6762 §7.2).
const TRUNCATED_WAIT: Duration = Duration::from_millis(400);
/// Whoever probes for our names hears of it sooner than once a second (RFC 6762 §6).
const PROBE_PAUSE: Duration = Duration::from_millis(250);
/// Seconds that an answer holds for those who do not speak multicast DNS (RFC 6762 §6.7).
const LEGACY_TTL: u32 = 10;
/// Answers to askers alone that wait; who asks beyond that gets none.
const MAX_PRIVATE: usize = 64;

/// Which records are asked for, by who is to be told.
#[derive(Default)]
struct Wanted {
    by_all: Vec<usize>,
    by_one: Vec<usize>,
}

impl Responder {
    pub(super) fn hear_questions(&mut self, message: &Message, from: SocketAddr, to_all: bool, now: Duration) {
        if message.questions.is_empty() {
            return self.hear_known_answers(message, from);
        }
        let is_legacy = from.port() != PORT;
        // Once for each record, however often it is asked for.
        let known: Vec<bool> = (0..self.own.len()).map(|n| self.is_known(n, message)).collect();
        let mut wanted = Wanted::default();
        for question in &message.questions {
            for n in self.asked_for(question).into_iter().filter(|n| !known[*n]) {
                let is_alone = is_legacy || !to_all || question.unicast && self.is_fresh(n, now);
                let list = if is_alone { &mut wanted.by_one } else { &mut wanted.by_all };
                if !list.contains(&n) {
                    list.push(n);
                }
            }
        }
        if !wanted.by_one.is_empty() && !self.tell_one(message, from, &wanted.by_one, now) && to_all && !is_legacy {
            wanted.by_all.append(&mut wanted.by_one);
        }
        self.tell_all(message, from, &wanted.by_all, now);
    }
    /// The records that answer a question; where the name is ours and has none of that kind, the one that says so.
    fn asked_for(&self, question: &Question) -> Vec<usize> {
        let records = || self.own.iter().map(|own| &own.record).enumerate();
        let is_nsec = |record: &Record| matches!(record.data, Data::Nsec(_));
        let found = records().filter(|(_, record)| {
            question.asks_for(record) && (!is_nsec(record) || question.kind == record.data.kind())
        });
        let found: Vec<usize> = found.map(|(n, _)| n).collect();
        if found.is_empty() {
            return records()
                .filter(|(_, record)| is_nsec(record) && record.name == question.name)
                .map(|(n, _)| n)
                .collect();
        }
        found
    }
    /// Whether the asker has it, for half of its time at least (RFC 6762 §7.1).
    fn is_known(&self, n: usize, message: &Message) -> bool {
        let record = &self.own[n].record;
        message.answers.iter().any(|known| known.says_same(record) && known.ttl >= record.ttl / 2)
    }
    /// Whether everybody was told within a quarter of its time, so that one asker can be told alone (RFC 6762 §5.4).
    fn is_fresh(&self, n: usize, now: Duration) -> bool {
        let own = &self.own[n];
        own.told.is_some_and(|told| told + Duration::from_secs(own.record.ttl.into()) / 4 > now)
    }
    /// More of what an asker knows, who has asked before.
    fn hear_known_answers(&mut self, message: &Message, from: SocketAddr) {
        for n in 0..self.own.len() {
            if self.own[n].asker == Some(from) && self.is_known(n, message) {
                (self.own[n].due, self.own[n].asker) = (None, None);
            }
        }
    }
    fn tell_all(&mut self, message: &Message, from: SocketAddr, wanted: &[usize], now: Duration) {
        let is_probe = !message.authorities.is_empty();
        let has_shared = wanted.iter().any(|n| self.own[*n].is_shared());
        let wait = match (message.is_truncated(), has_shared) {
            (true, _) => TRUNCATED_WAIT + self.random_below(SHARED_RANGE),
            (false, true) => SHARED_WAIT + self.random_below(SHARED_RANGE),
            (false, false) => Duration::ZERO,
        };
        for n in wanted {
            let own = &mut self.own[*n];
            let pause = if is_probe && !own.is_shared() { PROBE_PAUSE } else { PAUSE };
            let due = own.told.map_or(now + wait, |told| (now + wait).max(told + pause));
            match own.due {
                None => (own.due, own.asker) = (Some(due), message.is_truncated().then_some(from)),
                Some(before) => {
                    own.due = Some(before.min(due));
                    // Another wants it, too.
                    own.asker = own.asker.filter(|asker| *asker == from);
                }
            }
        }
    }
    /// What everybody is told now.
    pub(super) fn answers_due(&mut self, now: Duration) -> Vec<Outgoing> {
        let mut answers = Vec::new();
        for own in self.own.iter_mut().filter(|own| own.due.is_some_and(|due| due <= now)) {
            own.due = (own.again > 0).then_some(now + PAUSE);
            own.again = own.again.saturating_sub(1);
            (own.asker, own.told) = (None, Some(now));
            answers.push(own.record.clone());
        }
        let mut additionals = self.beside(&answers);
        additionals.retain(|n| self.own[*n].told.is_none_or(|told| told + PAUSE <= now));
        for n in &additionals {
            self.own[*n].told = Some(now);
        }
        let additionals: Vec<Record> = additionals.iter().map(|n| self.own[*n].record.clone()).collect();
        to_group(responses(&answers, &additionals, MAX_DATAGRAM)).collect()
    }
    /// What whoever gets these answers asks for next (RFC 6763 §12).
    fn beside(&self, answers: &[Record]) -> Vec<usize> {
        let leads_to_instance = |data: &Data| matches!(data, Data::Ptr(to) if *to == self.names.instance);
        let is_instance = answers.iter().any(|answer| leads_to_instance(&answer.data));
        let leads_to_host = |data: &Data| matches!(data, Data::Srv { .. } | Data::A(_) | Data::Aaaa(_));
        let is_host = is_instance || answers.iter().any(|answer| leads_to_host(&answer.data));
        let is_wanted = |record: &Record| {
            is_instance && record.name == self.names.instance && !matches!(record.data, Data::Nsec(_))
                || is_host && record.name == self.names.host
        };
        let is_new = |record: &Record| !answers.iter().any(|answer| answer.says_same(record));
        let records = self.own.iter().map(|own| &own.record).enumerate();
        records.filter(|(_, record)| is_wanted(record) && is_new(record)).map(|(n, _)| n).collect()
    }
    /// Puts an answer for one asker in the queue; false where that would be too much.
    fn tell_one(&mut self, message: &Message, from: SocketAddr, wanted: &[usize], now: Duration) -> bool {
        let answers: Vec<Record> = wanted.iter().map(|n| self.own[*n].record.clone()).collect();
        let beside = self.beside(&answers);
        let additionals: Vec<Record> = beside.iter().map(|n| self.own[*n].record.clone()).collect();
        let messages = match from.port() {
            PORT => responses(&answers, &additionals, MAX_DATAGRAM),
            _ => vec![legacy(message, &answers, &additionals)],
        };
        let bytes = messages.iter().map(Vec::len).sum();
        if self.private.len() + messages.len() > MAX_PRIVATE || !self.meter(from, bytes, now) {
            return false;
        }
        let has_shared = wanted.iter().any(|n| self.own[*n].is_shared());
        let due = now + if has_shared { SHARED_WAIT + self.random_below(SHARED_RANGE) } else { Duration::ZERO };
        self.private.extend(messages.into_iter().map(|bytes| (due, Outgoing { to: To::One(from), bytes })));
        true
    }
}

/// An answer as any DNS resolver takes it: with the question, and nothing that only multicast DNS has.
fn legacy(asked: &Message, answers: &[Record], additionals: &[Record]) -> Vec<u8> {
    let plain = |record: &Record| Record { ttl: record.ttl.min(LEGACY_TTL), flush: false, ..record.clone() };
    let mut writer = Writer::new(MAX_DATAGRAM);
    let mut fits = true;
    for question in &asked.questions {
        fits &= writer.question(&Question { unicast: false, ..question.clone() });
    }
    for answer in answers {
        fits &= writer.record(Section::Answers, &plain(answer));
    }
    for additional in additionals.iter().filter(|_| fits) {
        writer.record(Section::Additionals, &plain(additional));
    }
    writer.finish(asked.id, FLAGS_RESPONSE | if fits { 0 } else { FLAG_TRUNCATED })
}
