//! What is published of a node: one instance of our service, on one host, with its subtypes (RFC 6763). No I/O.

use std::net::IpAddr;

use super::name::{DomainName, MAX_LABEL};
use super::wire::{Data, KIND_A, KIND_AAAA, KIND_SRV, KIND_TXT, Record};
use crate::discover::{Directory, Program};
use crate::model::Name;
use crate::service::platform::{ANY, Platform, Platforms};

/// Has to be registered before a public release (RFC 6335).
const SERVICE: [&str; 2] = ["_deployctl", "_tcp"];
/// What all types of services are instances of (RFC 6763 §9).
const ALL_SERVICES: [&str; 3] = ["_services", "_dns-sd", "_udp"];
/// Bytes of the platforms in TXT, so that all of it stays below 400 (RFC 6763 §6.2).
const MAX_PLATFORMS: usize = 150;
/// Subtypes of either sort; further ones are not published. All of them take five packets at most.
const MAX_SUBTYPES: usize = 32;
/// Addresses of one link; real ones have three or four.
const MAX_ADDRESSES: usize = 8;

/// Seconds that a record holds which is about a host, and any other (RFC 6762 §10).
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;

/// The instance, whatever it is called and wherever it is in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    name: Name,
    /// The beginning of the key: with it, two nodes of one name are two instances.
    mark: String,
    port: u16,
    takes_ipv6: bool,
    txt: Vec<(&'static str, String)>,
    /// Without their underscore.
    subtypes: Vec<String>,
}

/// The names that have to be this node's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub instance: DomainName,
    pub host: DomainName,
}

/// The name of our service's type.
pub fn service() -> Option<DomainName> {
    DomainName::local(&SERVICE)
}

impl Instance {
    pub fn of(directory: &Directory) -> Self {
        let platforms = platforms(&directory.programs);
        let mut listed = String::new();
        for platform in &platforms {
            if listed.len() + platform.len() >= MAX_PLATFORMS {
                break;
            }
            listed.push_str(if listed.is_empty() { "" } else { "," });
            listed.push_str(platform);
        }
        let txt = vec![
            ("txtvers", "1".to_owned()),
            ("path", "/v1/".to_owned()),
            ("name", directory.name.to_string()),
            ("udn", directory.udn().to_string()),
            ("key", directory.key.to_string()),
            ("ver", env!("CARGO_PKG_VERSION").to_owned()),
            ("plat", listed),
        ];
        Self {
            name: directory.name.clone(),
            mark: directory.key.short(),
            port: directory.port,
            takes_ipv6: directory.takes_ipv6,
            txt,
            subtypes: subtypes(&directory.programs, platforms),
        }
    }
    /// What it is called after so many conflicts of its own name, and of its host's.
    pub fn names(&self, conflicts: [u32; 2]) -> Option<Names> {
        let mark = &self.mark;
        let [instance, host] = conflicts.map(|conflicts| conflicts.saturating_add(1));
        let instance = if instance == 1 { format!(" {mark}") } else { format!(" {mark} ({instance})") };
        let host = if host == 1 { format!("-{mark}") } else { format!("-{mark}-{host}") };
        // Names are ASCII.
        let with = |end: &str| format!("{}{end}", &self.name[..self.name.len().min(MAX_LABEL - end.len())]);
        let host = with(&host).replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        Some(Names {
            instance: DomainName::local(&[&with(&instance), SERVICE[0], SERVICE[1]])?,
            host: DomainName::local(&[&host])?,
        })
    }
    /// All records: the shared ones first, then those that are this node's alone.
    pub fn records(&self, names: &Names, addresses: &[IpAddr]) -> Vec<Record> {
        let shared = |name: Option<DomainName>, to: &DomainName| {
            name.map(|name| Record { name, ttl: OTHER_TTL, flush: false, data: Data::Ptr(to.clone()) })
        };
        let own = |name: &DomainName, ttl, data| Record { name: name.clone(), ttl, flush: true, data };
        let mut records: Vec<Record> = shared(service(), &names.instance).into_iter().collect();
        for subtype in &self.subtypes {
            let name = DomainName::local(&[&format!("_{subtype}"), "_sub", SERVICE[0], SERVICE[1]]);
            records.extend(shared(name, &names.instance));
        }
        records.extend(service().and_then(|service| shared(DomainName::local(&ALL_SERVICES), &service)));
        let srv = Data::Srv { priority: 0, weight: 0, port: self.port, target: names.host.clone() };
        records.push(own(&names.instance, HOST_TTL, srv));
        records.push(own(&names.instance, OTHER_TTL, Data::Txt(self.txt())));
        let usable = addresses.iter().filter(|ip| ip.is_ipv4() || self.takes_ipv6).take(MAX_ADDRESSES);
        let hosts: Vec<Data> = usable
            .map(|ip| match ip {
                IpAddr::V4(ip) => Data::A(*ip),
                IpAddr::V6(ip) => Data::Aaaa(*ip),
            })
            .collect();
        let has = |kind: &u16| hosts.iter().any(|data| data.kind() == *kind);
        let kinds = [KIND_A, KIND_AAAA].into_iter().filter(has).collect();
        records.extend(hosts.iter().map(|data| own(&names.host, HOST_TTL, data.clone())));
        records.push(own(&names.instance, OTHER_TTL, Data::Nsec(vec![KIND_TXT, KIND_SRV])));
        records.push(own(&names.host, HOST_TTL, Data::Nsec(kinds)));
        records
    }
    fn txt(&self) -> Vec<u8> {
        let text = |(key, value): &(&str, String)| {
            let text = format!("{key}={value}");
            let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
            [&[length], &text.as_bytes()[..length.into()]].concat()
        };
        self.txt.iter().flat_map(text).collect()
    }
}

