//! The types that a `service.toml` becomes.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::option::OptionSpec;
use super::platform::{Platforms, Requirement};
pub use super::tariff::Tariff;
use crate::model::{RoleName, ServiceName, Span};

/// A service as its author defined it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub name: ServiceName,
    pub version: Version,
    pub summary: String,
    /// Free, lower case; may be a path: `games/board`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// In the order of the file, which is the order of a form.
    pub options: Vec<OptionSpec>,
    pub roles: BTreeMap<RoleName, Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<Tariff>,
    /// Of a limited version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What this program makes usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enables: Option<Enables>,
}

impl Definition {
    /// The one role of a program: a service that nobody needs to be invited to, because there is but the Initiator.
    pub fn program(&self) -> Option<(&RoleName, &Role)> {
        self.roles.first_key_value().filter(|(_, role)| self.roles.len() == 1 && role.terms.side == Side::Initiator)
    }
}

/// One role of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Who may play it, how many, on what.
    #[serde(flatten)]
    pub terms: RoleTerms,
    pub build: Build,
}

/// What a participant agrees to when it takes a role. Travels in interfaces, invitations and manifests, with the
/// templates in it unrendered, so that all of them can be compared for equality (A13).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleTerms {
    #[serde(rename = "for")]
    pub side: Side,
    pub min: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    pub platforms: Platforms,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Absent: installed and never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    #[serde(default)]
    pub permissions: Permissions,
}

/// Who may play a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Initiator,
    Peer,
}

/// How the software of a role is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Build {
    Copy(CopyBuild),
    Command(CommandBuild),
}

/// A folder, with templates rendered in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyBuild {
    /// A folder below the definition's, relative, whose contents become the root of the software.
    pub copy: String,
    /// Files of it (relative to it, ending in `.j2`) that are rendered and lose the `.j2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
}

/// A program of the definition's author, run on the provider's machine. What it leaves in its output folder is the
/// software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandBuild {
    /// The program and its arguments, as they are. A program with a slash is taken from a copy of the definition's folder.
    pub command: Vec<String>,
    /// Whether it may use the network.
    #[serde(default)]
    pub network: bool,
    #[serde(default = "CommandBuild::default_deadline")]
    pub deadline: Span,
}
impl CommandBuild {
    /// A session is building for at most so long (ARCHITECTURE, Session), so no command may take longer.
    pub const LONGEST: Span = Span::from_secs(30 * 60);

    /// `build.deadline` where the definition gives none.
    pub fn default_deadline() -> Span {
        Span::from_secs(10 * 60)
    }
}

/// How a role is run. Every text may hold template expressions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments. A program with a slash is taken from the generation's folder.
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    #[serde(default)]
    pub stop: Stop,
    #[serde(default)]
    pub restart: Restart,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// When a role counts as ready: one probe, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    #[serde(flatten)]
    pub probe: Probe,
    #[serde(default = "Ready::default_within")]
    pub within: Span,
}
impl Ready {
    /// `ready.within` where the definition gives none.
    pub fn default_within() -> Span {
        Span::from_secs(30)
    }
}

/// How readiness shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// `HOST:PORT` accepts a connection.
    Tcp(String),
    /// A line of the program's output holds this text.
    Output(String),
    /// This file exists in the data folder.
    File(String),
    /// The program has been running for so long.
    After(Span),
}

/// How a role is stopped: the signal, and how long until the kill of the whole process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub signal: Signal,
    pub grace: Span,
}
impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, grace: Span::from_secs(5) }
    }
}

/// The signals that may ask a program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    Term,
    Int,
    Hup,
    Quit,
    Usr1,
    Usr2,
    Kill,
}

/// When a program that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    Never,
    #[default]
    OnFailure,
    Always,
}

/// What a role may touch on the machine. Every text may hold template expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// `listen:PORT`, `connect:HOST:PORT`, `any`; empty means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// Folders below the program's own, `data/` being its own data folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<String>,
}

/// How far a limited version may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Counted from the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

/// To whom a licence is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// To the two nodes that handed the program over.
    Pair,
}

/// The advertised service types that a program makes usable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enables {
    /// UPnP (`urn:…`) or DNS-SD (`_door._tcp`).
    pub types: Vec<String>,
}
