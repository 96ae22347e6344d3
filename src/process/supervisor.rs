//! The life of one program: started, watched until it is ready, started again when it fails, stopped with all that it
//! started. The owner calls [`Supervisor::poll`] in a loop, with [`Supervisor::wait`] or a timer of its own in between,
//! and is told what happened. Dropping a supervisor leaves the program running, for another to adopt.

#![expect(
    clippy::disallowed_methods,
    reason = "waits for a program, of which there is nothing but looking at it again"
)]

use std::time::Duration;

use rustix::process::Signal;

use super::back_off::{BackOff, MOST_RESTARTS, Retry};
use super::clock::Ticker;
use super::ending::{Ending, GUARD_LIMIT_MS, KILL_LIMIT_MS, Next, clear, kill, signal_of};
use super::happening::{Happening, Meter};
use super::output::Output;
use super::pid::{self, Identity, Member};
use super::plan::Plan;
use super::probe::Watch;
use super::record::Record;
use super::spawn::{End, Leader};
use crate::model::error::{Error, Result};
use crate::model::{Code, Span};
use crate::service::definition::{Ready, Restart};
use crate::system::System;

/// While something is about to happen, it is looked for this often.
const BUSY_NAP: Duration = Duration::from_millis(20);
/// How often a program that simply runs is looked at.
const QUIET_NAP: Duration = Duration::from_millis(100);

/// Has charge of one program.
pub struct Supervisor {
    plan: Plan,
    watch: Watch,
    output: Output,
    ticker: Ticker,
    back_off: BackOff,
    record: Record,
    meter: Meter,
    phase: Phase,
    /// When the time for becoming ready began, in elapsed milliseconds.
    window_start_ms: u64,
    /// When the program was last started, in elapsed milliseconds.
    started_ms: u64,
    news: Vec<Happening>,
}

enum Phase {
    Running(Leader),
    Ending(Ending),
    /// Between two runs.
    Pausing {
        until_ms: u64,
    },
    Done,
}

impl Supervisor {
    /// Starts the program. Where its port is taken already, it is not started: the first poll says `NotReady`. What an
    /// earlier run of the same record left is killed first (up to 5 s), so [`Supervisor::adopt`] is to be tried before.
    ///
    /// # Errors
    /// `bad-definition`, `service-failed`, `unsuitable` where the plan cannot be carried out; `wrong-state` where
    /// another supervisor has charge of it, or an earlier run cannot be ended; `io` and `disk-full` for log and record.
    pub fn start(plan: Plan, system: &System) -> Result<Self> {
        if let Some(earlier) = Record::read(&plan.record)? {
            let hint = "stop it first";
            if earlier.is_taken() {
                return Err(Error::new(Code::WrongState, "the program has a supervisor already").hint(hint));
            }
            let left = clear(&earlier);
            if !left.is_empty() {
                let what = format!("an earlier run of the program cannot be ended: {}", left.join(", "));
                return Err(Error::new(Code::WrongState, what).hint(hint));
            }
        }
        let record = Record::new(system)?;
        let mut supervisor = Self::new(plan, record, system, 0)?;
        supervisor.launch()?;
        Ok(supervisor)
    }

    /// Takes charge of a program that a supervisor which is gone had started. Nothing where the program ended
    /// meanwhile (then [`clear`](super::clear) away what it left), or where its supervisor lives. That it is ready is said
    /// again.
    pub fn adopt(plan: Plan, mut record: Record, system: &System) -> Option<Self> {
        let child = record.child.filter(Identity::is_alive)?;
        if record.is_taken() || record.boot != pid::boot() {
            return None;
        }
        record.supervisor = Identity::own()?;
        let (ran_ms, waited_ms) = (child.age_ms()?, record.child_started.since(record.started).as_ms());
        let mut supervisor = Self::new(plan, record.clone(), system, ran_ms + waited_ms).ok()?;
        supervisor.window_start_ms = 0;
        supervisor.started_ms = waited_ms;
        supervisor.watch.rearm(record.log_offset, record.stale);
        // It has been running all the while: the same process is still there.
        supervisor.meter.running_ms += ran_ms;
        supervisor.meter.starts += 1;
        supervisor.phase = Phase::Running(Leader::adopted(child, &supervisor.plan, &supervisor.record));
        supervisor.record.write(&supervisor.plan.record).ok()?;
        if supervisor.record.ready {
            // Whoever had charge of it may have died before anybody heard.
            supervisor.news.push(Happening::Ready { after: Span::from_ms(ran_ms) });
        }
        Some(supervisor)
    }

