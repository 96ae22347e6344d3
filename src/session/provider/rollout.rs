//! A running session's software is built again and delivered as its next generation, to one participant after the other
//! (row A11): the Initiator first, since the others depend on its program, and since nobody else is touched where it fails.

use super::{Participant, Phase, Provider};
use crate::message::{Commitment, Failure};
use crate::model::{Code, ParticipantState, Result, Span, Time};
use crate::service::Roster;
use crate::session::context::Context;
use crate::session::deadline;
use crate::session::machine::Work;
use crate::session::summary::{RolloutState, RolloutSummary};

/// A generation after the first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rollout {
    generation: u32,
    since: Time,
    /// Who took part when it was begun: who has left does not learn the new secret.
    pub(super) roster: Roster,
    pub(super) roster_value: Option<Commitment>,
    /// It was not built, or failed at a participant: nobody else gets it.
    stopped: Option<Failure>,
}

/// How long one participant may take to fetch it, install it and get ready.
const ONE_PARTICIPANT: Span = Span::from_ms(deadline::DELIVERING.as_ms() + deadline::STARTING.as_ms());

impl Provider {
    /// `deployctl build` of a running session.
    pub(super) fn rebuild(&mut self, context: &Context<'_>) -> Result<()> {
        let refuse = |why: String| Err(context.refuse(Code::WrongState, why));
        if self.phase != Phase::Running {
            return refuse(format!("the session is {}: only a running one is built again", self.state()));
        }
        if let Some(RolloutSummary { generation, state, .. }) = self.rollout_summary()
            && matches!(state, RolloutState::Building | RolloutState::Delivering)
        {
            return refuse(format!("generation {generation} is on its way to the participants"));
        }
        let roster = self.roster_of(Participant::is_with_us);
        let generation = self.generation() + 1;
        self.rollout = Some(Rollout { generation, since: context.now, roster, roster_value: None, stopped: None });
        Ok(())
    }

    /// The latest generation that was to be built.
    pub fn generation(&self) -> u32 {
        self.rollout.as_ref().map_or(1, |rollout| rollout.generation)
    }
    /// Whether what is built belongs to a generation that is rolled out.
    pub(super) fn rolls_out(&self) -> bool {
        self.phase == Phase::Running && self.rollout.as_ref().is_some_and(|rollout| rollout.stopped.is_none())
    }
    pub(super) fn stop_rollout(&mut self, failure: Failure) {
        if let Some(rollout) = &mut self.rollout {
            rollout.stopped.get_or_insert(failure);
        }
    }
    pub(super) fn rollout_failure(&self) -> Option<&Failure> {
        self.rollout.as_ref()?.stopped.as_ref()
    }

    /// Delivers to the next one when the one before has confirmed; stops where one went back or takes too long.
    pub(super) fn settle_rollout(&mut self, context: &mut Context<'_>) {
        let Some(rollout) = self.rollout.as_ref().filter(|_| self.rolls_out()) else { return };
        let (generation, since) = (rollout.generation, rollout.since);
        if self.work().iter().any(|work| matches!(work, Work::Build { .. })) {
            if context.now >= since + deadline::BUILDING {
                self.stop_rollout(late(&format!("generation {generation} was not built"), deadline::BUILDING));
            }
            return;
        }
        let went_back = self.participants.iter().find_map(|one| Some((one, one.update_failed(generation)?)));
        if let Some((one, failure)) = went_back {
            let text = format!("generation {generation} failed at {}: {}", one.name, failure.text);
            let failure = Failure { text, ..failure.clone() };
            return self.stop_rollout(failure);
        }
        if let Some(one) = self.participants.iter().find(|one| one.is_updating(generation)) {
            if context.now >= one.delivered_at + ONE_PARTICIPANT {
                let what = format!("generation {generation} was not confirmed by {}", one.name);
                self.stop_rollout(late(&what, ONE_PARTICIPANT));
            }
            return;
        }
        if let Some(next) = self.participants.iter().position(|one| one.awaits(generation)) {
            self.deliver_to(next, context);
        }
    }

    /// When [`Self::settle_rollout`] will stop it, if nothing happens before.
    pub(super) fn rollout_wakes(&self) -> Option<Time> {
        let rollout = self.rollout.as_ref().filter(|_| self.rolls_out())?;
        if !self.work().is_empty() {
            return Some(rollout.since + deadline::BUILDING);
        }
        let updating = self.participants.iter().find(|one| one.is_updating(rollout.generation))?;
        Some(updating.delivered_at + ONE_PARTICIPANT)
    }

    pub(super) fn rollout_summary(&self) -> Option<RolloutSummary> {
        let rollout = self.rollout.as_ref()?;
        let generation = rollout.generation;
        let is_on_its_way = |one: &Participant| one.is_updating(generation) || one.awaits(generation);
        let state = match () {
            () if rollout.stopped.is_some() => RolloutState::Stopped,
            () if self.phase == Phase::Running && !self.work().is_empty() => RolloutState::Building,
            () if self.participants.iter().any(is_on_its_way) => RolloutState::Delivering,
            () => RolloutState::Delivered,
        };
        Some(RolloutSummary { generation, state, failure: rollout.stopped.clone() })
    }
}

impl Participant {
    /// It was delivered this generation, and has neither confirmed it nor gone back.
    fn is_updating(&self, generation: u32) -> bool {
        self.is_with_us()
            && self.generation == generation
            && self.confirmed_generation < generation
            && self.update_failed(generation).is_none()
    }
    /// It runs an earlier generation well, and may get this one.
    fn awaits(&self, generation: u32) -> bool {
        self.is_with_us() && self.generation < generation && self.state == ParticipantState::Confirmed
    }
    fn update_failed(&self, generation: u32) -> Option<&Failure> {
        self.update_failed.as_ref().filter(|(failed, _)| *failed == generation).map(|(_, failure)| failure)
    }
}

fn late(what: &str, limit: Span) -> Failure {
    Failure { code: Code::TimedOut, text: format!("{what} within {limit}"), tail: None }
}
