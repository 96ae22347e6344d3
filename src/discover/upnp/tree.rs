//! The programs as a tree of objects (ContentDirectory:1 §2.2): categories are containers, programs are items.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::search::{Criteria, SortKey, compare};
use crate::discover::{Directory, Program};
use crate::service::platform::{Platform, Platforms};

pub const ROOT: &str = "0";
const NO_PARENT: &str = "-1";
pub const MIME: &str = "application/gzip";
/// Deeper categories are cut off here.
const MAX_DEPTH: usize = 8;

/// What objects can be searched by: GetSearchCapabilities.
pub const SEARCHABLE: [&str; 13] = [
    "@id",
    "@parentID",
    "@refID",
    "dc:title",
    "dc:description",
    "dc:rights",
    "upnp:class",
    "res@protocolInfo",
    "res@size",
    "d:version",
    "d:platform",
    "d:license",
    "d:enables",
];
/// What objects can be sorted by: GetSortCapabilities.
pub const SORTABLE: [&str; 5] = ["dc:title", "upnp:class", "res@size", "dc:date", "d:version"];

/// All objects of one snapshot, as one interface of the node shows them.
pub struct Tree<'a> {
    /// Where packages are: `https://IP:PORT/v1/packages/`.
    packages: String,
    objects: BTreeMap<String, Object<'a>>,
}

/// A container or an item.
pub struct Object<'a> {
    pub id: String,
    pub parent: String,
    pub title: String,
    pub program: Option<&'a Program>,
    /// Of a container: containers first, each kind by its title.
    pub children: Vec<String>,
}

impl Object<'_> {
    pub fn is_container(&self) -> bool {
        self.program.is_none()
    }
    /// upnp:class. Of a category the one that every control point knows; of a program not one of our own, which would be
    /// legal and would make strict control points drop the items.
    pub fn class(&self) -> &'static str {
        match self.program {
            Some(_) => "object.item",
            None if self.id == ROOT => "object.container",
            None => "object.container.storageFolder",
        }
    }
}

