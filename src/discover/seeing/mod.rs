//! Seeing: nodes on the local network, looked for by UPnP and DNS-SD at once and put together.

mod book;
mod search;
mod seek;
mod service;
mod sighting;

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use book::{Book, Change, Seen};
pub use seek::{Found, seek};
pub use service::{SeenService, Sought};
pub use sighting::Sighting;

use super::Udn;
use super::link::{check_names, links};
use super::upnp::service::PROGRAM_DIRECTORY;
use crate::model::{Result, Way};
use search::{Heard, Place, fetch};

/// The answers to a search have come by then: MX is 1 s, and a little for the way.
const ANSWERED: Duration = Duration::from_millis(1100);
/// Nothing new for so long: nothing new is coming.
const QUIET: Duration = Duration::from_millis(150);
/// Descriptions that are fetched at a time.
const FETCHES: usize = 32;
/// What was fetched is not fetched again sooner, however often it is told of.
const FRESH: Duration = Duration::from_secs(10);
/// Things heard that wait to be looked at; whoever shouts more is not heard.
const EARS: usize = 512;
/// Places that wait to be fetched from.
const MAX_PLACES: usize = 1024;

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until the answers are in and nothing new comes, at most so long.
    Quiet(Duration),
    /// So long.
    For(Duration),
    /// Until the caller has enough.
    Endless,
}

impl Patience {
    /// When to end what began then; `quiet_since` where nothing is being fetched.
    fn end(self, began: Instant, quiet_since: Option<Instant>) -> Option<Instant> {
        match (self, quiet_since) {
            (Self::For(span), _) => Some(began + span),
            (Self::Endless, _) => None,
            (Self::Quiet(most), None) => Some(began + most),
            (Self::Quiet(most), Some(last)) => Some((began + ANSWERED).max(last + QUIET).min(began + most)),
        }
    }
}

/// Looks for nodes on the links of these interfaces, or on all where none is named; tells of each change, and in the end
/// gives all that are there.
///
/// # Errors
/// `usage` for an interface that is not there; `io` where neither way can be used.
pub async fn look(interfaces: &[String], patience: Patience, mut tell: impl FnMut(Change)) -> Result<Vec<Seen>> {
    check_names(interfaces)?;
    let (sender, mut heard) = mpsc::channel(EARS);
    let mut ears = JoinSet::new();
    for link in links(interfaces)? {
        // A link that cannot be searched may yet be heard by the other way.
        drop(search::by_ssdp(&mut ears, link, PROGRAM_DIRECTORY.kind.to_owned(), &sender, search::node));
    }
    let browsing = search::by_mdns(&mut ears, interfaces, sender)?;
    let mut looking = Looking::new();
    let began = Instant::now();
    loop {
        looking.fetch_more();
        let end = patience.end(began, (!looking.is_busy()).then_some(looking.last));
        let change = tokio::select! {
            Some(one) = heard.recv() => looking.hear(one),
            Some(fetched) = looking.fetches.join_next() => looking.enter(fetched.ok().flatten()),
            () = sleep_until(end.unwrap_or(began)), if end.is_some() => break,
        };
        change.into_iter().for_each(&mut tell);
    }
    browsing.end();
    Ok(looking.book.into_nodes())
}

struct Looking {
    book: Book,
    fetches: JoinSet<Option<Sighting>>,
    /// Places to fetch from, and when each was.
    places: HashMap<Place, Option<Instant>>,
    last: Instant,
}

impl Looking {
    fn new() -> Self {
        Self { book: Book::default(), fetches: JoinSet::new(), places: HashMap::new(), last: Instant::now() }
    }
    fn is_busy(&self) -> bool {
        !self.fetches.is_empty()
    }
    fn hear(&mut self, heard: Heard) -> Option<Change> {
        match heard {
            Heard::Device(place) => {
                let is_fresh = self.places.get(&place).is_some_and(|at| at.is_none_or(|at| at.elapsed() < FRESH));
                if !is_fresh && self.places.len() < MAX_PLACES {
                    self.places.insert(place, None);
                }
                None
            }
            Heard::Service(sighting) => self.enter(Some(sighting)),
            Heard::Gone(udn, way) => self.miss(udn, way),
        }
    }
    fn enter(&mut self, sighting: Option<Sighting>) -> Option<Change> {
        let change = self.book.enter(sighting?);
        if change.is_some() {
            self.last = Instant::now();
        }
        change
    }
    fn miss(&mut self, udn: Udn, way: Way) -> Option<Change> {
        self.places.retain(|place, _| place.udn != udn);
        self.book.miss(udn, way)
    }
    fn fetch_more(&mut self) {
        let room = FETCHES.saturating_sub(self.fetches.len());
        for (place, at) in self.places.iter_mut().filter(|(_, at)| at.is_none()).take(room) {
            *at = Some(Instant::now());
            self.fetches.spawn(fetch(place.clone()));
        }
    }
}
