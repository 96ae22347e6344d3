//! What providers said that they offer, kept as they said it last: for completion, which must not ask them again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::desk::{Described, Listed};
use super::node::Node;
use crate::message;
use crate::model::{Key, ServiceName};
use crate::service::Interface;
use crate::store::state::StateDir;
use crate::store::{document, file};

/// The last list of a provider.
#[derive(Default, Serialize, Deserialize)]
struct List {
    services: BTreeMap<ServiceName, Listed>,
}

impl From<&message::Interface> for Interface {
    fn from(given: &message::Interface) -> Self {
        Self {
            name: given.service.name.clone(),
            version: given.service.version.clone(),
            summary: given.summary.clone(),
            category: None,
            license: None,
            schema: given.schema.clone(),
            roles: given.roles.clone(),
            tariff: given.tariff.clone(),
        }
    }
}

impl Node {
    /// Keeps a list instead of the one before it.
    pub(super) fn keep_list(&self, provider: &Key, described: &Described) {
        let services = described.services.iter().map(|one| (one.name.clone(), one.clone())).collect();
        keep(&self.state.shown_list(provider), &List { services });
    }
    /// Keeps an interface instead of the one before it.
    pub(super) fn keep_interface(&self, provider: &Key, given: &message::Interface) {
        keep(&self.state.shown_interface(provider, &given.service.name), &Interface::from(given));
    }
}

/// Without this a word is not completed, and nothing else is missing.
fn keep(path: &Path, value: &impl Serialize) {
    if path.parent().is_some_and(|folder| file::create_dir_private(folder).is_ok()) {
        let _ = document::write_json_unsynced(path, value, file::PRIVATE);
    }
}

/// What this provider offered when it was asked last; of no provider in particular, what all of them did.
pub fn listed(state: &StateDir, provider: Option<&Key>) -> Vec<Listed> {
    let all = || {
        let names = file::list(&state.shown()).unwrap_or_default();
        names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect::<Vec<Key>>()
    };
    let lists = provider.map_or_else(all, |key| vec![*key]).into_iter();
    let lists = lists.filter_map(|key| document::glance_json::<List>(&state.shown_list(&key)));
    lists.flat_map(|list| list.services.into_values()).collect()
}

/// The interface that this provider gave last for a service.
pub fn interface(state: &StateDir, provider: &Key, service: &ServiceName) -> Option<Interface> {
    document::glance_json(&state.shown_interface(provider, service))
}
