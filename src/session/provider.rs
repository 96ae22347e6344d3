//! The provider: registers, invites, has built, delivers, starts, accounts, ends (rows A7–A18).

mod messages;
mod needs;
mod participant;
mod progress;

pub use participant::Participant;

use super::context::{Context, Own};
use super::deadline;
use super::input::{Decision, Input, Outcome, What};
use super::machine::{Step, Work};
use super::summary::{PackageSummary, Summary};
use crate::message::{Body, Commitment, Envelope, Failure, Interface, PackageRef, ServiceRequest, Verified};
use crate::model::{
    Address, Code, Digest, Error, Hash, Key, MessageId, Party, Result, RoleName, SessionId, SessionState, Span, Time,
};
use crate::service::platform::Platform;
use progress::News;

#[derive(Clone, Debug)]
pub struct Provider {
    own: Own,
    /// This node, as peers reach it.
    address: Address,
    pub interface: Interface,
    /// Absent only between the two first records of the log.
    pub request: Option<ServiceRequest>,
    /// The Initiator first, then the peers in the request's order.
    pub participants: Vec<Participant>,
    phase: Phase,
    pub built: Vec<Built>,
    pub roster_value: Option<Commitment>,
    /// The Initiator has given the word (`--hold`).
    word_given: bool,
    chain: Chain,
}

/// One finished package.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    pub role: RoleName,
    pub platform: Platform,
    pub package: PackageRef,
    pub manifest: Digest,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Opened,
    Inviting,
    Building { since: Time },
    Delivering { since: Time },
    Starting { since: Time },
    Running,
    Terminating(Ending),
    Ended(Ending),
}

/// How and why it ends.
#[derive(Clone, Debug, PartialEq)]
struct Ending {
    outcome: SessionState,
    reason: String,
    failure: Option<Failure>,
    since: Time,
    /// A final accounting is due.
    accountable: bool,
}

/// The accountings taken so far.
#[derive(Clone, Debug, Default, PartialEq)]
struct Chain {
    sequence: u64,
    last: Option<Hash>,
    closed: bool,
}

impl Provider {
    /// # Errors
    /// `bad-message` where what was opened is not an interface.
    pub(super) fn begin(me: Key, session: SessionId, input: &Input) -> Result<Step<Self>> {
        let What::Decided(Decision::Open { interface, provider }) = &input.what else {
            return Err(Error::new(Code::WrongState, "a provider's session begins with the interface it gave out"));
        };
        let interface = read_interface(interface)?;
        let state = Self {
            own: Own { me, session, last_issued: Time::from_unix_ms(0) },
            address: provider.clone(),
            interface,
            request: None,
            participants: Vec::new(),
            phase: Phase::Opened,
            built: Vec::new(),
            roster_value: None,
            word_given: false,
            chain: Chain::default(),
        };
        Ok(Step { state, sends: Vec::new() })
    }

    pub(super) fn step(mut self, input: &Input) -> Result<Step<Self>> {
        let before = self.state();
        let mut own = self.own.clone();
        let mut context = Context::new(&mut own, input.now, input.seed);
        let mut news = News::default();
        match &input.what {
            What::Received { message, seen_from } => {
                self.received(message, seen_from.as_ref(), &mut news, &mut context)?;
            }
            What::Decided(Decision::Stop { reason }) => self.stop(reason, &mut context)?,
            What::Decided(_) => {
                return Err(context.refuse(Code::WrongState, "a provider can end a session; this is for another party"));
            }
            What::Result(outcome) => self.result(outcome, &mut context)?,
            What::Timer => {}
        }
        self.settle(&mut context);
        self.tell(before, news, &mut context);
        let sends = context.sends;
        self.own = own;
        Ok(Step { state: self, sends })
    }

    /// What the Initiator asked for.
    ///
    /// # Panics
    /// Never after the log's second record, and there is no state in between that anybody sees.
    pub fn asked(&self) -> &ServiceRequest {
        self.request.as_ref().expect("the request is the second record")
    }

    fn initiator(&self) -> &Address {
        &self.asked().initiator.address
    }

