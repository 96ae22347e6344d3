//! The provider: registers, invites, has built, delivers, starts, accounts, ends (rows A7–A18).

mod inviting;
mod messages;
mod needs;
mod participant;
mod phases;
mod progress;
mod rollout;

pub use participant::Participant;

use std::sync::Arc;

use super::context::{Context, Own};
use super::input::{Decision, Input, Outcome, What};
use super::machine::{Step, Work};
use super::summary::{PackageSummary, Summary};
use crate::message::{Body, Commitment, Envelope, Failure, Interface, PackageRef, ServiceRequest, Verified};
use crate::model::{
    Address, Code, Digest, Error, Hash, Key, MessageId, ParticipantState, Party, Result, RoleName, SessionId,
    SessionState, Time,
};
use crate::service::platform::Platform;
use progress::News;
use rollout::Rollout;

#[derive(Clone, Debug)]
pub struct Provider {
    own: Own,
    /// This node, as peers reach it.
    address: Address,
    /// Shared by the copies that steps are made on, as the request is.
    pub interface: Arc<Interface>,
    /// Absent only between the two first records of the log.
    pub request: Option<Arc<ServiceRequest>>,
    /// The Initiator first, then the peers in the request's order.
    pub participants: Vec<Participant>,
    phase: Phase,
    pub built: Vec<Built>,
    /// The first generation's.
    pub roster_value: Option<Commitment>,
    /// The generation after it, and so on.
    rollout: Option<Rollout>,
    /// Invitations tell the tariff.
    tells_tariff: bool,
    /// The Initiator's message by which no more answers are waited for.
    closed_by: Option<MessageId>,
    /// The Initiator has given the word (`--hold`).
    word_given: bool,
    chain: Chain,
}

/// One finished package.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    pub generation: u32,
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
    /// It did not come in time, nor since.
    unaccounted: bool,
}

/// The accountings taken so far.
#[derive(Clone, Debug, Default, PartialEq)]
struct Chain {
    sequence: u64,
    last: Option<Hash>,
    closed: bool,
}

impl Built {
    fn summary(&self) -> PackageSummary {
        PackageSummary {
            digest: self.package.digest,
            size: self.package.size,
            role: self.role.clone(),
            platform: self.platform.clone(),
            generation: self.generation,
        }
    }
}

impl Provider {
    /// # Errors
    /// `bad-message` where what was opened is not an interface.
    pub(super) fn begin(me: Key, session: SessionId, input: &Input) -> Result<Step<Self>> {
        let What::Decided(Decision::Open { interface, provider, tells_tariff }) = &input.what else {
            return Err(Error::new(Code::WrongState, "a provider's session begins with the interface it gave out"));
        };
        let interface = read_interface(interface)?;
        let state = Self {
            own: Own { me, session, last_issued: Time::from_unix_ms(0) },
            address: provider.clone(),
            interface: Arc::new(interface),
            request: None,
            participants: Vec::new(),
            phase: Phase::Opened,
            built: Vec::new(),
            roster_value: None,
            rollout: None,
            tells_tariff: *tells_tariff,
            closed_by: None,
            word_given: false,
            chain: Chain::default(),
        };
        Ok(Step { state, sends: Vec::new() })
    }

