//! Sightings put together: whoever is seen by several ways, or several times, is one node. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::sighting::Sighting;
use crate::discover::{Program, Udn};
use crate::model::{Host, Key, Name, Way};

/// Nodes on one link; whoever makes up more is not believed.
const MAX_NODES: usize = 1024;
/// Places where one node is said to be.
const MAX_HOSTS: usize = 8;

/// A node as all ways together show it. All of it is hearsay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: Name,
    pub key: Key,
    /// Where its TLS server may be found; sorted, never empty.
    pub hosts: Vec<Host>,
    /// None where no way has told.
    pub programs: Option<Vec<Program>>,
    pub ways: BTreeSet<Way>,
}

/// What is other than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Found(Seen),
    Changed(Seen),
    Gone(Seen),
}

/// All nodes that are seen now.
#[derive(Debug, Default)]
pub struct Book {
    nodes: BTreeMap<Udn, Seen>,
}

impl Book {
    /// Enters a sighting; says what is other now.
    pub fn enter(&mut self, sighting: Sighting) -> Option<Change> {
        let udn = sighting.udn();
        let Sighting { name, key, host, way, programs } = sighting;
        let Some(known) = self.nodes.get_mut(&udn) else {
            let seen = Seen { name, key, hosts: vec![host], programs, ways: BTreeSet::from([way]) };
            let has_room = self.nodes.len() < MAX_NODES;
            return has_room.then(|| Change::Found(self.nodes.entry(udn).or_insert(seen).clone()));
        };
        let before = known.clone();
        known.name = name;
        known.ways.insert(way);
        known.programs = programs.or(known.programs.take());
        if !known.hosts.contains(&host) && known.hosts.len() < MAX_HOSTS {
            known.hosts.push(host);
            known.hosts.sort();
        }
        (*known != before).then(|| Change::Changed(known.clone()))
    }
    /// A node said goodbye by one way: it is gone when none is left.
    pub fn miss(&mut self, udn: Udn, way: Way) -> Option<Change> {
        let known = self.nodes.get_mut(&udn)?;
        let was_there = known.ways.remove(&way);
        if known.ways.is_empty() {
            return self.nodes.remove(&udn).map(Change::Gone);
        }
        was_there.then(|| Change::Changed(known.clone()))
    }
    /// All nodes, by name and key.
    pub fn into_nodes(self) -> Vec<Seen> {
        let mut nodes: Vec<_> = self.nodes.into_values().collect();
        nodes.sort_by(|one, other| (&one.name, one.key).cmp(&(&other.name, other.key)));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(n: u8, way: Way) -> Sighting {
        let host = Host { name: format!("192.0.2.{n}"), port: 4800 };
        Sighting { name: format!("n{n}").parse().unwrap(), key: Key::from_bytes([n; 32]), host, way, programs: None }
    }

    #[test]
    fn what_two_ways_show_is_one_node_until_both_have_lost_it() {
        let mut book = Book::default();
        let udn = sighting(1, Way::Upnp).udn();
        assert!(matches!(book.enter(sighting(1, Way::Mdns)), Some(Change::Found(_))));
        assert_eq!(book.enter(sighting(1, Way::Mdns)), None);
        let listed = Sighting { programs: Some(vec![]), ..sighting(1, Way::Upnp) };
        let Some(Change::Changed(seen)) = book.enter(listed) else { panic!("it changed") };
        assert_eq!((seen.ways.len(), seen.hosts.len(), seen.programs), (2, 1, Some(vec![])));
        assert_eq!(
            book.enter(sighting(1, Way::Mdns)),
            None,
            "what one way told is not forgotten for another's silence"
        );
        assert!(matches!(book.miss(udn, Way::Upnp), Some(Change::Changed(_))));
        assert_eq!(book.miss(udn, Way::Upnp), None);
        assert!(matches!(book.miss(udn, Way::Mdns), Some(Change::Gone(_))));
        assert!(book.into_nodes().is_empty());
    }

    #[test]
    fn made_up_nodes_and_places_have_a_limit() {
        let mut book = Book::default();
        for n in 0..20 {
            let host = Host { name: format!("192.0.2.{n}"), port: 1 };
            drop(book.enter(Sighting { host, ..sighting(1, Way::Mdns) }));
        }
        for n in 0..5000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            drop(book.enter(Sighting { key: Key::from_bytes(key), ..sighting(2, Way::Mdns) }));
        }
        let nodes = book.into_nodes();
        assert_eq!((nodes.len(), nodes[0].hosts.len()), (MAX_NODES, MAX_HOSTS));
    }
}
