//! SSDP on one link: notices when it begins, from time to time and when it ends, and answers to searches.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::multicast::{hear_group, speak};
use super::ssdp::{GROUP, MAX_DATAGRAM, Search, Target, matching};
use super::stage::{Face, MAX_AGE_SECS, Stage};
use crate::discover::link::Link;
use crate::discover::rate::{Allowance, Meter};

/// Notices of one set follow one another, and sets do; nobody's buffer overflows.
const BETWEEN_SETS: Duration = Duration::from_millis(150);
/// Before the first set at most, so that machines that start together do not speak together.
const AT_FIRST: Duration = Duration::from_millis(100);
/// Answers that wait for their moment; more searches than that get none.
const MAX_PENDING: usize = 64;
/// A search of this device alone is answered at once: within a second is asked for.
const UNICAST_WAIT: Duration = Duration::from_millis(100);
/// Answers to one source: three full sets at once, and more to whoever does not ask without end. Two hundred searches of
/// a hundred bytes each bring less than their bytes back, whatever source they name.
const TO_EACH: Allowance = Allowance { burst_bytes: 9 << 10, bytes_per_sec: 2 << 10 };
const TO_ALL: Allowance = Allowance { burst_bytes: 16 << 10, bytes_per_sec: 2 << 10 };

/// What the device asks of its announcers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Another link has come: this boot ends, that one begins.
    Update { boot: u32, next: u32 },
    /// Say goodbye, and end.
    Leave,
}

/// The sockets of a link.
pub(super) struct Sockets {
    /// Hears what everybody is told on this link.
    group: UdpSocket,
    /// Says what is said, and hears what this device alone is asked.
    own: UdpSocket,
}

impl Sockets {
    /// # Errors
    /// What the system says.
    pub(super) fn open(link: &Link) -> io::Result<Self> {
        Ok(Self { group: hear_group(link)?, own: speak(link, GROUP.port())? })
    }
}

/// Answers that wait.
struct Pending {
    due: Instant,
    to: SocketAddrV4,
    asked: String,
    answers: Vec<Target>,
}

struct Announcer {
    stage: Arc<Stage>,
    face: Arc<Face>,
    sockets: Sockets,
    meter: Meter,
    pending: Vec<Pending>,
}

/// Announces the device on a link until it is told to leave, or nobody could tell it so any more.
pub(super) async fn announce(stage: Arc<Stage>, face: Arc<Face>, sockets: Sockets, mut orders: mpsc::Receiver<Order>) {
    let mut announcer = Announcer { stage, face, sockets, meter: Meter::new(TO_EACH, TO_ALL), pending: Vec::new() };
    // Whoever remembers an earlier life of this device, which may have ended without a word, forgets it.
    announcer.byebye().await;
    sleep(announcer.stage.random_below(AT_FIRST)).await;
    announcer.alive().await;
    let mut again = Instant::now() + BETWEEN_SETS;
    let (mut from_group, mut from_own) = ([0; MAX_DATAGRAM + 1], [0; MAX_DATAGRAM + 1]);
    loop {
        let next_answer = announcer.pending.iter().map(|one| one.due).min();
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Update { boot, next }) => {
                    announcer.update(boot, next).await;
                    again = Instant::now() + BETWEEN_SETS;
                }
                Some(Order::Leave) | None => break,
            },
            heard = announcer.sockets.group.recv_from(&mut from_group) => announcer.hear(&heard, &from_group, true),
            heard = announcer.sockets.own.recv_from(&mut from_own) => announcer.hear(&heard, &from_own, false),
            () = sleep_until(next_answer.unwrap_or(again)), if next_answer.is_some() => announcer.answer_due().await,
            () = sleep_until(again) => {
                announcer.alive().await;
                // At random before half of the time that a notice holds.
                let half = Duration::from_secs(MAX_AGE_SECS.into()) / 2;
                again = Instant::now() + half / 2 + announcer.stage.random_below(half / 2);
            }
        }
    }
    announcer.byebye().await;
}

impl Announcer {
    async fn alive(&self) {
        let advert = self.stage.advert(&self.face);
        for one in self.stage.targets() {
            self.say(&advert.alive(&one)).await;
        }
    }
    async fn byebye(&self) {
        let advert = self.stage.advert(&self.face);
        for one in self.stage.targets() {
            self.say(&advert.byebye(&one)).await;
        }
    }
    async fn update(&self, boot: u32, next: u32) {
        let mut advert = self.stage.advert(&self.face);
        advert.boot = boot;
        for one in self.stage.targets() {
            self.say(&advert.update(&one, next)).await;
        }
    }
    async fn say(&self, text: &str) {
        // A datagram may be lost anywhere; why this one was does not matter.
        drop(self.sockets.own.send_to(text.as_bytes(), GROUP).await);
    }
    /// Puts the answers to a search in the queue, if it deserves any.
    fn hear(&mut self, heard: &io::Result<(usize, SocketAddr)>, buffer: &[u8], is_multicast: bool) {
        let Ok((length, SocketAddr::V4(from))) = heard else { return };
        let from = *from;
        let is_near = self.face.link.holds(*from.ip());
        let Some(search) = Search::read(&buffer[..*length]).filter(|_| is_near && from.port() != 0) else { return };
        let most = match search.wait {
            Some(wait) if is_multicast && search.names_group => wait.mul_f64(0.9),
            _ if is_multicast => return,
            _ => UNICAST_WAIT,
        };
        // Searches are sent twice and three times: one answer is due all the same.
        let is_due = self.pending.iter().any(|one| one.to == from && one.asked == search.target);
        let answers = matching(&self.stage.targets(), &search.target);
        if is_due || answers.is_empty() || self.pending.len() >= MAX_PENDING {
            return;
        }
        let advert = self.stage.advert(&self.face);
        let bytes = answers.iter().map(|one| advert.answer(one, &self.date()).len()).sum();
        if self.meter.take(IpAddr::V4(*from.ip()), bytes, self.stage.now()) {
            let due = Instant::now() + self.stage.random_below(most);
            self.pending.push(Pending { due, to: from, asked: search.target, answers });
        }
    }
    async fn answer_due(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.pending).into_iter().partition(|one| one.due <= now);
        self.pending = later;
        let advert = self.stage.advert(&self.face);
        let due: Vec<Pending> = due;
        for one in &due {
            for target in &one.answers {
                let text = advert.answer(target, &self.date());
                drop(self.sockets.own.send_to(text.as_bytes(), one.to).await);
            }
        }
    }
    /// Now, as HTTP writes it (RFC 9110 §5.6.7).
    fn date(&self) -> String {
        let now = OffsetDateTime::from_unix_timestamp(self.stage.system.now().unix_ms() / 1000);
        let text = now.ok().and_then(|now| now.format(&Rfc2822).ok()).unwrap_or_default();
        text.replace("+0000", "GMT")
    }
}
