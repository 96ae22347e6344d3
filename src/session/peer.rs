//! The peer: is invited, answers, takes part, leaves or is told that it is over (rows A9–A19).

use super::context::{Context, Own};
use super::input::{Decision, Input, Outcome, Rule, What};
use super::machine::{Step, Work};
use super::participation::{Participation, Stage};
use super::summary::{PackageSummary, ParticipantSummary, Summary};
use crate::message::verified::open_notification;
use crate::message::{Answer, Body, Delivery, Failure, Invitation, Leave, Message, Verdict};
use crate::model::{
    Address, Code, Error, Hash, Key, MessageId, ParticipantState, Party, Result, SessionId, SessionState, Time,
};
use crate::service::platform::Platform;

#[derive(Clone, Debug)]
pub struct Peer {
    own: Own,
    pub invitation: Invitation,
    pub invitation_id: MessageId,
    invitation_hash: Hash,
    /// Where the provider is: messages go back to whom the invitation came from.
    pub provider: Address,
    phase: Phase,
    /// What this node said, whatever came of it.
    accepted: bool,
    left: bool,
    /// The invitation was taken back.
    withdrawn: bool,
    platform: Option<Platform>,
    /// What the provider said last of the session, and when it said so.
    told: (Time, SessionState),
    failure: Option<Failure>,
    /// By which the invitation was answered, if by policy.
    rule: Option<Rule>,
    pub participation: Participation,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Invited,
    Accepted { answer: MessageId },
    Left,
    Ended { state: SessionState, reason: String },
}

impl Peer {
    /// # Errors
    /// `not-found` where the first input is not an invitation to this session; as [`open_notification`] and `bad-proof`
    /// where the Initiator did not invite this node to this very thing.
    pub(super) fn begin(me: Key, session: SessionId, input: &Input) -> Result<Step<Self>> {
        let What::Received { message, .. } = &input.what else { return Err(not_an_invitation(session)) };
        let Body::Invitation(invitation) = &message.body else { return Err(not_an_invitation(session)) };
        if invitation.session != session {
            return Err(not_an_invitation(session));
        }
        let (_, notification) = open_notification(&invitation.notification, &invitation.initiator.address.key, &me)?;
        notification.check_invitation(invitation, &me)?;
        let provider = Address { key: message.head.from, host: invitation.provider.host.clone() };
        let peer = Self {
            own: Own { me, session, last_issued: Time::from_unix_ms(0) },
            invitation: Invitation::clone(invitation),
            invitation_id: message.head.id,
            invitation_hash: message.envelope().hash(),
            phase: Phase::Invited,
            accepted: false,
            left: false,
            withdrawn: false,
            platform: None,
            told: (message.head.issued, SessionState::Inviting),
            failure: None,
            rule: None,
            participation: Participation::new(invitation.interface.clone(), provider.clone()),
            provider,
        };
        Ok(Step { state: peer, sends: Vec::new() })
    }

    pub(super) fn step(mut self, input: &Input) -> Result<Step<Self>> {
        let mut own = self.own.clone();
        let mut context = Context::new(&mut own, input.now, input.seed);
        match &input.what {
            What::Received { message, .. } => self.received(message, &mut context)?,
            What::Decided(decision) => self.decided(decision, &mut context)?,
            What::Result(outcome) => self.result(outcome, &mut context)?,
            What::Timer => self.timer(&mut context),
        }
        let sends = context.sends;
        self.own = own;
        self.end_when_all_is_done();
        Ok(Step { state: self, sends })
    }

    fn received(&mut self, message: &Message, context: &mut Context<'_>) -> Result<()> {
        if message.head.from != self.provider.key {
            return Err(context.refuse(
                Code::NotPermitted,
                format!("{} is not the provider of this session", message.head.from.short()),
            ));
        }
        match &message.body {
            Body::Progress(progress) => {
                if message.head.issued > self.told.0 {
                    self.told = (message.head.issued, progress.state);
                    if progress.failure.is_some() {
                        self.failure.clone_from(&progress.failure);
                    }
                }
                if progress.state.is_end() && !matches!(self.phase, Phase::Ended { .. }) {
                    let reason = progress
                        .failure
                        .as_ref()
                        .map_or_else(|| "the provider ended the session".to_owned(), |failure| failure.text.clone());
                    self.participation.end(progress.state, &reason, context.now);
                }
                Ok(())
            }
            Body::Delivery(delivery) => self.delivered(delivery, context),
            Body::Start(_) => {
                self.told.1 = self.told.1.max(SessionState::Starting);
                self.participation.start(context);
                Ok(())
            }
            Body::Withdraw(withdraw) => {
                self.withdrawn(&withdraw.reason, context.now);
                Ok(())
            }
            Body::Terminate(terminate) => {
                if terminate.failure.is_some() {
                    self.failure.clone_from(&terminate.failure);
                }
                self.participation.end(terminate.outcome, &terminate.reason, context.now);
                Ok(())
            }
            other => Err(context.refuse(Code::WrongState, format!("a peer takes no {other}"))),
        }
    }

