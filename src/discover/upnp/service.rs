//! The four services as tables: actions, arguments, state variables. What control points read as SCPD, how calls are
//! checked and in which order answers come all follow from these.

/// A service of the device.
#[derive(Debug)]
pub struct Service {
    /// Its type.
    pub kind: &'static str,
    /// Its id in the device.
    pub id: &'static str,
    /// Names it in URLs.
    pub path: &'static str,
    pub actions: &'static [Action],
    pub variables: &'static [Variable],
}

#[derive(Debug)]
pub struct Action {
    pub name: &'static str,
    pub inputs: &'static [Argument],
    pub outputs: &'static [Argument],
}

/// An argument's name, and the state variable that says what it may be.
pub type Argument = (&'static str, &'static str);

#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub data: Data,
    /// Sent to subscribers when it changes.
    pub is_evented: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `ui4`: up to 2^32 - 1.
    Number,
    /// `i4`.
    Signed,
}

impl Service {
    pub fn action(&self, name: &str) -> Option<&'static Action> {
        self.actions.iter().find(|action| action.name == name)
    }
    pub fn variable(&self, name: &str) -> Option<&'static Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }
}

/// All services, the standard ones first. Their place here is their place in the description.
pub const SERVICES: [&Service; 4] = [&CONTENT_DIRECTORY, &CONNECTION_MANAGER, &PROGRAM_DIRECTORY, &DOWNLOAD_MANAGER];

pub const DEVICE: &str = "urn:schemas-upnp-org:device:MediaServer:1";

const fn hidden(name: &'static str, data: Data) -> Variable {
    Variable { name, data, is_evented: false }
}
const fn evented(name: &'static str, data: Data) -> Variable {
    Variable { name, data, is_evented: true }
}
const fn action(name: &'static str, inputs: &'static [Argument], outputs: &'static [Argument]) -> Action {
    Action { name, inputs, outputs }
}

pub const BROWSE_METADATA: &str = "BrowseMetadata";
pub const BROWSE_CHILDREN: &str = "BrowseDirectChildren";

const OBJECT: Variable = hidden("A_ARG_TYPE_ObjectID", Data::Text);
const RESULT: Variable = hidden("A_ARG_TYPE_Result", Data::Text);
const CRITERIA: Variable = hidden("A_ARG_TYPE_SearchCriteria", Data::Text);
const FLAG: Variable = hidden("A_ARG_TYPE_BrowseFlag", Data::OneOf(&[BROWSE_METADATA, BROWSE_CHILDREN]));
const FILTER: Variable = hidden("A_ARG_TYPE_Filter", Data::Text);
const SORT: Variable = hidden("A_ARG_TYPE_SortCriteria", Data::Text);
const INDEX: Variable = hidden("A_ARG_TYPE_Index", Data::Number);
const COUNT: Variable = hidden("A_ARG_TYPE_Count", Data::Number);
const UPDATE: Variable = hidden("A_ARG_TYPE_UpdateID", Data::Number);
const SEARCH_CAPABILITIES: Variable = hidden("SearchCapabilities", Data::Text);
const SORT_CAPABILITIES: Variable = hidden("SortCapabilities", Data::Text);
const SYSTEM_UPDATE: Variable = evented("SystemUpdateID", Data::Number);
const CONTAINER_UPDATES: Variable = evented("ContainerUpdateIDs", Data::Text);

const GET_SEARCH_CAPABILITIES: Action = action("GetSearchCapabilities", &[], &[("SearchCaps", "SearchCapabilities")]);
const GET_SORT_CAPABILITIES: Action = action("GetSortCapabilities", &[], &[("SortCaps", "SortCapabilities")]);
const GET_SYSTEM_UPDATE: Action = action("GetSystemUpdateID", &[], &[("Id", "SystemUpdateID")]);
const FOUND: &[Argument] = &[
    ("Result", "A_ARG_TYPE_Result"),
    ("NumberReturned", "A_ARG_TYPE_Count"),
    ("TotalMatches", "A_ARG_TYPE_Count"),
    ("UpdateID", "A_ARG_TYPE_UpdateID"),
];