/// The platforms that there are programs for, this machine's own first: programs for any are for that, too.
fn platforms(programs: &[Program]) -> Vec<String> {
    let here = Platform::here();
    let mut all: Vec<Platform> = Vec::new();
    for program in programs {
        match &program.platforms {
            Platforms::Any => all.push(here.clone()),
            Platforms::Only(some) => all.extend(some.iter().cloned()),
        }
    }
    all.sort_by_key(|platform| (*platform != here, platform.clone()));
    all.dedup();
    all.iter().map(ToString::to_string).collect()
}

/// The platforms, `any` before them if there is a program for all, and the categories with those above them.
fn subtypes(programs: &[Program], platforms: Vec<String>) -> Vec<String> {
    let is_for_any = programs.iter().any(|program| program.platforms == Platforms::Any);
    let any = is_for_any.then(|| ANY.to_owned());
    let mut all: Vec<String> = any.into_iter().chain(platforms).take(MAX_SUBTYPES).collect();
    let mut categories: Vec<String> =
        programs.iter().filter_map(|program| program.category.as_deref()).flat_map(above).collect();
    // Those that hold the most come first.
    categories.sort_by_key(|label| (label.matches('-').count(), label.clone()));
    categories.dedup();
    categories.truncate(MAX_SUBTYPES);
    all.extend(categories.into_iter().filter(|label| !all.contains(label)).collect::<Vec<_>>());
    all
}

/// The labels of a category and of all that it is in: `games/board` has `games` and `games-board`. Letters in lower case and
/// digits stay, all between them is one hyphen; what would not fit a label with its underscore is cut.
fn above(category: &str) -> Vec<String> {
    let ends = category.match_indices('/').map(|(at, _)| at).chain([category.len()]);
    ends.map(|end| label(&category[..end])).filter(|label| !label.is_empty()).collect()
}

