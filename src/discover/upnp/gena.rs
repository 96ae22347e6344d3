//! Subscriptions to events (UPnP Device Architecture 2.0 §4) as a state machine: requests and times in, what is to be
//! sent out. No sockets; the time is an argument, counted from some beginning.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::xml::{DECLARATION, leaf};
use crate::discover::link::Link;
use crate::discover::plain::Url;

/// Subscriptions at a time, and those of one host.
const MAX_SUBSCRIPTIONS: usize = 100;
const MAX_PER_HOST: usize = 10;
/// URLs of one CALLBACK header.
const MAX_CALLBACKS: usize = 4;
/// The architecture wants half an hour at least; what is longer than an hour is renewed when it is still wanted.
const SHORTEST: Duration = Duration::from_secs(1800);
const LONGEST: Duration = Duration::from_secs(3600);
/// So often in a row nobody took an event: nobody will.
const MAX_FAILURES: u32 = 3;

/// Reads a CALLBACK header (`<url><url>…`). Every URL must lead back to the host that sends it, on this very link: nobody
/// is made to receive what he did not ask for (CVE-2020-12695).
pub fn read_callbacks(header: &str, peer: Ipv4Addr, link: &Link) -> Option<Vec<Url>> {
    // Of a link that is the machine itself, the machine's own address is the only one there is.
    let is_own = peer == link.ip && !link.is_loopback();
    let mut all = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (url, after) = rest.strip_prefix('<')?.split_once('>')?;
        all.push(Url::read(url).filter(|url| *url.at.ip() == peer && link.holds(peer) && !is_own)?);
        rest = after.trim_start();
    }
    (1..=MAX_CALLBACKS).contains(&all.len()).then_some(all)
}

/// How long a subscription is to last, from a TIMEOUT header.
pub fn granted(header: Option<&str>) -> Duration {
    let seconds = header.and_then(|header| header.trim().to_ascii_lowercase().strip_prefix("second-")?.parse().ok());
    // Missing, `infinite` and more than fits.
    seconds.map_or(LONGEST, Duration::from_secs).clamp(SHORTEST, LONGEST)
}

/// One who wants to hear of changes.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The place of the service among all.
    pub service: usize,
    pub callbacks: Vec<Url>,
    peer: Ipv4Addr,
    expires: Duration,
    /// Of the next event.
    sequence: u32,
    failures: u32,
}

/// There are too many, or too many of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// All subscriptions on one interface, by SID.
#[derive(Debug, Default)]
pub struct Subscriptions {
    all: BTreeMap<String, Subscription>,
}

