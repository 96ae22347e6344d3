//! Which process is meant: a pid together with its start time, so that a pid which the system gave to another process
//! is never taken for the old one. Everything that is read from `/proc` about processes is read here.

#![expect(clippy::disallowed_methods, reason = "the one reader of /proc/PID")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use crate::service::counted::Counted;

/// A running process adds at most this much environment to the search for a mark, in bytes.
const MOST_ENVIRONMENT: u64 = 256 * 1024;

/// A clock tick of `/proc`, in milliseconds: 100 a second on every processor that this program is built for.
const MS_PER_TICK: u64 = 10;

/// One process, once and for all (until the machine starts anew: see [`boot`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// In clock ticks since the machine started (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

impl Identity {
    /// The process that has this pid now; a zombie still has one.
    pub fn of(pid: u32) -> Option<Self> {
        let entry = Entry::read(pid)?;
        Some(Self { pid, start_time: entry.start_time })
    }
    /// This very process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }
    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        Entry::read(self.pid).is_some_and(|entry| entry.is(self) && entry.lives())
    }
    /// For how long it has existed, in milliseconds, by the machine's clock that nobody can set.
    pub fn age_ms(&self) -> Option<u64> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
        let now_ms = seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10;
        Some(now_ms.saturating_sub(self.start_time * MS_PER_TICK))
    }
    /// Sends a signal to it and to no other process. Says whether it was there to be signalled.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = raw(self.pid) else { return false };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor pins the process that is looked at next: it cannot become another one any more.
            Ok(process) => self.is_alive() && rustix::process::pidfd_send_signal(process, signal).is_ok(),
            Err(Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE) => {
                self.is_alive() && rustix::process::kill_process(pid, signal).is_ok()
            }
            Err(_) => false,
        }
    }
    /// Sends a signal to the process group that it leads or led, if that group is still the same one.
    pub fn signal_group(&self, signal: Signal) -> bool {
        let reused = Entry::read(self.pid).is_some_and(|entry| !entry.is(self));
        !reused && raw(self.pid).is_some_and(|pid| rustix::process::kill_process_group(pid, signal).is_ok())
    }
}

/// A process that belongs to a run, and its name for people (raw: the program chose it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub identity: Identity,
    pub name: String,
}
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.identity.pid)
    }
}

/// What lives of a run: the leaders and their process groups, whatever carries `mark` (`NAME=value`) in its environment,
/// even if it left the group or its parent ended, and the children of all these. Never this process itself.
pub fn family(leaders: &[Identity], mark: Option<&str>) -> Vec<Member> {
    let entries = table();
    let since = leaders.iter().map(|leader| leader.start_time).min().unwrap_or(0);
    // A pid is not given out again while a group has it as its number: if another process has it, the group is gone.
    let is_theirs = |leader: &&Identity| entries.get(&leader.pid).is_none_or(|entry| entry.is(leader));
    let groups: BTreeSet<u32> = leaders.iter().filter(is_theirs).map(|leader| leader.pid).collect();
    let mut found: BTreeSet<u32> = entries
        .values()
        .filter(|entry| entry.start_time >= since)
        .filter(|entry| groups.contains(&entry.group) || mark.is_some_and(|mark| has_mark(entry.pid, mark)))
        .map(|entry| entry.pid)
        .collect();
    loop {
        let children = entries.values().filter(|entry| found.contains(&entry.parent) && !found.contains(&entry.pid));
        let children: Vec<u32> = children.map(|entry| entry.pid).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&std::process::id());
    found.remove(&1);
    found.iter().filter_map(|pid| entries.get(pid)).filter(|entry| entry.lives()).map(Entry::member).collect()
}

/// What lives of nodes whose state directories are below `folder`: our own processes by their `--state`, the programs that
/// they run or build with by what `DEPLOYCTL_…` names. Other users' processes cannot be looked at.
pub fn users_of(folder: &Path) -> Vec<Member> {
    let own = std::process::id();
    let uses = |entry: &Entry| names_state_below(entry.pid, folder) || has_variable_below(entry.pid, folder);
    table().values().filter(|entry| entry.pid != own && entry.lives() && uses(entry)).map(Entry::member).collect()
}

fn names_state_below(pid: u32, folder: &Path) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    arguments.windows(2).any(|pair| pair[0] == b"--state" && is_below(pair[1], folder))
}

fn has_variable_below(pid: u32, folder: &Path) -> bool {
    environment(pid).split(|byte| *byte == 0).any(|variable| {
        let value = variable.iter().position(|byte| *byte == b'=').map(|at| &variable[at + 1..]);
        variable.starts_with(b"DEPLOYCTL_") && value.is_some_and(|value| is_below(value, folder))
    })
}

fn is_below(path: &[u8], folder: &Path) -> bool {
    Path::new(OsStr::from_bytes(path)).starts_with(folder)
}

/// What this start of the machine is called; identities of another start mean nothing.
pub fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// One line of the process table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    pid: u32,
    name: String,
    state: char,
    parent: u32,
    group: u32,
    start_time: u64,
    /// Of itself, in clock ticks.
    ticks: u64,
    /// Of those of its descendants that were waited for, in clock ticks.
    children_ticks: u64,
}

