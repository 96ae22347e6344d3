//! What is wrong with this node, and how to mend it. Looks at everything, changes nothing, and goes on where one thing fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::node::{Node, Setting};
use super::serve;
use crate::discover;
use crate::model::{Address, Code, Error, Key, Name, Result, Span, Time};
use crate::process::{host, sandbox};
use crate::service::definition::Build;
use crate::store::config::Config;
use crate::store::contacts::Contacts;
use crate::store::identity::StoredIdentity;
use crate::store::state::StateDir;
use crate::store::{file, space};

/// A contact that has not answered by then is not reached.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages from further ahead are refused as from the future.
const CLOCK_LIMIT: Span = Span::from_secs(300);
/// From here on somebody should look at the clock.
const CLOCK_WARNING: Span = Span::from_secs(60);
/// Below this much room, services of a usual size will not fit for long.
const LITTLE_ROOM: u64 = 1 << 30;
/// This program was made after that; a clock before it is wrong (2026-01-01).
const MADE_MS: i64 = 1_767_225_600_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is about: a stable word.
    pub check: &'static str,
    pub level: Level,
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), remedy: None }
    }
    fn warning(check: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, message: message.into(), remedy: Some(remedy.into()) }
    }
    fn failed(check: &'static str, level: Level, error: Error) -> Self {
        Self { check, level, message: error.message, remedy: error.hint }
    }
}

/// Looks at everything; without `network` at nothing that would be sent.
pub async fn examine(path: &Path, setting: Setting, network: bool) -> Vec<Finding> {
    let now = setting.system.now();
    let mut found = vec![sane_clock(now)];
    found.extend(kernel());
    let state = match StateDir::open(path, false) {
        Ok(state) => state,
        Err(error) => {
            found.push(Finding::failed("state", Level::Error, error));
            return found;
        }
    };
    found.push(Finding::ok("state", format!("{}, which nobody else may enter", state.root().display())));
    found.push(room(&state));
    found.extend(exposed(&state));
    found.extend(set_aside(&state));
    let config = Config::load(&state.config());
    found.push(match &config {
        Ok(_) => Finding::ok("config", format!("{} reads", state.config().display())),
        Err(error) => Finding::failed("config", Level::Error, error.clone()),
    });
    found.push(match StoredIdentity::load(&state) {
        Ok(_) => Finding::ok("identity", "the key is there, and only its owner may read it"),
        Err(error) => Finding::failed("identity", Level::Error, error),
    });
    found.push(serving(&state));
    if network {
        found.extend(neighbours(config.as_ref().map_or(&[], |config| &config.serve.interface)));
    }
    match Node::open(state, setting) {
        Ok(node) => {
            let node = Arc::new(node);
            found.extend(services(&node));
            if network {
                found.extend(contacts(&node).await);
            }
        }
        Err(error) if found.iter().all(|one| one.message != error.message) => {
            found.push(Finding::failed("node", Level::Error, error));
        }
        Err(_) => {}
    }
    found
}

fn sane_clock(now: Time) -> Finding {
    if now.unix_ms() < MADE_MS {
        let message = format!("this machine believes that it is {now}, which is before this program was made");
        return Finding {
            level: Level::Error,
            ..Finding::warning("clock", message, "set the clock, and have it kept right: timedatectl set-ntp true")
        };
    }
    Finding::ok("clock", format!("it is {now}"))
}

fn room(state: &StateDir) -> Finding {
    match space::free_at(state.root()) {
        Ok(free) if free < space::RESERVE => Finding {
            level: Level::Error,
            ..Finding::warning(
                "disk",
                format!("{free} bytes are free in {}: nothing can be written safely", state.root().display()),
                "free some space; `deployctl remove --expired` takes what nobody needs any more",
            )
        },
        Ok(free) if free < LITTLE_ROOM => Finding::warning(
            "disk",
            format!("{} MiB are free in {}", free >> 20, state.root().display()),
            "free some space; `deployctl remove --expired` takes what nobody needs any more",
        ),
        Ok(free) => Finding::ok("disk", format!("{} MiB are free", free >> 20)),
        Err(error) => Finding::failed("disk", Level::Error, error),
    }
}

