//! The Initiator: asks, requests, takes part, accounts, ends (rows A1–A6, A13–A19).

mod accounting;
mod ending;
mod inviting;
mod mirror;

use super::context::{Context, Own};
use super::deadline;
use super::input::{Decision, Input, Outcome, What};
use super::machine::{Step, Work};
use super::participation::Participation;
use super::summary::Summary;
use crate::message::{
    Body, Failure, Interface, InterfaceRequest, Message, ServiceRequest, ServiceWanted, Start, Verified,
};
use crate::model::{Address, Code, Error, Key, MessageId, Nonce, Result, SessionId, SessionState, Time};
use accounting::Accounts;
use mirror::Mirror;

#[derive(Clone, Debug)]
pub struct Initiator {
    own: Own,
    pub provider: Address,
    service: ServiceWanted,
    asked: (MessageId, Nonce, Time),
    phase: Phase,
    accounts: Accounts,
}

// One machine per process step; the difference in size does not matter.
#[derive(Clone, Debug)]
enum Phase {
    /// The interface is awaited.
    Asking,
    /// The interface is there; the request is to be decided.
    Choosing { interface: Box<Interface> },
    /// The request is out: registered when `registered`.
    Requested(Box<Active>),
    /// It ended before there was a request.
    Ended { state: SessionState, reason: String, failure: Option<Failure> },
}

/// From the request on.
#[derive(Clone, Debug)]
pub struct Active {
    pub interface: Interface,
    /// With the peers that were added to it.
    pub request: ServiceRequest,
    /// Added, and not known yet to be taken by the provider.
    adding: Vec<(MessageId, Vec<Key>)>,
    pub registered: bool,
    mirror: Mirror,
    pub participation: Participation,
    ended: Option<SessionState>,
}

impl Initiator {
    pub(super) fn begin(me: Key, session: SessionId, input: &Input) -> Result<Step<Self>> {
        let What::Decided(Decision::Ask { provider, initiator, service, locale, form, nonce }) = &input.what else {
            return Err(Error::new(Code::WrongState, "an Initiator's session begins with what it asks for"));
        };
        let mut own = Own { me, session, last_issued: Time::from_unix_ms(0) };
        let mut context = Context::new(&mut own, input.now, input.seed);
        let body = InterfaceRequest {
            initiator: initiator.clone(),
            service: service.clone(),
            presentation: crate::message::body::Presentation { locale: locale.clone(), form: *form },
            nonce: *nonce,
        };
        let expires = input.now + deadline::INTERFACE_REQUEST_VALID;
        let outgoing = context.send(provider, body);
        outgoing.message.head.expires = Some(expires);
        let asked = (outgoing.message.head.id, *nonce, expires);
        let sends = context.sends;
        let state = Self {
            own,
            provider: provider.clone(),
            service: service.clone(),
            asked,
            phase: Phase::Asking,
            accounts: Accounts::default(),
        };
        Ok(Step { state, sends })
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
        self.settle(&mut context);
        let sends = context.sends;
        self.own = own;
        Ok(Step { state: self, sends })
    }

    /// The interface that waits for a request to be made with it.
    pub fn interface(&self) -> Option<&Interface> {
        match &self.phase {
            Phase::Choosing { interface } => Some(interface),
            Phase::Requested(active) => Some(&active.interface),
            Phase::Asking | Phase::Ended { .. } => None,
        }
    }
    /// The session, once it was requested.
    pub fn active(&self) -> Option<&Active> {
        match &self.phase {
            Phase::Requested(active) => Some(active),
            _ => None,
        }
    }
    pub(super) fn participation(&self) -> Option<&Participation> {
        self.active().map(|active| &active.participation)
    }

