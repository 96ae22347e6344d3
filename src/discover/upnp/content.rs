//! What the actions do: a call and the present state of the directory in, the values of the answer out. No I/O but that
//! of the query that is handed in.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use super::didl::{self, Filter};
use super::search::{Criteria, read_sort};
use super::service::{BROWSE_METADATA, CONNECTION_MANAGER, PROGRAM_DIRECTORY, Service};
use super::soap::{Call, Fault};
use super::tree::{Object, SEARCHABLE, SORTABLE, Tree, program_id, protocol_info};
use crate::discover::{Directory, Program, Query};
use crate::model::{Address, Code, Host};

/// Objects in one answer; who asks for more gets these, and asks again from there on.
const MAX_OBJECTS: usize = 500;
/// The one connection that stands for all (ConnectionManager:1 §2.4.3).
const CONNECTION: &str = "0";

/// The node as one of its interfaces shows it.
pub struct View<'a> {
    pub directory: &'a Directory,
    pub updates: &'a Updates,
    /// Where the node's TLS server is reached by this interface.
    pub node: SocketAddrV4,
    pub query: &'a Query,
}

/// How often the tree has changed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updates {
    pub system: u32,
    /// Containers that changed, with the system's number at that time, until they have been told to subscribers.
    untold: BTreeMap<String, u32>,
}

impl Updates {
    /// `first` rises from start to start, so that no number comes twice.
    pub fn new(first: u32) -> Self {
        Self { system: first, untold: BTreeMap::new() }
    }
    /// Counts what is other in `after`. Whether anything is.
    pub fn count(&mut self, before: &Directory, after: &Directory) -> bool {
        let (old, new) = (Tree::new(before, String::new(), None), Tree::new(after, String::new(), None));
        let (old, new) = (old.contents(), new.contents());
        if old == new {
            return false;
        }
        self.system = self.system.wrapping_add(1);
        let changed = new.iter().filter(|(id, within)| old.get(*id) != Some(within));
        self.untold.extend(changed.map(|(id, _)| (id.clone(), self.system)));
        true
    }
    pub fn told(&mut self) {
        self.untold.clear();
    }
    /// `id,update` of each container that changed. Commas in ids are escaped (ContentDirectory:1 §2.5.21).
    fn containers(&self) -> String {
        let pairs: Vec<_> =
            self.untold.iter().map(|(id, update)| format!("{},{update}", id.replace(',', "\\,"))).collect();
        pairs.join(",")
    }
}

