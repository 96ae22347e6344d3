//! What is asked of nodes, and what is taken of their answers: a listing is filtered here, a contact does so itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Args;
use super::shown::Shown;
use crate::cli::shell::Shell;
use crate::discover::Program;
use crate::discover::seeing::Seen;
use crate::model::{Address, Code, Error, Key, Name, Result};
use crate::process::host;
use crate::roles::Node;
use crate::service::DeviceDescription;
use crate::service::query::{Answer, Candidate, Filter, Listed, Query};

/// How long a contact that was seen may take: it is near, and what its listing says is there already.
const CONTACT: Duration = Duration::from_secs(2);

/// A query in the name of this node, if there is one.
pub(super) struct Asking<'a> {
    query: Query,
    node: Option<&'a Arc<Node>>,
}

/// What is wanted, as the flags say.
pub(super) fn filter(args: &Args) -> Filter {
    Filter {
        text: args.text.clone(),
        category: args.category.clone(),
        license: args.license.clone(),
        max_size: None,
        enables: args.enables.clone(),
    }
}

impl<'a> Asking<'a> {
    /// Finds out what this machine is, unless another one is meant.
    pub(super) async fn begin(args: &Args, node: Option<&'a Arc<Node>>, shell: &Shell) -> Result<Self> {
        let device = match &args.platform {
            Some(platform) => DeviceDescription::of(platform.clone()),
            None => {
                let (node, at) = (node.cloned(), shell.state_path().clone());
                let describe = move || match node {
                    Some(node) => node.describe_device(),
                    None => host::describe(&at, &std::env::vars().collect()),
                };
                let described = tokio::task::spawn_blocking(describe).await;
                described.map_err(|why| Error::new(Code::Internal, format!("describing this machine: {why}")))?
            }
        };
        let query = Query { device, filter: filter(args), explain: args.explain.clone() };
        let query = query.check().map_err(|why| Error::new(Code::Usage, why.message))?;
        Ok(Self { query, node })
    }

    /// Asks one node.
    pub(super) async fn ask(&self, at: &Address) -> Result<Shown> {
        let node = self.node.ok_or_else(|| Error::new(Code::Internal, "nobody is there to ask"))?;
        let answer = node.ask_which_programs(at, &self.query).await?;
        let contact = self.contact(&at.key)?;
        let mut shown = Shown::new(contact.clone(), at.clone(), contact);
        shown.take(node.wanted_of(answer), true);
        Ok(shown)
    }

    /// What was seen; of those that are contacts, what they say themselves, if they do.
    pub(super) async fn ask_contacts(&self, seen: Vec<Seen>, shell: &Shell) -> Result<Vec<Shown>> {
        let mut nodes: Vec<Shown> = seen.into_iter().map(|seen| self.shown(seen)).collect::<Result<_>>()?;
        let Some(node) = self.node else { return Ok(nodes) };
        let mut answers = JoinSet::new();
        for (at, shown) in nodes.iter().enumerate().filter(|(_, shown)| shown.contact.is_some()) {
            let (node, query, address) = (Arc::clone(node), self.query.clone(), shown.address.clone());
            answers.spawn(async move {
                (at, tokio::time::timeout(CONTACT, node.ask_which_programs(&address, &query)).await)
            });
        }
        while let Some(Ok((at, answer))) = answers.join_next().await {
            let shown = &mut nodes[at];
            match answer {
                Ok(Ok(answer)) => shown.take(node.wanted_of(answer), true),
                Ok(Err(why)) => shell.ui.warn(&format!("{} did not say what fits: {why}", shown.called())),
                Err(_late) => shell.ui.warn(&format!("{} did not say in time what fits", shown.called())),
            }
        }
        Ok(nodes)
    }

    /// A node with what it lists of what is asked for.
    pub(super) fn shown(&self, seen: Seen) -> Result<Shown> {
        let address = Address { key: seen.key, host: seen.hosts.into_iter().next() };
        let mut shown = Shown::new(Some(seen.name), address, self.contact(&seen.key)?);
        shown.via = seen.ways.into_iter().collect();
        if let Some(programs) = seen.programs {
            let answer = self.query.answer(programs.into_iter().filter_map(|program| candidate(program, seen.key)));
            shown.take(self.wanted(answer), false);
        }
        Ok(shown)
    }

    fn wanted(&self, answer: Answer) -> Answer {
        self.node.map_or(answer.clone(), |node| node.wanted_of(answer))
    }

    /// The name of the contact with this key, if there is one.
    fn contact(&self, key: &Key) -> Result<Option<Name>> {
        let Some(node) = self.node else { return Ok(None) };
        Ok(node.contacts.by_key(key, node.system.now())?.map(|contact| contact.name))
    }
}

/// A program as a listing has it, which tells no requirements. None where its signer does not read.
fn candidate(program: Program, node: Key) -> Option<Candidate> {
    let signer = match program.id.split_once('@') {
        Some((_, signer)) => signer.parse().ok()?,
        None => node,
    };
    let listed = Listed {
        name: program.name,
        version: program.version,
        summary: program.summary,
        category: program.category,
        license: program.license,
        signer,
        size: program.size,
        digest: program.digest,
        enables: program.enables,
    };
    Some(Candidate { listed, platforms: program.platforms, requires: Vec::new() })
}
