//! The supervisor of a running role (row A15): a process of its own that runs the program, says when it is ready, meters
//! it, and stops it when the session is over. Where no `serve` runs, it also does the node's talking.

use std::sync::Arc;
use std::time::Duration;

use super::drive::ByHand;
use super::given::{Present, plan};
use super::node::{Node, blocking};
use super::part::Part;
use super::poll::Cursor;
use super::serve;
use super::usage::{Kept, Place, UsageFile};
use crate::message::Failure;
use crate::model::{Code, Error, Event, Party, Result, SessionId, Span, Time};
use crate::process::record::Record;
use crate::process::{Happening, Supervisor, shorten};
use crate::service::Tariff;
use crate::service::counted::KERNEL_METERS;
use crate::session::{Machine, Meter, Outcome, Stage, What, Work};
use crate::store::lock::Lock;

/// How often a program that is not ready yet is looked at.
const BUSY_NAP: Duration = Duration::from_millis(10);
/// How often a program that runs is looked at, and whether its session is over.
const QUIET_NAP: Duration = Duration::from_millis(100);
/// How often the meters are made durable.
const TICK: Span = Span::from_secs(5);
/// Before the provider is tried again, or it is looked again whether a `serve` does the talking.
const TALK_PAUSE: Duration = Duration::from_secs(1);
/// How often they are where the program said what it used.
const USAGE_TICK: Span = Span::from_secs(1);
/// How long one poll of the provider waits there.
const POLL_WAIT: Duration = Duration::from_secs(20);

/// One running role.
struct Watch {
    node: Arc<Node>,
    session: SessionId,
    party: Party,
    program: Supervisor,
    /// What was metered before this run of the supervisor and those whose program it adopted.
    before: Meter,
    /// What the program says that it used, and whether its mistakes were told.
    usage: UsageFile,
    is_told: bool,
    /// Who takes part, as the Initiator's program is told.
    present: Present,
    /// How far that was read when it was made durable last.
    kept: Place,
    ticked: Time,
    accounted: Time,
    /// By which the kernel's counts are accounted for.
    tariff: Option<Tariff>,
    stopping: bool,
    outcome: Option<Outcome>,
}

/// Why a supervisor has nothing more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This generation's program has come to rest.
    AtRest,
    /// This process was asked to end.
    Asked,
}

/// Runs the role's generation in charge until it has come to rest; where `stop` is done, stops it without ending the
/// session.
///
/// # Errors
/// `locked` where another supervisor has charge of it; `wrong-state` where it is not to run.
pub async fn supervise(
    node: Arc<Node>,
    session: SessionId,
    party: Party,
    stop: impl Future<Output = ()> + Send,
) -> Result<End> {
    let lock = node
        .try_supervise(session, party)?
        .ok_or_else(|| Error::new(Code::Locked, "another process runs this role already").about(session))?;
    let machine = node.read(session, party)?.machine.clone();
    if !machine.work().contains(&Work::Run) {
        return Err(Error::new(
            Code::WrongState,
            format!("the session is {}: its program is not to run", machine.summary().state),
        )
        .about(session));
    }
    let talking = tokio::spawn(talk(Arc::clone(&node), session, party));
    let result = watch(&node, session, party, &machine, lock, stop).await;
    talking.abort();
    result
}

async fn watch(
    node: &Arc<Node>,
    session: SessionId,
    party: Party,
    machine: &Machine,
    lock: Lock,
    stop: impl Future<Output = ()> + Send,
) -> Result<End> {
    let begun = blocking(|| Watch::begin(node, session, party, machine));
    let mut watch = match begun {
        Ok(watch) => watch,
        // It was over before it had begun: no fault of the program, which never ran.
        Err(_) if node.projection(session, party)?.ending => {
            drop(lock);
            node.poke(session, party);
            return finish(node, session, party).await.map(|()| End::AtRest);
        }
        Err(error) => {
            let failure = Failure::new(error.code, &error.message, error.hint.as_deref());
            node.take_result(session, party, Outcome::Started)?;
            node.take_result(session, party, Outcome::NotReady { failure })?;
            drop(lock);
            node.poke(session, party);
            return finish(node, session, party).await.map(|()| End::AtRest);
        }
    };
    let mut stop = std::pin::pin!(stop);
    let mut asked = false;
    while !watch.turn()? {
        let nap = if watch.program.is_ready() { QUIET_NAP } else { BUSY_NAP };
        tokio::select! {
            () = stop.as_mut(), if !asked => { asked = true; watch.stop(); }
            () = tokio::time::sleep(nap) => {}
        }
    }
    if asked && watch.outcome.is_none() && !node.projection(session, party)?.stop_wanted {
        // Only this process was asked to end, as when the machine goes down: the session goes on, and so will the program
        // when the node is at work again.
        return Ok(End::Asked);
    }
    let outcome = watch.outcome.take().unwrap_or_else(|| Outcome::Stopped { meter: Some(watch.meter()) });
    node.take_result(session, party, outcome)?;
    drop(lock);
    node.poke(session, party);
    // Where the session wants it stopped, a node that serves asks this process, too, so that it is soon.
    finish(node, session, party).await.map(|()| End::AtRest)
}