    /// `deployctl stop` at the provider.
    fn stop(&mut self, reason: &str, context: &mut Context<'_>) -> Result<()> {
        if matches!(self.phase, Phase::Terminating(_) | Phase::Ended(_)) {
            return Err(context.refuse(Code::WrongState, format!("the session is {} already", self.state())));
        }
        let outcome = if self.phase == Phase::Running { SessionState::Closed } else { SessionState::Withdrawn };
        self.end(outcome, reason, None, None, context);
        Ok(())
    }

    fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Built { role, platform, package, manifest, roster_value } => {
                if !self.work().contains(&Work::Build { role: role.clone(), platform: platform.clone() }) {
                    return Err(context.refuse(
                        Code::WrongState,
                        format!("the package of {role} for {platform} is not to be built (any more)"),
                    ));
                }
                self.roster_value.get_or_insert(*roster_value);
                self.built.push(Built {
                    role: role.clone(),
                    platform: platform.clone(),
                    package: *package,
                    manifest: *manifest,
                });
                if self.work().is_empty() {
                    self.deliver(context);
                }
                Ok(())
            }
            Outcome::BuildFailed { role, platform, failure } => {
                if !matches!(self.phase, Phase::Building { .. }) {
                    return Err(context.refuse(Code::WrongState, "nothing is being built"));
                }
                let reason = format!("building {role} for {platform} failed: {}", failure.text);
                self.end(SessionState::Failed, &reason, Some(failure.clone()), None, context);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Moves on as far as the state allows: the one place where phases follow each other.
    fn settle(&mut self, context: &mut Context<'_>) {
        match &self.phase {
            Phase::Inviting => self.settle_inviting(context),
            Phase::Building { since } if context.now >= *since + deadline::BUILDING => {
                let failure = Failure {
                    code: Code::TimedOut,
                    text: format!("building took longer than {}", deadline::BUILDING),
                    tail: None,
                };
                self.end(SessionState::Failed, &failure.text.clone(), Some(failure), None, context);
            }
            Phase::Building { .. } => self.settle_needs(context),
            Phase::Delivering { .. } | Phase::Starting { .. } | Phase::Running => self.settle_active(context),
            Phase::Terminating(ending) => {
                let ending = ending.clone();
                self.settle_terminating(ending, context);
            }
            Phase::Opened | Phase::Ended(_) => {}
        }
    }

    /// Fixes the roster when all have answered or the time is up; ends where the quorum cannot be had any more.
    fn settle_inviting(&mut self, context: &mut Context<'_>) {
        let in_time = context.now <= self.asked().answer_by;
        let hopeful = |participant: &Participant| participant.accepted() || (in_time && participant.may_answer());
        if let Some(missing) = self.missing(true, hopeful) {
            let failure = Failure { code: Code::QuorumMissed, text: missing.clone(), tail: None };
            return self.end(SessionState::QuorumMissed, &missing, Some(failure), None, context);
        }
        let all_answered = !self.participants.iter().any(Participant::may_answer);
        if all_answered || !in_time {
            self.phase = Phase::Building { since: context.now };
        }
    }

    /// Required participants lost, a failure with `abort`, or the end time: the session ends.
    fn settle_needs(&mut self, context: &mut Context<'_>) {
        if let Some((reason, failure)) = self.reason_to_end() {
            return self.end(SessionState::Failed, &reason, Some(failure), None, context);
        }
        if context.now >= self.asked().ends_at {
            let outcome = if self.phase == Phase::Running { SessionState::Closed } else { SessionState::Expired };
            self.end(outcome, "the session's end time has come", None, None, context);
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
        let remains: Vec<_> =
            self.participants.iter().filter(|one| one.may_hold_software()).map(|one| one.name.to_string()).collect();
        let unaccounted = ending.accountable && !self.chain.closed;
        let time_is_up = context.now >= ending.since + deadline::TERMINATING;
        if !time_is_up && (unaccounted || !remains.is_empty()) {
            return;
        }
        if !remains.is_empty() {
            ending.reason = format!("{}; not reported as removed: {}", ending.reason, remains.join(", "));
        }
        if unaccounted {
            ending.outcome = SessionState::Unaccounted;
        }
        self.phase = Phase::Ended(ending);
    }

    fn held(&self) -> bool {
        self.asked().hold && !self.word_given
    }

    /// Ends the session: what was delivered is to be stopped and removed, what was not is just told.
    fn end(
        &mut self,
        outcome: SessionState,
        reason: &str,
        failure: Option<Failure>,
        asked_by: Option<MessageId>,
        context: &mut Context<'_>,
    ) {
        let delivered = self.participants.iter().any(|participant| participant.delivered);
        let ending = Ending { outcome, reason: reason.to_owned(), failure, since: context.now, accountable: delivered };
        if delivered {
            self.send_terminate(&ending, asked_by, context);
            self.phase = Phase::Terminating(ending);
        } else {
            self.phase = Phase::Ended(ending);
        }
    }

    pub(super) fn work(&self) -> Vec<Work> {
        if !matches!(self.phase, Phase::Building { .. }) {
            return Vec::new();
        }
        let mut work = Vec::new();
        for participant in self.participants.iter().filter(|participant| participant.takes_part()) {
            let Some(platform) = participant.platform.clone() else { continue };
            let built = self.built.iter().any(|built| built.role == participant.role && built.platform == platform);
            let build = Work::Build { role: participant.role.clone(), platform };
            if !built && !work.contains(&build) {
                work.push(build);
            }
        }
        work
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        match &self.phase {
            Phase::Opened | Phase::Ended(_) => None,
            Phase::Inviting => Some(self.asked().answer_by + Span::from_ms(1)),
            Phase::Building { since } => Some((*since + deadline::BUILDING).min(self.asked().ends_at)),
            Phase::Delivering { since } => Some((*since + deadline::DELIVERING).min(self.asked().ends_at)),
            Phase::Starting { .. } if self.held() => Some(self.asked().ends_at),
            Phase::Starting { since } => Some((*since + deadline::STARTING).min(self.asked().ends_at)),
            Phase::Running => Some(self.asked().ends_at),
            Phase::Terminating(ending) => Some(ending.since + deadline::TERMINATING),
        }
    }

    pub fn state(&self) -> SessionState {
        match &self.phase {
            Phase::Opened => SessionState::Registered,
            Phase::Inviting => SessionState::Inviting,
            Phase::Building { .. } => SessionState::Building,
            Phase::Delivering { .. } => SessionState::Delivering,
            Phase::Starting { .. } => SessionState::Starting,
            Phase::Running => SessionState::Running,
            Phase::Terminating(_) => SessionState::Terminating,
            Phase::Ended(ending) => ending.outcome,
        }
    }

    fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Terminating(ending) | Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let request = self.request.as_ref();
        let waiting = (self.held() && matches!(self.phase, Phase::Starting { .. }))
            .then(|| "waits for the Initiator's word to start".to_owned());
        Summary {
            session: self.own.session,
            party: Party::Provider,
            state: self.state(),
            reason: self.ending().map(|ending| ending.reason.clone()).or(waiting),
            failure: self.ending().and_then(|ending| ending.failure.clone()),
            service: self.interface.service.name.clone(),
            version: Some(self.interface.service.version.clone()),
            role: None,
            provider: self.address.clone(),
            initiator: request.map(|request| request.initiator.clone()),
            answer_by: request.map(|request| request.answer_by),
            ends_at: request.map(|request| request.ends_at),
            over: matches!(self.phase, Phase::Ended(_)),
            participants: self.participants.iter().map(Participant::summary).collect(),
            packages: self
                .built
                .iter()
                .map(|built| PackageSummary::new(built.package, &built.role, &built.platform))
                .collect(),
            kept: Vec::new(),
        }
    }
}

fn read_interface(envelope: &Envelope) -> Result<Interface> {
    match &Verified::from_own_log(envelope.clone())?.body {
        Body::Interface(interface) => Ok(Interface::clone(interface)),
        other => Err(Error::new(Code::BadMessage, format!("a {other} stands where an interface should"))),
    }
}