/// ContentDirectory:1 §2: what any AV control point can browse.
pub static CONTENT_DIRECTORY: Service = Service {
    kind: "urn:schemas-upnp-org:service:ContentDirectory:1",
    id: "urn:upnp-org:serviceId:ContentDirectory",
    path: "ContentDirectory",
    actions: &[
        GET_SEARCH_CAPABILITIES,
        GET_SORT_CAPABILITIES,
        GET_SYSTEM_UPDATE,
        action(
            "Browse",
            &[
                ("ObjectID", "A_ARG_TYPE_ObjectID"),
                ("BrowseFlag", "A_ARG_TYPE_BrowseFlag"),
                ("Filter", "A_ARG_TYPE_Filter"),
                ("StartingIndex", "A_ARG_TYPE_Index"),
                ("RequestedCount", "A_ARG_TYPE_Count"),
                ("SortCriteria", "A_ARG_TYPE_SortCriteria"),
            ],
            FOUND,
        ),
        action(
            "Search",
            &[
                ("ContainerID", "A_ARG_TYPE_ObjectID"),
                ("SearchCriteria", "A_ARG_TYPE_SearchCriteria"),
                ("Filter", "A_ARG_TYPE_Filter"),
                ("StartingIndex", "A_ARG_TYPE_Index"),
                ("RequestedCount", "A_ARG_TYPE_Count"),
                ("SortCriteria", "A_ARG_TYPE_SortCriteria"),
            ],
            FOUND,
        ),
    ],
    variables: &[
        SYSTEM_UPDATE,
        CONTAINER_UPDATES,
        SEARCH_CAPABILITIES,
        SORT_CAPABILITIES,
        OBJECT,
        RESULT,
        CRITERIA,
        FLAG,
        FILTER,
        SORT,
        INDEX,
        COUNT,
        UPDATE,
    ],
};

/// ConnectionManager:1 §2: every MediaServer has it. Connections are plain HTTP requests here, so there is only the one
/// that stands for all of them, number 0.
pub static CONNECTION_MANAGER: Service = Service {
    kind: "urn:schemas-upnp-org:service:ConnectionManager:1",
    id: "urn:upnp-org:serviceId:ConnectionManager",
    path: "ConnectionManager",
    actions: &[
        action("GetProtocolInfo", &[], &[("Source", "SourceProtocolInfo"), ("Sink", "SinkProtocolInfo")]),
        action("GetCurrentConnectionIDs", &[], &[("ConnectionIDs", "CurrentConnectionIDs")]),
        action(
            "GetCurrentConnectionInfo",
            &[("ConnectionID", "A_ARG_TYPE_ConnectionID")],
            &[
                ("RcsID", "A_ARG_TYPE_RcsID"),
                ("AVTransportID", "A_ARG_TYPE_AVTransportID"),
                ("ProtocolInfo", "A_ARG_TYPE_ProtocolInfo"),
                ("PeerConnectionManager", "A_ARG_TYPE_ConnectionManager"),
                ("PeerConnectionID", "A_ARG_TYPE_ConnectionID"),
                ("Direction", "A_ARG_TYPE_Direction"),
                ("Status", "A_ARG_TYPE_ConnectionStatus"),
            ],
        ),
    ],
    variables: &[
        evented("SourceProtocolInfo", Data::Text),
        evented("SinkProtocolInfo", Data::Text),
        evented("CurrentConnectionIDs", Data::Text),
        hidden(
            "A_ARG_TYPE_ConnectionStatus",
            Data::OneOf(&["OK", "ContentFormatMismatch", "InsufficientBandwidth", "UnreliableChannel", "Unknown"]),
        ),
        hidden("A_ARG_TYPE_ConnectionManager", Data::Text),
        hidden("A_ARG_TYPE_Direction", Data::OneOf(&["Input", "Output"])),
        hidden("A_ARG_TYPE_ProtocolInfo", Data::Text),
        hidden("A_ARG_TYPE_ConnectionID", Data::Signed),
        hidden("A_ARG_TYPE_AVTransportID", Data::Signed),
        hidden("A_ARG_TYPE_RcsID", Data::Signed),
    ],
};