    fn new(plan: Plan, record: Record, system: &System, elapsed_ms: u64) -> Result<Self> {
        Ok(Self {
            watch: Watch::new(&plan)?,
            output: Output::open(&plan.log)?,
            ticker: Ticker::new(system, elapsed_ms),
            back_off: BackOff::default(),
            meter: record.before,
            record,
            phase: Phase::Done,
            window_start_ms: elapsed_ms,
            started_ms: elapsed_ms,
            news: Vec::new(),
            plan,
        })
    }

    /// Does what is due and tells what happened since the last call. Does not block (a connection attempt of a `tcp`
    /// probe may take 200 ms). To be called several times a second, the more so while it is not ready.
    pub fn poll(&mut self) -> Vec<Happening> {
        let passed_ms = self.ticker.tick();
        if matches!(&self.phase, Phase::Running(_) | Phase::Ending(Ending { told: false, .. })) {
            self.meter.running_ms += passed_ms;
        }
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Running(leader) => self.look(leader),
            Phase::Pausing { until_ms } => self.after_pause(until_ms),
            other => other,
        };
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Ending(ending) => self.end(ending),
            other => other,
        };
        // After the look for a text in what this moves away.
        self.output.rotate();
        std::mem::take(&mut self.news)
    }

    /// Blocks for `most`, or until [`Supervisor::poll`] has something to do: for 20 ms at a time while the program is not
    /// ready, pauses or is ending; until it ends, noticed within 100 ms, when it simply runs; not at all when all is done.
    pub fn wait(&self, most: Duration) {
        let mut left = most;
        while !left.is_zero() && self.news.is_empty() {
            match &self.phase {
                Phase::Done => return,
                Phase::Running(leader) if leader.ended().is_some() => return,
                Phase::Running(_) if self.record.ready => {
                    std::thread::sleep(QUIET_NAP.min(left));
                    left = left.saturating_sub(QUIET_NAP);
                }
                _ => {
                    std::thread::sleep(BUSY_NAP.min(left));
                    return;
                }
            }
        }
    }

    /// Begins to stop it: the signal goes to its process group now; [`Supervisor::poll`] does the rest, until it tells
    /// `Stopped`.
    pub fn begin_stop(&mut self) {
        self.ticker.tick();
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Running(leader) => Phase::Ending(self.send_stop(leader)),
            Phase::Ending(ending) => Phase::Ending(Ending { next: Next::Stopped, ..ending }),
            Phase::Pausing { .. } => self.finish(Next::Stopped, false, &[]),
            Phase::Done => {
                self.news.push(Happening::Stopped { killed: false, survivors: Vec::new() });
                Phase::Done
            }
        };
    }

    /// Stops it, and returns when nothing of it is left: at the latest 5 s after its grace period, with the survivors
    /// named in `Stopped`, which comes last. For a real clock.
    pub fn stop(&mut self) -> Vec<Happening> {
        let mut news = std::mem::take(&mut self.news);
        self.begin_stop();
        loop {
            news.extend(self.poll());
            if self.is_done() {
                return news;
            }
            self.wait(BUSY_NAP);
        }
    }

    /// Whether it has ended for good, with all that it started.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done) && self.news.is_empty()
    }
    /// Whether it runs and has become ready.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Running(_)) && self.record.ready
    }
    /// The program's pid, while it runs.
    pub fn pid(&self) -> Option<u32> {
        match &self.phase {
            Phase::Running(leader) | Phase::Ending(Ending { leader, .. }) => Some(leader.identity.pid),
            Phase::Pausing { .. } | Phase::Done => None,
        }
    }
    /// As of the last poll, with what supervisors before this one metered of the same run.
    pub fn meter(&self) -> Meter {
        self.meter
    }
    /// Has the kernel's counts in the meter up to now. Looks at every process of the machine: not to be called at every
    /// poll.
    pub fn count(&mut self) {
        let counted = self.record.counted(&self.plan.record);
        self.meter.counted = self.meter.counted.max(counted);
    }
    /// The end of what the program printed since it was last started: at most 20 lines and 4 KiB.
    pub fn tail(&self) -> String {
        self.output.tail(self.record.log_offset)
    }

    /// Starts the program, or says why it would not become ready.
    fn launch(&mut self) -> Result<()> {
        self.started_ms = self.ticker.elapsed_ms();
        (self.record.child, self.record.guard, self.record.confinement) = (None, None, None);
        self.record.ready = false;
        self.record.before = self.meter;
        self.record.child_started = self.ticker.now();
        if self.record.ever_ready {
            self.window_start_ms = self.started_ms;
            self.record.started = self.record.child_started;
        }
        self.record.log_offset = self.output.size();
        if let Err(why) = self.watch.arm(&self.output) {
            self.news.push(Happening::NotReady { why, tail: String::new() });
            self.phase = Phase::Done;
            Record::remove(&self.plan.record);
            return Ok(());
        }
        self.record.stale = self.watch.stale();
        // Once before, so that a supervisor which dies in between leaves its mark behind; once after, with the pid.
        self.record.write(&self.plan.record)?;
        let (leader, level) = Leader::start(&self.plan, self.record.run, &self.output).inspect_err(|_| {
            Record::remove(&self.plan.record);
        })?;
        self.record.child = Some(leader.identity);
        self.record.guard = leader.guard;
        self.record.confinement = Some(level);
        if let Err(why) = self.record.write(&self.plan.record) {
            leader.identity.signal_group(Signal::KILL);
            clear(&self.record);
            leader.reap();
            return Err(why);
        }
        // What the start itself took is not the program's.
        self.ticker.tick();
        self.started_ms = self.ticker.elapsed_ms();
        self.meter.starts += 1;
        self.news.push(Happening::Started { pid: leader.identity.pid, level });
        self.phase = Phase::Running(leader);
        Ok(())
    }

    /// A look at the running program.
    fn look(&mut self, leader: Leader) -> Phase {
        let now_ms = self.ticker.elapsed_ms();
        let running_ms = now_ms - self.started_ms;
        if let Some(end) = leader.ended() {
            return Phase::Ending(self.after_exit(leader, &end));
        }
        if self.record.ready {
            return Phase::Running(leader);
        }
        if self.watch.is_ready(running_ms, &self.output) {
            self.now_ready(running_ms);
            return Phase::Running(leader);
        }
        if now_ms < self.deadline_ms() {
            return Phase::Running(leader);
        }
        let why = format!("not ready within {}: {}", self.within(), self.watch.missing());
        self.news.push(Happening::NotReady { why, tail: self.tail() });
        Phase::Ending(self.send_stop(leader))
    }

    fn now_ready(&mut self, running_ms: u64) {
        self.record.ready = true;
        self.record.ever_ready = true;
        // Where this fails, a supervisor that adopts it looks for readiness once more, which does no harm.
        let _ = self.record.write(&self.plan.record);
        self.news.push(Happening::Ready { after: Span::from_ms(running_ms) });
    }

    /// The program ended by itself: what comes next.
    fn after_exit(&mut self, leader: Leader, end: &End) -> Ending {
        let now_ms = self.ticker.elapsed_ms();
        let ran_ms = now_ms - self.started_ms;
        if self.plan.ready.is_none() && end.ok && !self.record.ready && self.plan.restart != Restart::Always {
            self.now_ready(ran_ms);
        }
        self.news.push(Happening::Exited { status: end.status.clone(), ok: end.ok });
        let again = match self.plan.restart {
            Restart::Never => false,
            Restart::OnFailure => !end.ok,
            Restart::Always => true,
        };
        let retry = if again { self.back_off.next(now_ms, ran_ms) } else { None };
        let next = match retry {
            Some(retry) if self.record.ever_ready || now_ms + retry.pause_ms < self.deadline_ms() => {
                self.restart(retry, now_ms)
            }
            _ if !self.record.ever_ready => self.never_ready(again, end),
            _ if again => {
                let why = format!("it ended ({}) after {MOST_RESTARTS} restarts within ten minutes", end.status);
                self.news.push(Happening::GaveUp { why, tail: self.tail() });
                Next::Ended
            }
            _ => Next::Ended,
        };
        Ending { leader, told: true, kill_at_ms: now_ms, killed_at_ms: None, next }
    }

    fn restart(&mut self, retry: Retry, now_ms: u64) -> Next {
        self.news.push(Happening::Restarting { r#in: Span::from_ms(retry.pause_ms), attempt: retry.attempt });
        Next::Start { at_ms: now_ms + retry.pause_ms }
    }

    fn never_ready(&mut self, again: bool, end: &End) -> Next {
        let why = match (again, self.meter.starts) {
            (false, _) => format!("it ended ({}) before it was ready", end.status),
            (true, starts) => {
                format!("not ready within {}: it was started {starts} times and ended ({})", self.within(), end.status)
            }
        };
        self.news.push(Happening::NotReady { why, tail: self.tail() });
        Next::Ended
    }

    fn after_pause(&mut self, until_ms: u64) -> Phase {
        if self.ticker.elapsed_ms() < until_ms {
            return Phase::Pausing { until_ms };
        }
        if let Err(error) = self.launch() {
            let why = format!("it could not be started again: {error}");
            self.news.push(match self.record.ever_ready {
                true => Happening::GaveUp { why, tail: self.tail() },
                false => Happening::NotReady { why, tail: self.tail() },
            });
        }
        std::mem::replace(&mut self.phase, Phase::Done)
    }

    fn send_stop(&self, leader: Leader) -> Ending {
        let signal = signal_of(self.plan.stop.signal);
        leader.identity.signal_group(signal);
        let kill_at_ms = self.ticker.elapsed_ms() + self.plan.stop.grace.as_ms();
        Ending { leader, told: false, kill_at_ms, killed_at_ms: None, next: Next::Stopped }
    }

    /// One step towards nothing of the run being left.
    fn end(&mut self, mut ending: Ending) -> Phase {
        let now_ms = self.ticker.elapsed_ms();
        if !ending.told
            && let Some(End { status, ok }) = ending.leader.ended()
        {
            self.news.push(Happening::Exited { status, ok });
            ending.told = true;
        }
        if !ending.told && now_ms < ending.kill_at_ms {
            return Phase::Ending(ending);
        }
        let (others, guard) = self.record.living();
        let give_up = ending.killed_at_ms.is_some_and(|at| now_ms >= at + KILL_LIMIT_MS);
        if (others.is_empty() && guard.is_none() && ending.told) || give_up {
            let left: Vec<_> = others.into_iter().chain(guard).collect();
            ending.leader.reap();
            return self.finish(ending.next, ending.killed_at_ms.is_some(), &left);
        }
        // Once all others are gone, the guard ends by itself.
        let patience_ms = if others.is_empty() { GUARD_LIMIT_MS } else { 0 };
        if now_ms >= ending.kill_at_ms + patience_ms {
            ending.killed_at_ms.get_or_insert(now_ms);
            let targets = if others.is_empty() { guard.as_slice() } else { &others };
            kill(Some(ending.leader.identity), targets);
        }
        Phase::Ending(ending)
    }

    fn finish(&mut self, next: Next, killed: bool, survivors: &[Member]) -> Phase {
        // Nothing is left that could use more.
        self.count();
        let survivors: Vec<String> = survivors.iter().map(Member::to_string).collect();
        match next {
            Next::Start { at_ms } if survivors.is_empty() => return Phase::Pausing { until_ms: at_ms },
            Next::Ended if survivors.is_empty() => {}
            Next::Start { .. } | Next::Stopped | Next::Ended => {
                self.news.push(Happening::Stopped { killed, survivors: survivors.clone() });
            }
        }
        if survivors.is_empty() {
            Record::remove(&self.plan.record);
        }
        Phase::Done
    }

    fn within(&self) -> Span {
        self.plan.ready.as_ref().map_or_else(Ready::default_within, |ready| ready.within)
    }
    fn deadline_ms(&self) -> u64 {
        self.window_start_ms + self.within().as_ms()
    }
}
