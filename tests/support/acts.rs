//! Commands that change a session's state on one node while others serve, each from a snapshot of all nodes, so that it
//! can be done again and again.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, clippy::panic, reason = "looks at what commands left, and copies it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::calls::Call;
use super::changes::{copy, left_over, remove};
use super::parties::Parties;
use super::sandbox::{self, PATIENCE, Sandbox, Serving, until};
use super::services::{Role, STAYS};

/// The nodes that take part.
const NODES: [&str; 3] = ["p", "i", "a"];
/// A session that is being delivered fails after ten minutes: its snapshot is made again before.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// What one node does of a session.
#[derive(Debug)]
pub struct Act {
    pub name: &'static str,
    /// Who does it, by which command.
    pub node: &'static str,
    words: &'static [&'static str],
    /// Who serves meanwhile.
    served: &'static [&'static str],
    /// Whether it is done, by what the node itself says.
    is_done: fn(&Scene) -> bool,
}

pub const ACTS: &[Act] = &[
    Act {
        name: "build",
        node: "p",
        words: &["build"],
        served: &[],
        is_done: |scene| scene.has_packages("p", 2) && scene.status("p")["state"] == "delivering",
    },
    Act { name: "install", node: "a", words: &["install"], served: &["p"], is_done: |scene| scene.has_installed("1") },
    Act {
        name: "account",
        node: "i",
        words: &["account", "--interim"],
        served: &["p"],
        is_done: |scene| !sandbox::lines(&scene.ledger("i")).is_empty(),
    },
    Act {
        name: "rebuild",
        node: "p",
        words: &["build"],
        served: &[],
        is_done: |scene| scene.has_packages("p", 4) && scene.status("p")["rollout"]["state"] == "delivering",
    },
    Act { name: "update", node: "a", words: &["install"], served: &["p"], is_done: |scene| scene.has_installed("2") },
    Act {
        name: "remove",
        node: "a",
        words: &["remove"],
        served: &["p"],
        is_done: |scene| !scene.root().exists() && scene.status("a")["over"] == true,
    },
];

/// A session that was taken through all its states, with a snapshot before each act.
pub struct Scene {
    parties: Parties,
    session: String,
    made: Instant,
    serving: Vec<Serving>,
}

impl Scene {
    pub fn new() -> Self {
        let mut scene =
            Self { parties: Parties::new(), session: String::new(), made: Instant::now(), serving: Vec::new() };
        let sandbox = &scene.parties.sandbox;
        let folder = scene.parties.offer("stays", &Role::new(STAYS), &Role::new(STAYS));
        // Nothing is built before a file says so: the provider can be stopped in the middle of it.
        let definition = folder.join("service.toml");
        let text = sandbox::read(&definition)
            .replace("copy = \"guest/\"\ntemplates = [\"about.txt.j2\"]", "command = [\"sh\", \"build.sh\"]");
        fs::write(definition, text).expect("a definition");
        let gate = sandbox.path().join("gate");
        fs::create_dir(&gate).expect("a folder");
        let waits = format!("while [ ! -e {}/go ]; do sleep 0.05; done\n", gate.display());
        fs::write(folder.join("build.sh"), waits + "cp guest/run.sh \"$DEPLOYCTL_OUTPUT\"\n").expect("a script");
        let settings = format!(
            "[serve]\nservices = \"{}\"\n[build]\nread = [\"{}\"]\n",
            scene.parties.services().display(),
            gate.display()
        );
        sandbox.configure("p", &settings);
        sandbox.configure("a", "[policy]\ninstall = \"ask\"\nremove = \"ask\"\n");
        scene.play(&gate);
        scene
    }

    /// The whole session, once.
    fn play(&mut self, gate: &Path) {
        self.serve(&NODES);
        self.session = self.parties.request("stays", &["--peer", "a"]);
        self.wait("p", "it is built", |status| status["state"] == "building");
        self.keep("build");
        fs::write(gate.join("go"), "").expect("the word");
        self.serve(&NODES);
        self.wait("a", "it is delivered", |status| status["state"] == "delivering");
        self.wait("p", "the Initiator has it", |status| status["participants"][0]["state"] == "installed");
        self.keep("install");
        self.serve(&NODES);
        self.run("a", &["install"]);
        NODES.iter().for_each(|node| drop(self.wait(node, "it runs", |status| status["state"] == "running")));
        self.keep("account");
        self.keep("rebuild");
        self.serve(&NODES);
        let building = self.parties.sandbox.begin("p", &["build", &self.session]);
        self.wait("p", "the Initiator has the next one", |status| {
            status["participants"][0]["generation"] == 2 && status["participants"][0]["state"] == "confirmed"
        });
        let value = self.sandbox().state("a").join("sessions").join(&self.session).join("secrets/roster.2");
        until("the next one is delivered", || value.exists());
        building.signal(Signal::KILL);
        drop(building.finish());
        self.keep("update");
        self.serve(&NODES);
        self.run("i", &["stop"]);
        self.wait("a", "it ends", |status| status["participants"][0]["state"] == "stopped");
        self.keep("remove");
    }