fn label(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut label = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    label.truncate(MAX_LABEL - 1);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::wire::responses;
    use super::*;
    use crate::discover::upnp::testing::directory;

    #[test]
    fn every_platform_and_category_is_a_subtype() {
        let instance = Instance::of(&directory());
        let here = Platform::here().to_string();
        let other = ["linux-x86_64", "linux-aarch64"].into_iter().filter(|one| *one != here);
        let mut expected: Vec<&str> = ["any", &here].into_iter().chain(other).collect();
        expected.extend(["games", "home", "office", "games-board"]);
        assert_eq!(instance.subtypes, expected);
        let nothing = Instance::of(&Directory { programs: vec![], ..directory() });
        assert!(nothing.subtypes.is_empty());
    }

    #[test]
    fn a_category_becomes_a_label_by_the_rule() {
        for (category, labels) in [
            ("games/board", &["games", "games-board"][..]),
            ("a/b/c", &["a", "a-b", "a-b-c"]),
            ("Räume & Türen//x_y/", &["r-ume-t-ren", "r-ume-t-ren", "r-ume-t-ren-x-y", "r-ume-t-ren-x-y"]),
            ("/", &[]),
        ] {
            assert_eq!(above(category), labels, "{category}");
        }
        assert_eq!(label(&format!("{}/x", "a".repeat(61))), "a".repeat(61));
        assert_eq!(label(&"a".repeat(100)).len(), MAX_LABEL - 1);
    }

    #[test]
    fn what_is_published_fits_the_labels_and_messages_that_carry_it() {
        let mut directory = directory();
        directory.name = "a.".repeat(31).parse().unwrap();
        let many = (0..64).map(|n| format!("linux-cpu{n:050}")).collect::<Vec<_>>();
        directory.programs[0].platforms = Platforms::from_texts(&many).unwrap();
        let program = directory.programs[1].clone();
        let category = |n| Some(format!("{n}{}", "x".repeat(70)));
        directory.programs.extend((0..60).map(|n| Program { category: category(n), ..program.clone() }));
        let instance = Instance::of(&directory);
        assert_eq!(instance.subtypes.len(), 2 * MAX_SUBTYPES);
        let names = instance.names([u32::MAX; 2]).unwrap();
        assert!(names.host.to_string().ends_with("-4294967295.local."), "{names:?}");
        assert!(names.instance.to_string().contains(" (4294967295)._deployctl._tcp.local."), "{names:?}");
        let records = instance.records(&names, &["192.0.2.1".parse().unwrap()]);
        let messages = responses(&records, &[], 1400);
        assert!(messages.len() <= 5 && messages.iter().all(|bytes| bytes.len() <= 1400));
        let bytes: usize = instance.txt.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(bytes < 400 && bytes == instance.txt().len(), "{bytes}");
        assert_eq!(instance.txt[0], ("txtvers", "1".to_owned()));
        assert!(instance.txt.iter().all(|(key, value)| key.len() <= 9 && key.len() + value.len() < 255));
        let listed = &instance.txt.last().unwrap().1;
        assert!(listed.len() <= MAX_PLATFORMS && listed.split(',').all(|one| one.parse::<Platform>().is_ok()));
    }

    #[test]
    fn ipv6_addresses_are_told_only_where_the_node_can_be_spoken_to_there() {
        let addresses = ["192.0.2.1", "fe80::1"].map(|ip| ip.parse().unwrap());
        let kinds = |takes_ipv6| {
            let instance = Instance::of(&Directory { takes_ipv6, ..directory() });
            let names = instance.names([0; 2]).unwrap();
            let records = instance.records(&names, &addresses).into_iter();
            let nsec = |data: &Data| matches!(data, Data::Nsec(kinds) if kinds.contains(&KIND_AAAA));
            let data: Vec<Data> = records.map(|record| record.data).collect();
            (data.iter().any(|data| data.kind() == KIND_AAAA), data.iter().any(nsec))
        };
        assert_eq!((kinds(false), kinds(true)), ((false, false), (true, true)));
    }
}