    pub(super) fn step(mut self, input: &Input) -> Result<Step<Self>> {
        if self.phase == Phase::Opened && matches!(input.what, What::Decided(Decision::Open { .. })) {
            return Self::begin(self.own.me, self.own.session, input);
        }
        let before = (self.state(), self.withdrawn(), self.rollout_failure().cloned());
        let mut own = self.own.clone();
        let mut context = Context::new(&mut own, input.now, input.seed);
        let mut news = News::default();
        match &input.what {
            What::Received { message, seen_from } => {
                self.received(message, seen_from.as_ref(), &mut news, &mut context)?;
            }
            What::Decided(Decision::Stop { reason }) => self.stop(reason, &mut context)?,
            What::Decided(Decision::Rebuild) => self.rebuild(&context)?,
            What::Decided(Decision::Withdraw { peer, reason }) => self.withdraw(*peer, reason, None, &mut context)?,
            What::Decided(_) => {
                return Err(context.refuse(Code::WrongState, "this decision is for another party than the provider"));
            }
            What::Result(outcome) => self.result(outcome, &mut context)?,
            What::Timer => {}
        }
        self.settle(&mut context);
        news.withdrawn = self.withdrawn();
        news.withdrawn.retain(|one| !before.1.contains(one));
        news.rollout_stopped = self.rollout_failure().is_some() && self.rollout_failure() != before.2.as_ref();
        self.tell(before.0, news, &mut context);
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

    /// The manifest under which a participant gets this package.
    pub fn manifest_for(&self, key: &Key, package: &Digest) -> Option<Digest> {
        let one = self.participants.iter().find(|one| one.key() == *key)?;
        let is_its = |built: &&Built| built.role == one.role && Some(&built.platform) == one.platform.as_ref();
        // Equal packages of several generations have a manifest each; what was confirmed is not asked for again.
        let is_meant = |built: &&Built| built.package.digest == *package && built.generation <= one.generation;
        let built = self.built.iter().filter(is_its).filter(is_meant).max_by_key(|built| built.generation);
        built.map(|built| built.manifest)
    }

    fn initiator(&self) -> &Address {
        &self.asked().initiator.address
    }

    /// `deployctl stop` at the provider.
    fn stop(&mut self, reason: &str, context: &mut Context<'_>) -> Result<()> {
        if matches!(self.phase, Phase::Opened | Phase::Terminating(_) | Phase::Ended(_)) {
            return Err(context.refuse(Code::WrongState, format!("the session is {} already", self.state())));
        }
        let outcome = if self.phase == Phase::Running { SessionState::Closed } else { SessionState::Withdrawn };
        self.end(outcome, reason, None, None, context);
        Ok(())
    }

    fn result(&mut self, outcome: &Outcome, context: &mut Context<'_>) -> Result<()> {
        match outcome {
            Outcome::Built { role, platform, package, manifest, roster_value } => {
                self.expect_build(role, platform, context)?;
                let of = match &mut self.rollout {
                    Some(rollout) => &mut rollout.roster_value,
                    None => &mut self.roster_value,
                };
                of.get_or_insert(*roster_value);
                self.built.push(Built {
                    generation: self.generation(),
                    role: role.clone(),
                    platform: platform.clone(),
                    package: *package,
                    manifest: *manifest,
                });
                Ok(())
            }
            Outcome::BuildFailed { role, platform, failure } => {
                self.expect_build(role, platform, context)?;
                let reason = format!("building {role} for {platform} failed: {}", failure.text);
                let failure = Failure { text: reason.clone(), ..failure.clone() };
                if self.rolls_out() {
                    self.stop_rollout(failure);
                    return Ok(());
                }
                self.end(SessionState::Failed, &reason, Some(failure), None, context);
                Ok(())
            }
            Outcome::Refused { message, error } => {
                self.participants.iter_mut().for_each(|one| one.refuses(*message, error));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expect_build(&self, role: &RoleName, platform: &Platform, context: &Context<'_>) -> Result<()> {
        if self.work().contains(&Work::Build { role: role.clone(), platform: platform.clone() }) {
            return Ok(());
        }
        let text = format!("the package of {role} for {platform} is not to be built (any more)");
        Err(context.refuse(Code::WrongState, text))
    }

    pub(super) fn work(&self) -> Vec<Work> {
        if !matches!(self.phase, Phase::Building { .. }) && !self.rolls_out() {
            return Vec::new();
        }
        let generation = self.generation();
        let mut work = Vec::new();
        for participant in
            self.participants.iter().filter(|one| one.takes_part() && one.state != ParticipantState::Removed)
        {
            let Some(platform) = participant.platform.clone() else { continue };
            let is_it = |built: &Built| built.role == participant.role && built.platform == platform;
            let built = self.built.iter().any(|built| built.generation == generation && is_it(built));
            let build = Work::Build { role: participant.role.clone(), platform };
            if !built && !work.contains(&build) {
                work.push(build);
            }
        }
        work
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
            Phase::Ended(Ending { unaccounted: true, .. }) => SessionState::Unaccounted,
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
        let waiting = (matches!(self.phase, Phase::Starting { .. }) && self.held())
            .then(|| "waits for the Initiator's word to start".to_owned());
        Summary {
            session: self.own.session,
            party: Party::Provider,
            state: self.state(),
            reason: self.ending().map(|ending| self.end_reason(ending)).or(waiting),
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
            rollout: self.rollout_summary(),
            packages: self.built.iter().map(Built::summary).collect(),
            kept: Vec::new(),
            policy: None,
        }
    }
}

fn read_interface(envelope: &Envelope) -> Result<Interface> {
    match &Verified::from_own_log(envelope.clone())?.body {
        Body::Interface(interface) => Ok(Interface::clone(interface)),
        other => Err(Error::new(Code::BadMessage, format!("a {other} stands where an interface should"))),
    }
}
