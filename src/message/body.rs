//! The fields of every message of System A (rows A2–A18). Options and terms travel as they were agreed; what each
//! message proves is in the manual's protocol page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::secret::Commitment;
use crate::model::{
    Address, Code, Digest, Error, Hash, Key, MessageId, Name, Nonce, OptionName, Result, RoleName, ServiceName,
    SessionId, SessionState, Time,
};
use crate::service::definition::Tariff;
use crate::service::option::Options;
use crate::service::platform::Platform;
use crate::service::usage::Usage;
use crate::service::{RoleTerms, Roster};

/// Peers of one session at most.
pub const MAX_PEERS: usize = 256;
/// Characters of a text that is written to be sent: what a person says, or why something failed.
pub const TEXT_CHARS: usize = 4096;
/// Characters of a text that is taken: what is passed on may have grown on its way.
pub const MAX_TEXT_CHARS: usize = 4 * TEXT_CHARS;
/// Characters of the end of a log that a failure carries.
pub const TAIL_CHARS: usize = 8 * 1024;

/// Which service, in which version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWanted {
    pub name: ServiceName,
    /// A range of versions (`^1.2`); absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<semver::VersionReq>,
}

/// One very definition of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceId {
    pub name: ServiceName,
    pub version: semver::Version,
    /// SHA-256 over the definition's folder.
    pub definition: Digest,
}

/// Who somebody is and where, for others to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub name: Name,
    pub address: Address,
}

/// I→P: asks for a service's interface (A2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceRequest {
    pub initiator: Address,
    pub service: ServiceWanted,
    pub presentation: Presentation,
    pub nonce: Nonce,
}

/// How the interface is presented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// A language tag (BCP 47).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Whether a form will be shown, or only the schema is wanted.
    #[serde(default)]
    pub form: bool,
}

/// P→I: the interface (A4). The `key` itself travels beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub interface_request: MessageId,
    pub request_nonce: Nonce,
    pub service: ServiceId,
    pub summary: String,
    /// JSON Schema 2020-12 of the options.
    pub schema: serde_json::Value,
    pub roles: BTreeMap<RoleName, RoleTerms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<Tariff>,
    pub nonce: Nonce,
    pub key: Commitment,
}

/// How many accepting peers a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quorum {
    All,
    Any,
    #[serde(untagged)]
    Count(u32),
}

impl Quorum {
    /// The number of peers needed of `invited`.
    pub fn needed(self, invited: usize) -> usize {
        match self {
            Quorum::All => invited,
            Quorum::Any => 1.min(invited),
            Quorum::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}
impl std::fmt::Display for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Quorum::All => f.write_str("all"),
            Quorum::Any => f.write_str("any"),
            Quorum::Count(count) => write!(f, "{count}"),
        }
    }
}
impl std::str::FromStr for Quorum {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "all" => Ok(Quorum::All),
            "any" => Ok(Quorum::Any),
            number => number.parse().map(Quorum::Count).map_err(|_| {
                Error::new(Code::Usage, format!("“{text}” is not a quorum"))
                    .hint("write all, any, or a number of peers")
            }),
        }
    }
}

/// What happens when a participant fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The session ends.
    #[default]
    Abort,
    /// It goes on while the required participants are there.
    Continue,
}

/// I→P: asks for a session (A6). Its id is the session's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRequest {
    pub interface_request: MessageId,
    pub interface_nonce: Nonce,
    pub service: ServiceId,
    pub options: Options,
    /// Secret options: only what commits to them; the values travel beside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_options: BTreeMap<OptionName, Commitment>,
    pub initiator: Person,
    pub role: RoleName,
    pub platform: Platform,
    pub quorum: Quorum,
    pub on_failure: OnFailure,
    pub answer_by: Time,
    pub ends_at: Time,
    #[serde(default)]
    pub hold: bool,
    pub peers: Vec<Invitee>,
}

/// One peer to be invited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitee {
    pub name: Name,
    pub address: Address,
    pub role: RoleName,
    /// The Initiator's [`Notification`] to this peer, which the provider carries untouched.
    pub notification: Envelope,
}

/// I→Peer, inside the invitation: what the Initiator asks of this very peer, signed to it (A6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub service_request: MessageId,
    pub address: Address,
    pub role: RoleName,
    pub text: String,
    pub initiator: Person,
    pub service: ServiceId,
    /// Of the options with the commitments of the secret ones: [`options_digest`].
    pub options: Digest,
    /// HMAC-SHA-256 of this notification's id under the interface's key.
    pub key_proof: Digest,
}

/// P→I: the session is registered, durably (A7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    pub service_request: MessageId,
    pub session: SessionId,
    pub invited: Vec<Key>,
}

