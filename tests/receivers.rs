//! Many receivers of one package at once: each gets its share, and whoever is slow costs the others nothing (row P8).

#![expect(clippy::disallowed_methods, reason = "runs a server, lays out what it serves, and looks at it from outside")]

#[path = "support/noise.rs"]
mod noise;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/shelf.rs"]
mod shelf;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deployctl::model::Source;
use deployctl::node::{Manners, download};
use noise::noise;
use proxy::{Fault, Proxy};
use shelf::{Pieces, client, serve};
use tokio::task::JoinSet;

/// Bytes that each receives.
const SIZE: usize = 1 << 20;
/// One connection each, of the 256 that an address may have.
const MANY: usize = 200;
const FEW: usize = 8;
/// What a receiver may cost the sender, in KiB: row P8.
const MEMORY_EACH: u64 = 512;
/// What a process may hold that is not for receivers, in KiB: allocators keep what was freed.
const SPARE: u64 = 16 << 10;

/// A process of its own that hands out a file, so that what it holds is the sender's alone.
struct Sender {
    child: Child,
    at: String,
}

impl Sender {
    fn start(folder: &Path, bytes: &[u8]) -> Self {
        let (file, at) = (folder.join("offered"), folder.join("at"));
        std::fs::write(&file, bytes).expect("a file");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "hands_out_a_file_until_its_input_ends"]);
        command.env("RECEIVERS_FILE", &file).env("RECEIVERS_AT", &at).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().expect("it runs");
        let until = Instant::now() + Duration::from_secs(60);
        let at = loop {
            match std::fs::read_to_string(&at) {
                Ok(at) if at.ends_with('\n') => break at.trim().to_owned(),
                _ => assert!(Instant::now() < until, "the sender does not say where it is"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { child, at }
    }
    /// The most that it has held so far, in KiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("what it holds");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
    /// `deploy://KEY@` and where it listens.
    fn parts(&self) -> (&str, &str) {
        self.at.split_once('@').expect("a key and a place")
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "is the sender of the other tests"]
fn hands_out_a_file_until_its_input_ends() {
    let (Some(file), Some(at)) = (std::env::var_os("RECEIVERS_FILE"), std::env::var_os("RECEIVERS_AT")) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (key, listens) = serve("127.0.0.1:0", PathBuf::from(file)).await;
        std::fs::write(at, format!("{key}@{listens}\n")).expect("a file");
        tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.expect("it waits").expect("an end");
    });
}

/// One receiver, with a key of its own.
async fn receive(pieces: &Pieces, from: String) -> Duration {
    let (file, began) = (tempfile::tempfile().expect("a file"), Instant::now());
    let source: Source = format!("deploy://{from}").parse().expect("an address");
    let manners = Manners { lanes: 1, ..Manners::default() };
    let fetched = download(&client(), pieces.from(vec![source]), &file, manners, &|_| {}).await.expect("it is fetched");
    assert_eq!(fetched.fetched, pieces.size);
    began.elapsed()
}

/// So many at once: how long each took, the quickest first.
async fn receive_all(count: usize, bytes: &[u8], from: &str) -> Vec<Duration> {
    let mut receivers = JoinSet::new();
    for _ in 0..count {
        let (pieces, from) = (Pieces::of(bytes), from.to_owned());
        receivers.spawn(async move { receive(&pieces, from).await });
    }
    let mut took = receivers.join_all().await;
    took.sort_unstable();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_receivers_at_once_get_equal_shares_and_cost_their_sender_little_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = noise(SIZE, 1);
    let sender = Sender::start(folder.path(), &bytes);
    receive_all(1, &bytes, &sender.at).await;
    let before = sender.peak();
    let took = receive_all(MANY, &bytes, &sender.at).await;
    let (median, slowest) = (took[MANY / 2], took[MANY - 1]);
    let peak = sender.peak();
    println!("{MANY} receivers: median {median:?}, slowest {slowest:?}, {} KiB each", (peak - before) / MANY as u64);
    assert!(peak - before < MANY as u64 * MEMORY_EACH, "{} KiB for {MANY} receivers", peak - before);
    assert!(slowest < 3 * median + Duration::from_secs(5), "median {median:?}, slowest {slowest:?}");
    // Were nothing of a receiver given back, six times more would be far above that.
    for _ in 0..6 {
        receive_all(MANY, &bytes, &sender.at).await;
    }
    let held = sender.peak() - before;
    assert!(held < MANY as u64 * MEMORY_EACH, "{} KiB at first, {held} KiB after more of them", peak - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_trickle_or_stop_reading_cost_the_others_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = noise(8 * SIZE, 2);
    let sender = Sender::start(folder.path(), &bytes);
    let (key, place) = sender.parts();
    receive_all(FEW, &bytes, &sender.at).await;
    let alone = receive_all(FEW, &bytes, &sender.at).await[FEW - 1];
    let before = sender.peak();
    // Beyond the handshake and the head of the answer, so that each ties up as much as a receiver can.
    let slow = [Fault::Trickle, Fault::Stall];
    let way = Proxy::to(place, move |number| Some((64 << 10, slow[number % slow.len()])));
    let mut trickling = JoinSet::new();
    for _ in 0..MANY / 2 {
        let (pieces, from) = (Pieces::of(&bytes), format!("{key}@{}", way.at));
        trickling.spawn(async move { receive(&pieces, from).await });
    }
    let until = Instant::now() + Duration::from_secs(60);
    while way.came() < (MANY as u64 / 2) * (64 << 10) {
        assert!(Instant::now() < until, "only {} connections", way.connections());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let beside = receive_all(FEW, &bytes, &sender.at).await[FEW - 1];
    let held = sender.peak() - before;
    println!("{FEW} receivers: {alone:?} alone, {beside:?} beside {} slow ones, for which {held} KiB", MANY / 2);
    assert!(trickling.try_join_next().is_none(), "the slow ones are still at it");
    assert!(beside < 3 * alone + Duration::from_secs(10), "{alone:?} alone, {beside:?} beside slow ones");
    assert!(held < MANY as u64 / 2 * MEMORY_EACH + SPARE, "{held} KiB for slow receivers");
}
