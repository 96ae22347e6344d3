//! The neighbourhood: telling the local network what programs this node offers, as the services folder has them now.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::catalogue::load_definition;
use super::node::{Node, blocking};
use super::programs::offer::Offered;
use crate::discover::{Advertising, Directory, Program, Query};
use crate::model::{Code, Error, Result, ServiceName, Time, Way};
use crate::service::platform::Platform;
use crate::service::query;
use crate::store::config::{Audience, Serve};
use crate::store::file::{self, Stamp};
use crate::store::offers::Offers;
use crate::store::programs::{ProgramId, Programs};

/// How often the services folder is looked at. A look is a listing and a stamp for each service.
const LOOK: Duration = Duration::from_secs(1);

/// How a node is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// None: not at all.
    pub ways: Vec<Way>,
    /// None: all that lead to a network.
    pub interfaces: Vec<String>,
}

impl Advertise {
    /// What is left open is as the settings say.
    pub(super) fn or(self, settings: &Serve) -> Self {
        fn or<T: Clone>(given: Vec<T>, set: &[T]) -> Vec<T> {
            if given.is_empty() { set.to_vec() } else { given }
        }
        Self { ways: or(self.ways, &settings.advertise), interfaces: or(self.interfaces, &settings.interface) }
    }
}

/// What tells whether something else is offered than before.
#[derive(PartialEq)]
struct Looked {
    services: BTreeMap<ServiceName, (Stamp, Time)>,
    /// Of what was made of each.
    made: Vec<Option<Stamp>>,
    /// Installed programs, where they are offered on.
    shared: BTreeMap<ProgramId, Stamp>,
}

/// A node that the neighbourhood sees.
pub(super) struct Neighbourhood {
    advertising: Advertising,
    watcher: tokio::task::JoinHandle<()>,
}

impl Neighbourhood {
    /// Tells the neighbourhood of this node, which listens at `local`; none where it is not to be seen.
    ///
    /// # Errors
    /// `usage` for a node that listens nowhere, or an interface that is not there; `io`.
    pub(super) async fn begin(node: &Arc<Node>, local: Option<SocketAddr>, how: &Advertise) -> Result<Option<Self>> {
        if how.ways.is_empty() {
            return Ok(None);
        }
        let local = local.ok_or_else(|| {
            Error::new(Code::Usage, "a node that listens nowhere has nothing to advertise")
                .hint("say where it listens with --listen, or leave --advertise out")
        })?;
        let looked = blocking(|| node.look_at_offers())?;
        let (sender, directory) = watch::channel(Arc::new(blocking(|| node.directory(&looked, local))));
        let query = node.query();
        let advertising = Advertising::begin(&how.ways, &how.interfaces, directory, query, node.system.clone()).await?;
        let watcher = tokio::spawn(watch_services(Arc::clone(node), looked, local, sender));
        Ok(Some(Self { advertising, watcher }))
    }
    pub(super) fn url(&self) -> Option<String> {
        self.advertising.url()
    }
    pub(super) async fn leave(self) {
        self.watcher.abort();
        self.advertising.leave().await;
    }
}

/// Sends a new directory whenever something else is offered, as long as somebody wants to know.
async fn watch_services(node: Arc<Node>, mut before: Looked, local: SocketAddr, sender: watch::Sender<Arc<Directory>>) {
    while !sender.is_closed() {
        tokio::time::sleep(LOOK).await;
        // What cannot be read now is looked at again.
        let Ok(now) = blocking(|| node.look_at_offers()) else { continue };
        if now != before {
            let directory = Arc::new(blocking(|| node.directory(&now, local)));
            sender.send_if_modified(|known| {
                let is_other = *known != directory;
                *known = directory;
                is_other
            });
            before = now;
        }
    }
}

impl Node {
    fn look_at_offers(&self) -> Result<Looked> {
        let (mut services, mut made) = (BTreeMap::new(), Vec::new());
        for name in file::list(&self.services)?.iter().filter_map(|name| name.parse::<ServiceName>().ok()) {
            if let Some(stamp) = file::stamp(&self.services.join(&*name).join("service.toml"))? {
                made.push(Offers::of(&self.state, &name).statements().stamp()?);
                services.insert(name, stamp);
            }
        }
        let shared = if self.shares { Programs::of(&self.state).stamps()? } else { BTreeMap::new() };
        Ok(Looked { services, made, shared })
    }
    /// What is offered to everybody: this node's own programs, and those that it offers on. A definition that is wrong is
    /// told of and left out.
    fn directory(&self, looked: &Looked, local: SocketAddr) -> Directory {
        let mut programs = Vec::new();
        for (name, (_, changed)) in &looked.services {
            match self.program(name, *changed) {
                Ok(program) => programs.extend(program),
                Err(error) => self.notice(format!("not offered: {error}")),
            }
        }
        if !looked.shared.is_empty() {
            match self.programs_shared() {
                Ok(shared) => programs.extend(shared.into_iter().filter_map(shared_program)),
                Err(error) => self.notice(format!("not offered on: {error}")),
            }
        }
        Directory { name: self.name(), key: self.key(), port: local.port(), takes_ipv6: local.is_ipv6(), programs }
    }
    /// A service, if it is a program.
    fn program(&self, name: &ServiceName, changed: Time) -> Result<Option<Program>> {
        let definition = load_definition(&self.services.join(&**name), Some(name))?;
        let Some((_, role)) = definition.program() else { return Ok(None) };
        let made = self.made(name, &definition.version)?;
        // One figure for everybody: what is for machines like this one, else for the first there is something for.
        let made = made.get(&Platform::here()).or(made.values().next());
        Ok(Some(Program {
            id: name.to_string(),
            platforms: role.terms.platforms.clone(),
            requires: role.terms.requires.clone(),
            name: definition.name,
            version: definition.version,
            summary: definition.summary,
            category: definition.category,
            license: definition.license,
            size: made.map(|made| made.size),
            digest: made.map(|made| made.digest),
            enables: definition.enables.map(|enables| enables.types).unwrap_or_default(),
            changed,
        }))
    }
    /// Answers the local network's queries for programs: everybody's, where everybody may have them. Contacts ask over
    /// TLS.
    fn query(self: &Arc<Self>) -> Query {
        let node = Arc::clone(self);
        Arc::new(move |text| {
            if node.audience() == Audience::Contacts {
                return Err(Error::new(Code::NotPermitted, "this node's programs are for its contacts")
                    .hint("they ask it by name: deployctl discover --from NODE"));
            }
            let answer = node.answer_query(&query::Query::from_json(text)?)?;
            serde_json::to_string(&answer)
                .map_err(|why| Error::new(Code::Internal, format!("writing the answer to a query: {why}")))
        })
    }
}

/// A program that is offered on, under its signer's name, with what is known of its package.
fn shared_program(offered: Offered) -> Option<Program> {
    let release = offered.release?;
    Some(Program {
        id: offered.id.to_string(),
        name: offered.id.name,
        version: offered.version,
        summary: offered.about.summary,
        category: offered.about.category,
        license: offered.license,
        size: Some(release.package.size),
        digest: Some(release.package.digest),
        platforms: offered.terms.platforms,
        requires: offered.terms.requires,
        enables: offered.about.enables,
        changed: release.installed,
    })
}
