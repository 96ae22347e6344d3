//! The three roles' machines under one roof.

use super::context::Outgoing;
use super::initiator::Initiator;
use super::input::{Decision, Input, What};
use super::participation::Participation;
use super::peer::Peer;
use super::provider::Provider;
use super::summary::Summary;
use crate::model::{Code, Error, Key, Party, Result, RoleName, SessionId, Time};
use crate::service::Tariff;
use crate::service::platform::Platform;

/// What a step leads to: the new state, and the messages to be logged with it and then sent.
#[derive(Clone, Debug)]
pub struct Step<S> {
    pub state: S,
    pub sends: Vec<Outgoing>,
}

/// Something to be carried out; its result comes back as an input. Doing it again after a crash does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Provider: build the package of one role for one platform.
    Build { role: RoleName, platform: Platform },
    /// Fetch what was delivered, verify and install it.
    Install,
    /// See to it that a supervisor runs the program.
    Run,
    /// See to it that nothing of the program runs any more.
    Stop,
    /// Take the generation in charge away, and make the one before current again.
    RollBack,
    /// Take the software away.
    Remove,
}

/// One party's side of a session.
#[derive(Clone, Debug)]
pub enum Machine {
    Initiator(Box<Initiator>),
    Provider(Box<Provider>),
    Peer(Box<Peer>),
}

impl Machine {
    /// The machine's first input founds it: the Initiator's `ask`, the provider's `open`, the peer's invitation.
    ///
    /// # Errors
    /// As the roles' `begin`; `bad-message` for any other input.
    pub fn begin(party: Party, me: Key, session: SessionId, input: &Input) -> Result<Step<Self>> {
        match (party, &input.what) {
            (Party::Initiator, What::Decided(Decision::Ask { .. })) => {
                Initiator::begin(me, session, input).map(wrap_initiator)
            }
            (Party::Provider, What::Decided(Decision::Open { .. })) => {
                Provider::begin(me, session, input).map(wrap_provider)
            }
            (Party::Peer, What::Received { .. }) => Peer::begin(me, session, input).map(wrap_peer),
            _ => Err(Error::new(Code::WrongState, format!("there is no session {} as {party} here", session.short()))
                .about(session)),
        }
    }
    /// Takes one input.
    ///
    /// # Errors
    /// The input is refused and nothing has changed: `wrong-state`, `not-permitted`, `too-late` and others.
    pub fn step(&self, input: &Input) -> Result<Step<Self>> {
        match self {
            Machine::Initiator(machine) => Initiator::clone(machine).step(input).map(wrap_initiator),
            Machine::Provider(machine) => Provider::clone(machine).step(input).map(wrap_provider),
            Machine::Peer(machine) => Peer::clone(machine).step(input).map(wrap_peer),
        }
    }
    /// What is still to be done.
    pub fn work(&self) -> Vec<Work> {
        match self {
            Machine::Initiator(machine) => machine.work(),
            Machine::Provider(machine) => machine.work(),
            Machine::Peer(machine) => machine.work(),
        }
    }
    /// When a [`What::Timer`] input will change something, if nothing else happens before.
    pub fn wake_at(&self) -> Option<Time> {
        match self {
            Machine::Initiator(machine) => machine.wake_at(),
            Machine::Provider(machine) => machine.wake_at(),
            Machine::Peer(machine) => machine.wake_at(),
        }
    }
    pub fn summary(&self) -> Summary {
        match self {
            Machine::Initiator(machine) => machine.summary(),
            Machine::Provider(machine) => machine.summary(),
            Machine::Peer(machine) => machine.summary(),
        }
    }
    /// What this party does with the software; a provider has none of it.
    /// What the usage of this part is accounted by.
    pub fn tariff(&self) -> Option<&Tariff> {
        match self {
            Machine::Initiator(initiator) => initiator.active()?.interface.tariff.as_ref(),
            Machine::Provider(_) | Machine::Peer(_) => None,
        }
    }
    pub fn participation(&self) -> Option<&Participation> {
        match self {
            Machine::Initiator(machine) => machine.participation(),
            Machine::Provider(_) => None,
            Machine::Peer(machine) => Some(&machine.participation),
        }
    }
}

fn wrap_initiator(step: Step<Initiator>) -> Step<Machine> {
    Step { state: Machine::Initiator(Box::new(step.state)), sends: step.sends }
}
fn wrap_provider(step: Step<Provider>) -> Step<Machine> {
    Step { state: Machine::Provider(Box::new(step.state)), sends: step.sends }
}
fn wrap_peer(step: Step<Peer>) -> Step<Machine> {
    Step { state: Machine::Peer(Box::new(step.state)), sends: step.sends }
}
