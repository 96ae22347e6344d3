//! A participant's part in a session, whichever role's machine it is in: what was agreed, and where its files are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::node::Node;
use crate::message::{Commitment, Delivery, ServiceId, body::options_digest};
use crate::model::{Address, Code, Digest, Error, OptionName, Party, Result, RoleName, SessionId, Source};
use crate::service::option::Options;
use crate::service::platform::Platform;
use crate::service::schema;
use crate::service::template::Context;
use crate::service::{RoleTerms, Roster};
use crate::session::{Machine, Participation};
use crate::store::statements::Statements;
use crate::store::{document, file};

pub struct Part {
    pub session: SessionId,
    pub party: Party,
    pub role: RoleName,
    pub provider: Address,
    pub service: ServiceId,
    pub options: Options,
    pub secret_options: BTreeMap<OptionName, Commitment>,
    /// Secret options that are for this role.
    pub secrets: Vec<OptionName>,
    pub terms: RoleTerms,
    pub delivery: Delivery,
}

impl Part {
    /// # Errors
    /// `wrong-state` where nothing was delivered.
    pub fn of(machine: &Machine) -> Result<Self> {
        let nothing = || {
            Error::new(Code::WrongState, "nothing has been delivered yet")
                .hint("`deployctl status` shows how far the session is")
        };
        match machine {
            Machine::Initiator(initiator) => {
                let active = initiator.active().ok_or_else(nothing)?;
                let delivery = active.participation.delivery.clone().ok_or_else(nothing)?;
                Ok(Self {
                    session: delivery.session,
                    party: Party::Initiator,
                    role: active.request.role.clone(),
                    provider: initiator.provider.clone(),
                    service: active.request.service.clone(),
                    options: active.request.options.clone(),
                    secret_options: active.request.secret_options.clone(),
                    secrets: secrets_for(&active.interface.schema, &active.request.role)?,
                    terms: active.participation.terms.clone(),
                    delivery,
                })
            }
            Machine::Peer(peer) => Ok(Self {
                session: peer.invitation.session,
                party: Party::Peer,
                role: peer.invitation.role.clone(),
                provider: peer.provider.clone(),
                service: peer.invitation.service.clone(),
                options: peer.invitation.options.clone(),
                secret_options: peer.invitation.secret_options.clone(),
                // Others are not handed to it.
                secrets: peer.invitation.secret_options.keys().cloned().collect(),
                terms: peer.participation.terms.clone(),
                delivery: peer.participation.delivery.clone().ok_or_else(nothing)?,
            }),
            Machine::Provider(_) => Err(Error::new(Code::WrongState, "a provider has no software of the session")),
        }
    }
    /// The part as it will be with what is to be installed.
    ///
    /// # Errors
    /// `wrong-state` where nothing is.
    pub fn to_install(machine: &Machine) -> Result<Self> {
        let due = machine.participation().and_then(Participation::due).cloned();
        let delivery = due.ok_or_else(|| Error::new(Code::WrongState, "nothing is to be installed"))?;
        Ok(Self { delivery, ..Self::of(machine)? })
    }
    pub fn options_digest(&self) -> Digest {
        options_digest(&self.options, &self.secret_options)
    }
    pub fn roster(&self) -> &Roster {
        &self.delivery.roster
    }
    pub fn context<'a>(&'a self, platform: &'a Platform) -> Context<'a> {
        Context {
            options: &self.options,
            session: self.session,
            role: &self.role,
            platform,
            service_name: &self.service.name,
            service_version: &self.service.version,
            roster: Some(&self.delivery.roster),
        }
    }
}

/// The secret options that a role gets.
fn secrets_for(schema: &serde_json::Value, role: &RoleName) -> Result<Vec<OptionName>> {
    let specs = schema::from_schema(schema)?;
    Ok(specs.into_iter().filter(|spec| spec.secret && spec.roles.contains(role)).map(|spec| spec.name).collect())
}

/// Files of a part, apart from its installation: they go when it is removed.
pub struct Places {
    /// What the program gets: options, roster, secrets. Mode 0700.
    pub folder: PathBuf,
    /// The program's output.
    pub output: PathBuf,
    /// Where the program says what it used.
    pub usage: PathBuf,
    /// By which a supervisor's program is found again.
    pub record: PathBuf,
    /// What the supervisor itself said.
    pub supervisor_log: PathBuf,
}

impl Places {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self {
            output: folder.join("output.log"),
            usage: folder.join("usage.jsonl"),
            record: folder.join("record.json"),
            supervisor_log: folder.join("supervisor.log"),
            folder,
        }
    }
}

/// How the owner of a node wants a part to be handled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Wishes {
    /// Install below this folder instead of the state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Leave the program's own data when it is removed.
    #[serde(default)]
    pub keep_data: bool,
    /// Where its package is fetched from, the provider being asked where none of them has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

impl Node {
    pub fn places(&self, session: SessionId, party: Party) -> Places {
        Places::in_folder(self.state.run().join(format!("{session}.{party}")))
    }
    /// The manifests of a session's packages as its provider signed them, and what those packages were made of.
    pub(super) fn statements(&self, session: SessionId, party: Party) -> Statements {
        Statements::at(self.state.party(session, party).join("manifests"))
    }
    pub fn manifest(&self, session: SessionId, party: Party, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.statements(session, party).manifest(digest)
    }
    pub(super) fn put_manifest(&self, session: SessionId, party: Party, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.statements(session, party).put_manifest(digest, bytes)
    }
    pub fn provenance(&self, session: SessionId, party: Party, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.statements(session, party).provenance(digest)
    }
    pub(super) fn put_provenance(&self, session: SessionId, party: Party, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.statements(session, party).put_provenance(digest, bytes)
    }
    /// Where a part's software is installed: below the state directory, or where its owner wished it.
    pub fn install_root(&self, session: SessionId, party: Party, role: &RoleName) -> Result<PathBuf> {
        let wish = self.wishes(session, party)?.root;
        Ok(wish.map_or_else(|| self.state.install_root(session, role), |root| root.join(session.short()).join(&**role)))
    }
    /// What the owner of this node wished for a part, in `wishes.json`.
    pub fn wishes(&self, session: SessionId, party: Party) -> Result<Wishes> {
        Ok(document::read_json(&self.state.projection(session, party, "wishes"))?.unwrap_or_default())
    }
    /// Keeps the wishes before anything is done that depends on them.
    pub fn wish(&self, session: SessionId, party: Party, wishes: &Wishes) -> Result<()> {
        document::write_json(&self.state.projection(session, party, "wishes"), wishes, file::PRIVATE)
    }
}