    fn received(&mut self, message: &Verified<Message>, context: &mut Context<'_>) -> Result<()> {
        if message.head.from != self.provider.key {
            return Err(context.refuse(
                Code::NotPermitted,
                format!("{} is not the provider of this session", message.head.from.short()),
            ));
        }
        if let Body::Interface(interface) = &message.body {
            return self.interface_came(message, interface, context);
        }
        let Phase::Requested(active) = &mut self.phase else {
            return Err(
                context.refuse(Code::OutOfOrder, format!("a {} came before the session was requested", message.body))
            );
        };
        let heard_first = !active.registered;
        active.registered = true;
        active.mirror.registered();
        if heard_first && active.participation.ending.is_some() {
            active.send_terminate(&self.provider, context);
        }
        match &message.body {
            Body::Registration(registration) => {
                if registration.service_request != context.session().request() {
                    return Err(context.refuse(Code::WrongSession, "the registration is of another request"));
                }
                Ok(())
            }
            Body::Progress(progress) => {
                active.mirror.progress(progress, message.head.issued)?;
                if progress.state.is_end() {
                    let reason = progress.failure.as_ref().map_or("the session has ended", |failure| &failure.text);
                    active.end_as_told(progress.state, reason, context.now);
                }
                Ok(())
            }
            Body::Delivery(delivery) => {
                if delivery.role != active.request.role {
                    return Err(context.refuse(
                        Code::MoreThanAccepted,
                        format!("the role {} was delivered, {} was asked for", delivery.role, active.request.role),
                    ));
                }
                active.participation.deliver(delivery, context);
                active.mirror.roster(&delivery.roster);
                Ok(())
            }
            Body::Start(_) => {
                active.participation.start(context);
                Ok(())
            }
            Body::Terminate(terminate) => {
                active.mirror.terminated(terminate);
                active.end_as_told(terminate.outcome, &terminate.reason, context.now);
                Ok(())
            }
            Body::Receipt(receipt) => self.accounts.receipt(receipt, context),
            other => Err(context.refuse(Code::WrongState, format!("an Initiator takes no {other}"))),
        }
    }

    /// A4: it must answer this very request, with its nonce.
    fn interface_came(&mut self, message: &Message, interface: &Interface, context: &Context<'_>) -> Result<()> {
        let (id, nonce, _) = self.asked;
        if interface.interface_request != id || message.head.in_reply_to != Some(id) || interface.request_nonce != nonce
        {
            return Err(context
                .refuse(Code::Replay, "the interface answers another request: its id or nonce is not the one sent"));
        }
        if interface.service.name != self.service.name {
            return Err(context.refuse(
                Code::BadProof,
                format!("the interface is of {}, asked for was {}", interface.service.name, self.service.name),
            ));
        }
        match self.phase {
            Phase::Asking => {
                self.phase = Phase::Choosing { interface: Box::new(interface.clone()) };
                Ok(())
            }
            _ => Err(context.refuse(Code::WrongState, "an interface came that nobody waits for")),
        }
    }

    fn decided(&mut self, decision: &Decision, context: &mut Context<'_>) -> Result<()> {
        match decision {
            Decision::Request { request } => self.request(request, context),
            Decision::RollBack => {
                let Phase::Requested(active) = &mut self.phase else { return Err(self.not_requested(context)) };
                active.participation.roll_back(context)
            }
            Decision::Stop { reason } => self.stop(reason, context),
            Decision::AddPeers { peers } => self.add_peers(peers, context),
            Decision::CloseAnswers => self.close_answers(context),
            Decision::Withdraw { peer, reason } => self.withdraw(*peer, reason, context),
            Decision::Start => self.give_the_word(context),
            Decision::Account { kind, usage } => {
                let Phase::Requested(active) = &self.phase else { return Err(self.not_requested(context)) };
                self.accounts.account(*kind, usage, &active.participation, &self.provider, context)
            }
            _ => Err(context.refuse(Code::WrongState, "this decision is for another party")),
        }
    }

