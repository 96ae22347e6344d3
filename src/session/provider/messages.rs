//! What the provider does with each message it takes.

use std::sync::Arc;

use super::progress::News;
use super::{Participant, Phase, Provider};
use crate::message::{
    Accounting, AccountingKind, Answer, Body, Leave, Message, Receipt, Registration, Report, ServiceRequest, Terminate,
    Verdict, Verified, body::MAX_PEERS,
};
use crate::model::{Code, ParticipantState, Result, SessionState};
use crate::service::definition::Side;
use crate::session::context::Context;

impl Provider {
    pub(super) fn received(
        &mut self,
        message: &Verified<Message>,
        seen_from: Option<&String>,
        news: &mut News,
        context: &mut Context<'_>,
    ) -> Result<()> {
        if let Body::ServiceRequest(request) = &message.body {
            return self.register(message, request, seen_from, context);
        }
        if self.request.is_none() {
            return Err(context.refuse(Code::WrongState, "the session is not registered"));
        }
        let from = message.head.from;
        let index = self.participants.iter().position(|one| one.key() == from);
        let index = index.ok_or_else(|| {
            context.refuse(Code::NotPermitted, format!("{} takes no part in this session", from.short()))
        })?;
        if seen_from.is_some() {
            self.participants[index].seen_from = seen_from.cloned();
        }
        match &message.body {
            Body::Answer(answer) => self.answered(index, answer, message, news, context),
            Body::Report(report) => {
                self.reported(index, report, message, news);
                Ok(())
            }
            Body::Leave(leave) => self.leaves(index, leave, message, news, context),
            Body::AddPeers(add) => self.add_peers(index, add, context),
            Body::CloseAnswers(_) => self.close_answers(index, message, context),
            Body::Withdraw(withdraw) => {
                self.expect_initiator(index, "withdraws invitations", context)?;
                self.withdraw(withdraw.peer, &withdraw.reason, Some(message.head.id), context)
            }
            Body::Start(_) => self.word_given(index, context),
            Body::Terminate(terminate) => self.terminate_asked(index, terminate, message, context),
            Body::Accounting(accounting) => self.accounted(index, accounting, message, context),
            other => Err(context.refuse(Code::WrongState, format!("a provider takes no {other}"))),
        }
    }

    /// A7: registers the request; the invitations are logged in the same step, and leave after it.
    fn register(
        &mut self,
        message: &Verified<Message>,
        request: &ServiceRequest,
        seen_from: Option<&String>,
        context: &mut Context<'_>,
    ) -> Result<()> {
        if self.phase != Phase::Opened {
            return Err(context.refuse(Code::Replay, "this session is registered already, with another request"));
        }
        self.check_request(message, request, context)?;
        let person = &request.initiator;
        let mut initiator = Participant::new(person.name.clone(), person.address.clone(), request.role.clone());
        initiator.is_initiator = true;
        initiator.state = ParticipantState::Accepted;
        initiator.platform = Some(request.platform.clone());
        initiator.seen_from = seen_from.cloned();
        self.participants = vec![initiator];
        self.request = Some(Arc::new(request.clone()));
        self.phase = Phase::Inviting;
        let registration = Registration {
            service_request: message.head.id,
            session: context.session(),
            invited: request.peers.iter().map(|peer| peer.address.key).collect(),
        };
        context.reply(&person.address, message.head.id, registration);
        self.invite(&request.peers, context);
        Ok(())
    }

