//! All nodes of one session, the network between them, and the clock.

use std::collections::BTreeMap;

use deployctl::message::{Body, Verified};
use deployctl::model::{Address, Error, Key, MessageId, Nonce, Party, SessionId, SessionState, Span, Time};
use deployctl::session::input::DecidedBy;
use deployctl::session::{Decision, Machine, What, Work};

use super::node::{Answered, Node};
use super::play::{self, Play};

pub const INITIATOR: usize = 0;
pub const PROVIDER: usize = 1;
/// The first peer.
pub const PEER: usize = 2;

/// More happenings than any play has.
const TOO_MANY: usize = 200_000;

/// How the network behaves. Chances are in percent.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss: u64,
    pub double: u64,
    /// Milliseconds; what is delayed for long is overtaken.
    pub delay: u64,
}
pub const FINE: Weather = Weather { loss: 0, double: 0, delay: 20 };

#[derive(Clone)]
pub(super) enum Happening {
    Packet { from: usize, to: Key, question: MessageId, bytes: Vec<u8> },
    Answer { to: usize, question: MessageId, answer: Answered },
    Job { node: usize, work: Work, epoch: u32 },
    Supervisor { node: usize, started: Time, what: Event },
    Person { node: usize, epoch: u32 },
}

/// What a running program does.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Event {
    Ready,
    NotReady,
    Tick,
    Exits,
    GivesUp,
}

pub struct Theatre {
    pub play: Play,
    pub now: Time,
    pub nodes: Vec<Node>,
    pub weather: Weather,
    /// Nodes that nothing reaches and that say nothing, while they go on working.
    pub cut_off: Vec<usize>,
    /// By which receiver which message was acknowledged to its sender.
    pub acknowledged: Vec<(Key, MessageId)>,
    epochs: Vec<u32>,
    queue: BTreeMap<(Time, u64), Happening>,
    queued: u64,
    dice: u64,
}

