//! Running an installed program (rows B13, B14): a supervisor of its own, as in a session. What says that it runs well is
//! confirmed; an update that does not goes back to the generation before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::given::supervisor_log;
use super::install::gone;
use crate::message::{Failure, ReportState};
use crate::model::{Code, Error, Result, Span};
use crate::process::record::Record;
use crate::process::{Happening, Supervisor, clear, detach, shorten};
use crate::roles::node::{Node, blocking};
use crate::store::file;
use crate::store::lock::Lock;
use crate::store::programs::{Program, ProgramId, Programs};

/// How often a program that is not ready yet is looked at.
const BUSY_NAP: Duration = Duration::from_millis(10);
/// How often a program that runs is looked at, and whether it is to run on.
const QUIET_NAP: Duration = Duration::from_millis(100);
/// How often what waits to be sent is tried.
const MAIL_PAUSE: Duration = Duration::from_secs(2);
/// How long a supervisor may take from its start until it holds its lock.
const SUPERVISOR_START: Duration = Duration::from_secs(10);
/// How long a program may take to stop, beyond its own grace period.
const STOP: Span = Span::from_secs(60);

/// How one run of one generation ended.
enum Ended {
    /// It is not to run any more.
    Stopped,
    /// Another generation is current now, or it is for another service.
    Replaced,
    /// By itself, and well.
    Exited,
    Failed(Failure),
    /// This process was asked to end; the program is to run on when the node is at work again.
    Asked,
}

impl Node {
    /// Wants a program to run, and sees that a supervisor has charge of it.
    ///
    /// # Errors
    /// `not-found`, `wrong-state` where nothing is installed or it has nothing to run.
    pub fn start_program(&self, id: &ProgramId) -> Result<()> {
        self.want_program(id)?;
        self.see_that_program_runs(id)
    }

    /// Wants it to run, without starting anything.
    ///
    /// # Errors
    /// As [`Node::start_program`].
    pub fn want_program(&self, id: &ProgramId) -> Result<Program> {
        let programs = Programs::of(&self.state);
        let _lock = programs.lock(id)?;
        let mut program = programs.read(id)?.ok_or_else(|| gone(id))?;
        let Some((_, release)) = self.current(&program)? else {
            return Err(Error::new(Code::WrongState, format!("nothing of {} is installed", id.name))
                .hint("install it again from where it came"));
        };
        if release.terms.run.is_none() {
            return Err(Error::new(Code::WrongState, format!("{} is installed and has nothing to run", id.name)));
        }
        if !program.wanted || self.supervises(id)?.is_some() {
            program.state = ReportState::Installed;
        }
        program.wanted = true;
        program.failure = None;
        programs.write(&program)?;
        Ok(program)
    }

    /// Does not want it to run any more, and waits until nothing of it does.
    ///
    /// # Errors
    /// `not-found`; `busy` where something of it cannot be ended.
    pub async fn stop_program(&self, id: &ProgramId, within: Option<Span>) -> Result<Program> {
        let program =
            Programs::of(&self.state).change(id, |program| program.wanted = false)?.ok_or_else(|| gone(id))?;
        let until = tokio::time::Instant::now() + within.unwrap_or(STOP).as_duration();
        let record = self.program_places(id).record;
        loop {
            if let Some(_lock) = self.supervises(id)? {
                let survivors = match Record::read(&record)? {
                    Some(record) => blocking(|| clear(&record)),
                    None => Vec::new(),
                };
                if survivors.is_empty() {
                    break;
                }
            }
            if tokio::time::Instant::now() > until {
                return Err(Error::new(Code::Busy, format!("{} is still running", id.name))
                    .hint("the same command again goes on waiting; --timeout says how long"));
            }
            tokio::time::sleep(QUIET_NAP).await;
        }
        Ok(Programs::of(&self.state).read(id)?.unwrap_or(program))
    }

    /// Waits until a program that was started says that it runs well; or until it has failed.
    ///
    /// # Errors
    /// Why it failed; `timed-out`.
    pub async fn wait_for_program(&self, id: &ProgramId, within: Option<Span>) -> Result<Program> {
        let began = tokio::time::Instant::now();
        loop {
            let program = Programs::of(&self.state).read(id)?.ok_or_else(|| gone(id))?;
            if let Some(failure) = &program.failure {
                return Err(failed(&program, failure));
            }
            let is_confirmed = self.current(&program)?.is_some_and(|(_, release)| release.confirmed);
            if program.state == ReportState::Confirmed || (program.state == ReportState::Stopped && is_confirmed) {
                return Ok(program);
            }
            let waited = began.elapsed();
            if waited > SUPERVISOR_START && self.supervises(id)?.is_some() {
                let log = supervisor_log(self, id);
                return Err(Error::new(Code::ServiceFailed, format!("nothing runs {}", id.name))
                    .hint(format!("{} says more", log.display())));
            }
            if within.is_some_and(|within| waited > within.as_duration()) {
                return Err(Error::new(Code::TimedOut, format!("{} has not become ready yet", id.name))
                    .hint("deployctl status shows when it has"));
            }
            tokio::time::sleep(QUIET_NAP).await;
        }
    }