/// Secrets that others of this machine may read.
fn exposed(state: &StateDir) -> Vec<Finding> {
    let mut folders = vec![state.identity(), state.tokens(), state.interfaces()];
    let sessions = state.find_sessions().unwrap_or_default();
    folders.extend(sessions.iter().map(|(session, _)| state.secrets(*session)));
    let public = ["node.crt", "rotations.json"];
    let mut open: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let names = file::list(&folder).unwrap_or_default();
        let paths = names.iter().filter(|name| !public.contains(&name.as_str())).map(|name| folder.join(name));
        open.extend(paths.filter(|path| file::is_open_to_others(path).unwrap_or(false)));
    }
    if open.is_empty() {
        return vec![Finding::ok("keys", "all secrets have modes that keep others out")];
    }
    let finding = |path: PathBuf| Finding {
        level: Level::Error,
        ..Finding::warning(
            "keys",
            format!("others may read {}", path.display()),
            format!("chmod 600 {}, and think of what is in it as known to others", path.display()),
        )
    };
    open.into_iter().map(finding).collect()
}

/// Documents that did not read and were put aside.
fn set_aside(state: &StateDir) -> Vec<Finding> {
    let folders = [state.root().to_owned(), state.identity(), state.contacts(), state.tokens(), state.interfaces()];
    let damaged = |folder: &PathBuf| {
        let names = file::list(folder).unwrap_or_default();
        let names = names.into_iter().filter(|name| name.contains(".damaged"));
        names.map(|name| folder.join(name)).collect::<Vec<_>>()
    };
    let all = folders.iter().flat_map(damaged);
    all.map(|path| {
        Finding::warning(
            "damage",
            format!("{} did not read, and was set aside", path.display()),
            "look at it, mend it and rename it back, or remove it",
        )
    })
    .collect()
}

fn serving(state: &StateDir) -> Finding {
    match serve::running(state) {
        Ok(Some(running)) => match running.listen {
            Some(listen) => Finding::ok("serve", format!("runs, and listens on {listen}")),
            None => Finding::ok("serve", "runs, listens nowhere and asks its providers"),
        },
        Ok(None) => Finding::warning(
            "serve",
            "does not run: nothing goes on by itself",
            "deployctl serve, or systemctl --user enable --now deployctl",
        ),
        Err(error) => Finding::failed("serve", Level::Warning, error),
    }
}

fn kernel() -> Vec<Finding> {
    let kernel = sandbox::Kernel::here();
    let landlock = if !kernel.files {
        let message = "this kernel's Landlock, if it has one, does not hold programs and builds to their files";
        Finding::warning(
            "landlock",
            message,
            "a kernel from 6.2 on with landlock among its LSMs (/sys/kernel/security/lsm); with policy.confinement = \"require\" nothing is started without",
        )
    } else if !(kernel.tcp && kernel.signals) {
        Finding::warning(
            "landlock",
            "this kernel's Landlock holds files, but not all of TCP and signals",
            "a kernel from 6.12 on",
        )
    } else {
        Finding::ok("landlock", "programs and builds are held to their files, TCP ports and signals")
    };
    let namespaces = match kernel.no_namespaces {
        None => Finding::ok("namespaces", "programs and builds without a network can be cut off from it"),
        Some(switch) => Finding::warning(
            "namespaces",
            format!(
                "/proc/sys/{switch} keeps this user from making namespaces: programs without a network are kept from TCP alone"
            ),
            format!("as root: sysctl {}, after reading what it says", switch.replace('/', ".")),
        ),
    };
    vec![landlock, namespaces]
}

