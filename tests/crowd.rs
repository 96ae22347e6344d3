//! A crowd on one machine: a provider, an Initiator and many peers, each a `serve` of its own. Sessions one after the
//! other leave nothing behind in memory, open files and threads, and little on the disk. A few peers in CI; to measure:
//!
//! ```sh
//! cargo build --release
//! DEPLOYCTL_UNDER_TEST=target/release/deployctl CROWD_PEERS=30 CROWD_SESSIONS=20 cargo test --test crowd -- --nocapture
//! ```

#![expect(clippy::disallowed_methods, reason = "looks at processes and files from outside, and takes the time")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::{Sandbox, Serving, read};
use serde_json::{Value, json};
use services::{Role, STAYS};

/// Sessions after which everything that is made once has been made.
const WARM: usize = 2;
/// What a node may open more than it had after the first sessions: connections that happen to be open.
const SPARE_FILES: u64 = 8;
/// Threads that it may have more: those that waited for the disk stay for ten seconds.
const SPARE_THREADS: u64 = 16;
/// What a `serve` may hold more than after the first sessions, in KiB: sessions stay in memory for a minute, and
/// allocators keep what was freed.
const SPARE_MEMORY: u64 = 64 << 10;
/// Every party's files of one session: its log, the caches beside it, its manifests, the ledger.
const FILES_PER_SESSION: u64 = 24;

struct Crowd {
    sandbox: Sandbox,
    peers: Vec<String>,
    serving: BTreeMap<String, Serving>,
}

/// What one node holds.
#[derive(Clone, Copy, Debug, Default)]
struct Holdings {
    /// Resident, in KiB: now, and at most so far.
    memory: u64,
    peak: u64,
    open_files: u64,
    threads: u64,
    /// In its state directory.
    files: u64,
    bytes: u64,
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Crowd {
    fn new(peers: usize) -> Self {
        let sandbox = Sandbox::new();
        services::write(&sandbox.path().join("services"), "stays", &Role::new(STAYS), &Role::new(STAYS));
        let peers: Vec<String> = (1..=peers).map(|number| format!("n{number:02}")).collect();
        let [p, i] = ["p", "i"].map(|node| sandbox.init(node));
        sandbox.trust("p", "i", &i, "request");
        sandbox.trust("i", "p", &p, "provide");
        for peer in &peers {
            let address = sandbox.init(peer);
            sandbox.trust("i", peer, &address, "");
            sandbox.trust(peer, "p", &p, "provide");
            sandbox.trust(peer, "i", &i, parties::WELCOME);
        }
        let mut serving = BTreeMap::from([("p".to_owned(), sandbox.serve("p", &["--services", "services"]))]);
        for node in peers.iter().map(String::as_str).chain(["i"]) {
            serving.insert(node.to_owned(), sandbox.serve(node, &[]));
        }
        Self { sandbox, peers, serving }
    }
    /// One whole session; how long it took to run, and then to be over for everybody.
    fn session(&self) -> (Duration, Duration, BTreeMap<String, Holdings>) {
        let mut args = vec!["request", "stays", "--provider", "p", "--wait", "running"];
        args.extend(self.peers.iter().flat_map(|peer| ["--peer", peer]));
        let began = Instant::now();
        let requested = self.sandbox.run("i", &args).ok();
        let running = began.elapsed();
        let session = requested["session"].as_str().expect("a session").to_owned();
        let during = self.holdings();
        let began = Instant::now();
        self.sandbox.run("i", &["stop", &session]).ok();
        sandbox::until("everything is over for everybody", || self.is_over(&session));
        (running, began.elapsed(), during)
    }
    /// Looks at the caches beside the logs, because a command for each look would be most of the work.
    fn is_over(&self, session: &str) -> bool {
        let parties = [("p", "provider"), ("i", "initiator")].into_iter();
        parties.chain(self.peers.iter().map(|peer| (peer.as_str(), "peer"))).all(|(node, party)| {
            let path = self.sandbox.party(node, session, party).join("status.json");
            let status: Value = serde_json::from_str(&read(&path)).unwrap_or_default();
            status["live"] == false && status["summary"]["state"] == "closed"
        })
    }
    fn holdings(&self) -> BTreeMap<String, Holdings> {
        let look = |(node, serving): (&String, &Serving)| {
            let (files, bytes) = size_of(&self.sandbox.state(node));
            let process = process(serving.pid());
            (node.clone(), Holdings { files, bytes, ..process })
        };
        self.serving.iter().map(look).collect()
    }
}

fn process(pid: u32) -> Holdings {
    let status = read(Path::new(&format!("/proc/{pid}/status")));
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let open_files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64);
    let (memory, peak, threads) = (number("VmRSS:"), number("VmHWM:"), number("Threads:"));
    Holdings { memory, peak, threads, open_files, ..Holdings::default() }
}

/// Files below a folder, and the bytes in them.
fn size_of(folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        let (more_files, more_bytes) = if meta.is_dir() { size_of(&entry.path()) } else { (1, meta.len()) };
        (files, bytes) = (files + more_files, bytes + more_bytes);
    }
    (files, bytes)
}

/// For the report: provider, Initiator, and of the peers the one that holds most.
fn told(all: &BTreeMap<String, Holdings>) -> Value {
    let tell = |one: &Holdings| {
        json!({"rss_kib": one.memory, "peak_kib": one.peak, "open_files": one.open_files, "threads": one.threads,
            "files": one.files, "bytes": one.bytes})
    };
    let peers = all.iter().filter(|(node, _)| node.starts_with('n'));
    let most = peers.max_by_key(|(_, one)| one.memory).map(|(_, one)| tell(one));
    json!({"provider": tell(&all["p"]), "initiator": tell(&all["i"]), "largest_peer": most})
}

#[test]
fn sessions_with_many_peers_leave_little_behind() {
    let (peers, sessions) = (setting("CROWD_PEERS", 4), setting("CROWD_SESSIONS", WARM + 2));
    let crowd = Crowd::new(peers);
    println!("{}", json!({"peers": peers, "idle": told(&crowd.holdings())}));
    let mut warm = BTreeMap::new();
    for number in 1..=sessions {
        let (running, over, during) = crowd.session();
        println!(
            "{}",
            json!({"session": number, "running_ms": running.as_millis(), "over_ms": over.as_millis(),
                "during": told(&during), "after": told(&crowd.holdings())})
        );
        if number == WARM {
            warm = crowd.holdings();
        }
    }
    let more = u64::try_from(sessions - WARM).expect("more sessions than warm the nodes up");
    for (node, after) in crowd.holdings() {
        let before = warm[&node];
        let said = format!("{node}: {before:?}, after {more} sessions more {after:?}");
        assert!(after.open_files <= before.open_files + SPARE_FILES, "open files of {said}");
        assert!(after.threads <= before.threads + SPARE_THREADS, "threads of {said}");
        assert!(after.memory <= before.memory + SPARE_MEMORY, "memory of {said}");
        let of_all = if node == "p" { 2 * u64::try_from(peers).unwrap_or(0) } else { 0 };
        assert!(after.files <= before.files + more * (FILES_PER_SESSION + of_all), "files of {said}");
    }
}
