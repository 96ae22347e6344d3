//! What is asked of nodes, and what is taken of their answers: a listing is filtered here, a contact does so itself.

use std::sync::Arc;

use super::shown::Shown;
use super::{Args, LONGEST};
use crate::cli::shell::Shell;
use crate::discover::seeing::{Patience, Seen, SeenService, Sought, seek};
use crate::model::{Address, Code, Error, Key, Name, Result};
use crate::process::host;
use crate::roles::Node;
use crate::roles::programs::query::{listed, runnable};
use crate::service::DeviceDescription;
use crate::service::query::{Answer, Filter, Query};

/// A query in the name of this node, if there is one.
pub(super) struct Asking<'a> {
    query: Query,
    node: Option<&'a Arc<Node>>,
}

/// What is wanted, as the flags say; of a device, what enables it or any of its services.
async fn filter(args: &Args) -> Result<Filter> {
    let enables = match &args.enables {
        None => Vec::new(),
        Some(Sought::Upnp(kind) | Sought::DnsSd { kind, .. }) => {
            kind.usable_by().iter().map(ToString::to_string).collect()
        }
        Some(place @ Sought::Description(_)) => {
            let found = seek(&args.interface, place, Patience::Quiet(LONGEST)).await?;
            found.services.first().map(SeenService::enabled_by).unwrap_or_default()
        }
    };
    Ok(Filter {
        text: args.text.clone(),
        category: args.category.clone(),
        license: args.license.clone(),
        max_size: args.max_size.map(|size| size.0),
        enables,
    })
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
        let query = Query { device, filter: filter(args).await?, explain: args.explain.clone() };
        let query = query.check().map_err(|why| Error::new(Code::Usage, why.message))?;
        Ok(Self { query, node })
    }

    /// Asks one node.
    pub(super) async fn ask(&self, at: &Address) -> Result<Shown> {
        let node = self.node.ok_or_else(|| Error::new(Code::Internal, "nobody is there to ask"))?;
        let answer = node.ask_which_programs(at, &self.query).await?;
        let contact = self.contact(&at.key)?;
        let mut shown = Shown::new(contact.clone(), at.clone(), contact);
        shown.take(node.wanted_of(answer, &self.query.device), true);
        Ok(shown)
    }

    /// What was seen; of those that are contacts, what they say themselves, if they do.
    pub(super) async fn ask_contacts(&self, seen: Vec<Seen>, shell: &Shell) -> Result<Vec<Shown>> {
        let mut nodes: Vec<Shown> = seen.into_iter().map(|seen| self.shown(seen)).collect::<Result<_>>()?;
        let Some(node) = self.node else { return Ok(nodes) };
        let mut contacts: Vec<_> = nodes.iter_mut().filter(|shown| shown.contact.is_some()).collect();
        let addresses: Vec<_> = contacts.iter().map(|shown| shown.address.clone()).collect();
        for (shown, answer) in contacts.iter_mut().zip(node.ask_each(&addresses, &self.query).await) {
            match answer {
                Ok(answer) => shown.take(node.wanted_of(answer, &self.query.device), true),
                Err(why) => shell.ui.warn(&format!("{} did not say what fits: {why}", shown.called())),
            }
        }
        Ok(nodes)
    }

    /// The same of one node.
    pub(super) async fn ask_contact(&self, seen: Seen, shell: &Shell) -> Result<Shown> {
        let gone = || Error::new(Code::Internal, "a node that was seen is lost");
        self.ask_contacts(vec![seen], shell).await?.pop().ok_or_else(gone)
    }

    /// A node with what it lists of what is asked for.
    pub(super) fn shown(&self, seen: Seen) -> Result<Shown> {
        let address = Address { key: seen.key, host: seen.hosts.into_iter().next() };
        let mut shown = Shown::new(Some(seen.name), address, self.contact(&seen.key)?);
        shown.via = seen.ways.into_iter().collect();
        if let Some(programs) = seen.programs {
            let answer = self.query.answer(listed(programs, seen.key));
            shown.take(self.wanted(answer), false);
        }
        Ok(shown)
    }

    fn wanted(&self, answer: Answer) -> Answer {
        let device = &self.query.device;
        match self.node {
            Some(node) => node.wanted_of(answer, device),
            None => runnable(answer, device),
        }
    }

    /// The name of the contact with this key, if there is one.
    fn contact(&self, key: &Key) -> Result<Option<Name>> {
        let Some(node) = self.node else { return Ok(None) };
        Ok(node.contacts.by_key(key, node.system.now())?.map(|contact| contact.name))
    }
}
