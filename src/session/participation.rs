//! What one participant does with what is delivered to it: install, run, stop, remove, and report each. The same for
//! the Initiator and for peers.

use super::context::Context;
use super::input::Outcome;
use super::machine::Work;
use crate::message::{Delivery, Failure, Report, ReportState};
use crate::model::{Address, Code, Error, Result, SessionState, Time};
use crate::service::RoleTerms;

/// Where the software of this participant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing was delivered.
    Waiting,
    Delivered,
    Installed,
    Running,
    Stopped,
    Removed,
}

/// The session is over for this participant.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub outcome: SessionState,
    pub reason: String,
    pub since: Time,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Participation {
    /// What was agreed for this participant's role.
    pub terms: RoleTerms,
    provider: Address,
    pub delivery: Option<Delivery>,
    pub stage: Stage,
    start_wanted: bool,
    /// Whether the readiness check ever passed.
    pub confirmed: bool,
    pub failure: Option<Failure>,
    pub ending: Option<Ending>,
    /// What removing left on purpose.
    pub kept: Vec<String>,
}

impl Participation {
    pub(super) fn new(terms: RoleTerms, provider: Address) -> Self {
        Self {
            terms,
            provider,
            delivery: None,
            stage: Stage::Waiting,
            start_wanted: false,
            confirmed: false,
            failure: None,
            ending: None,
            kept: Vec::new(),
        }
    }
    /// Takes what is delivered first. What comes after the end is not fetched, but reported as removed, so that nobody
    /// waits for it.
    pub(super) fn deliver(&mut self, delivery: &Delivery, context: &mut Context<'_>) {
        if self.delivery.is_some() {
            return;
        }
        self.delivery = Some(delivery.clone());
        if self.ending.is_none() {
            self.stage = Stage::Delivered;
        } else {
            self.report(ReportState::Removed, None, context);
        }
    }
    pub(super) fn start(&mut self, context: &mut Context<'_>) {
        self.start_wanted = true;
        self.confirm_what_never_runs(context);
    }
    /// Ends it; the first ending stays.
    pub(super) fn end(&mut self, outcome: SessionState, reason: &str, now: Time) {
        if self.ending.is_none() {
            self.ending = Some(Ending { outcome, reason: reason.to_owned(), since: now });
            if self.stage == Stage::Waiting {
                self.stage = Stage::Removed;
            }
        }
    }
    /// How it has ended for a participant that nobody told, when the end time comes.
    pub(super) fn outcome_in_time(&self) -> SessionState {
        match (self.confirmed, &self.failure) {
            (_, Some(_)) => SessionState::Failed,
            (true, None) => SessionState::Closed,
            (false, None) => SessionState::Expired,
        }
    }
    /// Whether anything may be on this machine.
    pub fn holds_software(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Removed)
    }
    /// Whether the program has come to rest, or never ran.
    pub fn is_at_rest(&self) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Delivered | Stage::Stopped | Stage::Removed => true,
            Stage::Installed => !self.may_run(),
            Stage::Running => false,
        }
    }
    /// Whether a supervisor may have been started.
    fn may_run(&self) -> bool {
        self.start_wanted && self.terms.run.is_some()
    }
    fn gone_wrong_before_ready(&self) -> bool {
        self.failure.is_some() && !self.confirmed
    }
    /// What is to be done now.
    pub(super) fn work(&self) -> Option<Work> {
        let over = self.ending.is_some() || self.gone_wrong_before_ready();
        match self.stage {
            Stage::Waiting | Stage::Removed => None,
            Stage::Delivered if over => Some(Work::Remove),
            Stage::Delivered => Some(Work::Install),
            Stage::Installed | Stage::Running if over && self.may_run() => Some(Work::Stop),
            Stage::Installed | Stage::Stopped if over => Some(Work::Remove),
            Stage::Installed | Stage::Running if self.may_run() => Some(Work::Run),
            Stage::Installed | Stage::Running | Stage::Stopped => None,
        }
    }
    /// # Errors
    /// `wrong-state` for a result that nothing was started for: the supervisor that brings it must give up.
    pub(super) fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Installed => self.installed(context),
            Outcome::InstallFailed { failure } => {
                self.expect_stage(Stage::Delivered, context)?;
                self.failed(failure, context)
            }
            Outcome::Started => self.started(context),
            Outcome::Ready => self.ready(context),
            Outcome::NotReady { failure } | Outcome::GaveUp { failure, .. } => self.failed(failure, context),
            Outcome::Exited { .. } if self.is_getting_ready() => {
                let text = "the program ended before it was ready".to_owned();
                self.failed(&Failure { code: Code::NotReady, text, tail: None }, context)
            }
            Outcome::Exited { .. } | Outcome::Stopped { .. } => self.stopped(context),
            Outcome::Removed { kept } => self.removed(kept, context),
            _ => Ok(()),
        }
    }
    fn installed(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.expect_stage(Stage::Delivered, context)?;
        self.stage = Stage::Installed;
        self.report(ReportState::Installed, None, context);
        self.confirm_what_never_runs(context);
        Ok(())
    }
    /// A role without a run section is confirmed as soon as the service starts.
    fn confirm_what_never_runs(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Installed
            && self.start_wanted
            && self.terms.run.is_none()
            && !self.confirmed
            && self.ending.is_none()
        {
            self.confirmed = true;
            self.report(ReportState::Confirmed, None, context);
        }
    }
    fn started(&mut self, context: &Context<'_>) -> Result<()> {
        if self.work() != Some(Work::Run) {
            return Err(context.refuse(Code::WrongState, "the program is not to run (any more)"));
        }
        self.stage = Stage::Running;
        Ok(())
    }
    fn ready(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.expect_stage(Stage::Running, context)?;
        if !self.confirmed {
            self.confirmed = true;
            self.report(ReportState::Confirmed, None, context);
        }
        Ok(())
    }
    /// It runs, nobody wants it to stop, and it was never ready.
    fn is_getting_ready(&self) -> bool {
        self.stage == Stage::Running && !self.confirmed && self.ending.is_none()
    }
    fn failed(&mut self, failure: &Failure, context: &mut Context<'_>) -> Result<()> {
        self.expect_movement(context)?;
        self.stage = Stage::Stopped;
        self.failure = Some(failure.clone());
        self.report(ReportState::Failed, Some(failure.clone()), context);
        Ok(())
    }
    fn stopped(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.expect_movement(context)?;
        let ran = self.stage == Stage::Running;
        self.stage = Stage::Stopped;
        if ran {
            self.report(ReportState::Stopped, None, context);
        }
        Ok(())
    }
    fn removed(&mut self, kept: &[String], context: &mut Context<'_>) -> Result<()> {
        if !self.holds_software() {
            return Err(context.refuse(Code::WrongState, "nothing is installed"));
        }
        self.stage = Stage::Removed;
        self.kept = kept.to_vec();
        self.report(ReportState::Removed, None, context);
        Ok(())
    }
    fn expect_movement(&self, context: &Context<'_>) -> Result<()> {
        match self.stage {
            Stage::Waiting => Err(context.refuse(Code::WrongState, "nothing was delivered")),
            Stage::Stopped | Stage::Removed => {
                Err(context.refuse(Code::WrongState, "the program has already come to rest"))
            }
            Stage::Delivered | Stage::Installed | Stage::Running => Ok(()),
        }
    }
    fn expect_stage(&self, stage: Stage, context: &Context<'_>) -> Result<(), Error> {
        if self.stage == stage {
            return Ok(());
        }
        Err(context.refuse(Code::WrongState, format!("the software is {:?}, not {stage:?}", self.stage)))
    }
    fn report(&self, state: ReportState, failure: Option<Failure>, context: &mut Context<'_>) {
        let Some(delivery) = &self.delivery else { return };
        let report = Report {
            session: context.session(),
            generation: delivery.generation,
            package: Some(delivery.package.digest),
            state,
            failure,
        };
        context.send(&self.provider, report);
    }
}
