//! Simulated work: builds, installations, and programs under their supervisors.

use deployctl::message::PackageRef;
use deployctl::model::{Code, Digest, Span, Time};
use deployctl::session::{Outcome, What, Work};

use super::play;
use super::theatre::{Event, Happening, Theatre};

/// How often the Initiator's supervisor accounts.
const INTERVAL: Span = Span::from_secs(20 * 60);
impl Theatre {
    pub(super) fn finish(&mut self, index: usize, work: &Work) {
        let node = &mut self.nodes[index];
        node.busy.retain(|one| one != work);
        if !node.machine().is_some_and(|machine| machine.work().contains(work)) {
            return;
        }
        let fails = |text: &str| play::failure(Code::Io, text);
        let outcome = match work {
            Work::Build { role, platform } if node.script.build_fails => {
                let failure = play::failure(Code::BuildFailed, "the compiler stopped");
                Outcome::BuildFailed { role: role.clone(), platform: platform.clone(), failure }
            }
            Work::Build { role, platform } => Outcome::Built {
                role: role.clone(),
                platform: platform.clone(),
                package: PackageRef { digest: Digest::of(role.as_bytes()), size: 1000 },
                manifest: Digest::of(b"manifest"),
                roster_value: play::commitment(9),
            },
            Work::Install if node.script.install_fails || (node.script.install_fails_later && node.disk) => {
                Outcome::InstallFailed { failure: fails("no space") }
            }
            Work::Install => {
                node.disk = true;
                Outcome::Installed
            }
            Work::Run if node.running.is_some() => return,
            Work::Run => Outcome::Started,
            Work::Stop => {
                self.measure(index);
                let node = &mut self.nodes[index];
                node.running = None;
                Outcome::Stopped { meter: Some(node.meter.clone()) }
            }
            Work::RollBack => {
                assert!(node.running.is_none(), "{index}: software is taken away under a running program");
                Outcome::RolledBack
            }
            Work::Remove => {
                assert!(node.running.is_none(), "{index}: software is removed under a running program");
                node.disk = false;
                Outcome::Removed { kept: Vec::new() }
            }
        };
        let taken = self.nodes[index].take(self.now, What::Result(outcome));
        let alive = self.nodes[index].alive;
        if let (Err(why), true) = (&taken, alive) {
            let still = self.nodes[index].machine().is_some_and(|machine| machine.work().contains(work));
            assert!(!still, "{index}: the result of {work:?} is refused, and it is still to be done: {why}");
        }
        if taken.is_ok() && *work == Work::Run {
            self.start(index);
        }
        self.look_at(index);
    }
    fn start(&mut self, index: usize) {
        let started = self.now;
        let node = &mut self.nodes[index];
        node.running = Some(started);
        node.meter.starts += 1;
        let script = node.script.clone();
        let generation = self.nodes[index].machine().and_then(|machine| machine.participation()?.generation());
        let mut then = |span, what| self.later(span, Happening::Supervisor { node: index, started, what });
        if script.never_ready || (script.unready.is_some() && script.unready == generation) {
            return then(Span::from_secs(30), Event::NotReady);
        }
        then(Span::from_secs(3), Event::Ready);
        then(INTERVAL, Event::Tick);
        script.exits_after.into_iter().for_each(|span| then(span, Event::Exits));
        script.gives_up_after.into_iter().for_each(|span| then(span, Event::GivesUp));
    }
    /// Adds what ran since the last look.
    fn measure(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if let Some(started) = node.running {
            node.meter.running_ms = node.meter.running_ms.max(now.since(started).as_ms());
        }
    }
    pub(super) fn supervise(&mut self, index: usize, started: Time, what: Event) {
        self.measure(index);
        let node = &mut self.nodes[index];
        let meter = node.meter.clone();
        let outcome = match what {
            Event::Ready => Outcome::Ready,
            Event::Tick => Outcome::Metered { meter, account: true },
            Event::NotReady => Outcome::NotReady { failure: play::failure(Code::NotReady, "the port stayed closed") },
            Event::Exits => Outcome::Exited { meter },
            Event::GivesUp => Outcome::GaveUp { failure: play::failure(Code::ServiceFailed, "exited with 3"), meter },
        };
        node.take(self.now, What::Result(outcome)).ok();
        if !self.nodes[index].alive {
            self.later(Span::from_secs(60), Happening::Supervisor { node: index, started, what });
        } else if what == Event::Tick {
            self.later(INTERVAL, Happening::Supervisor { node: index, started, what });
        } else if what != Event::Ready {
            self.nodes[index].running = None;
        }
        self.look_at(index);
    }
}
