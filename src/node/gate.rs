//! Counts connections and requests, so that everybody gets a share and nobody more. A slot is given back when dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::{CONNECTIONS, CONNECTIONS_PER_IP, REQUESTS_PER_KEY};
use crate::model::Key;

/// The counts of one server.
#[derive(Default)]
pub(super) struct Gate(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    connections: usize,
    by_place: HashMap<IpAddr, usize>,
    by_key: HashMap<Key, usize>,
}

/// Room for one connection.
pub(super) struct ConnectionSlot {
    gate: Arc<Gate>,
    place: IpAddr,
}

/// Room for one request.
pub(super) struct RequestSlot {
    gate: Arc<Gate>,
    key: Key,
}

impl Gate {
    /// Room for a connection from `ip`, or which limit there is no room under.
    pub(super) fn connection(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionSlot, &'static str> {
        let mut counts = self.lock();
        if counts.connections >= CONNECTIONS {
            return Err("too many connections");
        }
        let place = place_of(ip);
        if !enter(&mut counts.by_place, place, CONNECTIONS_PER_IP) {
            return Err("too many connections from one address");
        }
        counts.connections += 1;
        Ok(ConnectionSlot { gate: Arc::clone(self), place })
    }
    /// Room for a request of `key`; `None` where it has its share.
    pub(super) fn request(self: &Arc<Self>, key: Key) -> Option<RequestSlot> {
        enter(&mut self.lock().by_key, key, REQUESTS_PER_KEY).then(|| RequestSlot { gate: Arc::clone(self), key })
    }
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.gate.lock();
        counts.connections = counts.connections.saturating_sub(1);
        leave(&mut counts.by_place, self.place);
    }
}
impl Drop for RequestSlot {
    fn drop(&mut self) {
        leave(&mut self.gate.lock().by_key, self.key);
    }
}

fn enter<K: Hash + Eq>(counts: &mut HashMap<K, usize>, who: K, most: usize) -> bool {
    let count = counts.entry(who).or_insert(0);
    let fits = *count < most;
    *count += usize::from(fits);
    fits
}

fn leave<K: Hash + Eq>(counts: &mut HashMap<K, usize>, who: K) {
    if let Entry::Occupied(mut count) = counts.entry(who) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// What counts as one address: an IPv6 customer commonly has a /64 to itself.
pub fn place_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_its_share_and_no_more_and_gives_it_back() {
        let gate = Arc::new(Gate::default());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let held: Vec<_> = (0..CONNECTIONS_PER_IP).map(|_| gate.connection(ip("2001:db8::1")).unwrap()).collect();
        assert!(gate.connection(ip("2001:db8::ffff:2")).is_err());
        assert!(gate.connection(ip("::ffff:192.0.2.1")).is_ok());
        drop(held);
        assert!(gate.connection(ip("2001:db8::2")).is_ok());
        assert!(gate.lock().by_place.is_empty());
    }

    #[test]
    fn all_together_get_no_more_than_the_total() {
        let gate = Arc::new(Gate::default());
        let from = |n: usize| IpAddr::from([10, 0, 0, u8::try_from(n / CONNECTIONS_PER_IP).unwrap()]);
        let held: Vec<_> = (0..CONNECTIONS).map(|n| gate.connection(from(n)).unwrap()).collect();
        assert_eq!(gate.connection(IpAddr::from([10, 0, 1, 0])).err(), Some("too many connections"));
        drop(held);
        assert_eq!(gate.lock().connections, 0);
    }

    #[test]
    fn a_key_gets_its_share_of_requests() {
        let gate = Arc::new(Gate::default());
        let key = Key::from_bytes([1; 32]);
        let held: Vec<_> = (0..REQUESTS_PER_KEY).map(|_| gate.request(key).unwrap()).collect();
        assert!(gate.request(key).is_none());
        assert!(gate.request(Key::from_bytes([2; 32])).is_some());
        drop(held);
        assert!(gate.request(key).is_some());
    }
}
