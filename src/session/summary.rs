//! What one party knows of a session, for `status`, JSON and waiting commands. The names are a contract.

use serde::{Deserialize, Serialize};

use crate::message::{Delivery, Failure, PackageRef, Person};
use crate::model::{
    Address, Digest, Key, Name, ParticipantState, Party, RoleName, ServiceName, SessionId, SessionState, Time,
};
use crate::service::platform::Platform;

/// A session as one party sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub session: SessionId,
    pub party: Party,
    pub state: SessionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub service: ServiceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<semver::Version>,
    /// The role of this party; a provider has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    pub provider: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_by: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// Everything of this party has come to its end, but for late messages.
    pub over: bool,
    pub participants: Vec<ParticipantSummary>,
    pub packages: Vec<PackageSummary>,
    /// How far a later generation has come; at the provider, where the session was built again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSummary>,
    /// What was left on this machine on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// The rule of policy by which the invitation was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParticipantSummary {
    pub name: Name,
    pub key: Key,
    pub role: RoleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    pub state: ParticipantState,
    /// Which one it has, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The participant reported a failure, wherever it stands now.
    #[serde(default)]
    pub failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSummary {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub role: RoleName,
    pub platform: Platform,
    #[serde(default = "first")]
    pub generation: u32,
}

fn first() -> u32 {
    1
}

/// A later generation on its way to the participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    pub generation: u32,
    pub state: RolloutState,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutState {
    Building,
    /// To one participant after the other.
    Delivering,
    /// Everybody who takes part has it.
    Delivered,
    /// It failed at one of them; the others keep what they have.
    Stopped,
}

/// What a participant's report of a generation that it did not keep says.
pub(super) fn went_back(generation: u32, back_to: u32, failure: &Failure) -> String {
    format!("generation {generation} failed, back to {back_to}: {}", failure.text)
}

impl PackageSummary {
    pub(super) fn new(delivery: &Delivery, platform: &Platform) -> Self {
        let PackageRef { digest, size } = delivery.package;
        let (role, generation) = (delivery.role.clone(), delivery.generation);
        Self { digest, size, role, platform: platform.clone(), generation }
    }
}
