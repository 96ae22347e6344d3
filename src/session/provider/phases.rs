//! How a session's phases follow each other at the provider, by what is there and by the clock.

use super::{Ending, Participant, Phase, Provider};
use crate::message::Failure;
use crate::message::verified::CLOCK_ALLOWANCE;
use crate::model::{Code, MessageId, SessionState, Span, Time};
use crate::session::context::Context;
use crate::session::deadline;

impl Provider {
    /// Moves on as far as the state allows: the one place where phases follow each other.
    pub(super) fn settle(&mut self, context: &mut Context<'_>) {
        if self.phase == Phase::Inviting {
            self.settle_inviting(context);
        }
        if let Phase::Building { since } = self.phase {
            self.settle_building(since, context);
        }
        if matches!(self.phase, Phase::Delivering { .. } | Phase::Starting { .. } | Phase::Running) {
            self.settle_active(context);
        }
        if let Phase::Terminating(ending) = &self.phase {
            let ending = ending.clone();
            self.settle_terminating(ending, context);
        }
    }

    /// Fixes the roster when all have answered or the time is up; ends where the quorum cannot be had any more.
    fn settle_inviting(&mut self, context: &mut Context<'_>) {
        let in_time = self.closed_by.is_none() && context.now <= self.asked().answer_by;
        let hopeful = |participant: &Participant| participant.accepted() || (in_time && participant.may_answer());
        let missing = self.missing(true, hopeful);
        if let Some(asked_by) = self.closed_by {
            self.withdraw_unanswered(asked_by, context);
        }
        if let Some(missing) = missing {
            let failure = Failure { code: Code::QuorumMissed, text: missing.clone(), tail: None };
            return self.end(SessionState::QuorumMissed, &missing, Some(failure), None, context);
        }
        let all_answered = !self.participants.iter().any(Participant::may_answer);
        if all_answered || !in_time {
            self.phase = Phase::Building { since: context.now };
        }
    }

    /// Delivers as soon as everything is built for those that are still with us.
    fn settle_building(&mut self, since: Time, context: &mut Context<'_>) {
        self.settle_needs(context);
        if !matches!(self.phase, Phase::Building { .. }) {
            return;
        }
        if self.work().is_empty() {
            self.deliver(context);
        } else if context.now >= since + deadline::BUILDING {
            let text = format!("building took longer than {}", deadline::BUILDING);
            let failure = Failure { code: Code::TimedOut, text: text.clone(), tail: None };
            self.end(SessionState::Failed, &text, Some(failure), None, context);
        }
    }

    /// Required participants lost, a failure with `abort`, or the end time: the session ends. A participant whose clock
    /// is ahead stops at the end time before it has come here, and is not taken for lost.
    fn settle_needs(&mut self, context: &mut Context<'_>) {
        let ends_at = self.asked().ends_at;
        let lost = self.reason_to_end();
        let about_time = context.now + CLOCK_ALLOWANCE >= ends_at;
        // Its reports have overtaken its `terminate`.
        let gone = self.participants.iter().find(|one| one.is_initiator && one.has_gone());
        if let Some(initiator) = gone {
            let outcome = if initiator.confirmed { SessionState::Closed } else { SessionState::Withdrawn };
            return self.end(outcome, "the Initiator has ended the session", None, None, context);
        }
        match lost {
            Some((reason, failure)) if !about_time || failure.code != Code::QuorumMissed => {
                self.end(SessionState::Failed, &reason, Some(failure), None, context);
            }
            lost if context.now >= ends_at || lost.is_some() => {
                let outcome = if self.phase == Phase::Running { SessionState::Closed } else { SessionState::Expired };
                self.end(outcome, "the session's end time has come", None, None, context);
            }
            _ => {}
        }
    }