/// Where no `serve` runs, the supervisor sees the session to its end: removal, final accounting, last reports.
async fn finish(node: &Arc<Node>, session: SessionId, party: Party) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while serve::running(&node.state)?.is_none() && tokio::time::Instant::now() < deadline {
        if node.drive(session, party, ByHand::default()).await?.is_none() && !node.projection(session, party)?.live {
            break;
        }
        // The next generation's supervisor goes on from here.
        if node.try_supervise(session, party)?.is_none() {
            break;
        }
        let replayed = node.read(session, party)?;
        let work = replayed.machine.work();
        // So does whoever keeps the role in the foreground.
        let is_passed_on = work.contains(&Work::Run) && node.is_in_foreground(session, party)?;
        if is_passed_on || (work.is_empty() && replayed.outbox.is_empty()) {
            break;
        }
        tokio::time::sleep(BUSY_NAP).await;
    }
    Ok(())
}

/// Without a `serve`: sends what waits, fetches the next generation, and meanwhile asks the provider what is new.
async fn talk(node: Arc<Node>, session: SessionId, party: Party) {
    tokio::join!(tell(&node, session, party), ask(&node, session, party));
}

fn is_served(node: &Node) -> bool {
    serve::running(&node.state).is_ok_and(|running| running.is_some())
}

async fn tell(node: &Arc<Node>, session: SessionId, party: Party) {
    loop {
        let mut nap = QUIET_NAP;
        if is_served(node) {
            nap = TALK_PAUSE;
        } else if let Ok(projection) = node.projection(session, party) {
            // What cannot be done now is tried again.
            if projection.updating && node.drive(session, party, ByHand::default()).await.is_err() {
                nap = TALK_PAUSE;
            }
            for recipient in projection.recipients {
                if node.send_to(session, party, recipient).await.is_err() {
                    nap = TALK_PAUSE;
                }
            }
        }
        tokio::time::sleep(nap).await;
    }
}

async fn ask(node: &Node, session: SessionId, party: Party) {
    let mut cursor = Cursor::default();
    loop {
        let asked = match node.projection(session, party) {
            Ok(projection) if !is_served(node) => {
                node.poll(&projection.summary.provider, &mut cursor, POLL_WAIT).await.is_ok()
            }
            _ => false,
        };
        if !asked {
            tokio::time::sleep(TALK_PAUSE).await;
        }
    }
}

impl Watch {
    fn begin(node: &Arc<Node>, session: SessionId, party: Party, machine: &Machine) -> Result<Self> {
        let part = Part::of(machine)?;
        let places = node.places(session, party);
        let plan = plan(node, &part, &places)?;
        let meter = node.state.projection(session, party, "meter");
        let mut kept = Kept::load(&meter)?;
        let usage = UsageFile::open(places.usage.clone(), &kept);
        let record = Record::read(&places.record)?;
        let mut present = Present::new(&places);
        if party == Party::Initiator {
            present.keep(&machine.summary())?;
        }
        // Said first of all: who finds the session running looks for a program.
        if machine.participation().is_none_or(|part| part.stage != Stage::Running) {
            node.step(session, party, What::Result(Outcome::Started))?;
        }
        let tariff = machine.tariff().cloned();
        let adopted = record.clone().and_then(|record| Supervisor::adopt(plan.clone(), record, &node.system));
        let program = match adopted {
            Some(adopted) => adopted,
            None => {
                // Its supervisor did not see it end.
                let last = record.map(|record| record.counted(&places.record)).unwrap_or_default();
                let last = kept.base.counted.plus(last.named_by(tariff.as_ref()));
                kept.meter.counted = kept.meter.counted.max(last);
                kept.begin();
                kept.save(&meter)?;
                Supervisor::start(plan, &node.system)?
            }
        };
        let now = node.system.now();
        Ok(Self {
            node: Arc::clone(node),
            session,
            party,
            program,
            before: kept.base,
            usage,
            is_told: false,
            present,
            kept: kept.read,
            ticked: now,
            accounted: now,
            tariff,
            stopping: false,
            outcome: None,
        })
    }

