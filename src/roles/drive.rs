//! Carrying out what a session asks for: its work, its messages, its deadlines. What is to be done follows from the log
//! alone, so it does not matter which process does it, or that the one before it died.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::node::{Node, blocking};
use super::part::Part;
use super::usage::{Kept, UsageFile};
use crate::model::{Code, Error, Event, Party, Result, SessionId, Span, Time};
use crate::process::detach;
use crate::process::record::Record;
use crate::session::metering::Meter;
use crate::session::{Machine, Outcome, What, Work};
use crate::store::config::Consent;
use crate::store::lock::Lock;
use crate::store::{file, installs};

/// When to look again at work that another process is doing, or that could not be done.
const LOOK_AGAIN: Span = Span::from_secs(1);
/// When to look again whether there is room on the disk by now.
const SPACE_AGAIN: Span = Span::from_secs(5);
/// How long a supervisor may take from its start until it holds its lock.
const SUPERVISOR_START: Span = Span::from_secs(3);

/// How long to wait for the role of a session that another process may have in the foreground.
const FOREGROUND_WAIT: Span = Span::from_ms(200);
/// How soon a supervisor that was killed is noticed.
const SUPERVISOR_CHECK: Span = Span::from_secs(2);

/// What a person has said yes to, beyond the node's policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand {
    pub install: bool,
    pub remove: bool,
    /// Do not start a supervisor: the program is to be run by this very process.
    pub only_prepare: bool,
    /// Somebody waits who can do something about a full disk.
    pub attended: bool,
}

enum Done {
    /// A step was made: look at the session again.
    Progress,
    /// Nothing to do before this time, or before something happens.
    Later(Time),
    Nothing,
}

impl Node {
    /// Does everything that can be done for a session now; says when to come back at the latest. Messages go out on their
    /// own tasks.
    ///
    /// # Errors
    /// What cannot pass by itself: a damaged log, a state directory that cannot be written.
    pub async fn drive(self: &Arc<Self>, session: SessionId, party: Party, by_hand: ByHand) -> Result<Option<Time>> {
        loop {
            let projection = self.projection(session, party)?;
            if !projection.live {
                return Ok(None);
            }
            let now = self.system.now();
            if projection.wake_at.is_some_and(|at| at <= now) {
                self.step(session, party, What::Timer)?;
                continue;
            }
            if party == Party::Peer && self.answer_by_policy(session)? {
                continue;
            }
            self.send_in_background(session, party, &projection.recipients);
            match self.work(session, party, by_hand).await? {
                Done::Progress => {}
                Done::Later(at) => {
                    return Ok(earliest([Some(at), projection.wake_at, self.next_attempt(&projection.recipients)]));
                }
                Done::Nothing => return Ok(earliest([projection.wake_at, self.next_attempt(&projection.recipients)])),
            }
        }
    }

    fn send_in_background(
        self: &Arc<Self>,
        session: SessionId,
        party: Party,
        recipients: &std::collections::BTreeSet<crate::model::Key>,
    ) {
        for recipient in recipients {
            if self.pause_until(*recipient).is_some() || !self.begin_sending(session, party, *recipient) {
                continue;
            }
            let (node, recipient) = (Arc::clone(self), *recipient);
            tokio::spawn(async move {
                let sent = node.send_to(session, party, recipient).await;
                node.end_sending(session, party, recipient);
                match sent {
                    // Something may have been queued after the last look.
                    Ok(()) => node.poke(session, party),
                    // The driver is to know when it is to be tried again.
                    Err(error) if error.code.may_pass_later() => node.poke(session, party),
                    Err(error) => node.emit(Event::Step { session, party, text: format!("refused: {error}") }),
                }
            });
        }
    }

    fn next_attempt(&self, recipients: &std::collections::BTreeSet<crate::model::Key>) -> Option<Time> {
        recipients.iter().filter_map(|key| self.pause_until(*key)).min()
    }

