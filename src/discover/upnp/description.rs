//! What a control point reads first: the device's description, and each service's (SCPD). Written, never read here.

use super::service::{Argument, DEVICE, Data, SERVICES, Service};
use super::xml::{DECLARATION, leaf};
use crate::discover::Directory;

pub const DESCRIPTION_PATH: &str = "/device.xml";
/// The programs as JSON, which is what `deployctl discover` reads: one small request instead of a SOAP call.
pub const PROGRAMS_PATH: &str = "/programs.json";
/// Of the elements that are ours in the description.
pub const NAMESPACE: &str = "urn:deployctl-org:device-1-0";

/// What is in the description, but for the address: one document for every interface.
pub struct About<'a> {
    pub directory: &'a Directory,
    pub version: &'a str,
    /// The node's address as this interface reaches it: `deploy://KEY@IP:PORT`.
    pub address: &'a str,
    /// Below 2^24; the same as in the notices.
    pub config: u32,
}

/// The description of the device.
pub fn device(about: &About<'_>) -> String {
    let About { directory, version, address, config } = about;
    let mut text = format!(
        "{DECLARATION}<root xmlns=\"urn:schemas-upnp-org:device-1-0\" configId=\"{config}\">\
         <specVersion><major>1</major><minor>1</minor></specVersion><device>"
    );
    let short = &directory.key.to_string()[..8];
    leaf(&mut text, "deviceType", DEVICE);
    leaf(&mut text, "friendlyName", &cut(&format!("{} (deployctl {short})", directory.name), 63));
    leaf(&mut text, "manufacturer", "deployctl");
    leaf(&mut text, "modelDescription", "Programs to install, offered by a deployctl node");
    leaf(&mut text, "modelName", "deployctl");
    leaf(&mut text, "modelNumber", &cut(version, 31));
    leaf(&mut text, "serialNumber", &directory.key.to_string());
    leaf(&mut text, "UDN", &format!("uuid:{}", directory.udn()));
    text.push_str("<serviceList>");
    for service in SERVICES {
        text.push_str("<service>");
        leaf(&mut text, "serviceType", service.kind);
        leaf(&mut text, "serviceId", service.id);
        for (name, what) in [("SCPDURL", "scpd.xml"), ("controlURL", "control"), ("eventSubURL", "event")] {
            leaf(&mut text, name, &format!("/{}/{what}", service.path));
        }
        text.push_str("</service>");
    }
    text.push_str("</serviceList>");
    text.push_str(&format!("<d:X_node xmlns:d=\"{NAMESPACE}\">"));
    leaf(&mut text, "d:name", &directory.name);
    leaf(&mut text, "d:address", address);
    leaf(&mut text, "d:programs", PROGRAMS_PATH);
    text.push_str("</d:X_node></device></root>\n");
    text
}

/// The description of a service.
pub fn scpd(service: &Service) -> String {
    let mut text = format!(
        "{DECLARATION}<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\">\
         <specVersion><major>1</major><minor>1</minor></specVersion><actionList>"
    );
    for action in service.actions {
        text.push_str("<action>");
        leaf(&mut text, "name", action.name);
        if !action.inputs.is_empty() || !action.outputs.is_empty() {
            text.push_str("<argumentList>");
            arguments(&mut text, action.inputs, "in");
            arguments(&mut text, action.outputs, "out");
            text.push_str("</argumentList>");
        }
        text.push_str("</action>");
    }
    text.push_str("</actionList><serviceStateTable>");
    for variable in service.variables {
        let sends = if variable.is_evented { "yes" } else { "no" };
        text.push_str(&format!("<stateVariable sendEvents=\"{sends}\">"));
        leaf(&mut text, "name", variable.name);
        leaf(&mut text, "dataType", variable.data.name());
        if let Data::OneOf(words) = variable.data {
            text.push_str("<allowedValueList>");
            words.iter().for_each(|word| leaf(&mut text, "allowedValue", word));
            text.push_str("</allowedValueList>");
        }
        text.push_str("</stateVariable>");
    }
    text.push_str("</serviceStateTable></scpd>\n");
    text
}

fn arguments(text: &mut String, all: &[Argument], direction: &str) {
    for (name, variable) in all {
        text.push_str("<argument>");
        leaf(text, "name", name);
        leaf(text, "direction", direction);
        leaf(text, "relatedStateVariable", variable);
        text.push_str("</argument>");
    }
}

impl Data {
    /// UPnP's own name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text | Self::OneOf(_) => "string",
            Self::Number => "ui4",
            Self::Signed => "i4",
        }
    }
}

/// At most `chars` characters.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::super::xml::read;
    use super::*;
    use crate::model::Key;

    #[test]
    fn the_description_has_what_a_device_must_say_and_what_is_ours_apart() {
        let directory = Directory {
            name: "ada".parse().unwrap(),
            key: Key::from_bytes([3; 32]),
            port: 4800,
            takes_ipv6: false,
            programs: vec![],
        };
        let about = About { directory: &directory, version: "0.1.0", address: "deploy://k@192.0.2.1:4800", config: 77 };
        let text = device(&about);
        assert!(text.contains("configId=\"77\""), "{text}");
        let root = read(text.as_bytes()).unwrap();
        assert_eq!(root.namespace, "urn:schemas-upnp-org:device-1-0");
        let device = root.child("device").unwrap();
        assert_eq!(device.text_of("deviceType"), Some(DEVICE));
        assert_eq!(device.text_of("UDN"), Some(format!("uuid:{}", directory.udn()).as_str()));
        assert_eq!(device.text_of("serialNumber"), Some(directory.key.to_string().as_str()));
        for (name, most) in [("friendlyName", 63), ("manufacturer", 63), ("modelDescription", 127), ("modelName", 31)] {
            let length = device.text_of(name).unwrap().len();
            assert!((1..=most).contains(&length), "{name}");
        }
        let services = &device.child("serviceList").unwrap().children;
        let urls: std::collections::BTreeSet<_> = services
            .iter()
            .flat_map(|one| ["SCPDURL", "controlURL", "eventSubURL"].map(|name| one.text_of(name).unwrap()))
            .collect();
        assert_eq!((services.len(), urls.len()), (4, 12));
        assert_eq!(services[0].text_of("serviceType"), Some(SERVICES[0].kind));
        let ours = device.child("X_node").unwrap();
        assert_eq!(ours.namespace, NAMESPACE);
        assert_eq!(ours.text_of("address"), Some("deploy://k@192.0.2.1:4800"));
    }

    #[test]
    fn an_scpd_tells_all_of_its_table_with_inputs_before_outputs() {
        for service in SERVICES {
            let root = read(scpd(service).as_bytes()).unwrap();
            let actions = &root.child("actionList").unwrap().children;
            assert_eq!(actions.len(), service.actions.len());
            for action in actions {
                let Some(list) = action.child("argumentList") else { continue };
                let directions: Vec<_> = list.children.iter().filter_map(|one| one.text_of("direction")).collect();
                assert!(directions.is_sorted() && !directions.is_empty(), "{directions:?}");
            }
            let table = &root.child("serviceStateTable").unwrap().children;
            assert_eq!(table.len(), service.variables.len());
            for variable in table {
                let is_text = variable.text_of("dataType") == Some("string");
                assert!(is_text || variable.child("allowedValueList").is_none());
            }
        }
    }
}