/// Our own: the same tree for control points that say on what they want to run programs, and queries with the
/// description of a device.
pub static PROGRAM_DIRECTORY: Service = Service {
    kind: "urn:deployctl-org:service:ProgramDirectory:1",
    id: "urn:deployctl-org:serviceId:ProgramDirectory",
    path: "ProgramDirectory",
    actions: &[
        GET_SEARCH_CAPABILITIES,
        GET_SORT_CAPABILITIES,
        GET_SYSTEM_UPDATE,
        action(
            "Browse",
            &[
                ("ObjectID", "A_ARG_TYPE_ObjectID"),
                ("BrowseFlag", "A_ARG_TYPE_BrowseFlag"),
                ("Filter", "A_ARG_TYPE_Filter"),
                ("StartingIndex", "A_ARG_TYPE_Index"),
                ("RequestedCount", "A_ARG_TYPE_Count"),
                ("SortCriteria", "A_ARG_TYPE_SortCriteria"),
                ("Platform", "A_ARG_TYPE_Platform"),
            ],
            FOUND,
        ),
        action(
            "Search",
            &[
                ("ContainerID", "A_ARG_TYPE_ObjectID"),
                ("SearchCriteria", "A_ARG_TYPE_SearchCriteria"),
                ("Filter", "A_ARG_TYPE_Filter"),
                ("StartingIndex", "A_ARG_TYPE_Index"),
                ("RequestedCount", "A_ARG_TYPE_Count"),
                ("SortCriteria", "A_ARG_TYPE_SortCriteria"),
                ("Platform", "A_ARG_TYPE_Platform"),
            ],
            FOUND,
        ),
        action("Query", &[("Query", "A_ARG_TYPE_Query")], &[("Answer", "A_ARG_TYPE_Answer")]),
    ],
    variables: &[
        SYSTEM_UPDATE,
        CONTAINER_UPDATES,
        SEARCH_CAPABILITIES,
        SORT_CAPABILITIES,
        OBJECT,
        RESULT,
        CRITERIA,
        FLAG,
        FILTER,
        SORT,
        INDEX,
        COUNT,
        UPDATE,
        hidden("A_ARG_TYPE_Platform", Data::Text),
        hidden("A_ARG_TYPE_Query", Data::Text),
        hidden("A_ARG_TYPE_Answer", Data::Text),
    ],
};

/// Our own: where the programs of the directory really are.
pub static DOWNLOAD_MANAGER: Service = Service {
    kind: "urn:deployctl-org:service:DownloadManager:1",
    id: "urn:deployctl-org:serviceId:DownloadManager",
    path: "DownloadManager",
    actions: &[
        action("GetNodeAddress", &[], &[("NodeAddress", "NodeAddress")]),
        action(
            "GetProgram",
            &[("ProgramID", "A_ARG_TYPE_ProgramID")],
            &[
                ("NodeAddress", "NodeAddress"),
                ("Version", "A_ARG_TYPE_Version"),
                ("URI", "A_ARG_TYPE_URI"),
                ("Digest", "A_ARG_TYPE_Digest"),
                ("Size", "A_ARG_TYPE_Size"),
            ],
        ),
    ],
    variables: &[
        evented("NodeAddress", Data::Text),
        evented("ProgramCount", Data::Number),
        hidden("A_ARG_TYPE_ProgramID", Data::Text),
        hidden("A_ARG_TYPE_Version", Data::Text),
        hidden("A_ARG_TYPE_URI", Data::Text),
        hidden("A_ARG_TYPE_Digest", Data::Text),
        hidden("A_ARG_TYPE_Size", Data::Text),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_is_of_a_variable_that_is_there_and_nothing_is_named_twice() {
        for service in SERVICES {
            for action in service.actions {
                for (name, variable) in action.inputs.iter().chain(action.outputs) {
                    assert!(service.variable(variable).is_some(), "{} {}: {name}", service.path, action.name);
                }
                let names: Vec<_> = action.inputs.iter().chain(action.outputs).map(|(name, _)| name).collect();
                assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1));
            }
            let variables = service.variables;
            assert!(variables.iter().all(|one| variables.iter().filter(|other| other.name == one.name).count() == 1));
            assert!(variables.iter().all(|one| !(one.is_evented && one.name.starts_with("A_ARG_TYPE_"))));
            assert!(!service.actions.is_empty());
        }
    }
}