    /// One step of work, under its lock: another process that does it already is left to it.
    async fn work(self: &Arc<Self>, session: SessionId, party: Party, by_hand: ByHand) -> Result<Done> {
        if self.projection(session, party)?.summary.over && self.read(session, party)?.machine.work().is_empty() {
            return Ok(Done::Nothing);
        }
        let path = self.state.lock(&format!("work-{session}-{party}"));
        let Some(_lock) = Lock::try_acquire(&path, "the work of a session")? else {
            return Ok(Done::Later(self.system.now() + LOOK_AGAIN));
        };
        let machine = self.read(session, party)?.machine.clone();
        let mut later = None;
        for work in machine.work() {
            match self.carry_out(session, party, &machine, work, by_hand).await {
                Ok(Done::Progress) => return Ok(Done::Progress),
                Ok(Done::Nothing) => {}
                Ok(Done::Later(at)) => later = earliest([later, Some(at)]),
                Err(error) if error.code == Code::NoSpace && by_hand.attended => return Err(error.about(session)),
                Err(error) if error.code.may_pass_later() => {
                    self.emit(Event::Step { session, party, text: format!("will be tried again: {error}") });
                    let pause = if error.code == Code::NoSpace { SPACE_AGAIN } else { LOOK_AGAIN };
                    later = earliest([later, Some(self.system.now() + pause)]);
                }
                Err(error) => return Err(error.about(session)),
            }
        }
        Ok(later.map_or(Done::Nothing, Done::Later))
    }

    async fn carry_out(
        self: &Arc<Self>,
        session: SessionId,
        party: Party,
        machine: &Machine,
        work: Work,
        by_hand: ByHand,
    ) -> Result<Done> {
        let outcome = match work {
            Work::Build { role, platform } => {
                let Machine::Provider(provider) = machine else { return Ok(Done::Nothing) };
                self.build(session, provider, &role, &platform)?
            }
            Work::Install if !by_hand.install && self.consents(session, party)?.install == Consent::Ask => {
                return Ok(Done::Nothing);
            }
            Work::Install => self.install(&Part::to_install(machine)?).await?,
            Work::RollBack => self.roll_back(&Part::of(machine)?)?,
            Work::Run if by_hand.only_prepare => return Ok(Done::Nothing),
            Work::Run => return self.see_that_it_runs(session, party),
            Work::Stop => match self.see_that_it_stops(session, party)? {
                Some(outcome) => outcome,
                None => return Ok(Done::Later(self.system.now() + LOOK_AGAIN)),
            },
            Work::Remove if !by_hand.remove && self.consents(session, party)?.remove == Consent::Ask => {
                return Ok(Done::Nothing);
            }
            Work::Remove => self.uninstall(&Part::of(machine)?)?,
        };
        self.take_result(session, party, outcome).map(|()| Done::Progress)
    }

    /// A result that the session does not want any more is no error: things went on meanwhile.
    pub(super) fn take_result(&self, session: SessionId, party: Party, outcome: Outcome) -> Result<()> {
        match self.step(session, party, What::Result(outcome)) {
            Err(error) if error.code == Code::WrongState => Ok(()),
            other => other.map(drop),
        }
    }

    /// Starts a supervisor where none is at work.
    fn see_that_it_runs(&self, session: SessionId, party: Party) -> Result<Done> {
        // One that is killed does not say so.
        let Some(lock) = self.try_supervise(session, party)? else {
            return Ok(Done::Later(self.system.now() + SUPERVISOR_CHECK));
        };
        if self.is_in_foreground(session, party)? {
            return Ok(Done::Later(self.system.now() + SUPERVISOR_CHECK));
        }
        if self.system.now() < self.supervisor_expected(session, party) {
            return Ok(Done::Later(self.system.now() + LOOK_AGAIN));
        }
        drop(lock);
        let places = self.places(session, party);
        file::create_dir_private(&places.folder)?;
        let arguments = [
            "--state".into(),
            self.state.root().as_os_str().to_owned(),
            "supervise".into(),
            session.to_string().into(),
            party.as_str().into(),
        ];
        blocking(|| detach::spawn_detached(&self.program, &arguments, &self.inherited, &places.supervisor_log))?;
        self.expect_supervisor(session, party, self.system.now() + SUPERVISOR_START);
        Ok(Done::Later(self.system.now() + SUPERVISOR_START))
    }

    /// The lock that a supervisor holds while it lives.
    pub(super) fn try_supervise(&self, session: SessionId, party: Party) -> Result<Option<Lock>> {
        Lock::try_acquire(&self.supervisor_lock(session, party), "a running service")
    }
    pub(super) fn supervisor_lock(&self, session: SessionId, party: Party) -> PathBuf {
        self.state.lock(&format!("run-{session}-{party}"))
    }