impl Subscriptions {
    /// Adds one under `sid`, which nobody has.
    ///
    /// # Errors
    /// [`Full`].
    pub fn subscribe(
        &mut self,
        sid: String,
        service: usize,
        peer: Ipv4Addr,
        callbacks: Vec<Url>,
        span: Duration,
        now: Duration,
    ) -> Result<(), Full> {
        self.expire(now);
        let of_host = self.all.values().filter(|one| one.peer == peer).count();
        if self.all.len() >= MAX_SUBSCRIPTIONS || of_host >= MAX_PER_HOST {
            return Err(Full);
        }
        let one = Subscription { service, callbacks, peer, expires: now + span, sequence: 0, failures: 0 };
        self.all.insert(sid, one);
        Ok(())
    }
    /// Renews one. Whether it is there, of this service, and its renewal comes from where it was made.
    pub fn renew(&mut self, sid: &str, service: usize, peer: Ipv4Addr, span: Duration, now: Duration) -> bool {
        self.expire(now);
        let one = self.all.get_mut(sid).filter(|one| one.service == service && one.peer == peer);
        one.map(|one| one.expires = now + span).is_some()
    }
    /// Ends one. Whether it was there.
    pub fn cancel(&mut self, sid: &str, service: usize, peer: Ipv4Addr) -> bool {
        let is_there = self.all.get(sid).is_some_and(|one| one.service == service && one.peer == peer);
        is_there && self.all.remove(sid).is_some()
    }
    /// What the next event of a subscription is numbered, and where it goes; none if it is gone.
    pub fn next(&mut self, sid: &str, now: Duration) -> Option<(u32, Vec<Url>)> {
        self.expire(now);
        let one = self.all.get_mut(sid)?;
        let sequence = one.sequence;
        // After 2^32 - 1 comes 1: 0 is the initial event's alone.
        one.sequence = sequence.checked_add(1).unwrap_or(1);
        Some((sequence, one.callbacks.clone()))
    }
    /// An event was taken, or was not: those who take none are dropped.
    pub fn delivered(&mut self, sid: &str, taken: bool) {
        let Some(one) = self.all.get_mut(sid) else { return };
        one.failures = if taken { 0 } else { one.failures + 1 };
        if one.failures >= MAX_FAILURES {
            self.all.remove(sid);
        }
    }
    /// Ends one that cannot keep up.
    pub fn drop_one(&mut self, sid: &str) {
        self.all.remove(sid);
    }
    /// The service that one is of; none if it is gone.
    pub fn service(&mut self, sid: &str, now: Duration) -> Option<usize> {
        self.expire(now);
        self.all.get(sid).map(|one| one.service)
    }
    /// Whether it is there still.
    pub fn holds(&mut self, sid: &str, now: Duration) -> bool {
        self.expire(now);
        self.all.contains_key(sid)
    }
    fn expire(&mut self, now: Duration) {
        self.all.retain(|_, one| one.expires > now);
    }
}

