//! The running node's counter: what other nodes ask of it, and whether they may.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::intake::Source;
use super::live::Live;
use super::node::blocking;
use crate::message::Envelope;
use crate::model::{Address, Code, Digest, Error, Key, Name, Party, Result, RoleName, ServiceName, SessionId};
use crate::node::{Answer, Answering, Caller, Handler, InboxBatch, Part, Posted, Stored};
use crate::service::Definition;
use crate::service::definition::Side;
use crate::service::query::{self, Query};
use crate::session::Machine;
use crate::store::offers::Offers;
use crate::store::packages::Packages;
use crate::store::programs::Programs;
use crate::store::rights::Right;
use crate::store::statements::Statements;
use crate::store::{audit, file};

impl Handler for Live {
    fn message(&self, peer: Caller, posted: Posted) -> Answering<'_, Answer> {
        Box::pin(async move {
            let _one_of_few = self.node.at_once.acquire().await;
            let answer = blocking(|| self.node.take(Source { key: peer.key, ip: Some(peer.ip) }, posted));
            self.heard(peer.key);
            answer
        })
    }
    fn inbox(&self, peer: Caller, after: u64, wait: Duration) -> Answering<'_, Result<InboxBatch>> {
        Box::pin(async move { self.wait_for_messages(peer, after, wait).await })
    }
    fn query(&self, peer: Caller, query: Query) -> Answering<'_, Result<query::Answer>> {
        Box::pin(async move {
            let _one_of_few = self.node.at_once.acquire().await;
            let answer = blocking(|| self.node.query_of(peer.key, query));
            match &answer {
                Ok(_) => self.heard(peer.key),
                Err(error) => self.audit(peer, error),
            }
            answer
        })
    }
    fn package(&self, peer: Caller, digest: Digest, part: Part) -> Answering<'_, Result<Stored>> {
        Box::pin(async move {
            blocking(|| self.may_have(peer, digest))?;
            let file = match part {
                Part::Patch(old) => self.patch(peer, old, digest).await?,
                part => blocking(|| self.open(peer.key, digest, part))?,
            };
            let length = file.metadata().map_err(|why| Error::io("reading", &self.node.state.packages(), &why))?.len();
            Ok(Stored { file, length })
        })
    }
    fn node(&self, peer: Caller) -> Answering<'_, Result<serde_json::Value>> {
        Box::pin(async move {
            let described = blocking(|| self.describe(peer))?;
            self.heard(peer.key);
            Ok(described)
        })
    }
    fn rotations(&self) -> Vec<Envelope> {
        self.node.shown_rotations().to_vec()
    }
    fn refused(&self, key: Option<Key>, ip: IpAddr, what: &str) {
        let entry = audit::Entry { key, ip: Some(ip), what: what.to_owned(), code: Some(Code::Refused) };
        // An audit that cannot be written must not stop the server.
        let _ = self.node.audit.record(self.node.system.now(), entry);
    }
}