    fn request(&mut self, request: &ServiceRequest, context: &mut Context<'_>) -> Result<()> {
        let Phase::Choosing { interface } = &self.phase else {
            return Err(context.refuse(Code::WrongState, "one interface serves one service request"));
        };
        let terms = interface
            .roles
            .get(&request.role)
            .ok_or_else(|| context.refuse(Code::BadInput, format!("the service has no role {}", request.role)))?;
        let id = context.session().request();
        let outgoing = context.send(&self.provider, request.clone());
        outgoing.message.head.id = id;
        outgoing.message.head.expires = Some(request.answer_by);
        outgoing.secrets = request.secret_options.keys().map(|name| format!("option.{name}")).collect();
        let active = Active {
            interface: Interface::clone(interface),
            adding: Vec::new(),
            registered: false,
            mirror: Mirror::new(request),
            participation: Participation::new(terms.clone(), self.provider.clone()),
            request: request.clone(),
            ended: None,
        };
        self.phase = Phase::Requested(Box::new(active));
        Ok(())
    }

    fn not_requested(&self, context: &Context<'_>) -> Error {
        context.refuse(Code::WrongState, format!("the session of {} was not requested", self.service.name))
    }

    fn give_the_word(&mut self, context: &mut Context<'_>) -> Result<()> {
        let Phase::Requested(active) = &self.phase else { return Err(self.not_requested(context)) };
        if active.ended.is_some() || active.participation.ending.is_some() {
            return Err(context.refuse(Code::WrongState, "the session is over"));
        }
        if !active.request.hold {
            return Err(context
                .refuse(Code::WrongState, "the session is not held: the provider starts it by itself")
                .hint("`deployctl status` shows how far it is"));
        }
        context.send(&self.provider, Start { session: context.session() });
        Ok(())
    }

    fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Acknowledged { message } => {
                self.added(*message);
                return Ok(());
            }
            Outcome::Refused { message, error } => {
                self.refused(*message, error, context);
                return Ok(());
            }
            _ => {}
        }
        let Phase::Requested(active) = &mut self.phase else { return Err(self.not_requested(context)) };
        self.accounts.metered(outcome);
        match outcome {
            Outcome::Metered { account: true, .. } => {
                self.accounts.interim(&active.participation, &self.provider, context);
            }
            Outcome::Metered { .. } => {}
            // The service is over when the Initiator's own program has done its work.
            Outcome::Exited { .. } => {
                active.participation.result(outcome, context)?;
                if active.participation.ending.is_none() && active.participation.failure.is_none() {
                    self.stop("the Initiator's program ended by itself", context)?;
                }
            }
            outcome => active.participation.result(outcome, context)?,
        }
        Ok(())
    }

    pub(super) fn work(&self) -> Vec<Work> {
        self.participation().map(Participation::work).unwrap_or_default()
    }

    fn state(&self) -> (SessionState, Option<String>) {
        match &self.phase {
            Phase::Asking | Phase::Choosing { .. } => (SessionState::Requested, None),
            Phase::Ended { state, reason, .. } => (*state, Some(reason.clone())),
            Phase::Requested(active) => match (&active.ended, &active.participation.ending) {
                (Some(state), ending) => (*state, ending.as_ref().map(|ending| ending.reason.clone())),
                (None, Some(ending)) => (SessionState::Terminating, Some(ending.reason.clone())),
                (None, None) => (active.mirror.state, None),
            },
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let (state, reason) = self.state();
        let mut summary = Summary {
            session: self.own.session,
            party: crate::model::Party::Initiator,
            state,
            reason,
            failure: None,
            service: self.service.name.clone(),
            version: self.interface().map(|interface| interface.service.version.clone()),
            role: None,
            provider: self.provider.clone(),
            initiator: None,
            answer_by: None,
            ends_at: None,
            over: false,
            participants: Vec::new(),
            rollout: None,
            packages: Vec::new(),
            kept: Vec::new(),
            policy: None,
        };
        match &self.phase {
            Phase::Ended { failure, .. } => {
                summary.failure.clone_from(failure);
                summary.over = true;
            }
            Phase::Requested(active) => active.fill(&mut summary, self.own.me),
            Phase::Asking | Phase::Choosing { .. } => {}
        }
        summary
    }
}