/// The body of an event.
pub fn event(variables: &[(&str, String)]) -> String {
    let mut text = format!("{DECLARATION}<e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">");
    for (name, value) in variables {
        text.push_str("<e:property>");
        leaf(&mut text, name, value);
        text.push_str("</e:property>");
    }
    text.push_str("</e:propertyset>\n");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::xml::read;
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn link() -> Link {
        Link { name: "eth0".to_owned(), ip: Ipv4Addr::new(192, 0, 2, 1), prefix: 24 }
    }
    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }
    fn subscribe(all: &mut Subscriptions, sid: &str, peer: Ipv4Addr, now: u64) -> Result<(), Full> {
        all.subscribe(sid.to_owned(), 0, peer, vec![], SHORTEST, seconds(now))
    }

    #[test]
    fn a_callback_leads_back_to_where_it_came_from_or_is_none() {
        let read = |header: &str| read_callbacks(header, PEER, &link());
        let one = Url { at: "192.0.2.7:49152".parse().unwrap(), path: "/a?b".to_owned() };
        assert_eq!(read("<http://192.0.2.7:49152/a?b>").unwrap(), [one]);
        assert_eq!(read("<HTTP://192.0.2.7> <http://192.0.2.7:1/x>").unwrap().len(), 2);
        for header in [
            "",
            "http://192.0.2.7/",
            "<http://192.0.2.7/",
            "<>",
            "<http://192.0.2.8/>",
            "<http://192.0.2.7/><http://192.0.2.8/>",
            "<http://198.51.100.7/>",
            "<http://host.example/>",
            "<http://user@192.0.2.7/>",
            "<http://192.0.2.7@198.51.100.1/>",
            "<http://0.0.0.0/>",
            "<http://127.0.0.1/>",
            "<http://192.0.2.1/>",
            "<https://192.0.2.7/>",
            "<ftp://192.0.2.7/>",
            "<http://[::1]/>",
            "<http://3221225991/>",
            "<http://192.0.2.7:0/>",
            "<http://192.0.2.7:99999/>",
            "<http://192.0.2.7/a b>",
            "<http://192.0.2.7/\r\nX: y>",
            "<http://192.0.2.7/1><http://192.0.2.7/2><http://192.0.2.7/3><http://192.0.2.7/4><http://192.0.2.7/5>",
        ] {
            assert_eq!(read(header), None, "{header}");
        }
        let own = link().ip;
        assert_eq!(read_callbacks("<http://192.0.2.1:5/>", own, &link()), None);
        assert_eq!(read_callbacks("<http://10.0.0.1/>", Ipv4Addr::new(10, 0, 0, 1), &link()), None);
    }

    #[test]
    fn what_is_granted_has_bounds() {
        for (header, expected) in [
            (None, 3600),
            (Some("Second-1800"), 1800),
            (Some("second-2000"), 2000),
            (Some("Second-5"), 1800),
            (Some("Second-infinite"), 3600),
            (Some("Second-4294967295"), 3600),
            (Some("Second--1"), 3600),
            (Some("nonsense"), 3600),
        ] {
            assert_eq!(granted(header), seconds(expected), "{header:?}");
        }
    }

    #[test]
    fn events_are_numbered_from_nought_and_never_come_back_to_it() {
        let mut all = Subscriptions::default();
        subscribe(&mut all, "a", PEER, 0).unwrap();
        let next = |all: &mut Subscriptions| all.next("a", seconds(1)).unwrap().0;
        assert_eq!([next(&mut all), next(&mut all), next(&mut all)], [0, 1, 2]);
        all.all.get_mut("a").unwrap().sequence = u32::MAX;
        assert_eq!([next(&mut all), next(&mut all)], [u32::MAX, 1]);
        assert_eq!(all.next("b", seconds(1)), None);
    }

    #[test]
    fn a_subscription_ends_by_time_by_request_or_when_nobody_takes_its_events() {
        let mut all = Subscriptions::default();
        subscribe(&mut all, "a", PEER, 0).unwrap();
        assert!(!all.renew("b", 0, PEER, SHORTEST, seconds(10)));
        assert!(!all.renew("a", 1, PEER, SHORTEST, seconds(10)));
        assert!(all.renew("a", 0, PEER, SHORTEST, seconds(10)));
        assert!(all.holds("a", seconds(1809)) && !all.holds("a", seconds(1810)));
        subscribe(&mut all, "c", PEER, 0).unwrap();
        assert!(!all.cancel("c", 0, Ipv4Addr::new(192, 0, 2, 8)) && !all.cancel("c", 1, PEER));
        assert!(all.cancel("c", 0, PEER) && !all.cancel("c", 0, PEER));
        subscribe(&mut all, "d", PEER, 0).unwrap();
        for taken in [false, false, true, false, false] {
            all.delivered("d", taken);
        }
        assert!(all.holds("d", seconds(1)));
        all.delivered("d", false);
        assert!(!all.holds("d", seconds(1)));
    }

    #[test]
    fn one_host_and_all_hosts_have_their_share() {
        let mut all = Subscriptions::default();
        let subscribed = (0..300).filter(|n| subscribe(&mut all, &format!("{n}"), PEER, 0).is_ok()).count();
        assert_eq!(subscribed, MAX_PER_HOST);
        for host in 10..40 {
            for n in 0..10 {
                let _full = subscribe(&mut all, &format!("{host}-{n}"), Ipv4Addr::new(192, 0, 2, host), 0);
            }
        }
        assert_eq!(all.all.len(), MAX_SUBSCRIPTIONS);
        subscribe(&mut all, "later", PEER, 4000).unwrap();
        assert_eq!(all.all.len(), 1);
    }

    #[test]
    fn an_event_names_its_variables() {
        let root = read(event(&[("SystemUpdateID", "8".into()), ("X", "<&>".into())]).as_bytes()).unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("propertyset", 2));
        assert_eq!(root.children[1].text_of("X"), Some("<&>"));
        assert_eq!(root.children[0].namespace, "urn:schemas-upnp-org:event-1-0");
    }

    proptest! {
        #[test]
        fn no_header_leads_to_anybody_else(header in "(<|>|http://|192\\.0\\.2\\.[78]|:[0-9]{0,6}|/|@|[ -~]{0,4}){0,12}") {
            for callback in read_callbacks(&header, PEER, &link()).unwrap_or_default() {
                prop_assert_eq!(*callback.at.ip(), PEER);
            }
            granted(Some(&header));
        }
    }
}
