//! What one link is told and answered (RFC 6762), as a state machine: datagrams and the time in, datagrams out. Names are
//! claimed by three probes, then everything is announced twice, and from then on questions are answered. No sockets.

mod answer;
mod claim;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::instance::{Instance, Names};
use super::wire::{Data, Message, Record, responses};
use crate::discover::rate::{Allowance, Meter};
use crate::system::System;

/// Where multicast DNS is spoken; whoever asks from another port is no speaker of it (RFC 6762 §6.7).
pub const PORT: u16 = 5353;
/// Bytes of a datagram, so that none is ever cut into fragments.
const MAX_DATAGRAM: usize = 1400;
/// A record is not told to all again sooner (RFC 6762 §6).
const PAUSE: Duration = Duration::from_secs(1);
/// Before the first probe at most (RFC 6762 §8.1 allows 250 ms): so the announcement comes within 0.9 s.
const AT_FIRST: Duration = Duration::from_millis(150);
/// Answers to askers alone. Whoever makes up his address brings less upon it than he sent: two hundred questions of fifty
/// bytes bring no more than 4 KiB, and then half a KiB a second.
const TO_EACH: Allowance = Allowance { burst_bytes: 4 << 10, bytes_per_sec: 512 };
const TO_ALL: Allowance = Allowance { burst_bytes: 16 << 10, bytes_per_sec: 2 << 10 };

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody on the link.
    Group,
    One(SocketAddr),
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub to: To,
    pub bytes: Vec<u8>,
}

/// A record of this node, and when it is told next.
#[derive(Debug)]
struct Own {
    record: Record,
    /// When everybody is told.
    due: Option<Duration>,
    /// How often it is told once more after that, by itself.
    again: u8,
    /// Who asked, where it is told for one asker alone, who may know it already.
    asker: Option<SocketAddr>,
    /// When everybody was told last.
    told: Option<Duration>,
}

