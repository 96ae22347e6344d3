//! While the answers come in: who is invited, one more, one less, and no more answers (rows A7–A10).

use super::{Participant, Phase, Provider};
use crate::message::verified::open_notification;
use crate::message::{AddPeers, Invitation, Invitee, Message, ServiceRequest, Withdraw, Withdrawn, body::MAX_PEERS};
use crate::model::{Code, Key, MessageId, ParticipantState, Result, SessionState};
use crate::service::definition::Side;
use crate::session::context::Context;

impl Provider {
    /// A8. The expiry is the time by which an answer is due.
    pub(super) fn invite(&mut self, invitees: &[Invitee], context: &mut Context<'_>) {
        let request = self.asked().clone();
        for invitee in invitees {
            let service = &self.interface.service;
            let about = format!(
                "{} invites you to {} {} ({}) as {}",
                request.initiator.name, service.name, service.version, self.interface.summary, invitee.role
            );
            let invitation = Invitation {
                session: context.session(),
                service: service.clone(),
                summary: self.interface.summary.clone(),
                options: request.options.clone(),
                secret_options: request.secret_options.clone(),
                peer: invitee.name.clone(),
                role: invitee.role.clone(),
                interface: self.interface.roles[&invitee.role].clone(),
                initiator: request.initiator.clone(),
                provider: self.address.clone(),
                about,
                tariff: self.interface.tariff.clone().filter(|_| self.tells_tariff),
                key: self.interface.key,
                notification: invitee.notification.clone(),
                answer_by: request.answer_by,
                ends_at: request.ends_at,
            };
            let outgoing = context.send(&invitee.address, invitation);
            outgoing.message.head.expires = Some(request.answer_by);
            outgoing.secrets = vec!["key".to_owned()];
            let invitation = (outgoing.message.head.id, outgoing.message.hash());
            let mut participant = Participant::new(invitee.name.clone(), invitee.address.clone(), invitee.role.clone());
            participant.invitation = Some(invitation);
            self.participants.push(participant);
        }
    }

    /// The notification to each is the Initiator's own, and says what the request says.
    pub(super) fn check_notifications(
        request: &ServiceRequest,
        invitees: &[Invitee],
        context: &Context<'_>,
    ) -> Result<()> {
        for invitee in invitees {
            let (initiator, peer) = (&request.initiator.address.key, &invitee.address.key);
            let (_, notification) = open_notification(&invitee.notification, initiator, peer)?;
            notification.check_matches(request, context.session(), invitee)?;
        }
        Ok(())
    }

    pub(super) fn check_side(&self, role: &crate::model::RoleName, side: Side, context: &Context<'_>) -> Result<()> {
        let roles = &self.interface.roles;
        if roles.get(role).is_some_and(|terms| terms.side == side) {
            return Ok(());
        }
        let of_side = roles.iter().filter(|(_, terms)| terms.side == side).map(|(name, _)| name.to_string());
        let of_side: Vec<_> = of_side.collect();
        let side = if side == Side::Initiator { "an Initiator" } else { "a peer" };
        let text = format!("{role} is not a role for {side}; there is {}", of_side.join(", "));
        Err(context.refuse(Code::BadInput, text))
    }

    /// More peers of the Initiator's, invited like the first ones.
    pub(super) fn add_peers(&mut self, index: usize, add: &AddPeers, context: &mut Context<'_>) -> Result<()> {
        self.expect_initiator(index, "invites more peers", context)?;
        self.expect_inviting(context)?;
        self.check_added(&add.peers, context)?;
        Self::check_notifications(self.asked(), &add.peers, context)?;
        self.invite(&add.peers, context);
        Ok(())
    }

