//! `config.toml`: how this node behaves where nobody says otherwise. Written by people, never by the program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::document::toml_reason;
use super::file;
use crate::model::suggest::nearest;
use crate::model::{Code, Error, Name, Result, RoleName, ServiceName, Span, Way};
use crate::service::requirement::Size;

/// The longest configuration, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// How often interim accounting is sent.
const INTERVAL: Span = Span::from_secs(60);
/// More often than this would be a flood.
const SHORTEST_INTERVAL: Span = Span::from_secs(1);

/// Long enough to look at what went wrong.
const KEEP: Span = Span::from_hours(24);

/// Every setting, by its section and key.
pub const KEYS: [&str; 21] = [
    "policy.install",
    "policy.remove",
    "policy.confinement",
    "policy.accept",
    "policy.programs",
    "accounting.interval",
    "serve.listen",
    "serve.services",
    "serve.advertise",
    "serve.interface",
    "build.path",
    "build.read",
    "keep.expired",
    "keep.ended",
    "keep.records",
    "tls.ca",
    "offer.to",
    "content.allow-categories",
    "content.block-categories",
    "content.licenses",
    "content.signers",
];

/// The settings of a node. Every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub policy: Policy,
    pub accounting: Accounting,
    pub serve: Serve,
    pub build: Build,
    pub keep: Keep,
    pub tls: Tls,
    pub offer: Offer,
    pub content: Content,
}

/// `[policy]`: what `serve` does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether a delivery that was accepted is installed when it comes. `auto`.
    pub install: Consent,
    /// Whether software is removed when its session is terminated. `auto`.
    pub remove: Consent,
    /// Whether a program is run where the kernel cannot hold it to its permissions. `best-effort`.
    pub confinement: Confinement,
    /// `[[policy.accept]]`: the first rule that fits an invitation decides; without one, the contacts' rights do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<AcceptRule>,
    /// Whether a command installs a program without a person's yes, where its signer is a contact with `provide`. `ask`.
    pub programs: Consent,
}
impl Default for Policy {
    fn default() -> Self {
        Self {
            install: Consent::Auto,
            remove: Consent::Auto,
            confinement: Confinement::default(),
            accept: Vec::new(),
            programs: Consent::Ask,
        }
    }
}

/// What is done where the kernel cannot hold a program to its permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// It is run all the same, and `status` says how far it is held.
    #[default]
    BestEffort,
    /// It is not started.
    Require,
}

/// What is done about an invitation for which every condition holds. A condition that is left out always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AcceptRule {
    /// What logs and the status call it; else its number, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// A contact's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// A contact's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkWanted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<WriteWanted>,
    /// Consent is for packages up to this size only: invitations do not tell it, and a larger one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
    /// `auto`.
    pub answer: RuleAnswer,
    /// Instead of `policy.install`, for these sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install: Option<Consent>,
    /// Instead of `policy.remove`, for these sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Consent>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAnswer {
    /// Accept, if provider and Initiator are both known for their parts.
    #[default]
    Auto,
    /// Leave it to a person.
    Ask,
    Decline,
}

/// How much of the network a role may want at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkWanted {
    None,
    /// Ports and hosts that it lists, not `any`.
    Listed,
}

/// Where a role may want to write at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteWanted {
    None,
    /// Its own data folder.
    Data,
}

/// Whether the node goes ahead or waits for a person's command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    #[default]
    Auto,
    Ask,
}

/// `[accounting]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounting {
    /// How often a running service's usage is accounted in between: `1m`; at least `1s`.
    pub interval: Span,
}
impl Default for Accounting {
    fn default() -> Self {
        Self { interval: INTERVAL }
    }
}

/// `[serve]`: what the flags of `serve` say where they are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// Where to listen, `IP:PORT`; else the port of the node's address, on all interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The folder of the services offered; else `services/` of the state directory. A relative one is below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<PathBuf>,
    /// How the node tells the local network of itself and of its programs: `["upnp", "mdns"]`; else not at all.
    pub advertise: Vec<Way>,
    /// On which network interfaces; else on all that lead to a network.
    pub interface: Vec<String>,
}

/// `[build]`: what commands that build software find on this machine beside the system's own programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// Folders that programs are looked up in first, and that may be read; none. All absolute.
    pub path: Vec<PathBuf>,
    /// Folders that may be read beside these and the system's; none. All absolute.
    pub read: Vec<PathBuf>,
}

/// `[keep]`: how long what has served its purpose stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Interfaces that were given out, after they expired: `1d`.
    pub expired: Span,
    /// Packages, secrets and leftovers of sessions, after their end: `1d`.
    pub ended: Span,
    /// What tells what was done: logs, manifests and accountings of sessions, after their end. For good, unless it is
    /// said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Span>,
}
impl Default for Keep {
    fn default() -> Self {
        Self { expired: KEEP, ended: KEEP, records: None }
    }
}

/// `[offer]`: who may have this node's programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offer {
    /// Where it is not said, `anyone` while the node advertises itself, else `contacts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Audience>,
}

/// Who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Contacts with `request`.
    Contacts,
    /// Every node.
    Anyone,
}

/// `[content]`: what this node has to do with. What is not wanted is neither shown nor installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Content {
    /// Categories, with those below them; none: all.
    pub allow_categories: Vec<String>,
    /// Categories, with those below them.
    pub block_categories: Vec<String>,
    /// SPDX ids, one of which a program must be usable under; none: any license or none.
    pub licenses: Vec<String>,
    /// Whose programs: keys or names of contacts; none: anybody's.
    pub signers: Vec<String>,
}

/// `[tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with authorities to one of which the others' certificates must chain; none. A relative one is below the
    /// state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Config {
    /// Reads the settings; without a file, the defaults.
    ///
    /// # Errors
    /// `bad-input` naming file, line and what was probably meant; the file stays where it is.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self::load_with_keys(path)?.0)
    }

    /// The settings, and which of [`KEYS`] the file has.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with_keys(path: &Path) -> Result<(Self, Vec<&'static str>)> {
        let Some(bytes) = file::read_optional(path, MAX_CONFIG)? else { return Ok((Self::default(), Vec::new())) };
        let text = std::str::from_utf8(&bytes).map_err(|why| refuse(path, &why.to_string()))?;
        let config: Self = toml::from_str(text).map_err(|why| {
            let error = refuse(path, &toml_reason(text, &why));
            match meant(why.message()) {
                Some(word) => error.hint(format!("did you mean {word}?")),
                None => error,
            }
        })?;
        if config.accounting.interval < SHORTEST_INTERVAL {
            return Err(refuse(path, &format!("accounting.interval is shorter than {SHORTEST_INTERVAL}")));
        }
        for folder in config.build.path.iter().chain(&config.build.read) {
            if !folder.is_absolute() || folder.as_os_str().to_string_lossy().contains(':') {
                let why = format!("{} under [build] is not an absolute path without “:”", folder.display());
                return Err(refuse(path, &why));
            }
        }
        let written: toml::Table = toml::from_str(text).unwrap_or_default();
        let has = |key: &&str| {
            key.split_once('.')
                .is_some_and(|(section, key)| written.get(section).is_some_and(|section| section.get(key).is_some()))
        };
        Ok((config, KEYS.into_iter().filter(has).collect()))
    }
}

fn refuse(path: &Path, why: &str) -> Error {
    Error::new(Code::BadInput, format!("reading {}: {why}", path.display()))
}

/// What was meant by an unknown word, from serde's “unknown field `a`, expected one of `b`, `c`”.
fn meant(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    nearest(wrong, quoted)
}

#[cfg(test)]
mod tests;
