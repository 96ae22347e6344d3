//! What can happen to a machine. Everything here is written to the log before anybody acts on it.

use serde::{Deserialize, Serialize};

use super::metering::Meter;
use crate::message::{
    AccountingKind, Commitment, Envelope, Failure, Invitee, Message, PackageRef, ServiceRequest, ServiceWanted,
    Verdict, Verified,
};
use crate::model::{Address, Digest, Error, Key, MessageId, Nonce, RoleName, Seed, Time};
use crate::service::platform::Platform;
use crate::service::usage::Usage;

/// One input of a machine, at its time, with the randomness that its step may use.
#[derive(Clone, Debug)]
pub struct Input {
    pub now: Time,
    pub seed: Seed,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A verified message; `seen_from` is the host that it came from.
    Received { message: Verified<Message>, seen_from: Option<String> },
    /// What a person or a policy of this node decided.
    Decided(Decision),
    /// What came of something that the machine wanted done.
    Result(Outcome),
    /// A deadline may have passed.
    Timer,
}

/// Local decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// Initiator: ask the provider for the service's interface.
    Ask {
        provider: Address,
        initiator: Address,
        service: ServiceWanted,
        locale: Option<String>,
        form: bool,
        nonce: Nonce,
    },
    /// Initiator: send this request. Boxed for its size.
    Request { request: Box<ServiceRequest> },
    /// Initiator: invite these, too.
    AddPeers { peers: Vec<Invitee> },
    /// Initiator: wait for no more answers.
    CloseAnswers,
    /// Initiator and provider: take the invitation of this peer back.
    Withdraw { peer: Key, reason: String },
    /// Initiator: give the word to start a held session.
    Start,
    /// Initiator: account now for what was used, adding `usage`.
    Account {
        kind: AccountingKind,
        #[serde(default)]
        usage: Usage,
    },
    /// Provider: build a running session's software again, as its next generation.
    Rebuild,
    /// Initiator and peer: back to the generation before.
    RollBack,
    /// Initiator and provider: end the session for all. Peer: leave it.
    Stop { reason: String },
    /// Provider: a service request came for an interface given out before; `provider` is this node, as peers reach it.
    /// Invitations tell the tariff; in logs of before they did, that is absent.
    Open {
        interface: Envelope,
        provider: Address,
        #[serde(default)]
        tells_tariff: bool,
    },
    /// Peer: the answer to the invitation.
    Answer {
        answer: Verdict,
        reason: Option<String>,
        platform: Platform,
        address: Address,
        by: DecidedBy,
        /// Where it was policy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<Rule>,
    },
}

/// The rule of policy that gave an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    /// No larger package was accepted, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
}

/// Who gave the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecidedBy {
    Person,
    Policy,
}

/// Results of work and of sending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// The receiver has taken this message.
    Acknowledged {
        message: MessageId,
    },
    /// The receiver will not take this message, however often it is sent.
    Refused {
        message: MessageId,
        error: Error,
    },
    /// Provider: the package of one role and platform is there.
    Built {
        role: RoleName,
        platform: Platform,
        package: PackageRef,
        manifest: Digest,
        roster_value: Commitment,
    },
    BuildFailed {
        role: RoleName,
        platform: Platform,
        failure: Failure,
    },
    Installed,
    /// Nothing of it is left on the machine.
    InstallFailed {
        failure: Failure,
    },
    /// The generation before is in its place again, and the one after it is gone.
    RolledBack,
    /// A supervisor runs the role's program.
    Started,
    /// The readiness check passed.
    Ready,
    NotReady {
        failure: Failure,
    },
    /// How much was used since the first start. With `account`, an interim accounting is due.
    Metered {
        meter: Meter,
        account: bool,
    },
    /// The program ended by itself and as it should.
    Exited {
        meter: Meter,
    },
    /// The program failed after it had been ready, and is not started again.
    GaveUp {
        failure: Failure,
        meter: Meter,
    },
    /// The program was stopped, or none was running.
    Stopped {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meter: Option<Meter>,
    },
    /// The software is gone; `kept` names what was left on purpose.
    Removed {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<String>,
    },
}