impl Entry {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?))
    }
    /// `PID (NAME) STATE PPID PGRP …`; the name may hold anything, also parentheses and blanks.
    fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        // Each is two fields, of the process and of the kernel for it.
        let ticks = |at: usize| {
            let pair = [fields.get(at)?.parse::<u64>().ok()?, fields.get(at + 1)?.parse().ok()?];
            Some(pair.iter().sum())
        };
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
            ticks: ticks(11)?,
            children_ticks: ticks(13)?,
        })
    }
    fn is(&self, identity: &Identity) -> bool {
        self.pid == identity.pid && self.start_time == identity.start_time
    }
    fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
    fn member(&self) -> Member {
        let identity = Identity { pid: self.pid, start_time: self.start_time };
        Member { identity, name: self.name.clone() }
    }
}

/// What everything below `guard` used, those that ended and were waited for included. `own` is what the guard itself
/// had used before. Never more than was used: who is waited for while this looks may be missed, and is there next time.
pub fn counted_below(guard: Identity, own: Counted) -> Option<Counted> {
    let entries = table();
    // Ancestors first: what one of them is found to have taken over from a process is not there any more to be read.
    let mut order = vec![guard];
    let mut at = 0;
    while let Some(parent) = order.get(at).copied() {
        let children = entries.values().filter(|entry| entry.parent == parent.pid && entry.pid != parent.pid);
        order.extend(children.map(|entry| Identity { pid: entry.pid, start_time: entry.start_time }));
        at += 1;
    }
    let mut sum = counted_of(guard, false)?.less(own);
    for process in &order[1..] {
        sum = sum.plus(counted_of(*process, true).unwrap_or_default());
    }
    Some(sum)
}

/// What this process used and those that it waited for: of the time, the latter's alone.
pub fn counted_of_self() -> Counted {
    Identity::own().and_then(|own| counted_of(own, false)).unwrap_or_default()
}

/// What a process and those that it waited for used, its own time only if so wanted. The kernel adds up both times and
/// bytes when it is waited for (`wait_task_zombie`).
fn counted_of(process: Identity, with_own_time: bool) -> Option<Counted> {
    let io = std::fs::read_to_string(format!("/proc/{}/io", process.pid)).unwrap_or_default();
    let entry = Entry::read(process.pid).filter(|entry| entry.is(&process))?;
    let bytes = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    let ticks = entry.children_ticks + if with_own_time { entry.ticks } else { 0 };
    Some(Counted { cpu_ms: ticks * MS_PER_TICK, read_bytes: bytes("rchar:"), written_bytes: bytes("wchar:") })
}

fn table() -> BTreeMap<u32, Entry> {
    let Ok(folders) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Entry::read(pid)?))).collect()
}

/// Whether a process was started with `mark` (`NAME=value`) in its environment. Others' environments cannot be read.
fn has_mark(pid: u32, mark: &str) -> bool {
    environment(pid).split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// What a process was started with; nothing for others' processes.
fn environment(pid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/environ")) {
        // A process that ends meanwhile gives what it gives.
        let _ = file.take(MOST_ENVIRONMENT).read_to_end(&mut bytes);
    }
    bytes
}

fn raw(pid: u32) -> Option<Pid> {
    // Pids 0 and 1 are never ours to signal.
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_confuse() {
        let stat = "42 (a) S 1 (x) R 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 2";
        let entry = Entry::parse(stat).unwrap();
        assert_eq!((entry.pid, entry.state, entry.parent, entry.group), (42, 'R', 7, 8));
        assert_eq!((entry.name.as_str(), entry.start_time), ("a) S 1 (x", 12345));
        let stat = "42 (a) R 7 8 9 0 -1 4194560 1 0 0 0 11 22 330 440 20 0 1 0 12345 1 2";
        let entry = Entry::parse(stat).unwrap();
        assert_eq!((entry.ticks, entry.children_ticks), (33, 770));
        assert_eq!(Entry::parse("42 (sh) R 7"), None);
    }

    #[test]
    fn a_pid_of_another_process_is_neither_alive_nor_signalled() {
        let mut child = Command::new("/bin/sleep").arg("30").process_group(0).spawn().unwrap();
        let mine = Identity::of(child.id()).unwrap();
        let earlier = Identity { start_time: mine.start_time - 1, ..mine };
        assert!(mine.is_alive() && !earlier.is_alive());
        assert!(!earlier.signal(Signal::KILL));
        assert!(!earlier.signal_group(Signal::KILL));
        assert_eq!(family(&[earlier], None), []);
        assert!(child.try_wait().unwrap().is_none(), "the process that has the pid now was hit");
        assert!(mine.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!mine.is_alive() && !mine.signal(Signal::KILL));
    }

    #[test]
    fn this_process_is_young() {
        let age_ms = Identity::own().unwrap().age_ms().unwrap();
        assert!(age_ms < 600_000, "{age_ms}");
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = Command::new("/bin/sleep").arg("30").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.signal(Signal::KILL));
        while identity.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(Identity::of(child.id()), Some(identity), "it still has its pid until it is waited for");
        child.wait().unwrap();
    }

    #[test]
    fn who_left_the_group_is_still_family() {
        let mark = "DEPLOYCTL_TEST_MARK=left-the-group";
        let (name, value) = mark.split_once('=').unwrap();
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "setsid sleep 30 & wait"]).env(name, value).process_group(0);
        let mut child = child.spawn().unwrap();
        let leader = Identity::of(child.id());
        while family(leader.as_slice(), Some(mark)).len() < 2 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let left = loop {
            let left = family(leader.as_slice(), Some(mark));
            if left.len() == 1 && left[0].name == "sleep" {
                break left;
            }
            std::thread::yield_now();
        };
        assert!(left[0].identity.signal(Signal::KILL));
    }
}