    fn settle_active(&mut self, context: &mut Context<'_>) {
        self.settle_needs(context);
        if let Phase::Delivering { since } = self.phase {
            match self.missing(true, Participant::has_installed) {
                None => self.phase = Phase::Starting { since: context.now },
                Some(missing) if context.now >= since + deadline::DELIVERING => {
                    self.late("install", &missing, deadline::DELIVERING, context);
                }
                Some(_) => {}
            }
        }
        if let Phase::Starting { since } = self.phase {
            if self.held() {
                return;
            }
            match self.missing(true, Participant::has_confirmed) {
                None => self.phase = Phase::Running,
                Some(missing) if context.now >= since + deadline::STARTING => {
                    self.late("become ready", &missing, deadline::STARTING, context);
                }
                Some(_) => {}
            }
        }
        if matches!(self.phase, Phase::Starting { .. } | Phase::Running) {
            self.start_the_installed(context);
        }
        self.settle_rollout(context);
    }

    fn late(&mut self, what: &str, missing: &str, limit: Span, context: &mut Context<'_>) {
        let text = format!("not all that are required did {what} within {limit}: {missing}");
        self.end(
            SessionState::Failed,
            &text.clone(),
            Some(Failure { code: Code::TimedOut, text, tail: None }),
            None,
            context,
        );
    }

    /// Done when everyone has removed the software and the final accounting is in, or when the time for it is up.
    fn settle_terminating(&mut self, mut ending: Ending, context: &Context<'_>) {
        let remains = self.participants.iter().any(Participant::may_hold_software);
        // Who did not take the delivery has nothing to account for.
        let refused = self.participants.iter().any(|one| one.is_initiator && one.refused_delivery);
        let unaccounted = ending.accountable && !refused && !self.chain.closed;
        let time_is_up = context.now >= ending.since + deadline::TERMINATING;
        if time_is_up || (!unaccounted && !remains) {
            ending.unaccounted = unaccounted;
            self.phase = Phase::Ended(ending);
        }
    }

    /// Why it ended; once it has, also who has not said that nothing is left of it there.
    pub(super) fn end_reason(&self, ending: &Ending) -> String {
        let holding = self.participants.iter().filter(|one| one.may_hold_software());
        let remains: Vec<_> = holding.map(|one| one.name.to_string()).collect();
        if remains.is_empty() || matches!(self.phase, Phase::Terminating(_)) {
            return ending.reason.clone();
        }
        format!("{}; not reported as removed: {}", ending.reason, remains.join(", "))
    }

    pub(super) fn held(&self) -> bool {
        self.asked().hold && !self.word_given
    }

    /// Ends the session: what was delivered is to be stopped and removed, what was not is just told.
    pub(super) fn end(
        &mut self,
        outcome: SessionState,
        reason: &str,
        failure: Option<Failure>,
        asked_by: Option<MessageId>,
        context: &mut Context<'_>,
    ) {
        let delivered = self.participants.iter().any(|participant| participant.delivered);
        let ending = Ending {
            outcome,
            reason: reason.to_owned(),
            failure,
            since: context.now,
            accountable: delivered,
            unaccounted: false,
        };
        if delivered {
            self.send_terminate(&ending, asked_by, context);
            self.phase = Phase::Terminating(ending);
        } else {
            self.phase = Phase::Ended(ending);
        }
    }

    pub(in crate::session) fn wake_at(&self) -> Option<Time> {
        match &self.phase {
            Phase::Opened | Phase::Ended(_) => None,
            Phase::Inviting => Some(self.asked().answer_by + Span::from_ms(1)),
            Phase::Building { since } => Some((*since + deadline::BUILDING).min(self.asked().ends_at)),
            Phase::Delivering { since } => Some((*since + deadline::DELIVERING).min(self.asked().ends_at)),
            Phase::Starting { .. } if self.held() => Some(self.asked().ends_at),
            Phase::Starting { since } => Some((*since + deadline::STARTING).min(self.asked().ends_at)),
            Phase::Running => self.rollout_wakes().into_iter().chain([self.asked().ends_at]).min(),
            Phase::Terminating(ending) => Some(ending.since + deadline::TERMINATING),
        }
    }
}