    fn check_request(&self, message: &Message, request: &ServiceRequest, context: &Context<'_>) -> Result<()> {
        let refuse = |code, text: String| Err(context.refuse(code, text));
        let interface = &self.interface;
        if message.head.id != context.session().request() || message.head.from != request.initiator.address.key {
            return refuse(
                Code::WrongSession,
                "the request founds another session, or names another Initiator than its sender".to_owned(),
            );
        }
        if request.interface_request != interface.interface_request || request.interface_nonce != interface.nonce {
            return refuse(
                Code::BadProof,
                "the request was not made with the interface that was given out for it".to_owned(),
            );
        }
        if request.service != interface.service {
            return refuse(
                Code::BadProof,
                "the request names another service or definition than its interface".to_owned(),
            );
        }
        if request.answer_by <= context.now || request.ends_at <= request.answer_by {
            return refuse(
                Code::BadInput,
                "the times of the request do not follow each other: now, answer_by, ends_at".to_owned(),
            );
        }
        if request.peers.is_empty() || request.peers.len() > MAX_PEERS {
            return refuse(
                Code::BadInput,
                format!("a request names 1 to {MAX_PEERS} peers, not {}", request.peers.len()),
            );
        }
        let needed = request.quorum.needed(request.peers.len());
        if needed > request.peers.len() {
            return refuse(
                Code::BadInput,
                format!("a quorum of {needed} cannot be had from {} peers", request.peers.len()),
            );
        }
        self.check_roles(request, context)?;
        let mut keys: Vec<_> =
            request.peers.iter().map(|peer| peer.address.key).chain([request.initiator.address.key]).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return refuse(
                Code::BadInput,
                "the request names the same node twice, or the Initiator as a peer".to_owned(),
            );
        }
        Self::check_notifications(request, &request.peers, context)
    }

    fn check_roles(&self, request: &ServiceRequest, context: &Context<'_>) -> Result<()> {
        let asked = std::iter::once((&request.role, Side::Initiator))
            .chain(request.peers.iter().map(|peer| (&peer.role, Side::Peer)));
        for (role, side) in asked.clone() {
            self.check_side(role, side, context)?;
        }
        for (role, terms) in &self.interface.roles {
            let count = asked.clone().filter(|(asked, _)| *asked == role).count();
            if terms.max.is_some_and(|max| count > usize::try_from(max).unwrap_or(usize::MAX)) {
                return Err(context.refuse(
                    Code::BadInput,
                    format!("{count} participants for the role {role}, which takes at most {}", terms.max.unwrap_or(0)),
                ));
            }
            if count < usize::try_from(terms.min).unwrap_or(usize::MAX) {
                return Err(context.refuse(
                    Code::BadInput,
                    format!("{count} participants for the role {role}, which needs at least {}", terms.min),
                ));
            }
        }
        let terms = &self.interface.roles[&request.role];
        if !terms.platforms.accepts(&request.platform) {
            return Err(context
                .refuse(Code::Unsuitable, format!("the role {} is not made for {}", request.role, request.platform)));
        }
        Ok(())
    }

    fn answered(
        &mut self,
        index: usize,
        answer: &Answer,
        message: &Verified<Message>,
        news: &mut News,
        context: &Context<'_>,
    ) -> Result<()> {
        let participant = &self.participants[index];
        if participant.invitation != Some((answer.invitation, answer.invitation_hash)) {
            return Err(context
                .refuse(Code::WrongSession, "the answer is to another invitation than the one sent to this node"));
        }
        if participant.state == ParticipantState::Withdrawn {
            let why = participant.reason.as_deref().unwrap_or("without a reason");
            return Err(context.refuse(Code::Withdrawn, format!("this invitation was withdrawn: {why}")));
        }
        if !participant.may_answer() {
            let how = if participant.left { ParticipantState::Left } else { participant.state };
            return Err(context.refuse(Code::AlreadyAnswered, format!("this invitation was answered already: {how}")));
        }
        self.expect_inviting(context)?;
        let roles = &self.interface.roles;
        let participant = &mut self.participants[index];
        let accepts = answer.answer == Verdict::Accept;
        if accepts && !roles.get(&participant.role).is_some_and(|terms| terms.platforms.accepts(&answer.platform)) {
            return Err(context.refuse(
                Code::Unsuitable,
                format!("the role {} is not made for {}", participant.role, answer.platform),
            ));
        }
        participant.state = if accepts { ParticipantState::Accepted } else { ParticipantState::Declined };
        participant.platform = Some(answer.platform.clone());
        participant.reason.clone_from(&answer.reason);
        participant.answer = Some(Arc::new(message.envelope().clone()));
        if answer.address.key == participant.address.key && answer.address.host.is_some() {
            participant.address = answer.address.clone();
        }
        news.answers.push(message.envelope().clone());
        Ok(())
    }

    fn reported(&mut self, index: usize, report: &Report, message: &Verified<Message>, news: &mut News) {
        let participant = &mut self.participants[index];
        participant.report(report, message.head.issued);
        if participant.is_peer() {
            news.reports.push(message.envelope().clone());
        }
    }

    fn leaves(
        &mut self,
        index: usize,
        leave: &Leave,
        message: &Verified<Message>,
        news: &mut News,
        context: &Context<'_>,
    ) -> Result<()> {
        let participant = &mut self.participants[index];
        if participant.is_initiator {
            return Err(context.refuse(Code::WrongState, "the Initiator does not leave, it terminates the session"));
        }
        if participant.state == ParticipantState::Withdrawn {
            return Ok(());
        }
        participant.left = true;
        participant.reason = Some(leave.reason.clone());
        news.reports.push(message.envelope().clone());
        Ok(())
    }

    fn word_given(&mut self, index: usize, context: &Context<'_>) -> Result<()> {
        self.expect_initiator(index, "gives the word to start", context)?;
        if let (false, Phase::Starting { since }) = (self.word_given, &mut self.phase) {
            *since = context.now;
        }
        self.word_given = true;
        Ok(())
    }

    fn terminate_asked(
        &mut self,
        index: usize,
        terminate: &Terminate,
        message: &Message,
        context: &mut Context<'_>,
    ) -> Result<()> {
        self.expect_initiator(index, "terminates the session; a peer leaves", context)?;
        match self.phase {
            Phase::Terminating(_) | Phase::Ended(_) => {}
            // The Initiator knows best whether its service has run.
            _ => {
                let delivered = self.participants[index].delivered;
                let outcome = match terminate.outcome {
                    SessionState::Closed if delivered => SessionState::Closed,
                    SessionState::Expired => SessionState::Expired,
                    _ if self.phase == Phase::Running => SessionState::Closed,
                    _ => SessionState::Withdrawn,
                };
                self.end(outcome, &terminate.reason, None, Some(message.head.id), context);
            }
        }
        Ok(())
    }

    /// A16, A18: one after the other, each chained to the one before; a final one closes the chain.
    fn accounted(
        &mut self,
        index: usize,
        accounting: &Accounting,
        message: &Verified<Message>,
        context: &mut Context<'_>,
    ) -> Result<()> {
        self.expect_initiator(index, "accounts", context)?;
        let expected = self.chain.sequence + 1;
        if accounting.sequence > expected {
            return Err(context
                .refuse(Code::OutOfOrder, format!("accounting {} came, {expected} is next", accounting.sequence)));
        }
        if self.chain.closed {
            return Err(context.refuse(Code::WrongState, "the final accounting was taken already"));
        }
        if accounting.sequence < expected || accounting.previous != self.chain.last {
            return Err(context.refuse(
                Code::BrokenChain,
                format!("accounting {} does not continue the chain at {expected}", accounting.sequence),
            ));
        }
        let hash = message.envelope().hash();
        self.chain.sequence = accounting.sequence;
        self.chain.last = Some(hash);
        self.chain.closed = accounting.kind == AccountingKind::Final;
        if let Phase::Ended(ending) = &mut self.phase
            && self.chain.closed
        {
            ending.unaccounted = false;
        }
        let receipt = Receipt {
            session: context.session(),
            accounting: message.head.id,
            sequence: accounting.sequence,
            hash,
            accepted: true,
            why: None,
        };
        let initiator = self.initiator().clone();
        context.reply(&initiator, message.head.id, receipt);
        Ok(())
    }
}