impl Own {
    fn new(record: Record) -> Self {
        Self { record, due: None, again: 0, asker: None, told: None }
    }
    fn is_shared(&self) -> bool {
        !self.record.flush
    }
    fn announce(&mut self, now: Duration) {
        (self.due, self.again, self.asker) = (Some(now), 1, None);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many probes have been sent; the next step is at this time.
    Probing { sent: u8, next: Duration },
    /// The names are this node's.
    Claimed,
}

/// This node on one link.
pub struct Responder {
    instance: Instance,
    addresses: Vec<IpAddr>,
    names: Names,
    /// Of the instance's name, and of the host's.
    conflicts: [u32; 2],
    /// How many in a row, and when the last was.
    conflicted: (u32, Duration),
    state: State,
    own: Vec<Own>,
    /// What is taken back.
    parting: Vec<Record>,
    /// What askers are told alone, and when.
    private: Vec<(Duration, Outgoing)>,
    meter: Meter,
    system: System,
}

impl Responder {
    /// None for an instance that has no name.
    pub fn new(instance: Instance, addresses: Vec<IpAddr>, system: System, now: Duration) -> Option<Self> {
        let names = instance.names([0; 2])?;
        let mut responder = Self {
            instance,
            addresses,
            names,
            conflicts: [0; 2],
            conflicted: (0, Duration::ZERO),
            state: State::Claimed,
            own: Vec::new(),
            parting: Vec::new(),
            private: Vec::new(),
            meter: Meter::new(TO_EACH, TO_ALL),
            system,
        };
        responder.probe_after(Duration::ZERO, now);
        Some(responder)
    }
    /// Publishes this from now on: what is new is announced, what is gone is taken back.
    pub fn publish(&mut self, instance: Instance, addresses: Vec<IpAddr>, now: Duration) {
        let Some(names) = instance.names(self.conflicts) else { return };
        (self.instance, self.addresses) = (instance, addresses);
        if names != self.names {
            self.parting.extend(self.farewell());
            self.names = names;
            self.probe_after(Duration::ZERO, now);
        } else if self.state == State::Claimed {
            self.replace(now);
        }
    }
    /// Takes a datagram that came from the link; `to_all` where it was sent to everybody.
    pub fn hear(&mut self, datagram: &[u8], from: SocketAddr, to_all: bool, now: Duration) {
        let Some(message) = Message::read(datagram) else { return };
        match (message.is_response(), self.state) {
            // A response from elsewhere is none (RFC 6762 §6).
            (true, _) if from.port() == PORT => self.hear_response(&message, now),
            (true, _) => {}
            (false, State::Probing { .. }) => self.hear_rival(&message, now),
            (false, State::Claimed) => self.hear_questions(&message, from, to_all, now),
        }
    }
    /// When something is due next.
    pub fn next(&self) -> Option<Duration> {
        let step = match self.state {
            State::Probing { next, .. } => Some(next),
            State::Claimed => None,
        };
        let parting = self.parting.first().map(|_| Duration::ZERO);
        let answers = self.own.iter().filter_map(|own| own.due).chain(self.private.iter().map(|(due, _)| *due));
        answers.chain(step).chain(parting).min()
    }
    /// What is due.
    pub fn due(&mut self, now: Duration) -> Vec<Outgoing> {
        let mut all: Vec<Outgoing> = self.step(now).into_iter().collect();
        let parting = std::mem::take(&mut self.parting);
        all.extend(to_group(responses(&parting, &[], MAX_DATAGRAM)));
        all.extend(self.answers_due(now));
        let (due, later) = std::mem::take(&mut self.private).into_iter().partition(|(due, _)| *due <= now);
        self.private = later;
        let due: Vec<(Duration, Outgoing)> = due;
        all.extend(due.into_iter().map(|(_, outgoing)| outgoing));
        all
    }
    /// Takes everything back.
    pub fn leave(&mut self) -> Vec<Outgoing> {
        let mut all = std::mem::take(&mut self.parting);
        all.extend(self.farewell());
        to_group(responses(&all, &[], MAX_DATAGRAM)).collect()
    }
    /// All that is taken back, where it has been said.
    fn farewell(&self) -> Vec<Record> {
        self.own
            .iter()
            .filter(|own| own.told.is_some() && self.is_ours_alone(&own.record))
            .map(|own| gone(&own.record))
            .collect()
    }
    /// Others, too, say that there are services of this type: that is not taken back from them.
    fn is_ours_alone(&self, record: &Record) -> bool {
        match &record.data {
            Data::Ptr(to) => *to == self.names.instance,
            _ => true,
        }
    }
    /// Puts the records of what is published now in the place of those before.
    fn replace(&mut self, now: Duration) {
        let records = self.instance.records(&self.names, &self.addresses);
        let mut before = std::mem::take(&mut self.own);
        self.own = records.into_iter().map(Own::new).collect();
        for own in &mut self.own {
            match before.iter().position(|known| known.record.says_same(&own.record)) {
                Some(at) => *own = Own { record: own.record.clone(), ..before.swap_remove(at) },
                None => own.announce(now),
            }
        }
        // A set of records is told as a whole, or what is not told counts as gone (RFC 6762 §10.2).
        let is_of =
            |record: &Record, other: &Record| record.name == other.name && record.data.kind() == other.data.kind();
        let renewed: Vec<Record> =
            self.own.iter().filter(|own| own.told.is_none()).map(|own| own.record.clone()).collect();
        for own in self.own.iter_mut().filter(|own| !own.is_shared()) {
            let is_touched =
                before.iter().map(|known| &known.record).chain(&renewed).any(|other| is_of(&own.record, other));
            if is_touched {
                own.announce(now);
            }
        }
        let gone_now = before
            .iter()
            .filter(|known| known.told.is_some())
            .map(|known| Record { flush: false, ..gone(&known.record) });
        self.parting.extend(gone_now);
    }
    /// A random span below `most`.
    fn random_below(&self, most: Duration) -> Duration {
        let share = f64::from(u32::from_be_bytes(self.system.random())) / f64::from(u32::MAX);
        most.mul_f64(share)
    }
    fn meter(&mut self, to: SocketAddr, bytes: usize, now: Duration) -> bool {
        self.meter.take(to.ip(), bytes, now)
    }
}

fn gone(record: &Record) -> Record {
    Record { ttl: 0, ..record.clone() }
}

fn to_group(messages: Vec<Vec<u8>>) -> impl Iterator<Item = Outgoing> {
    messages.into_iter().map(|bytes| Outgoing { to: To::Group, bytes })
}