    fn check_added(&self, added: &[Invitee], context: &Context<'_>) -> Result<()> {
        let refuse = |text: String| Err(context.refuse(Code::BadInput, text));
        let peers = self.participants.len() - 1 + added.len();
        if added.is_empty() || peers > MAX_PEERS {
            return refuse(format!("a session has 1 to {MAX_PEERS} peers, and is to have {peers}"));
        }
        for (number, invitee) in added.iter().enumerate() {
            self.check_side(&invitee.role, Side::Peer, context)?;
            let key = invitee.address.key;
            if let Some(known) = self.participants.iter().find(|one| one.key() == key) {
                return refuse(format!("{} takes part in this session already: {}", known.name, known.state));
            }
            if added[..number].iter().any(|other| other.address.key == key) {
                return refuse(format!("{} is named twice", invitee.name));
            }
        }
        for (role, terms) in &self.interface.roles {
            let taken =
                self.participants.iter().filter(|one| one.role == *role && (one.may_answer() || one.accepted()));
            let count = taken.count() + added.iter().filter(|invitee| invitee.role == *role).count();
            if let Some(max) = terms.max.filter(|max| count > usize::try_from(*max).unwrap_or(usize::MAX)) {
                return refuse(format!("{count} participants for the role {role}, which takes at most {max}"));
            }
        }
        Ok(())
    }

    /// As if the time for answers were up. Who has not answered counts for the quorum as it would then.
    pub(super) fn close_answers(&mut self, index: usize, message: &Message, context: &Context<'_>) -> Result<()> {
        self.expect_initiator(index, "closes the answers", context)?;
        self.expect_inviting(context)?;
        self.closed_by = Some(message.head.id);
        Ok(())
    }

    /// Takes back the invitations that nobody has answered.
    pub(super) fn withdraw_unanswered(&mut self, asked_by: MessageId, context: &mut Context<'_>) {
        for index in 0..self.participants.len() {
            if self.participants[index].may_answer() {
                self.send_withdraw(index, "no more answers are waited for", Some(asked_by), context);
            }
        }
    }

    /// Takes one invitation back, whether it was accepted or not answered yet.
    pub(super) fn withdraw(
        &mut self,
        peer: Key,
        reason: &str,
        asked_by: Option<MessageId>,
        context: &mut Context<'_>,
    ) -> Result<()> {
        let index = self.participants.iter().position(|one| one.is_peer() && one.key() == peer);
        let index = index
            .ok_or_else(|| context.refuse(Code::NotFound, format!("{} is no peer of this session", peer.short())))?;
        self.expect_inviting(context)?;
        let participant = &self.participants[index];
        if !participant.may_answer() && !participant.accepted() {
            let how = if participant.left { ParticipantState::Left } else { participant.state };
            let text = format!("there is nothing to withdraw: {} has {how} already", participant.name);
            return Err(context.refuse(Code::AlreadyAnswered, text));
        }
        self.send_withdraw(index, reason, asked_by, context);
        Ok(())
    }

    fn send_withdraw(&mut self, index: usize, reason: &str, asked_by: Option<MessageId>, context: &mut Context<'_>) {
        let participant = &mut self.participants[index];
        participant.state = ParticipantState::Withdrawn;
        participant.reason = Some(reason.to_owned());
        let withdraw =
            Withdraw { session: context.session(), peer: participant.key(), reason: reason.to_owned(), asked_by };
        context.send(&participant.address, withdraw);
    }

    /// Whose invitations were taken back, and why.
    pub(super) fn withdrawn(&self) -> Vec<Withdrawn> {
        let withdrawn = self.participants.iter().filter(|one| one.state == ParticipantState::Withdrawn);
        let why = |one: &Participant| one.reason.clone().unwrap_or_default();
        withdrawn.map(|one| Withdrawn { peer: one.key(), reason: why(one) }).collect()
    }

    pub(super) fn expect_initiator(&self, index: usize, does: &str, context: &Context<'_>) -> Result<()> {
        match self.participants[index].is_initiator {
            true => Ok(()),
            false => Err(context.refuse(Code::NotPermitted, format!("only the Initiator {does}"))),
        }
    }

    /// Before the roster is fixed.
    pub(super) fn expect_inviting(&self, context: &Context<'_>) -> Result<()> {
        if let Phase::Ended(ending) = &self.phase {
            let code = if ending.outcome == SessionState::Withdrawn { Code::Withdrawn } else { Code::TooLate };
            return Err(context.refuse(code, format!("the session has ended ({}): {}", ending.outcome, ending.reason)));
        }
        if self.phase != Phase::Inviting || context.now > self.asked().answer_by {
            return Err(context.refuse(Code::TooLate, "the answers are in and the roster is fixed"));
        }
        Ok(())
    }
}