impl<'a> Tree<'a> {
    /// With the programs for one platform alone, or with all.
    pub fn new(directory: &'a Directory, packages: String, platform: Option<&Platform>) -> Self {
        let mut tree = Self { packages, objects: BTreeMap::new() };
        tree.add(ROOT.to_owned(), NO_PARENT.to_owned(), directory.name.to_string(), None);
        let fits = |program: &&Program| platform.is_none_or(|platform| program.platforms.accepts(platform));
        for program in directory.programs.iter().filter(fits) {
            let parent = tree.container(program.category.as_deref().unwrap_or_default());
            tree.add(item_id(program), parent, program.name.to_string(), Some(program));
        }
        tree.order();
        tree
    }
    /// The id of the container of a category, which is made with those above it where it is not there yet.
    fn container(&mut self, category: &str) -> String {
        let mut parent = ROOT.to_owned();
        for name in category.split('/').filter(|name| !name.is_empty()).take(MAX_DEPTH) {
            let id = match parent.as_str() {
                ROOT => format!("c/{name}"),
                parent => format!("{parent}/{name}"),
            };
            if !self.objects.contains_key(&id) {
                self.add(id.clone(), parent, name.to_owned(), None);
            }
            parent = id;
        }
        parent
    }
    fn add(&mut self, id: String, parent: String, title: String, program: Option<&'a Program>) {
        if let Some(container) = self.objects.get_mut(&parent) {
            container.children.push(id.clone());
        }
        self.objects.insert(id.clone(), Object { id, parent, title, program, children: Vec::new() });
    }
    fn order(&mut self) {
        let key = |tree: &Self, id: &String| {
            tree.get(id).map(|object| (!object.is_container(), object.title.to_lowercase(), object.id.clone()))
        };
        let sorted: Vec<_> = self
            .objects
            .values()
            .map(|object| {
                let mut children = object.children.clone();
                children.sort_by_cached_key(|id| key(self, id));
                children
            })
            .collect();
        self.objects.values_mut().zip(sorted).for_each(|(object, children)| object.children = children);
    }
    pub fn get(&self, id: &str) -> Option<&Object<'a>> {
        self.objects.get(id)
    }
    /// What is directly in a container.
    pub fn children(&self, container: &Object<'a>) -> Vec<&Object<'a>> {
        container.children.iter().filter_map(|id| self.get(id)).collect()
    }
    /// What is anywhere below a container and fits, in the order in which a person would walk through it.
    pub fn search(&self, container: &Object<'a>, criteria: &Criteria) -> Vec<&Object<'a>> {
        let mut found = Vec::new();
        for object in self.children(container) {
            if criteria.fits(&|property| self.values(object, property)) {
                found.push(object);
            }
            found.extend(self.search(object, criteria));
        }
        found
    }
    /// Sorts by these keys; what is equal in all of them stays as it was, objects without the property come last.
    pub fn sort(&self, objects: &mut [&Object<'a>], keys: &[SortKey]) {
        let first =
            |object: &Object<'a>, property: &str| self.values(object, property).into_iter().next().map(Cow::into_owned);
        objects.sort_by(|one, other| {
            let by_key = |key: &SortKey| match (first(one, &key.property), first(other, &key.property)) {
                (Some(one), Some(other)) if key.descending => compare(&other, &one),
                (Some(one), Some(other)) => compare(&one, &other),
                (one, other) => other.is_some().cmp(&one.is_some()),
            };
            keys.iter().map(by_key).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
        });
    }
    /// The values of a property of an object: none where it has none.
    pub fn values<'t>(&'t self, object: &'t Object<'a>, property: &str) -> Vec<Cow<'t, str>> {
        let program = object.program;
        let one = |value: Option<Cow<'t, str>>| value.into_iter().collect();
        let text = |value: &'t Option<String>| value.as_deref().map(Cow::Borrowed);
        match property {
            "@id" => one(Some(object.id.as_str().into())),
            "@parentID" => one(Some(object.parent.as_str().into())),
            "dc:title" => one(Some(object.title.as_str().into())),
            "upnp:class" => one(Some(object.class().into())),
            "dc:description" => one(program.map(|program| program.summary.as_str().into())),
            "dc:rights" | "d:license" => one(program.and_then(|program| text(&program.license))),
            "dc:date" => one(program.map(|program| date(program).into())),
            "res@protocolInfo" => one(self.uri(object).map(|_| protocol_info().into())),
            "res@size" => one(self.uri(object).and(program).and_then(|p| p.size).map(|size| size.to_string().into())),
            "d:version" => one(program.map(|program| program.version.to_string().into())),
            "d:platform" => program.map_or(Vec::new(), |program| match &program.platforms {
                Platforms::Any => vec!["any".into()],
                Platforms::Only(all) => all.iter().map(|platform| platform.to_string().into()).collect(),
            }),
            "d:requires" => {
                program.map_or(Vec::new(), |p| p.requires.iter().map(|wanted| wanted.to_string().into()).collect())
            }
            "d:enables" => {
                program.map_or(Vec::new(), |p| p.enables.iter().map(|kind| Cow::Borrowed(kind.as_str())).collect())
            }
            _ => Vec::new(),
        }
    }
    /// Where the package of a program is, once it has been built.
    pub fn uri(&self, object: &Object<'a>) -> Option<String> {
        let digest = object.program?.digest?;
        Some(format!("{}{digest}", self.packages))
    }
    /// What is in each container, to tell which of them have changed.
    pub fn contents(&self) -> BTreeMap<String, Vec<(String, Option<&'a Program>)>> {
        let within = |object: &Object<'a>| self.children(object).iter().map(|c| (c.id.clone(), c.program)).collect();
        let containers = self.objects.values().filter(|object| object.is_container());
        containers.map(|object| (object.id.clone(), within(object))).collect()
    }
}

/// The id of the item that a program is.
fn item_id(program: &Program) -> String {
    format!("p/{}", program.id)
}

/// The program that an item's id names.
pub fn program_id(item: &str) -> &str {
    item.strip_prefix("p/").unwrap_or(item)
}

/// The day of the last change: `2026-11-22`.
pub fn date(program: &Program) -> String {
    program.changed.to_string().chars().take(10).collect()
}

