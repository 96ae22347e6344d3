//! The nodes of the demo: each a process of this program with a state directory of its own, spoken to by commands as a
//! person would. When the stage goes, however that comes, they all go with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::services;
use super::story::Story;
use crate::model::{Address, Code, Error, Result};
use crate::process::children::{Child, Line, end_all_below};
use crate::store::config::{Build, Config};
use crate::store::file;
use crate::store::scratch::Scratch;
use crate::store::state::StateDir;

/// Begins the name of the folder that everything is in.
const PREFIX: &str = "deployctl-demo.";
/// The provider's services, inside of that folder.
const SERVICES: &str = "services";
/// One command may take so long: far more than it does on a slow machine.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// How often the nodes are asked how far they are.
const LOOK: Duration = Duration::from_millis(100);

/// One node.
pub(super) struct Party {
    pub(super) name: String,
    pub(super) state: PathBuf,
    pub(super) address: Option<Address>,
    node: Option<Child>,
}

impl Party {
    pub(super) fn address(&self) -> Result<String> {
        let address = self.address.as_ref().ok_or_else(|| failed(format!("{} is not ready", self.name)))?;
        Ok(address.to_string())
    }
    pub(super) fn state_dir(&self) -> Result<StateDir> {
        StateDir::open(&self.state, false)
    }
}

pub(super) struct Stage {
    /// Provider, Initiator, then the peers.
    pub(super) parties: Vec<Party>,
    pub(super) story: Story,
    pub(super) scratch: Scratch,
    program: PathBuf,
    environment: BTreeMap<String, String>,
    /// What the nodes say, with whose it is.
    said: mpsc::UnboundedReceiver<(usize, Line)>,
    saying: mpsc::UnboundedSender<(usize, Line)>,
}