/// I→P: more peers to be invited, before the roster is fixed (A8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddPeers {
    pub session: SessionId,
    pub peers: Vec<Invitee>,
}

/// I→P: no more answers are waited for, as if the time for them were up (A8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloseAnswers {
    pub session: SessionId,
}

/// I→P→Peer, or P→Peer: an invitation is taken back, before the roster is fixed (A8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Withdraw {
    pub session: SessionId,
    /// Whose invitation.
    pub peer: Key,
    pub reason: String,
    /// The Initiator's message that this passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<MessageId>,
}

/// P→Peer: the invitation (A8). The `key` itself travels beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    pub session: SessionId,
    pub service: ServiceId,
    pub summary: String,
    pub options: Options,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_options: BTreeMap<OptionName, Commitment>,
    /// The peer, as the Initiator calls it.
    pub peer: Name,
    pub role: RoleName,
    /// What this peer's role will do on its machine.
    pub interface: RoleTerms,
    pub initiator: Person,
    /// Where the answer goes.
    pub provider: Address,
    /// Who invites and to what, for a person to read.
    pub about: String,
    /// What the usage costs the Initiator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<Tariff>,
    pub key: Commitment,
    pub notification: Envelope,
    pub answer_by: Time,
    pub ends_at: Time,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Accept,
    Decline,
}

/// Peer→P: accepts or declines (A10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub session: SessionId,
    pub invitation: MessageId,
    /// The invitation's envelope hash: what was accepted is all that may be delivered.
    pub invitation_hash: Hash,
    pub answer: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub platform: Platform,
    pub address: Address,
}

/// Why something failed, for the others to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: Code,
    pub text: String,
    /// The end of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

impl Failure {
    /// Cut to what may be sent: the beginning of the text, the end of the log.
    pub fn new(code: Code, text: &str, tail: Option<&str>) -> Self {
        let tail = tail.filter(|tail| !tail.is_empty()).map(|tail| {
            let skip = tail.chars().count().saturating_sub(TAIL_CHARS);
            tail.chars().skip(skip).collect()
        });
        Self { code, text: text.chars().take(TEXT_CHARS).collect(), tail }
    }
}

/// P→I and peers: how the session goes; the participants' own envelopes prove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub session: SessionId,
    pub state: SessionState,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Envelope>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Envelope>,
    /// Whose invitations were taken back since the progress before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<Withdrawn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A peer whose invitation was taken back, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    pub peer: Key,
    pub reason: String,
}

/// A package by its name, the SHA-256 of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// P→each: the software is there (A12). The roster's random value and this role's secret options travel beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub session: SessionId,
    pub generation: u32,
    pub role: RoleName,
    pub package: PackageRef,
    /// SHA-256 of the manifest's envelope.
    pub manifest: Digest,
    pub roster: Roster,
    pub roster_value: Commitment,
    /// What is for this participant alone.
    pub configuration: serde_json::Value,
    pub ends_at: Time,
}

/// What a participant says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportState {
    Installed,
    Confirmed,
    Stopped,
    Removed,
    Failed,
}

impl std::fmt::Display for ReportState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Installed => "installed",
            Self::Confirmed => "confirmed",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Failed => "failed",
        })
    }
}

/// each→P: the signed truth about one participant (A15).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub session: SessionId,
    pub generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Digest>,
    pub state: ReportState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// This generation failed, and the participant goes back to that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u32>,
}

/// P→all, I→P where held: start the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub session: SessionId,
}

/// I→P→all, or P→all: the service ends (A17).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terminate {
    pub session: SessionId,
    pub reason: String,
    /// How the session will have ended.
    pub outcome: SessionState,
    /// The Initiator's message that this passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Peer→P: this peer leaves alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leave {
    pub session: SessionId,
    pub reason: String,
}

/// Interim while the service runs, final after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountingKind {
    Interim,
    Final,
}

/// I→P: what was used since the accounting before (A16, A18).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    pub session: SessionId,
    /// 1, 2, 3 …
    pub sequence: u64,
    pub kind: AccountingKind,
    pub usage: Usage,
    /// The envelope hash of the accounting before; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
}

/// P→I: countersigns an accounting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub session: SessionId,
    pub accounting: MessageId,
    pub sequence: u64,
    /// The accounting's envelope hash.
    pub hash: Hash,
    pub accepted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// SHA-256 over the options and the commitments of the secret ones, in order of their names.
pub fn options_digest(options: &Options, secrets: &BTreeMap<OptionName, Commitment>) -> Digest {
    let text = serde_json::to_vec(&serde_json::json!({ "options": options, "secret_options": secrets }));
    Digest::of(&text.expect("options serialize"))
}