    /// The invitation was taken back, accepted or not. Who has declined or left is not concerned.
    fn withdrawn(&mut self, reason: &str, now: Time) {
        match self.phase {
            Phase::Invited => {
                self.withdrawn = true;
                self.phase = Phase::Ended { state: SessionState::Withdrawn, reason: reason.to_owned() };
            }
            Phase::Accepted { .. } => {
                self.withdrawn = true;
                self.participation.end(SessionState::Withdrawn, reason, now);
            }
            Phase::Left | Phase::Ended { .. } => {}
        }
    }

    /// Nothing is taken that was not accepted.
    fn delivered(&mut self, delivery: &Delivery, context: &mut Context<'_>) -> Result<()> {
        if !self.accepted {
            return Err(context.refuse(Code::MoreThanAccepted, "the invitation was not accepted"));
        }
        if delivery.role != self.invitation.role {
            let (got, want) = (&delivery.role, &self.invitation.role);
            return Err(
                context.refuse(Code::MoreThanAccepted, format!("the role {got} was delivered, {want} was accepted"))
            );
        }
        if let Some(Rule { name, max_size: Some(most) }) = &self.rule
            && delivery.package.size > *most
        {
            let size = delivery.package.size;
            let why = format!("a package of {size} bytes was delivered, and policy ({name}) accepted {most} at most");
            return Err(context.refuse(Code::MoreThanAccepted, why));
        }
        self.participation.deliver(delivery, context);
        Ok(())
    }

    fn decided(&mut self, decision: &Decision, context: &mut Context<'_>) -> Result<()> {
        match decision {
            Decision::Answer { answer, reason, platform, address, rule, .. } => {
                self.answer(*answer, reason.as_ref(), platform, address, context)?;
                self.rule.clone_from(rule);
                Ok(())
            }
            Decision::RollBack => self.participation.roll_back(context),
            Decision::Stop { reason } => self.leave(reason, context),
            _ => Err(context.refuse(Code::WrongState, "a peer answers or leaves; this is for another party")),
        }
    }

    fn answer(
        &mut self,
        answer: Verdict,
        reason: Option<&String>,
        platform: &Platform,
        address: &Address,
        context: &mut Context<'_>,
    ) -> Result<()> {
        match &self.phase {
            Phase::Invited if context.now <= self.invitation.answer_by => {}
            Phase::Invited => {
                return Err(
                    context.refuse(Code::Expired, format!("the invitation expired at {}", self.invitation.answer_by))
                );
            }
            Phase::Ended { state: SessionState::Expired, reason } => {
                return Err(context.refuse(Code::Expired, reason.clone()));
            }
            Phase::Ended { state: SessionState::Declined, .. } => {
                return Err(context.refuse(Code::AlreadyAnswered, "the invitation was declined already"));
            }
            Phase::Ended { state, reason } if !self.accepted => {
                return Err(match state {
                    SessionState::Withdrawn => context.refuse(Code::Withdrawn, format!("this was withdrawn: {reason}")),
                    state => context.refuse(Code::TooLate, format!("the session has ended ({state}): {reason}")),
                });
            }
            Phase::Ended { state: SessionState::Withdrawn, reason } => {
                return Err(context.refuse(Code::Withdrawn, format!("this was withdrawn: {reason}")));
            }
            _ => return Err(context.refuse(Code::AlreadyAnswered, "the invitation was accepted already")),
        }
        let body = Answer {
            session: self.own.session,
            invitation: self.invitation_id,
            invitation_hash: self.invitation_hash,
            answer,
            reason: reason.cloned(),
            platform: platform.clone(),
            address: address.clone(),
        };
        let id = context.send(&self.provider, body).message.head.id;
        self.platform = Some(platform.clone());
        match answer {
            Verdict::Accept => {
                self.accepted = true;
                self.phase = Phase::Accepted { answer: id };
            }
            Verdict::Decline => {
                let reason = reason.cloned().unwrap_or_else(|| "declined".to_owned());
                self.phase = Phase::Ended { state: SessionState::Declined, reason };
            }
        }
        Ok(())
    }

    fn leave(&mut self, reason: &str, context: &mut Context<'_>) -> Result<()> {
        match &self.phase {
            Phase::Accepted { .. } if self.participation.ending.is_none() => {}
            Phase::Accepted { .. } => return Err(context.refuse(Code::WrongState, "the session is ending already")),
            Phase::Invited => {
                return Err(context
                    .refuse(Code::WrongState, "the invitation has not been answered")
                    .hint("`deployctl accept ID --decline` declines it"));
            }
            Phase::Left => return Err(context.refuse(Code::WrongState, "this node has left the session already")),
            Phase::Ended { state, .. } => {
                return Err(context.refuse(Code::WrongState, format!("the session is over ({state})")));
            }
        }
        context.send(&self.provider, Leave { session: self.own.session, reason: reason.to_owned() });
        self.phase = Phase::Left;
        self.left = true;
        self.participation.end(SessionState::Closed, reason, context.now);
        Ok(())
    }

    fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Acknowledged { .. } | Outcome::Metered { .. } => Ok(()),
            Outcome::Refused { message, error } => {
                if matches!(self.phase, Phase::Accepted { answer } if answer == *message) {
                    let state = match error.code {
                        Code::TooLate | Code::Expired => SessionState::Expired,
                        Code::Withdrawn => SessionState::Withdrawn,
                        _ => SessionState::Failed,
                    };
                    self.failure = Some(Failure { code: error.code, text: error.message.clone(), tail: None });
                    self.participation.end(state, &error.message, context.now);
                }
                Ok(())
            }
            outcome => self.participation.result(outcome, context),
        }
    }

    fn timer(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        match self.phase {
            Phase::Invited if now > self.invitation.answer_by => {
                let reason = format!("nobody answered the invitation by {}", self.invitation.answer_by);
                self.phase = Phase::Ended { state: SessionState::Expired, reason };
            }
            Phase::Accepted { .. } if now >= self.invitation.ends_at => {
                let outcome = self.participation.outcome_in_time();
                self.participation.end(outcome, "the session's end time has come", now);
            }
            _ => {}
        }
    }

    /// What went wrong before the program was ever ready is over as soon as it is removed, whatever the others do.
    fn end_when_all_is_done(&mut self) {
        if matches!(self.phase, Phase::Ended { .. }) || self.participation.stage != Stage::Removed {
            return;
        }
        let (state, reason) = match (&self.participation.ending, &self.participation.failure) {
            (Some(ending), _) => (ending.outcome, ending.reason.clone()),
            (None, Some(failure)) => (SessionState::Failed, failure.text.clone()),
            (None, None) => (SessionState::Closed, String::new()),
        };
        self.phase = Phase::Ended { state, reason };
    }

    pub(super) fn work(&self) -> Vec<Work> {
        self.participation.work()
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Invited => Some(self.invitation.answer_by + crate::model::Span::from_ms(1)),
            Phase::Accepted { .. } if self.participation.ending.is_none() => Some(self.invitation.ends_at),
            _ => None,
        }
    }

    /// Whether the invitation waits for an answer.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Invited
    }

    fn state(&self) -> (SessionState, Option<String>) {
        match (&self.phase, &self.participation.ending) {
            (Phase::Ended { state, reason }, _) => (*state, Some(reason.clone()).filter(|reason| !reason.is_empty())),
            (_, Some(ending)) => (SessionState::Terminating, Some(ending.reason.clone())),
            (Phase::Invited, _) => (SessionState::Inviting, None),
            _ if self.participation.delivery.is_some() && self.told.1 < SessionState::Delivering => {
                (SessionState::Delivering, None)
            }
            _ => (self.told.1, None),
        }
    }

    fn participant_state(&self) -> ParticipantState {
        let participation = &self.participation;
        match (&self.phase, participation.stage) {
            (Phase::Invited, _) => ParticipantState::Invited,
            (Phase::Ended { state: SessionState::Declined, .. }, _) => ParticipantState::Declined,
            _ if self.withdrawn && participation.delivery.is_none() => ParticipantState::Withdrawn,
            (_, Stage::Removed) if participation.delivery.is_some() => ParticipantState::Removed,
            _ if self.left => ParticipantState::Left,
            _ if participation.failure.is_some() => ParticipantState::Failed,
            (_, Stage::Waiting | Stage::Removed) => ParticipantState::Accepted,
            (_, Stage::Delivered) => ParticipantState::Delivered,
            (_, Stage::Stopped) => ParticipantState::Stopped,
            (_, Stage::Installed | Stage::Running) if participation.ready => ParticipantState::Confirmed,
            (_, Stage::Installed | Stage::Running) => ParticipantState::Installed,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let (state, reason) = self.state();
        let failure = self.participation.failure.clone().or_else(|| self.failure.clone());
        let me = ParticipantSummary {
            name: self.invitation.peer.clone(),
            key: self.own.me,
            role: self.invitation.role.clone(),
            platform: self.platform.clone(),
            state: self.participant_state(),
            generation: self.participation.generation(),
            reason: self.participation.failure.as_ref().map(|failure| failure.text.clone()),
            failed: self.participation.failure.is_some(),
        };
        let package = self.participation.delivery.as_ref().zip(self.platform.as_ref());
        Summary {
            session: self.own.session,
            party: Party::Peer,
            state,
            reason,
            failure,
            service: self.invitation.service.name.clone(),
            version: Some(self.invitation.service.version.clone()),
            role: Some(self.invitation.role.clone()),
            provider: self.provider.clone(),
            initiator: Some(self.invitation.initiator.clone()),
            answer_by: Some(self.invitation.answer_by),
            ends_at: Some(self.invitation.ends_at),
            over: matches!(self.phase, Phase::Ended { .. }),
            participants: vec![me],
            rollout: None,
            packages: package.map(|(delivery, platform)| PackageSummary::new(delivery, platform)).into_iter().collect(),
            kept: self.participation.kept.clone(),
            policy: self.rule.as_ref().map(|rule| rule.name.clone()),
        }
    }
}

fn not_an_invitation(session: SessionId) -> Error {
    Error::new(Code::NotFound, format!("there is no session {} here", session.short())).about(session)
}
