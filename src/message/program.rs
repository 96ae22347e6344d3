//! What nodes say to each other about programs (System B): asked for, handed over, and how it went. No session is
//! around them; a delivery is named by its own id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::body::{Failure, PackageRef, Person, ReportState, ServiceId, ServiceWanted};
use super::secret::Commitment;
use crate::model::{Digest, Key, MessageId, OptionName, RoleName};
use crate::service::device::DeviceDescription;
use crate::service::option::Options;
use crate::service::platform::Platform;

/// node→node: asks for a program for the device that asks (B4, B8). Answered by a [`ProgramDelivery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramRequest {
    pub program: ServiceWanted,
    /// Whose program it is to be; absent: that of the node that is asked, or of the only other whose it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Key>,
    /// Who asks, as it calls itself.
    pub asked_by: Person,
    pub device: DeviceDescription,
    /// The advertised service type that it is wanted for (B20).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enables: Option<String>,
}

/// node→node: the program is there to be fetched (B8, B13). This device's secret options travel beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramDelivery {
    pub program: ServiceId,
    /// Who signed the manifest: the node that delivers, or the one whose program it offers on.
    pub signer: Key,
    pub role: RoleName,
    pub platform: Platform,
    pub package: PackageRef,
    /// SHA-256 of the manifest's envelope.
    pub manifest: Digest,
    pub options: Options,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_options: BTreeMap<OptionName, Commitment>,
    /// What is for this device alone.
    pub configuration: serde_json::Value,
}

/// node→node: the signed truth about one installation of what was delivered (B13, B14).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramReport {
    /// The delivery's id.
    pub delivery: MessageId,
    pub program: ServiceId,
    pub package: Digest,
    pub state: ReportState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}