/// Four fields (ConnectionManager:1 §2.5.2). The packages are had by https, which no AV control point has a word for.
pub fn protocol_info() -> String {
    format!("http-get:*:{MIME}:*")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::model::{Digest, Key, Time};

    /// Seven programs, some with much to say and one with nothing.
    pub(crate) fn directory() -> Directory {
        let program = |name: &str, category: Option<&str>, size: Option<u64>| Program {
            id: name.to_owned(),
            name: name.parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            summary: format!("{name} <for> everyone & all"),
            category: category.map(str::to_owned),
            license: size.map(|_| "MIT".to_owned()),
            size,
            digest: size.map(|size| Digest::of(&size.to_le_bytes())),
            platforms: Platforms::Any,
            requires: vec![],
            enables: vec![],
            changed: Time::from_unix_ms(1_700_000_000_000),
        };
        let mut programs = vec![
            program("chess", Some("games/board"), Some(900)),
            program("clock", None, None),
            program("draw", Some("office"), Some(70)),
            program("go", Some("games/board"), Some(1000)),
            program("opener", Some("home"), Some(5)),
            program("tetris", Some("games"), None),
            program("write", Some("office"), Some(70)),
        ];
        programs[4].enables = vec!["_door._tcp".to_owned()];
        programs[4].requires = vec!["python>=3.9".parse().unwrap()];
        programs[4].platforms = Platforms::from_texts(&["linux-x86_64", "linux-aarch64"]).unwrap();
        Directory {
            name: "ada".parse().unwrap(),
            key: Key::from_bytes([3; 32]),
            port: 4800,
            takes_ipv6: false,
            programs,
        }
    }

    pub(crate) const PACKAGES: &str = "https://192.0.2.1:4800/v1/packages/";
}

#[cfg(test)]
mod tests {
    use super::super::search::read_sort;
    use super::testing::{PACKAGES, directory};
    use super::*;

    fn ids(objects: &[&Object<'_>]) -> Vec<String> {
        objects.iter().map(|object| object.id.clone()).collect()
    }

    #[test]
    fn categories_are_containers_and_each_program_is_in_one() {
        let directory = directory();
        let tree = Tree::new(&directory, PACKAGES.to_owned(), None);
        let root = tree.get(ROOT).unwrap();
        assert_eq!(ids(&tree.children(root)), ["c/games", "c/home", "c/office", "p/clock"]);
        assert_eq!(ids(&tree.children(tree.get("c/games").unwrap())), ["c/games/board", "p/tetris"]);
        let all = tree.search(root, &Criteria::All);
        assert_eq!(all.len(), 4 + 7);
        for object in &all {
            assert!(tree.get(&object.parent).unwrap().children.contains(&object.id), "{}", object.id);
        }
        assert_eq!(root.parent, "-1");
    }

    #[test]
    fn one_platform_leaves_out_what_is_not_for_it_and_categories_that_are_empty_then() {
        let directory = directory();
        let tree = Tree::new(&directory, PACKAGES.to_owned(), Some(&"windows-x86_64".parse().unwrap()));
        assert!(tree.get("p/opener").is_none() && tree.get("c/home").is_none());
        assert!(tree.get("p/chess").is_some());
    }

    #[test]
    fn sorting_is_stable_and_those_without_the_property_come_last() {
        let directory = directory();
        let tree = Tree::new(&directory, PACKAGES.to_owned(), None);
        let items = Criteria::read("upnp:class = \"object.item\"", &SEARCHABLE).unwrap();
        let mut found = tree.search(tree.get(ROOT).unwrap(), &items);
        tree.sort(&mut found, &read_sort("-res@size,+dc:title", &SORTABLE).unwrap());
        assert_eq!(ids(&found), ["p/go", "p/chess", "p/draw", "p/write", "p/opener", "p/clock", "p/tetris"]);
        tree.sort(&mut found, &read_sort("-dc:title", &SORTABLE).unwrap());
        assert_eq!(found[0].id, "p/write");
    }

    #[test]
    fn programs_are_found_by_what_they_are_for() {
        let directory = directory();
        let tree = Tree::new(&directory, PACKAGES.to_owned(), None);
        for (text, expected) in [
            ("d:enables = \"_door._tcp\"", 1),
            ("d:platform = \"linux-aarch64\"", 1),
            ("d:license = \"MIT\" and res@size <= \"70\"", 3),
            ("dc:description contains \"EVERYONE & ALL\"", 7),
            ("@parentID = \"c/games/board\"", 2),
            ("res@size exists false and upnp:class derivedfrom \"object.item\"", 2),
        ] {
            let criteria = Criteria::read(text, &SEARCHABLE).unwrap();
            assert_eq!(tree.search(tree.get(ROOT).unwrap(), &criteria).len(), expected, "{text}");
        }
    }
}