/// Whether the local network can be told and heard.
fn neighbours(interfaces: &[String]) -> Vec<Finding> {
    let links = match discover::link::links(interfaces) {
        Ok(links) => links,
        Err(error) => return vec![Finding::failed("discovery", Level::Warning, error)],
    };
    if links.is_empty() {
        return vec![Finding::warning(
            "discovery",
            "no network interface leads to a network",
            "connect one, or name it under [serve] interface",
        )];
    }
    let mut found = Vec::new();
    for link in links {
        for (way, group) in [("UPnP", discover::upnp::ssdp::GROUP), ("DNS-SD", discover::link::MDNS)] {
            found.push(match link.can_hear(group) {
                Ok(()) => Finding::ok("discovery", format!("{way} can be heard on {} ({})", link.name, link.ip)),
                Err(why) => Finding::warning(
                    "discovery",
                    format!("{way} cannot be heard on {}: {why}", link.name),
                    format!("see which program holds UDP port {} alone: ss -ulpn", group.port()),
                ),
            });
        }
    }
    found
}

/// Whether what this node offers reads, and its builds find their programs.
fn services(node: &Node) -> Vec<Finding> {
    let offered = match node.offered() {
        Ok(offered) => offered,
        Err(error) => return vec![Finding::failed("services", Level::Error, error)],
    };
    let mut found = Vec::new();
    for name in offered {
        let offer = match node.offer(&name) {
            Ok(offer) => offer,
            Err(error) => {
                found.push(Finding::failed("services", Level::Error, error));
                continue;
            }
        };
        let missing = offer.definition.roles.values().find_map(|role| match &role.build {
            Build::Command(build) => {
                build.command.first().filter(|program| !program.contains('/') && !can_run(&node.config, program))
            }
            Build::Copy(_) => None,
        });
        found.push(match missing {
            Some(program) => Finding::warning(
                "services",
                format!("{name} is built by {program}, which is not installed"),
                "install it, or name its folder under [build] path",
            ),
            None => Finding::ok("services", format!("{name} reads, and its builds find their programs")),
        });
    }
    found
}

fn can_run(config: &Config, program: &str) -> bool {
    host::find_program(program).is_some()
        || config.build.path.iter().any(|folder| file::exists(&folder.join(program)).unwrap_or(false))
}

/// Who of the contacts answers, under which key, and what time it is there.
async fn contacts(node: &Arc<Node>) -> Vec<Finding> {
    let all = match Contacts::of(&node.state).list() {
        Ok(all) => all,
        Err(error) => return vec![Finding::failed("contacts", Level::Error, error)],
    };
    let mut asked = JoinSet::new();
    for contact in all.into_iter().filter(|contact| contact.address.host.is_some()) {
        let (node, address) = (Arc::clone(node), contact.address.clone());
        asked.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, node.client.look(&address)).await;
            let late = |_| Err(Error::new(Code::TimedOut, format!("no answer within {} s", PATIENCE.as_secs())));
            (contact.name, address, answer.unwrap_or_else(late))
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    answers.into_iter().map(|(name, address, answer)| contact(&name, &address, answer, node.system.now())).collect()
}

fn contact(name: &Name, address: &Address, answer: Result<(Key, Option<Time>)>, now: Time) -> Finding {
    let (key, theirs) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let remedy = error.hint.unwrap_or_else(|| {
                "check that it runs, its address, and that a firewall lets the port through".to_owned()
            });
            return Finding::warning("contacts", format!("{name} cannot be reached: {}", error.message), remedy);
        }
    };
    if key != address.key {
        let message = format!("at {name}'s place another key answers: {}", key.short());
        return Finding::warning(
            "contacts",
            message,
            format!(
                "ask {name}: it has moved, or has a new key, or somebody is in between. A new key is followed by itself where it was handed over"
            ),
        );
    }
    let Some(theirs) = theirs else { return Finding::ok("contacts", format!("{name} answers")) };
    let apart = now.since(theirs).max(theirs.since(now));
    let message = format!("{name} answers; its clock is {apart} away from this one");
    if apart < CLOCK_WARNING {
        return Finding::ok("contacts", format!("{name} answers, and its clock agrees"));
    }
    let level = if apart >= CLOCK_LIMIT { Level::Error } else { Level::Warning };
    Finding {
        level,
        ..Finding::warning(
            "contacts",
            message,
            "have both clocks kept right (timedatectl set-ntp true): messages from more than 5 min ahead are refused",
        )
    }
}