    fn sandbox(&self) -> &Sandbox {
        &self.parties.sandbox
    }
    pub fn state(&self, act: &Act) -> PathBuf {
        self.sandbox().state(act.node)
    }
    fn status(&self, node: &str) -> Value {
        self.sandbox().status(node, &self.session)
    }
    fn wait(&self, node: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.sandbox().wait(node, &self.session, what, fits)
    }
    fn serve(&mut self, nodes: &[&str]) {
        self.serving = nodes.iter().map(|node| self.sandbox().serve(node, &[])).collect();
    }
    fn run(&self, node: &str, words: &[&str]) -> Value {
        self.sandbox().run(node, &[words, &[&self.session]].concat()).ok()
    }
    fn ledger(&self, node: &str) -> PathBuf {
        self.sandbox().state(node).join("ledger").join(format!("{}.jsonl", self.session))
    }
    /// Where the peer's software is.
    fn root(&self) -> PathBuf {
        self.sandbox().installed("a", &self.session, "guest")
    }
    fn has_installed(&self, generation: &str) -> bool {
        fs::read_link(self.root().join("current")).is_ok_and(|current| current.ends_with(generation))
            && self.root().join("current/run.sh").exists()
    }
    fn has_packages(&self, node: &str, count: usize) -> bool {
        let manifests = self.sandbox().party(node, &self.session, "provider").join("manifests");
        let of_packages = |name: &str| !name.ends_with(".provenance.json") && !name.starts_with('.');
        fs::read_dir(manifests).is_ok_and(|all| {
            all.flatten().filter(|entry| entry.file_name().to_str().is_some_and(of_packages)).count() == count
        })
    }
    fn kept(&self, name: &str, node: &str) -> PathBuf {
        self.sandbox().path().join(format!("kept-{name}-{node}"))
    }

    /// Switches all nodes off as a power cut would, with all that they started.
    fn switch_off(&mut self) {
        self.serving.clear();
        let began = Instant::now();
        while !self.sandbox().processes().is_empty() {
            assert!(began.elapsed() < PATIENCE, "what runs is ended");
            self.sandbox().processes().into_iter().for_each(|pid| sandbox::signal(pid, Signal::KILL));
            thread::sleep(Duration::from_millis(3));
        }
    }
    /// Keeps the state before an act.
    fn keep(&mut self, name: &str) {
        self.switch_off();
        NODES.iter().for_each(|node| copy(&self.sandbox().state(node), &self.kept(name, node)));
    }
    /// Puts the state before an act in its place, and has those serve who do meanwhile.
    pub fn begin(&mut self, act: &Act) {
        self.switch_off();
        if self.made.elapsed() > FRESH {
            *self = Self::new();
        }
        for node in NODES {
            remove(&self.sandbox().state(node));
            copy(&self.kept(act.name, node), &self.sandbox().state(node));
        }
        self.serve(act.served);
    }
    pub fn command(&self, act: &Act) -> Command {
        self.sandbox().command(act.node, &[&["--format", "json"], act.words, &[&self.session]].concat())
    }

    /// After a fault: the same command again comes to the end, which all files of the node agree to, and nothing is left
    /// over of what was interrupted.
    pub fn try_again(&self, act: &Act) {
        let again = self.sandbox().run(act.node, &[act.words, &[&self.session]].concat());
        // Done but for the last word: there is nothing to be removed or built any more.
        let is_done = again.code == 6 && ["remove", "rebuild"].contains(&act.name);
        assert!(again.code == 0 || is_done, "{again:#?}\n{}", self.sandbox().talk());
        until(&format!("{} is done: {again:#?}", act.name), || (act.is_done)(self));
        self.is_whole(act);
        self.sandbox().human(act.node, &["remove", "--expired"]);
        let left = left_over(&self.state(act));
        assert!(left.is_empty(), "{left:?} is left");
    }
    /// What the node has of the session holds together.
    pub fn is_whole(&self, act: &Act) {
        assert!((act.is_done)(self), "{} is not done: {:#}", act.name, self.status(act.node));
        for node in [act.node, "p"] {
            self.run(node, &["verify"]);
        }
        if act.name == "account" {
            self.run("i", &["account", "verify"]);
            let [at_i, at_p] = ["i", "p"].map(|node| sandbox::read(&self.ledger(node)));
            assert_eq!(at_i, at_p, "both have the same accountings");
        }
    }
    /// A command that met an error says so in one line and with the right code; or it did not matter, and all is done.
    pub fn is_told(&self, act: &Act, output: &Output, code: &str, call: &Call) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(0) {
            return self.is_whole(act);
        }
        let last = stderr.lines().last().unwrap_or_default();
        let told: Value = serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {stderr}"));
        let (said, at) = (&told["error"]["code"], format!("{} {}", call.name, call.nth));
        assert_eq!(said, code, "{at}: {stderr}");
        assert_eq!(output.status.code(), Some(1), "{at}: {stderr}");
    }
}