impl Stage {
    pub(super) fn set(
        names: &[&str],
        story: Story,
        program: PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Result<Self> {
        let scratch = Scratch::make(PREFIX)?;
        services::write(&scratch, SERVICES)?;
        if let Some(tools) = services::rust() {
            let settings = Config { build: Build { path: tools.path, read: tools.read }, ..Config::default() };
            let text = toml::to_string(&settings).map_err(|why| failed(format!("the provider's settings: {why}")))?;
            scratch.put(&Path::new(names[super::PROVIDER]).join("config.toml"), text.as_bytes(), file::PLAIN)?;
        }
        let party = |name: &&str| Party {
            name: (*name).to_owned(),
            state: scratch.path().join(name),
            address: None,
            node: None,
        };
        let parties = names.iter().map(party).collect();
        let (saying, said) = mpsc::unbounded_channel();
        Ok(Self { parties, story, scratch, program, environment, said, saying })
    }
    fn arguments(&self, party: usize, command: &[&str]) -> Vec<OsString> {
        let state = self.parties[party].state.clone().into_os_string();
        let common = ["--format", "json", "-v", "--no-input"].into_iter().chain(command.iter().copied());
        [OsString::from("--state"), state].into_iter().chain(common.map(OsString::from)).collect()
    }

    /// Runs a command at one party, tells the events that it reports, and returns what it printed.
    pub(super) async fn run(&mut self, party: usize, command: &[&str]) -> Result<Value> {
        let who = self.parties[party].name.clone();
        let shown = format!("`deployctl {}` at {who}", command.join(" "));
        let (sender, mut lines) = mpsc::unbounded_channel();
        let tell = move |line| drop(sender.send(line));
        let mut child = Child::start(&self.program, &self.arguments(party, command), &self.environment, tell)?;
        let (mut out, mut refusal) = (None, None);
        let deadline = Instant::now() + COMMAND_LIMIT;
        loop {
            let line = timeout_at(deadline, lines.recv());
            match line.await.map_err(|_| failed(format!("{shown} did not end within {COMMAND_LIMIT:?}")))? {
                None => break,
                Some(Line::Out(text)) => out = Some(text),
                Some(Line::Err(text)) => refusal = self.hear(&who, &text).or(refusal),
            }
        }
        if let Some(error) = refusal {
            return Err(error.while_doing(shown));
        }
        let end = loop {
            match child.ended() {
                Some(end) => break end,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let read = out.filter(|_| end.ok).and_then(|text| serde_json::from_str(&text).ok());
        read.ok_or_else(|| failed(format!("{shown} printed no result ({})", end.status)))
    }
    /// Tells an event; returns what is an error.
    fn hear(&mut self, who: &str, line: &str) -> Option<Error> {
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            return Some(failed(format!("{who} said: {line}")));
        };
        if let Some(error) = value.get("error") {
            return Some(
                serde_json::from_value(error.clone()).unwrap_or_else(|_| failed(format!("{who} said: {line}"))),
            );
        }
        self.story.event(who, &value);
        None
    }

    /// Starts a party's node and waits until it is ready.
    pub(super) async fn serve(&mut self, party: usize) -> Result<()> {
        let services = self.scratch.path().join(SERVICES).display().to_string();
        let mut command = vec!["serve", "--listen", "127.0.0.1:0"];
        if party == super::PROVIDER {
            command.extend(["--services", &services]);
        }
        let sender = self.saying.clone();
        let tell = move |line| drop(sender.send((party, line)));
        let child = Child::start(&self.program, &self.arguments(party, &command), &self.environment, tell)?;
        self.parties[party].node = Some(child);
        let deadline = Instant::now() + COMMAND_LIMIT;
        while self.parties[party].address.is_none() {
            self.listen(deadline.min(Instant::now() + LOOK)).await?;
            if Instant::now() >= deadline {
                return Err(failed(format!("the node of {} did not get ready", self.parties[party].name)));
            }
        }
        Ok(())
    }
    /// Tells what the nodes say until `deadline`, and finds out whether one has ended.
    pub(super) async fn listen(&mut self, deadline: Instant) -> Result<()> {
        while let Ok(Some((party, line))) = timeout_at(deadline, self.said.recv()).await {
            let who = self.parties[party].name.clone();
            match line {
                Line::Out(text) => {
                    let ready: Value = serde_json::from_str(&text).unwrap_or_default();
                    self.parties[party].address = ready["address"].as_str().and_then(|address| address.parse().ok());
                    return Ok(());
                }
                Line::Err(text) => {
                    if let Some(error) = self.hear(&who, &text) {
                        return Err(error.while_doing(format!("the node of {who}")));
                    }
                }
            }
        }
        for party in &mut self.parties {
            if let Some(end) = party.node.as_mut().and_then(Child::ended) {
                return Err(failed(format!("the node of {} ended: {}", party.name, end.status)));
            }
        }
        Ok(())
    }

    /// Tells what the nodes say for a short while.
    pub(super) async fn listen_a_moment(&mut self) -> Result<()> {
        self.listen(Instant::now() + LOOK).await
    }
    /// The process ids of the nodes.
    pub(super) fn nodes(&self) -> Vec<u32> {
        self.parties.iter().filter_map(|party| party.node.as_ref()).map(Child::pid).collect()
    }

    /// Asks every party how far it is, again and again, until `reached` says of each that it is there. `wrong` says why it
    /// will not come to that.
    pub(super) async fn until(
        &mut self,
        session: &str,
        reached: impl Fn(&Value) -> bool,
        wrong: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        for party in 0..self.parties.len() {
            loop {
                self.listen(Instant::now() + LOOK).await?;
                let status = self.run(party, &["status", session]).await?;
                if reached(&status) {
                    break;
                }
                if wrong(&status) {
                    let (state, reason) = (&status["state"], &status["reason"]);
                    return Err(failed(format!("at {} the session is {state}: {reason}", self.parties[party].name)));
                }
            }
        }
        Ok(())
    }

    /// Asks every node to end, and waits for it.
    pub(super) async fn end_nodes(&mut self) -> Result<()> {
        for party in &self.parties {
            party.node.iter().for_each(Child::ask_to_stop);
        }
        for party in &mut self.parties {
            let Some(node) = party.node.as_mut() else { continue };
            let ended = async {
                loop {
                    match node.ended() {
                        Some(end) => break end,
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            };
            let end = timeout(COMMAND_LIMIT, ended)
                .await
                .map_err(|_| failed(format!("the node of {} did not end", party.name)))?;
            if !end.ok {
                return Err(failed(format!("the node of {} ended with {}", party.name, end.status)));
            }
            party.node = None;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The nodes first: they would start again what else is ended. The folder goes last, by its own drop.
        for party in &mut self.parties {
            party.node = None;
        }
        end_all_below(self.scratch.path());
    }
}

pub(super) fn failed(what: impl Into<String>) -> Error {
    Error::new(Code::ServiceFailed, what)
}