    /// One look at the program and at the session; true when all has come to rest.
    fn turn(&mut self) -> Result<bool> {
        for happening in blocking(|| self.program.poll()) {
            self.tell(happening)?;
        }
        let is_done = self.program.is_done();
        self.look_at_usage(is_done)?;
        if is_done {
            self.keep_meter()?;
            let last = self.meter();
            // It may have said what it used with its last breath.
            if let Some(Outcome::Exited { meter } | Outcome::GaveUp { meter, .. }) = &mut self.outcome {
                *meter = last;
            }
            return Ok(true);
        }
        if !self.stopping {
            let projection = self.node.projection(self.session, self.party)?;
            // Nobody else may be there to see the time come.
            if projection.wake_at.is_some_and(|at| at <= self.node.system.now()) {
                self.node.step(self.session, self.party, What::Timer)?;
            }
            if projection.stop_wanted {
                self.stop();
            }
            if self.party == Party::Initiator {
                blocking(|| self.present.keep(&projection.summary))?;
            }
            self.tick()?;
        }
        Ok(false)
    }
    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.program.begin_stop();
        }
    }
    fn tell(&mut self, happening: Happening) -> Result<()> {
        let outcome = match happening {
            Happening::Ready { .. } => Some(Outcome::Ready),
            Happening::NotReady { why, tail } => {
                self.outcome = Some(Outcome::NotReady { failure: Failure::new(Code::NotReady, &why, Some(&tail)) });
                None
            }
            Happening::GaveUp { why, tail } => {
                self.outcome = Some(Outcome::GaveUp {
                    failure: Failure::new(Code::ServiceFailed, &why, Some(&tail)),
                    meter: self.meter(),
                });
                None
            }
            Happening::Exited { status, ok } => {
                self.say(format!("the program ended: {status}"));
                // What was not ready in time is ended, and stays that.
                if ok && !self.stopping {
                    let meter = self.meter();
                    self.outcome.get_or_insert(Outcome::Exited { meter });
                }
                None
            }
            Happening::Restarting { r#in, .. } => {
                self.outcome = None;
                self.say(format!("the program is started again in {in}"));
                None
            }
            Happening::Stopped { survivors, .. } => {
                if !survivors.is_empty() {
                    self.say(format!("could not be ended: {}", survivors.join(", ")));
                }
                None
            }
            Happening::Started { level, .. } => {
                self.say(format!("the program is started: {level}"));
                None
            }
        };
        match outcome {
            Some(outcome) => self.node.take_result(self.session, self.party, outcome),
            None => Ok(()),
        }
    }
    fn say(&self, text: String) {
        self.node.emit(Event::Step { session: self.session, party: self.party, text });
    }
    fn meter(&self) -> Meter {
        let meter = self.program.meter();
        Meter {
            running_ms: self.before.running_ms + meter.running_ms,
            starts: self.before.starts + u64::from(meter.starts),
            counted: self.before.counted.plus(meter.counted.named_by(self.tariff.as_ref())),
            usage: self.usage.usage.clone(),
        }
    }
    /// Where anybody wants to know.
    fn count(&mut self) {
        let names = self.tariff.iter().flat_map(|tariff| tariff.per.keys());
        if names.into_iter().any(|name| KERNEL_METERS.iter().any(|(kernel, _)| **kernel == **name)) {
            blocking(|| self.program.count());
        }
    }
    fn keep_meter(&mut self) -> Result<()> {
        let path = self.node.state.projection(self.session, self.party, "meter");
        let read = self.usage.read;
        Kept { meter: self.meter(), read, base: self.before.clone() }.save(&path)?;
        self.kept = read;
        Ok(())
    }
    /// Only the Initiator's usage is accounted for.
    fn look_at_usage(&mut self, is_done: bool) -> Result<()> {
        if self.party != Party::Initiator {
            return Ok(());
        }
        let wrong = blocking(|| if is_done { self.usage.look_to_the_end() } else { self.usage.look() })?;
        if let Some(wrong) = wrong.filter(|_| !self.is_told) {
            self.is_told = true;
            self.say(format!("of what the program used, a line was skipped, and others may be: {wrong}"));
        }
        Ok(())
    }
    /// Makes the meters durable, and accounts by interval.
    fn tick(&mut self) -> Result<()> {
        let now = self.node.system.now();
        let tick = if self.usage.read == self.kept { TICK } else { USAGE_TICK };
        if now.since(self.ticked) >= tick {
            self.ticked = now;
            self.count();
            self.keep_meter()?;
            shorten(&self.node.places(self.session, self.party).supervisor_log);
        }
        let interval = self.node.config.accounting.interval;
        if self.party == Party::Initiator && self.program.is_ready() && now.since(self.accounted) >= interval {
            self.accounted = now;
            self.count();
            self.node.take_result(self.session, self.party, Outcome::Metered { meter: self.meter(), account: true })?;
        }
        Ok(())
    }
}