    /// The lock that a supervisor holds while it lives; nothing while one does.
    fn supervises(&self, id: &ProgramId) -> Result<Option<Lock>> {
        Lock::try_acquire(&self.state.lock(&format!("run-{}", id.file_name())), "a running program")
    }

    /// Starts a supervisor for a program that is wanted, where none has charge of it.
    ///
    /// # Errors
    /// `io` where no process can be started.
    pub fn see_that_program_runs(&self, id: &ProgramId) -> Result<()> {
        let Some(lock) = self.supervises(id)? else { return Ok(()) };
        drop(lock);
        file::create_dir_private(&self.program_places(id).folder)?;
        let arguments = [
            "--state".into(),
            self.state.root().as_os_str().to_owned(),
            "supervise".into(),
            "--program".into(),
            id.to_string().into(),
        ];
        let log = supervisor_log(self, id);
        blocking(|| detach::spawn_detached(&self.program, &arguments, &self.inherited, &log)).map(drop)
    }

    /// What a running node does for its programs: those that are to run do, and what waits is sent.
    pub(in crate::roles) async fn look_after_programs(&self) {
        let programs = Programs::of(&self.state).list();
        let looked = programs.and_then(|all| {
            all.iter().filter(|program| program.wanted).try_for_each(|program| self.see_that_program_runs(&program.id))
        });
        for trouble in [looked, self.send_mail().await].into_iter().filter_map(Result::err) {
            self.notice(format!("looking after the programs: {trouble}"));
        }
    }
}

fn failed(program: &Program, failure: &Failure) -> Error {
    let tail = failure.tail.iter().flat_map(|tail| tail.lines()).map(|line| format!("\n| {line}")).collect::<String>();
    Error::new(failure.code, format!("{}: {}{tail}", program.id.name, failure.text))
        .hint(format!("deployctl status {} shows how it stands now", program.id.name))
}

/// Runs a program, through updates and rollbacks, until it is not wanted any more or has ended; where `stop` is done, stops
/// it without changing what is wanted.
///
/// # Errors
/// `locked` where another supervisor has charge of it; `wrong-state` where it is not to run.
pub async fn supervise(node: Arc<Node>, id: ProgramId, stop: impl Future<Output = ()> + Send) -> Result<()> {
    let lock = node
        .supervises(&id)?
        .ok_or_else(|| Error::new(Code::Locked, format!("another process runs {} already", id.name)))?;
    let mailing = tokio::spawn(mail(Arc::clone(&node), supervisor_log(&node, &id)));
    let mut stop = std::pin::pin!(stop);
    let result = loop {
        match run_once(&node, &id, stop.as_mut()).await {
            Ok(true) => {}
            other => break other.map(drop),
        }
    };
    mailing.abort();
    drop(lock);
    // What the last moments had to say.
    node.send_mail().await?;
    result
}

/// What a supervisor does beside running its program, as long as it lives.
async fn mail(node: Arc<Node>, log: PathBuf) {
    loop {
        // It stays, and is tried again.
        let _ = node.send_mail().await;
        blocking(|| shorten(&log));
        tokio::time::sleep(MAIL_PAUSE).await;
    }
}

