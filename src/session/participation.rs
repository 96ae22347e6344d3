//! What one participant does with what is delivered to it: install, run, stop, remove, and report each. The same for
//! the Initiator and for peers.

mod update;

use super::context::Context;
use super::input::Outcome;
use super::machine::Work;
use crate::message::{Delivery, Failure, Report, ReportState};
use crate::model::{Address, Code, Error, Result, SessionState, Time};
use crate::service::RoleTerms;
use update::Update;

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
    /// The generation in charge.
    pub delivery: Option<Delivery>,
    pub stage: Stage,
    start_wanted: bool,
    /// Whether the readiness check ever passed.
    pub confirmed: bool,
    /// Whether it passed for the generation in charge.
    pub ready: bool,
    update: Update,
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
            ready: false,
            update: Update::default(),
            failure: None,
            ending: None,
            kept: Vec::new(),
        }
    }
    /// Takes what is delivered first; later generations wait for their turn. What comes after the end is not fetched, but reported as removed, so that nobody
    /// waits for it.
    pub(super) fn deliver(&mut self, delivery: &Delivery, context: &mut Context<'_>) {
        if self.delivery.is_some() {
            return self.queue(delivery);
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
    /// The generation in charge.
    pub fn generation(&self) -> Option<u32> {
        self.delivery.as_ref().map(|delivery| delivery.generation)
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
    pub(super) fn work(&self) -> Vec<Work> {
        let over = self.ending.is_some() || self.gone_wrong_before_ready();
        match self.stage {
            Stage::Waiting | Stage::Removed => Vec::new(),
            Stage::Delivered if over => vec![Work::Remove],
            Stage::Delivered => vec![Work::Install],
            Stage::Installed | Stage::Running if over && self.may_run() => vec![Work::Stop],
            Stage::Installed | Stage::Stopped if over => vec![Work::Remove],
            Stage::Installed | Stage::Running | Stage::Stopped => self.work_in_charge(),
        }
    }
    /// # Errors
    /// `wrong-state` for a result that nothing was started for: the supervisor that brings it must give up.
    pub(super) fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Installed if self.stage == Stage::Delivered => {
                self.installed(context);
                Ok(())
            }
            Outcome::Installed if self.holds_software() => self.next_installed(context),
            Outcome::InstallFailed { failure } if self.stage == Stage::Delivered => self.failed(failure, context),
            Outcome::InstallFailed { failure } if self.holds_software() => self.next_failed(failure, context),
            Outcome::Installed | Outcome::InstallFailed { .. } => self.expect_stage(Stage::Delivered, context),
            Outcome::RolledBack => self.rolled_back(context),
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
    fn installed(&mut self, context: &mut Context<'_>) {
        self.stage = Stage::Installed;
        self.report(ReportState::Installed, None, context);
        self.confirm_what_never_runs(context);
    }
    /// A role without a run section is confirmed as soon as the service starts.
    fn confirm_what_never_runs(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Installed
            && self.start_wanted
            && self.terms.run.is_none()
            && !self.ready
            && self.ending.is_none()
        {
            self.ready = true;
            self.confirmed = true;
            self.report(ReportState::Confirmed, None, context);
        }
    }
    fn started(&mut self, context: &Context<'_>) -> Result<()> {
        if !self.work().contains(&Work::Run) {
            return Err(context.refuse(Code::WrongState, "the program is not to run (any more)"));
        }
        self.stage = Stage::Running;
        Ok(())
    }
    fn ready(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.expect_stage(Stage::Running, context)?;
        if !self.ready {
            self.ready = true;
            self.confirmed = true;
            self.report(ReportState::Confirmed, None, context);
        }
        Ok(())
    }
    /// It runs, nobody wants it to stop, and it has not been ready yet.
    fn is_getting_ready(&self) -> bool {
        self.stage == Stage::Running && !self.ready && self.ending.is_none()
    }
    fn failed(&mut self, failure: &Failure, context: &mut Context<'_>) -> Result<()> {
        self.expect_movement(context)?;
        if self.goes_back(failure, context) {
            return Ok(());
        }
        self.has_failed(failure, context)
    }
    #[expect(clippy::unnecessary_wraps, reason = "a result that was taken, like the others")]
    fn has_failed(&mut self, failure: &Failure, context: &mut Context<'_>) -> Result<()> {
        self.stage = Stage::Stopped;
        self.failure = Some(failure.clone());
        self.report(ReportState::Failed, Some(failure.clone()), context);
        Ok(())
    }
    fn stopped(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.expect_movement(context)?;
        if self.makes_room(context) {
            return Ok(());
        }
        // Two may see that the program of the generation before has come to rest.
        if self.stage == Stage::Installed && !self.work().contains(&Work::Stop) {
            return Err(context.refuse(Code::WrongState, "no program was to be stopped"));
        }
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
        if let Some(delivery) = &self.delivery {
            self.report_of(delivery, state, failure, None, context);
        }
    }
    fn report_of(
        &self,
        delivery: &Delivery,
        state: ReportState,
        failure: Option<Failure>,
        back_to: Option<u32>,
        context: &mut Context<'_>,
    ) {
        let report = Report {
            session: context.session(),
            generation: delivery.generation,
            package: Some(delivery.package.digest),
            state,
            failure,
            back_to,
        };
        context.send(&self.provider, report);
    }
}