    /// Keeps the role to this process, through all its generations, for as long as the lock is held.
    ///
    /// # Errors
    /// `locked` where another process has it.
    pub fn keep_in_foreground(&self, session: SessionId, party: Party) -> Result<Lock> {
        // Who only looks whether it is held holds it for a moment.
        let lock = Lock::acquire(&self.foreground_lock(session, party), "a role in the foreground", FOREGROUND_WAIT);
        lock.map_err(|error| error.about(session))
    }
    pub(super) fn is_in_foreground(&self, session: SessionId, party: Party) -> Result<bool> {
        Lock::is_free(&self.foreground_lock(session, party)).map(|is_free| !is_free)
    }
    fn foreground_lock(&self, session: SessionId, party: Party) -> PathBuf {
        self.state.lock(&format!("foreground-{session}-{party}"))
    }

    /// Asks the supervisor to stop the program; where there is none any more, ends what it left.
    fn see_that_it_stops(&self, session: SessionId, party: Party) -> Result<Option<Outcome>> {
        let record = Record::read(&self.places(session, party).record)?;
        let Some(_lock) = self.try_supervise(session, party)? else {
            if let Some(record) = record {
                record.supervisor.signal(rustix::process::Signal::TERM);
            }
            return Ok(None);
        };
        if let Some(record) = record {
            let survivors = blocking(|| crate::process::clear(&record));
            if !survivors.is_empty() {
                return Err(Error::new(Code::Busy, format!("still running: {}", survivors.join(", "))));
            }
        }
        self.read_usage(session, party)?;
        Ok(Some(Outcome::Stopped { meter: self.metered(session, party)? }))
    }

    /// Removes the lock files of a session that has come to rest; whoever needs one again makes it again.
    pub(super) fn drop_locks(&self, session: SessionId, party: Party) {
        let names = ["work", "run", "foreground"].map(|what| self.state.lock(&format!("{what}-{session}-{party}")));
        for path in names.iter().chain([&self.state.session_lock(session, party)]) {
            // One that is held is in use after all, and one that cannot be removed does no harm.
            if let Ok(Some(lock)) = Lock::try_acquire(path, "tidying up") {
                let _ = lock.remove();
            }
        }
    }

    /// What the supervisor metered last.
    pub fn metered(&self, session: SessionId, party: Party) -> Result<Option<Meter>> {
        crate::store::document::read_json(&self.state.projection(session, party, "meter"))
    }
    /// Takes in what a program wrote before it ended, where no supervisor saw it end.
    fn read_usage(&self, session: SessionId, party: Party) -> Result<()> {
        let path = self.state.projection(session, party, "meter");
        let mut kept = Kept::load(&path)?;
        let mut file = UsageFile::open(self.places(session, party).usage, &kept);
        if let Some(wrong) = file.look_to_the_end()? {
            self.notice(format!("of what the program used: {wrong}"));
        }
        if file.read == kept.read {
            return Ok(());
        }
        (kept.meter.usage, kept.read) = (file.usage, file.read);
        kept.save(&path)
    }

    /// Brings every installation of this node's sessions to before or after what was interrupted.
    pub fn recover(&self) -> Result<()> {
        crate::store::identity::recover(&self.state)?;
        for (session, parties) in self.state.find_sessions()? {
            for party in parties {
                let Ok(projection) = self.projection(session, party) else { continue };
                let Some(role) = projection.summary.role.filter(|_| projection.live) else { continue };
                self.recover_install(&self.install_root(session, party, &role)?)?;
            }
        }
        Ok(())
    }
    /// One installation; what another process is changing this very moment was not interrupted.
    pub(super) fn recover_install(&self, root: &Path) -> Result<()> {
        match installs::recover(root) {
            Ok(recovered) => recovered.did.into_iter().for_each(|what| self.notice(what)),
            Err(error) if error.code == Code::Locked => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The environment that a supervisor inherits of this process: what finds programs and talks to people, nothing else.
pub fn inherited(all: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let wanted = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"];
    all.filter(|(name, _)| wanted.contains(&name.as_str())).collect()
}

fn earliest<const N: usize>(times: [Option<Time>; N]) -> Option<Time> {
    times.into_iter().flatten().min()
}