impl Theatre {
    /// The Initiator asks at once.
    pub fn new(play: Play) -> Self {
        let session = SessionId::from_bytes([42; 16]);
        let mut nodes = vec![Node::new(Party::Initiator, 0, session), Node::new(Party::Provider, 1, session)];
        nodes.extend((0..play.peers).map(|peer| Node::new(Party::Peer, u8::try_from(PEER + peer).unwrap(), session)));
        let epochs = vec![0; nodes.len()];
        let now = Time::from_unix_ms(1_795_000_000_000);
        let queue = BTreeMap::new();
        let mut theatre = Self {
            play,
            now,
            nodes,
            weather: FINE,
            cut_off: Vec::new(),
            acknowledged: Vec::new(),
            epochs,
            queue,
            queued: 0,
            dice: 1,
        };
        theatre.ask();
        theatre
    }
    pub fn seeded(play: Play, dice: u64, weather: Weather) -> Self {
        let mut theatre = Self::new(play);
        theatre.dice = dice;
        theatre.weather = weather;
        theatre
    }
    fn ask(&mut self) {
        let initiator = self.nodes[INITIATOR].address.clone();
        let decision = Decision::Ask {
            provider: self.nodes[PROVIDER].address.clone(),
            initiator,
            service: play::wanted(),
            locale: None,
            form: false,
            nonce: Nonce::from_bytes([4; 16]),
        };
        self.decide(INITIATOR, decision).ok();
    }
    /// SplitMix64.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
    pub fn state(&self, node: usize) -> SessionState {
        self.nodes[node].state().expect("the session is known here")
    }
    pub fn states(&self) -> Vec<SessionState> {
        self.nodes.iter().filter_map(Node::state).collect()
    }
    pub fn reason(&self, node: usize) -> String {
        self.nodes[node].summary().reason.unwrap_or_default()
    }
    /// A person or a policy decides at this node.
    pub fn decide(&mut self, node: usize, decision: Decision) -> Result<(), Error> {
        let taken = self.nodes[node].take(self.now, What::Decided(decision));
        self.look_at(node);
        taken
    }
    pub fn stop(&mut self, node: usize, reason: &str) -> Result<(), Error> {
        self.decide(node, Decision::Stop { reason: reason.to_owned() })
    }
    pub fn answer(&mut self, node: usize, answer: deployctl::message::Verdict) -> Result<(), Error> {
        let address: Address = self.nodes[node].address.clone();
        let decision = Decision::Answer {
            answer,
            reason: Some("as I like".to_owned()),
            platform: "linux-x86_64".parse().unwrap(),
            address,
            by: DecidedBy::Person,
            rule: None,
        };
        self.decide(node, decision)
    }
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].assert_log_tells_state();
        self.nodes[node].crash();
        self.epochs[node] += 1;
    }
    pub fn restart(&mut self, node: usize) {
        self.epochs[node] += 1;
        self.nodes[node].restart(self.now);
        if node == INITIATOR && self.nodes[node].machine().is_none() {
            self.ask();
        }
        self.look_at(node);
    }
    pub fn run_for(&mut self, span: Span) {
        self.run_until(self.now + span);
    }
    pub fn run_until(&mut self, limit: Time) {
        for _ in 0..TOO_MANY {
            match self.next_time() {
                Some(time) if time <= limit => {
                    self.now = self.now.max(time);
                    self.happen();
                }
                _ => {
                    self.now = limit;
                    return;
                }
            }
        }
        panic!("it does not come to rest: {:?}", self.states());
    }
    fn next_time(&self) -> Option<Time> {
        let queued = self.queue.keys().next().map(|(time, _)| *time);
        let nodes = (0..self.nodes.len()).filter_map(|node| self.next_of(node));
        queued.into_iter().chain(nodes).min()
    }
    fn next_of(&self, node: usize) -> Option<Time> {
        let node = &self.nodes[node];
        if !node.alive {
            return None;
        }
        let live = node.live.as_ref()?;
        let waiting = node.waiting.iter().filter(|(_, expires)| expires.is_none_or(|time| time >= self.now));
        let retry = waiting.map(|(id, _)| node.retries.get(id).map_or(self.now, |one| one.0));
        live.machine.wake_at().into_iter().chain(retry).min()
    }
    fn happen(&mut self) {
        if let Some(((time, _), _)) = self.queue.first_key_value()
            && *time <= self.now
        {
            let (_, happening) = self.queue.pop_first().unwrap();
            return self.carry_out(happening);
        }
        let due = (0..self.nodes.len()).find(|node| self.next_of(*node).is_some_and(|time| time <= self.now));
        let Some(node) = due else { return };
        let wakes = self.nodes[node].machine().and_then(Machine::wake_at);
        if wakes.is_some_and(|time| time <= self.now) {
            let taken = self.nodes[node].take(self.now, What::Timer);
            assert!(taken.is_ok() || !self.nodes[node].alive, "a timer is always taken: {taken:?}");
            let wakes = self.nodes[node].machine().and_then(Machine::wake_at);
            assert!(
                wakes.is_none_or(|time| time > self.now),
                "{node} wakes for nothing in {:?}",
                self.nodes[node].state()
            );
        }
        self.look_at(node);
    }
    pub(super) fn later(&mut self, span: Span, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + span, self.queued), happening);
    }
    fn post(&mut self, happening: &Happening) {
        let copies = if self.roll(100) < self.weather.double { 2 } else { 1 };
        for _ in 0..copies {
            if self.roll(100) < self.weather.loss {
                continue;
            }
            let delay = 5 + self.roll(self.weather.delay);
            self.later(Span::from_ms(delay), happening.clone());
        }
    }
    fn carry_out(&mut self, happening: Happening) {
        match happening {
            Happening::Packet { from, to, question, bytes } => {
                let Some(node) = self.nodes.iter().position(|node| node.me() == to) else { return };
                if !self.nodes[node].alive || self.cut_off.contains(&node) || self.cut_off.contains(&from) {
                    return;
                }
                let answer = self.nodes[node].deliver(self.now, &bytes, &self.play);
                if self.nodes[node].alive {
                    self.post(&Happening::Answer { to: from, question, answer });
                }
                self.look_at(node);
            }
            Happening::Answer { to, question, answer } => {
                if self.nodes[to].alive && !self.cut_off.contains(&to) {
                    if answer.is_ok() {
                        let from = self.nodes[to].receiver_of(question);
                        self.acknowledged.extend(from.map(|key| (key, question)));
                    }
                    self.nodes[to].answered(self.now, question, answer);
                    self.look_at(to);
                }
            }
            Happening::Job { node, work, epoch } if epoch == self.epochs[node] => self.finish(node, &work),
            Happening::Person { node, epoch } if epoch == self.epochs[node] => self.person(node),
            Happening::Job { .. } | Happening::Person { .. } => {}
            Happening::Supervisor { node, started, what } if self.nodes[node].running == Some(started) => {
                if self.nodes[node].alive {
                    self.supervise(node, started, what);
                } else {
                    self.later(Span::from_secs(60), Happening::Supervisor { node, started, what });
                }
            }
            Happening::Supervisor { .. } => {}
        }
    }
    /// Sends what is to be sent, does what is to be done, asks whom there is to ask.
    pub(super) fn look_at(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if !node.alive {
            self.epochs[index] += 1;
            return;
        }
        let Some(live) = &node.live else { return };
        let mut packets = Vec::new();
        for (sent, (id, expires)) in live.outbox.iter().zip(&node.waiting) {
            let id = *id;
            let (due, tries) = node.retries.get(&id).copied().unwrap_or((now, 0));
            if due <= now && expires.is_none_or(|time| time >= now) {
                let back_off = Span::from_secs(10 * 2u64.pow(tries.min(6)));
                node.retries.insert(id, (now + back_off, tries + 1));
                packets.push(Happening::Packet {
                    from: index,
                    to: sent.to.key,
                    question: id,
                    bytes: sent.envelope.to_json(),
                });
            }
        }
        let work: Vec<_> = live.machine.work().into_iter().filter(|work| !node.busy.contains(work)).collect();
        node.busy.extend(work.iter().cloned());
        let asks_person = match &live.machine {
            Machine::Initiator(machine) => machine.interface().is_some() && machine.active().is_none(),
            Machine::Peer(machine) => machine.is_open() && node.script.answer.is_some(),
            Machine::Provider(_) => false,
        };
        let takes = node.script.install_takes;
        let waits = node.script.answer.map_or(Span::from_secs(1), |(_, after)| after);
        let epoch = self.epochs[index];
        packets.iter().for_each(|packet| self.post(packet));
        for work in work {
            let span = if work == Work::Install { takes } else { Span::from_secs(2) };
            self.later(span, Happening::Job { node: index, work, epoch });
        }
        let asked = self
            .queue
            .values()
            .any(|one| matches!(one, Happening::Person { node, epoch: when } if *node == index && *when == epoch));
        if asks_person && !asked {
            self.later(waits, Happening::Person { node: index, epoch });
        }
    }
    /// The Initiator names one more peer.
    pub fn add(&mut self, peer: usize, role: &str) -> Result<(), Error> {
        let (asking, added) = (&self.nodes[INITIATOR], &self.nodes[peer]);
        let initiator = play::person("alice", &asking.address);
        let person = play::person(&format!("peer{peer}"), &added.address);
        let until = self.now + self.play.answer_within;
        let (session, number) = (asking.session, peer - PEER);
        let invitee = play::invitee(session, number, self.now, until, &asking.key, &initiator, &person, role);
        self.decide(INITIATOR, Decision::AddPeers { peers: vec![invitee] })
    }
    /// The Initiator or the provider takes an invitation back.
    pub fn withdraw(&mut self, by: usize, peer: usize) -> Result<(), Error> {
        let peer = self.nodes[peer].me();
        self.decide(by, Decision::Withdraw { peer, reason: "we are full".to_owned() })
    }
    fn person(&mut self, index: usize) {
        let node = &self.nodes[index];
        match node.machine() {
            Some(Machine::Initiator(machine)) if machine.active().is_none() => {
                let Some(interface) = machine.interface() else { return };
                let named = PEER..self.nodes.len() - self.play.later;
                let others = self.nodes.iter().enumerate().filter(|(number, _)| named.contains(number));
                let mut people = vec![play::person("alice", &node.address)];
                people.extend(others.map(|(number, peer)| play::person(&format!("peer{number}"), &peer.address)));
                let request = self.play.request(interface, node.session, self.now, &node.key, &people);
                self.decide(index, Decision::Request { request: Box::new(request) }).ok();
            }
            Some(Machine::Peer(machine)) if machine.is_open() => {
                if let Some((verdict, _)) = node.script.answer {
                    self.answer(index, verdict).ok();
                }
            }
            _ => {}
        }
    }
}

/// The messages of one kind that a node has sent.
pub fn sent(node: &Node, kind: &str) -> Vec<Verified<deployctl::message::Message>> {
    let sent = node.log.iter().filter(|(what, _, _)| what == "sent");
    let messages = sent.map(|(_, _, body)| {
        let envelope = serde_json::from_value(body["envelope"].clone()).unwrap();
        Verified::from_own_log(envelope).unwrap()
    });
    messages.filter(|message| Body::kind(&message.body) == kind).collect()
}
