//! Objects as DIDL-Lite (ContentDirectory:1 §2.8), with what a Filter names. Written, never read here.

use super::description::NAMESPACE;
use super::tree::{Object, Tree, date, protocol_info};
use super::xml::{escape, leaf};

/// Which of the optional properties are wanted.
pub enum Filter {
    All,
    Only(Vec<String>),
}

impl Filter {
    pub fn read(text: &str) -> Self {
        let mut names = text.split(',').map(str::trim);
        match names.clone().any(|name| name == "*") {
            true => Self::All,
            false => Self::Only(names.by_ref().map(str::to_owned).collect()),
        }
    }
    fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            // Naming an attribute of a property means that property, too; a container's attributes go by several names.
            Self::Only(names) => names.iter().any(|wanted| {
                let plain = wanted.strip_prefix("container").or_else(|| wanted.strip_prefix("item")).unwrap_or(wanted);
                plain == name || plain.split_once('@').is_some_and(|(property, _)| property == name)
            }),
        }
    }
}

/// The objects as one document.
pub fn document(tree: &Tree<'_>, objects: &[&Object<'_>], filter: &Filter) -> String {
    let mut text = "<DIDL-Lite xmlns=\"urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/\" \
                    xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
                    xmlns:upnp=\"urn:schemas-upnp-org:metadata-1-0/upnp/\">"
        .to_owned();
    for object in objects {
        match object.is_container() {
            true => container(&mut text, object, filter),
            false => item(&mut text, tree, object, filter),
        }
    }
    text.push_str("</DIDL-Lite>");
    text
}

fn container(text: &mut String, object: &Object<'_>, filter: &Filter) {
    let (id, parent) = (escape(&object.id), escape(&object.parent));
    text.push_str(&format!("<container id=\"{id}\" parentID=\"{parent}\" restricted=\"1\""));
    if filter.wants("@childCount") {
        text.push_str(&format!(" childCount=\"{}\"", object.children.len()));
    }
    if filter.wants("@searchable") {
        text.push_str(" searchable=\"1\"");
    }
    text.push('>');
    leaf(text, "dc:title", &object.title);
    leaf(text, "upnp:class", object.class());
    text.push_str("</container>");
}

fn item(text: &mut String, tree: &Tree<'_>, object: &Object<'_>, filter: &Filter) {
    let (id, parent) = (escape(&object.id), escape(&object.parent));
    text.push_str(&format!("<item id=\"{id}\" parentID=\"{parent}\" restricted=\"1\">"));
    leaf(text, "dc:title", &object.title);
    leaf(text, "upnp:class", object.class());
    if let Some(program) = object.program {
        if filter.wants("dc:description") {
            leaf(text, "dc:description", &program.summary);
        }
        if filter.wants("dc:date") {
            leaf(text, "dc:date", &date(program));
        }
        if let Some(license) = program.license.as_deref().filter(|_| filter.wants("dc:rights")) {
            leaf(text, "dc:rights", license);
        }
    }
    if let Some(uri) = tree.uri(object).filter(|_| filter.wants("res")) {
        let size = object.program.and_then(|program| program.size).filter(|_| filter.wants("res@size"));
        let size = size.map(|size| format!(" size=\"{size}\"")).unwrap_or_default();
        text.push_str(&format!("<res protocolInfo=\"{}\"{size}>{}</res>", protocol_info(), escape(&uri)));
    }
    if filter.wants("desc") {
        ours(text, tree, object);
    }
    text.push_str("</item>");
}

/// What the standard has no words for, in the one place that it has for that.
fn ours(text: &mut String, tree: &Tree<'_>, object: &Object<'_>) {
    text.push_str(&format!("<desc id=\"program\" nameSpace=\"{NAMESPACE}\" xmlns:d=\"{NAMESPACE}\">"));
    leaf(text, "d:class", "object.item.softwareItem");
    for property in ["d:version", "d:license", "d:platform", "d:requires", "d:enables"] {
        for value in tree.values(object, property) {
            leaf(text, property, &value);
        }
    }
    if let Some(digest) = object.program.and_then(|program| program.digest) {
        leaf(text, "d:digest", &digest.to_string());
    }
    text.push_str("</desc>");
}

#[cfg(test)]
mod tests {
    use super::super::tree::ROOT;
    use super::super::tree::testing::{PACKAGES, directory};
    use super::super::xml::read;
    use super::*;

    fn write(id: &str, filter: &str) -> String {
        let directory = directory();
        let tree = Tree::new(&directory, PACKAGES.to_owned(), None);
        document(&tree, &[tree.get(id).unwrap()], &Filter::read(filter))
    }

    #[test]
    fn what_must_come_always_comes_and_the_rest_by_its_name() {
        let all = write("p/chess", "*");
        for part in [
            "parentID=\"c/games/board\"",
            "<dc:description>",
            "<dc:rights>MIT",
            " size=\"900\"",
            "<desc ",
            "<dc:date>2023-11-14",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let least = write("p/chess", "");
        for part in ["<dc:title>chess<", "<upnp:class>object.item<", "restricted=\"1\""] {
            assert!(least.contains(part), "{least}");
        }
        assert!(!least.contains("<res") && !least.contains("<desc") && !least.contains("dc:description"), "{least}");
        let with_res = write("p/chess", "res");
        assert!(
            with_res.contains("<res protocolInfo=\"http-get:*:application/gzip:*\">https://192.0.2.1:4800/"),
            "{with_res}"
        );
        assert!(write("p/chess", "dc:title,res@size").contains(" size=\"900\""));
        assert!(write("c/games", "@childCount").contains("childCount=\"2\""));
        assert!(write("c/games", "container@childCount").contains("childCount=\"2\""));
        assert!(!write("c/games", "dc:title").contains("childCount"));
        assert!(write(ROOT, "*").contains("id=\"0\" parentID=\"-1\""));
    }

    #[test]
    fn what_is_written_reads_back_twice_escaped_or_not() {
        let text = write("p/opener", "*");
        let root = read(text.as_bytes()).unwrap();
        let item = root.child("item").unwrap();
        assert_eq!(item.text_of("description"), Some("opener <for> everyone & all"));
        let within = read(format!("<a>{}</a>", escape(&text)).as_bytes()).unwrap();
        assert_eq!(within.text, text);
        let platforms = item.child("desc").unwrap().children.iter().filter(|one| one.name == "platform").count();
        assert_eq!(platforms, 2);
        assert_eq!(item.child("desc").unwrap().text_of("requires"), Some("python>=3.9"));
    }
}