/// One run of the generation that is current; says whether there is another one to run after it.
async fn run_once(
    node: &Arc<Node>,
    id: &ProgramId,
    stop: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<bool> {
    let program = Programs::of(&node.state).read(id)?.ok_or_else(|| gone(id))?;
    let current = node.current(&program)?.map(|(generation, _)| generation);
    let Some(generation) = current.filter(|_| program.wanted) else {
        return Err(Error::new(Code::WrongState, format!("{} is not to run", id.name)));
    };
    let begun = blocking(|| begin(node, &program, generation));
    let ended = match begun {
        Ok(supervisor) => {
            let seen_service = program.seen_service;
            let mut watch =
                Watch { node, id, generation, seen_service, program: supervisor, ended: None, stopping: false };
            watch.turn_until_done(stop).await?
        }
        Err(error) => Ended::Failed(Failure::new(error.code, &error.message, error.hint.as_deref())),
    };
    match ended {
        Ended::Replaced => Ok(true),
        Ended::Asked => Ok(false),
        Ended::Stopped | Ended::Exited => {
            let exited = matches!(ended, Ended::Exited);
            node.report_of(id, generation, ReportState::Stopped, None)?;
            let changed = Programs::of(&node.state).change(id, |program| {
                // A new start that came while the old run was ending is not to be forgotten.
                program.wanted &= !exited;
                program.state = ReportState::Stopped;
            })?;
            Ok(changed.is_some_and(|program| program.wanted))
        }
        Ended::Failed(failure) if !is_confirmed(node, id, generation)? => {
            node.give_up_release(id, generation, &failure)
        }
        Ended::Failed(failure) => {
            node.report_of(id, generation, ReportState::Failed, Some(failure.clone()))?;
            Programs::of(&node.state).change(id, |program| {
                program.wanted = false;
                program.state = ReportState::Failed;
                program.failure = Some(failure);
            })?;
            Ok(false)
        }
    }
}

fn begin(node: &Node, program: &Program, generation: u32) -> Result<Supervisor> {
    let release = program.releases.get(&generation).ok_or_else(|| gone(&program.id))?;
    let record = Record::read(&node.program_places(&program.id).record)?;
    let plan = node.program_plan(program, generation, release)?;
    match record.and_then(|record| Supervisor::adopt(plan.clone(), record, &node.system)) {
        Some(adopted) => Ok(adopted),
        None => Supervisor::start(plan, &node.system),
    }
}

fn is_confirmed(node: &Node, id: &ProgramId, generation: u32) -> Result<bool> {
    let program = Programs::of(&node.state).read(id)?;
    Ok(program.is_some_and(|program| program.releases.get(&generation).is_some_and(|release| release.confirmed)))
}

/// One running generation.
struct Watch<'a> {
    node: &'a Node,
    id: &'a ProgramId,
    generation: u32,
    seen_service: Option<serde_json::Value>,
    program: Supervisor,
    ended: Option<Ended>,
    stopping: bool,
}

impl Watch<'_> {
    async fn turn_until_done(
        &mut self,
        mut stop: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Ended> {
        let mut asked = false;
        loop {
            for happening in blocking(|| self.program.poll()) {
                self.tell(happening)?;
            }
            if self.program.is_done() {
                return Ok(self.ended.take().unwrap_or(Ended::Stopped));
            }
            self.look_what_is_wanted()?;
            let nap = if self.program.is_ready() { QUIET_NAP } else { BUSY_NAP };
            tokio::select! {
                () = stop.as_mut(), if !asked => { asked = true; self.stop(Ended::Asked); }
                () = tokio::time::sleep(nap) => {}
            }
        }
    }
    fn look_what_is_wanted(&mut self) -> Result<()> {
        if self.stopping {
            return Ok(());
        }
        let Some(program) = Programs::of(&self.node.state).read(self.id)?.filter(|program| program.wanted) else {
            self.stop(Ended::Stopped);
            return Ok(());
        };
        let current = self.node.current(&program)?.map(|(generation, _)| generation);
        let is_other = current.is_some_and(|generation| generation != self.generation);
        if is_other || program.seen_service != self.seen_service {
            self.stop(Ended::Replaced);
        }
        Ok(())
    }
    fn stop(&mut self, why: Ended) {
        if !self.stopping {
            self.stopping = true;
            self.ended = Some(why);
            self.program.begin_stop();
        }
    }
    fn tell(&mut self, happening: Happening) -> Result<()> {
        match happening {
            Happening::Ready { .. } => self.confirm()?,
            Happening::NotReady { why, tail } => {
                self.ended.get_or_insert(Ended::Failed(Failure::new(Code::NotReady, &why, Some(&tail))));
            }
            Happening::GaveUp { why, tail } => {
                self.ended.get_or_insert(Ended::Failed(Failure::new(Code::ServiceFailed, &why, Some(&tail))));
            }
            Happening::Exited { ok: true, .. } => drop(self.ended.get_or_insert(Ended::Exited)),
            // It is being started again.
            Happening::Restarting { .. } => self.ended = None,
            Happening::Stopped { survivors, .. } if !survivors.is_empty() => {
                self.node.notice(format!("of {} could not be ended: {}", self.id.name, survivors.join(", ")));
            }
            _ => {}
        }
        Ok(())
    }
    /// It says that it runs well: its installation was a success. A supervisor that adopts it hears that again.
    fn confirm(&self) -> Result<()> {
        let (node, id, generation) = (self.node, self.id, self.generation);
        let Some(program) = Programs::of(&node.state).read(id)? else { return Ok(()) };
        let is_current = node.current(&program)?.is_some_and(|(current, _)| current == generation);
        let is_known = program.releases.get(&generation).is_some_and(|release| release.confirmed);
        if !is_current || (is_known && program.state == ReportState::Confirmed) {
            return Ok(());
        }
        node.report_of(id, generation, ReportState::Confirmed, None)?;
        Programs::of(&node.state).change(id, |program| {
            if let Some(release) = program.releases.get_mut(&generation) {
                release.confirmed = true;
            }
            program.state = ReportState::Confirmed;
        })?;
        Ok(())
    }
}