impl Live {
    async fn wait_for_messages(&self, peer: Caller, after: u64, wait: Duration) -> Result<InboxBatch> {
        let deadline = tokio::time::Instant::now() + wait;
        blocking(|| self.know(peer))?;
        self.heard(peer.key);
        blocking(|| self.inboxes.acknowledge(&self.node, peer.key, after))?;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let batch = blocking(|| self.inboxes.batch(&self.node, peer.key, &self.keys()))?;
            if !batch.messages.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(batch);
            }
        }
    }
    /// A contact, or a key that a live session names. All else is refused and audited.
    fn know(&self, peer: Caller) -> Result<()> {
        if self.node.contacts.by_key(&peer.key, self.node.system.now())?.is_some() {
            return Ok(());
        }
        for (session, party) in self.keys() {
            let projection = self.node.projection(session, party)?;
            let named = projection.summary.participants.iter().any(|one| one.key == peer.key);
            if named || projection.recipients.contains(&peer.key) {
                return Ok(());
            }
        }
        let error = Error::new(Code::NotPermitted, format!("{} is not known here", peer.key.short()))
            .hint(format!("on the other node: deployctl trust add NAME deploy://{}", peer.key));
        self.audit(peer, &error);
        Err(error)
    }
    fn audit(&self, peer: Caller, error: &Error) {
        let entry = audit::Entry {
            key: Some(peer.key),
            ip: Some(peer.ip),
            what: error.message.clone(),
            code: Some(error.code),
        };
        // An audit that cannot be written must not change the answer.
        let _ = self.node.audit.record(self.node.system.now(), entry);
    }
    /// A12: only what was delivered to this key.
    fn may_have(&self, peer: Caller, digest: Digest) -> Result<()> {
        if Packages::of(&self.node.state).may_read(&digest, &peer.key)? {
            return Ok(());
        }
        let why = format!("the package {} is not for {}", digest.short(), peer.key.short());
        let error = Error::new(Code::NotPermitted, why);
        self.audit(peer, &error);
        Err(error)
    }
    fn open(&self, key: Key, digest: Digest, part: Part) -> Result<std::fs::File> {
        match part {
            Part::Package | Part::Patch(_) => Packages::of(&self.node.state).open_package(&digest),
            Part::Manifest(session) => self.open_statement(key, digest, session, Statements::manifest_path),
            Part::Named(manifest) => self.open_manifest(&manifest),
            Part::Provenance(session) => self.open_statement(key, digest, session, Statements::provenance_path),
        }
    }
    /// What leads from the one package to the other, for those who may have both.
    async fn patch(&self, peer: Caller, old: Digest, new: Digest) -> Result<std::fs::File> {
        let packages = Packages::of(&self.node.state);
        // Whoever asks may have got the old one elsewhere: that is nothing to audit.
        if !blocking(|| packages.may_read(&old, &peer.key))? {
            let why = format!("there is no patch from {} to {} here", old.short(), new.short());
            return Err(Error::new(Code::NotFound, why));
        }
        self.patches.between(&packages, old, new).await
    }
    /// The statement about what was delivered to this key, in the session that is named or in any.
    fn open_statement(
        &self,
        key: Key,
        digest: Digest,
        session: Option<SessionId>,
        path: fn(&Statements, &Digest) -> std::path::PathBuf,
    ) -> Result<std::fs::File> {
        let sessions = match session {
            Some(session) => vec![session],
            None => self.node.state.find_sessions()?.into_iter().map(|(session, _)| session).collect(),
        };
        for session in sessions {
            let Ok(replayed) = self.node.read(session, Party::Provider) else { continue };
            let Machine::Provider(provider) = &replayed.machine else { continue };
            let Some(manifest) = provider.manifest_for(&key, &digest) else { continue };
            if let Some(file) = file::open_optional(&path(&self.node.statements(session, Party::Provider), &manifest))?
            {
                return Ok(file);
            }
        }
        Err(Error::new(Code::NotFound, format!("there is no such statement about {} for this node", digest.short())))
    }
    /// A manifest of a program that this node offers, its own or another's.
    fn open_manifest(&self, manifest: &Digest) -> Result<std::fs::File> {
        let state = &self.node.state;
        let mut places: Vec<_> =
            Offers::names(state)?.iter().map(|name| Offers::of(state, name).statements()).collect();
        let programs = Programs::of(state);
        places.extend(programs.list()?.iter().map(|program| programs.statements(&program.id)));
        for place in places {
            if let Some(file) = file::open_optional(&place.manifest_path(manifest))? {
                return Ok(file);
            }
        }
        Err(Error::new(Code::NotFound, format!("there is no manifest {} here", manifest.short())))
    }
    fn describe(&self, peer: Caller) -> Result<serde_json::Value> {
        self.know(peer)?;
        let contact = self.node.contacts.by_key(&peer.key, self.node.system.now())?;
        let mut services = Vec::new();
        if contact.is_some_and(|contact| contact.may.may(Right::Request)) {
            for name in self.node.offered()? {
                // One broken definition must not hide the others; `serve` told of it at its start.
                let Ok(offer) = self.node.offer(&name) else { continue };
                services.push(Listed::of(&offer.definition));
            }
        }
        let node = Described {
            name: self.node.name(),
            address: self.node.address(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services,
        };
        serde_json::to_value(node).map_err(|why| Error::new(Code::Internal, why.to_string()))
    }
}

/// What `GET /v1/node` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    pub name: Name,
    pub address: Address,
    pub version: String,
    /// Only for those who may request.
    pub services: Vec<Listed>,
}

/// One service of a list (A1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    pub name: ServiceName,
    pub version: semver::Version,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    pub roles: BTreeMap<RoleName, Side>,
}

impl Listed {
    fn of(definition: &Definition) -> Self {
        Self {
            name: definition.name.clone(),
            version: definition.version.clone(),
            summary: definition.summary.clone(),
            category: definition.category.clone(),
            roles: definition.roles.iter().map(|(name, role)| (name.clone(), role.terms.side)).collect(),
        }
    }
}