impl View<'_> {
    pub fn address(&self) -> Address {
        let host = Host { name: self.node.ip().to_string(), port: self.node.port() };
        Address { key: self.directory.key, host: Some(host) }
    }
    /// The evented variables of a service with what they are now.
    pub fn evented(&self, service: &Service) -> Vec<(&'static str, String)> {
        let value = |name: &str| match name {
            "SystemUpdateID" => self.updates.system.to_string(),
            "ContainerUpdateIDs" => self.updates.containers(),
            "SourceProtocolInfo" => protocol_info(),
            "CurrentConnectionIDs" => CONNECTION.to_owned(),
            "NodeAddress" => self.address().to_string(),
            "ProgramCount" => self.directory.programs.len().to_string(),
            _ => String::new(),
        };
        let evented = service.variables.iter().filter(|variable| variable.is_evented);
        evented.map(|variable| (variable.name, value(variable.name))).collect()
    }
    /// Does what a call asks for: the values of the answer, in the order of the table.
    ///
    /// # Errors
    /// A fault with the standard's code.
    pub fn perform(&self, service: &Service, call: &Call) -> Result<Vec<String>, Fault> {
        match call.action.name {
            "GetSearchCapabilities" => Ok(vec![SEARCHABLE.join(",")]),
            "GetSortCapabilities" => Ok(vec![SORTABLE.join(",")]),
            "GetSystemUpdateID" => Ok(vec![self.updates.system.to_string()]),
            "Browse" => self.browse(service, call),
            "Search" => self.search(service, call),
            "Query" => self.ask(call.text("Query")),
            "GetProtocolInfo" => Ok(vec![protocol_info(), String::new()]),
            "GetCurrentConnectionIDs" => Ok(vec![CONNECTION.to_owned()]),
            "GetCurrentConnectionInfo" if call.text("ConnectionID") == CONNECTION => {
                Ok(["-1", "-1", &protocol_info(), "", "-1", "Output", "OK"].map(str::to_owned).into())
            }
            "GetCurrentConnectionInfo" => Err(Fault::new(706, "Invalid connection reference")),
            "GetNodeAddress" => Ok(vec![self.address().to_string()]),
            "GetProgram" => self.program(program_id(call.text("ProgramID"))),
            _ => Err(Fault::no_such_action()),
        }
    }
    fn tree(&self, service: &Service, call: &Call) -> Result<Tree<'_>, Fault> {
        let packages = format!("https://{}/v1/packages/", self.node);
        let platform = match call.text("Platform") {
            platform if service.path != PROGRAM_DIRECTORY.path || platform.is_empty() => None,
            platform => Some(platform.parse().map_err(|_| Fault::new(600, "Argument Value Invalid: Platform"))?),
        };
        Ok(Tree::new(self.directory, packages, platform.as_ref()))
    }
    fn browse(&self, service: &Service, call: &Call) -> Result<Vec<String>, Fault> {
        let tree = self.tree(service, call)?;
        let object = tree.get(call.text("ObjectID")).ok_or_else(|| Fault::new(701, "No such object"))?;
        let metadata = call.text("BrowseFlag") == BROWSE_METADATA;
        if metadata && call.number("StartingIndex") != 0 {
            return Err(Fault::arguments("StartingIndex is 0 where the metadata of one object is asked for"));
        }
        let objects = if metadata { vec![object] } else { tree.children(object) };
        self.page(&tree, objects, call)
    }
    fn search(&self, service: &Service, call: &Call) -> Result<Vec<String>, Fault> {
        let tree = self.tree(service, call)?;
        let container = tree.get(call.text("ContainerID")).filter(|object| object.is_container());
        let container = container.ok_or_else(|| Fault::new(710, "No such container"))?;
        let criteria = Criteria::read(call.text("SearchCriteria"), &SEARCHABLE);
        let criteria =
            criteria.map_err(|why| Fault::new(708, format!("Unsupported or invalid search criteria: {why}")))?;
        let found = tree.search(container, &criteria);
        self.page(&tree, found, call)
    }
    /// Sorts the objects and answers with those that were asked for. Result, NumberReturned, TotalMatches, UpdateID.
    fn page<'t>(&self, tree: &Tree<'t>, mut objects: Vec<&Object<'t>>, call: &Call) -> Result<Vec<String>, Fault> {
        let keys = read_sort(call.text("SortCriteria"), &SORTABLE);
        let keys = keys.map_err(|why| Fault::new(709, format!("Unsupported or invalid sort criteria: {why}")))?;
        if !keys.is_empty() {
            tree.sort(&mut objects, &keys);
        }
        let index = |name| usize::try_from(call.number(name)).unwrap_or(usize::MAX);
        let wanted = Some(index("RequestedCount")).filter(|count| *count > 0).unwrap_or(MAX_OBJECTS).min(MAX_OBJECTS);
        let page: Vec<_> = objects.iter().copied().skip(index("StartingIndex")).take(wanted).collect();
        let filter = Filter::read(call.text("Filter"));
        Ok(vec![
            didl::document(tree, &page, &filter),
            page.len().to_string(),
            objects.len().to_string(),
            self.updates.system.to_string(),
        ])
    }
    fn ask(&self, query: &str) -> Result<Vec<String>, Fault> {
        let answer = (self.query)(query).map_err(|error| match error.code {
            Code::Internal | Code::Io => Fault::new(501, "Action Failed"),
            _ => Fault::new(800, error.to_string()),
        })?;
        Ok(vec![answer])
    }
    fn program(&self, id: &str) -> Result<Vec<String>, Fault> {
        let is_it = |program: &&Program| program.id == id;
        let program = self.directory.programs.iter().find(is_it).ok_or_else(|| Fault::new(701, "No such program"))?;
        let digest = program.digest.map(|digest| digest.to_string()).unwrap_or_default();
        let uri = match digest.as_str() {
            "" => String::new(),
            digest => format!("https://{}/v1/packages/{digest}", self.node),
        };
        let size = program.size.map(|size| size.to_string()).unwrap_or_default();
        Ok(vec![self.address().to_string(), program.version.to_string(), uri, digest, size])
    }
}

/// Whether the variables of a service can change while the node runs.
pub fn follows_directory(service: &Service) -> bool {
    service.path != CONNECTION_MANAGER.path
}

#[cfg(test)]
mod tests;
