//! From one generation to the next and back: what runs goes on until the next one is installed beside it; then it is
//! stopped, the next one started, and where that is not ready in time, the one before comes back.

use super::{Participation, Stage};
use crate::message::{Delivery, Failure, ReportState};
use crate::model::{Code, Result};
use crate::session::context::Context;
use crate::session::machine::Work;

/// Generations beside the one in charge.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Update {
    /// Delivered, and to be installed one after the other.
    queue: Vec<Delivery>,
    /// Installed, and to take over when the one in charge has stopped.
    installed: Option<Delivery>,
    /// The one before, kept to go back to.
    previous: Option<Delivery>,
    /// The one in charge is to be taken away: `previous` takes over again.
    going_back: bool,
}

impl Participation {
    /// What [`Work::Install`] is about.
    pub fn due(&self) -> Option<&Delivery> {
        match self.stage {
            Stage::Waiting | Stage::Removed => None,
            Stage::Delivered => self.delivery.as_ref(),
            Stage::Installed | Stage::Running | Stage::Stopped => self.update.queue.first(),
        }
    }
    /// Whether another generation is on its way in or out.
    pub fn is_updating(&self) -> bool {
        let update = &self.update;
        self.failure.is_none()
            && (!update.queue.is_empty() || update.installed.is_some() || update.going_back || self.is_on_trial())
    }
    /// It took over from another, and has not been ready yet.
    fn is_on_trial(&self) -> bool {
        self.update.previous.is_some() && !self.ready
    }
    /// A later generation; earlier ones and those that are known are no news.
    pub(super) fn queue(&mut self, delivery: &Delivery) {
        let known = self.delivery.iter().chain(&self.update.queue).chain(&self.update.installed);
        let latest = known.map(|one| one.generation).max().unwrap_or(0);
        if delivery.generation > latest && self.ending.is_none() && self.failure.is_none() {
            self.update.queue.push(delivery.clone());
        }
    }
    /// What is to be done while it is in charge. Nothing new comes in before it is known whether this one gets ready.
    pub(super) fn work_in_charge(&self) -> Vec<Work> {
        if self.failure.is_some() {
            return Vec::new();
        }
        let runs = self.stage == Stage::Running;
        if self.update.going_back {
            return vec![if runs { Work::Stop } else { Work::RollBack }];
        }
        if self.update.installed.is_some() {
            return vec![Work::Stop];
        }
        let mut work = Vec::new();
        if self.stage != Stage::Stopped && self.may_run() {
            work.push(Work::Run);
        }
        if !self.update.queue.is_empty() && (self.ready || !self.may_run()) {
            work.push(Work::Install);
        }
        work
    }
    pub(super) fn next_installed(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.update.queue.is_empty() || self.update.installed.is_some() {
            return Err(context.refuse(Code::WrongState, "nothing was to be installed"));
        }
        let next = self.update.queue.remove(0);
        if self.ending.is_some() {
            return Ok(());
        }
        self.report_of(&next, ReportState::Installed, None, None, context);
        self.update.installed = Some(next);
        if self.stage != Stage::Running {
            self.take_over(context);
        }
        Ok(())
    }
    /// What is in charge stays so; or, where it was to be taken away and could not be, has failed.
    pub(super) fn next_failed(&mut self, failure: &Failure, context: &mut Context<'_>) -> Result<()> {
        if self.update.going_back {
            self.update.going_back = false;
            return self.has_failed(failure, context);
        }
        if self.update.queue.is_empty() {
            return Err(context.refuse(Code::WrongState, "nothing was to be installed"));
        }
        let next = self.update.queue.remove(0);
        let back_to = self.delivery.as_ref().map(|delivery| delivery.generation);
        self.report_of(&next, ReportState::Failed, Some(failure.clone()), back_to, context);
        if self.ready && self.ending.is_none() {
            self.report(ReportState::Confirmed, None, context);
        }
        Ok(())
    }
    /// The program has stopped: does another generation take over?
    pub(super) fn makes_room(&mut self, context: &mut Context<'_>) -> bool {
        if self.stage != Stage::Running || self.ending.is_some() || self.failure.is_some() {
            return false;
        }
        if self.update.going_back {
            self.stage = Stage::Installed;
            return true;
        }
        let changes = self.update.installed.is_some();
        if changes {
            self.take_over(context);
        }
        changes
    }
    fn take_over(&mut self, context: &mut Context<'_>) {
        let next = self.update.installed.take();
        self.update.previous = std::mem::replace(&mut self.delivery, next);
        self.stage = Stage::Installed;
        self.ready = false;
        self.confirm_what_never_runs(context);
    }
    /// A generation that was not ready in time goes, and the one before comes back. Says whether there is one.
    pub(super) fn goes_back(&mut self, failure: &Failure, context: &mut Context<'_>) -> bool {
        let Some(previous) = self.update.previous.as_ref().filter(|_| self.is_on_trial() && self.ending.is_none())
        else {
            return false;
        };
        let back_to = Some(previous.generation);
        let Some(delivery) = self.delivery.clone() else { return false };
        self.report_of(&delivery, ReportState::Failed, Some(failure.clone()), back_to, context);
        self.update.going_back = true;
        self.stage = Stage::Installed;
        true
    }
    /// By hand: back to the generation before.
    pub(in crate::session) fn roll_back(&mut self, context: &Context<'_>) -> Result<()> {
        let refuse = |why: &str| Err(context.refuse(Code::WrongState, why));
        if self.ending.is_some() || self.failure.is_some() {
            return refuse("this part of the session is over");
        }
        if self.is_updating() {
            return refuse("another generation is on its way: go back when it has come, or has not");
        }
        if self.update.previous.is_none() {
            return refuse("there is no generation before the one that is installed");
        }
        self.update.going_back = true;
        if self.stage == Stage::Stopped {
            self.stage = Stage::Installed;
        }
        Ok(())
    }
    pub(super) fn rolled_back(&mut self, context: &mut Context<'_>) -> Result<()> {
        if !self.update.going_back || self.stage == Stage::Running {
            return Err(context.refuse(Code::WrongState, "nothing was to be rolled back"));
        }
        self.update.going_back = false;
        self.delivery = self.update.previous.take();
        self.ready = false;
        self.confirm_what_never_runs(context);
        Ok(())
    }
}
