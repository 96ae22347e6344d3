//! Who is connected to the plain HTTP server of an interface. There is a limit for all and for each host; where it is
//! reached, whoever has been idle for longest makes room for the newcomer. The time is an argument.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

const MAX_GUESTS: usize = 128;
const MAX_PER_HOST: usize = 64;
/// Nobody needs a connection that does nothing for so long; a reader that takes nothing counts as idle, too.
const MAX_IDLE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Guests {
    all: Mutex<BTreeMap<u64, Guest>>,
}

struct Guest {
    peer: Ipv4Addr,
    /// Since when it does nothing; none while a request of its is served.
    idle: Option<Instant>,
    task: Option<AbortHandle>,
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Guest>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Makes room for a connection, known as `number` from now on. False where all are busy.
    pub(super) fn admit(&self, number: u64, peer: Ipv4Addr, now: Instant) -> bool {
        let mut all = self.lock();
        let of_host = all.values().filter(|guest| guest.peer == peer).count();
        let has_room = (of_host < MAX_PER_HOST || evict(&mut all, |guest| guest.peer == peer))
            && (all.len() < MAX_GUESTS || evict(&mut all, |_| true));
        if has_room {
            all.insert(number, Guest { peer, idle: Some(now), task: None });
        }
        has_room
    }
    /// The task that serves a connection, to be ended where it must make room.
    pub(super) fn seat(&self, number: u64, task: AbortHandle) {
        if let Some(guest) = self.lock().get_mut(&number) {
            guest.task = Some(task);
        }
    }
    /// A request begins, or its answer is there.
    pub(super) fn serving(&self, number: u64, is_serving: bool, now: Instant) {
        if let Some(guest) = self.lock().get_mut(&number) {
            guest.idle = (!is_serving).then_some(now);
        }
    }
    pub(super) fn leave(&self, number: u64) {
        self.lock().remove(&number);
    }
    /// Ends connections that have done nothing for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut all = self.lock();
        while evict(&mut all, |guest| guest.idle.is_some_and(|since| now.saturating_duration_since(since) > MAX_IDLE)) {
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
    /// Ends all.
    pub(super) fn dismiss(&self) {
        for guest in std::mem::take(&mut *self.lock()).into_values() {
            guest.end();
        }
    }
}

impl Guest {
    fn end(self) {
        if let Some(task) = self.task {
            task.abort();
        }
    }
}

/// Ends the one of `those` that has been idle for longest. Whether there was one.
fn evict(all: &mut BTreeMap<u64, Guest>, those: impl Fn(&Guest) -> bool) -> bool {
    let idle = all.iter().filter(|(_, guest)| those(guest)).filter_map(|(number, guest)| Some((guest.idle?, *number)));
    let longest = idle.min().and_then(|(_, number)| all.remove(&number));
    longest.map(Guest::end).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, n)
    }

    #[test]
    fn whoever_is_idle_for_longest_makes_room_and_the_busy_stay() {
        let guests = Guests::default();
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        for number in 0..64 {
            assert!(guests.admit(number, host(1), at(number)));
        }
        guests.serving(0, true, at(64));
        assert!(guests.admit(64, host(1), at(65)));
        assert!(guests.lock().contains_key(&0) && !guests.lock().contains_key(&1));
        for number in 100..300 {
            assert!(guests.admit(number, host(u8::try_from(number % 100).unwrap() + 2), at(number)));
        }
        assert_eq!(guests.lock().len(), MAX_GUESTS);
        assert!(guests.lock().contains_key(&0));
        for number in 0..300 {
            guests.serving(number, true, at(400));
        }
        assert!(!guests.admit(999, host(9), at(401)));
    }

    #[tokio::test]
    async fn those_who_do_nothing_are_ended_in_the_end() {
        let guests = Guests::default();
        let began = Instant::now();
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(guests.admit(1, host(1), began));
        guests.seat(1, task.abort_handle());
        guests.sweep(began + Duration::from_secs(20));
        assert!(!guests.is_empty());
        guests.sweep(began + Duration::from_secs(40));
        assert!(guests.is_empty());
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
