//! How a session ends for its Initiator: by its word, by the provider's, by the clock.

use super::{Active, Initiator, Phase};
use crate::message::{Failure, Terminate};
use crate::model::{Address, Code, Error, MessageId, Result, SessionState, Span, Time};
use crate::session::context::Context;
use crate::session::deadline;
use crate::session::participation::Stage;

impl Active {
    /// Tells the provider how it has ended here. It is told again when it turns out that it did register the request.
    pub(super) fn send_terminate(&self, provider: &Address, context: &mut Context<'_>) {
        let Some(ending) = &self.participation.ending else { return };
        let terminate = Terminate {
            session: context.session(),
            reason: ending.reason.clone(),
            outcome: ending.outcome,
            asked_by: None,
            failure: self.participation.failure.clone(),
        };
        context.send(provider, terminate);
    }
    /// The provider says how the session ends for all. Its word counts, even when it comes late.
    pub(super) fn end_as_told(&mut self, outcome: SessionState, reason: &str, now: Time) {
        match &mut self.participation.ending {
            // The final accounting is ours to make: with it, the session is closed after all.
            None if outcome == SessionState::Unaccounted => {
                self.participation.end(SessionState::Closed, reason, now);
            }
            None => self.participation.end(outcome, reason, now),
            Some(ending) if outcome != SessionState::Unaccounted && ending.outcome != outcome => {
                ending.outcome = outcome;
                reason.clone_into(&mut ending.reason);
                if self.ended.is_some_and(|ended| ended != SessionState::Unaccounted) {
                    self.ended = Some(outcome);
                }
            }
            Some(_) => {}
        }
    }
}

impl Initiator {
    /// A17. Before the roster is fixed this withdraws the session.
    pub(super) fn stop(&mut self, reason: &str, context: &mut Context<'_>) -> Result<()> {
        match &mut self.phase {
            Phase::Requested(active) if active.ended.is_none() && active.participation.ending.is_none() => {
                let ran = active.mirror.state == SessionState::Running || active.participation.confirmed;
                let outcome = if ran { SessionState::Closed } else { SessionState::Withdrawn };
                active.participation.end(outcome, reason, context.now);
                active.send_terminate(&self.provider, context);
                Ok(())
            }
            Phase::Asking | Phase::Choosing { .. } => {
                self.phase = Phase::Ended { state: SessionState::Withdrawn, reason: reason.to_owned(), failure: None };
                Ok(())
            }
            Phase::Requested(_) | Phase::Ended { .. } => {
                let state = self.state().0;
                Err(context.refuse(Code::WrongState, format!("the session is {state} already")))
            }
        }
    }

    /// The provider will not take it: without interface or registration there is no session.
    pub(super) fn refused(&mut self, message: MessageId, error: &Error, context: &Context<'_>) {
        let failure = Failure { code: error.code, text: error.message.clone(), tail: None };
        let state = match error.code {
            Code::Expired => SessionState::Expired,
            _ => SessionState::Failed,
        };
        match &mut self.phase {
            Phase::Asking if message == self.asked.0 => {
                self.phase = Phase::Ended { state, reason: error.message.clone(), failure: Some(failure) };
            }
            Phase::Requested(active) if !active.registered && message == context.session().request() => {
                active.mirror.failure = Some(failure);
                active.participation.end(state, &error.message, context.now);
            }
            Phase::Requested(active) => active.not_added(message),
            _ => {}
        }
    }

    pub(super) fn timer(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        match &mut self.phase {
            Phase::Asking if now > self.asked.2 => {
                let reason = "the provider did not answer in time".to_owned();
                self.phase = Phase::Ended { state: SessionState::Expired, reason, failure: None };
            }
            Phase::Choosing { .. } if now > self.asked.2 + deadline::INTERFACE_VALID => {
                let reason = "no request was made with the interface in time".to_owned();
                self.phase = Phase::Ended { state: SessionState::Expired, reason, failure: None };
            }
            Phase::Requested(active) if active.participation.ending.is_none() => {
                if !active.registered && now > active.request.answer_by {
                    active.participation.end(
                        SessionState::Expired,
                        "the provider did not register the request in time",
                        now,
                    );
                } else if now >= active.request.ends_at {
                    let outcome = active.participation.outcome_in_time();
                    active.participation.end(outcome, "the session's end time has come", now);
                    active.send_terminate(&self.provider, context);
                }
            }
            _ => {}
        }
    }

    /// Accounts finally when the program is at rest, and ends when all is removed and receipted.
    pub(super) fn settle(&mut self, context: &mut Context<'_>) {
        let Phase::Requested(active) = &mut self.phase else { return };
        let participation = &active.participation;
        let Some(ending) = participation.ending.clone() else { return };
        let accountable = participation.delivery.is_some();
        if accountable && participation.is_at_rest() {
            self.accounts.finally(participation, &self.provider, context);
        }
        let receipted = !accountable || self.accounts.is_closed();
        let time_is_up = context.now >= ending.since + deadline::TERMINATING;
        if active.participation.stage == Stage::Removed && (receipted || time_is_up) {
            let late_receipt = active.ended == Some(SessionState::Unaccounted) && receipted;
            if active.ended.is_none() || late_receipt {
                active.ended = Some(if receipted { ending.outcome } else { SessionState::Unaccounted });
            }
        }
    }

    pub(in crate::session) fn wake_at(&self) -> Option<Time> {
        let just_after = |time: Time| time + Span::from_ms(1);
        match &self.phase {
            Phase::Asking => Some(just_after(self.asked.2)),
            Phase::Choosing { .. } => Some(just_after(self.asked.2 + deadline::INTERFACE_VALID)),
            Phase::Requested(active) => match &active.participation.ending {
                _ if active.ended.is_some() => None,
                Some(ending) => Some(ending.since + deadline::TERMINATING),
                None if !active.registered => Some(just_after(active.request.answer_by)),
                None => Some(active.request.ends_at),
            },
            Phase::Ended { .. } => None,
        }
    }
}
