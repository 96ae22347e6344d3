//! What holds a program within its limits: resource limits, Landlock for files, a network namespace or Landlock for the
//! network. All of it binds this very process and what it starts, and cannot be taken back.

#![expect(clippy::disallowed_methods, reason = "tells the kernel who this process is in its own namespace")]

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getgid, getrlimit, getuid, setrlimit};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

/// The newest Landlock that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V9;
/// The first Landlock that refuses TCP.
const FIRST_WITH_TCP: ABI = ABI::V4;
/// Where systems keep programs and what those read. Those that are not there are passed over.
const SYSTEM: [&str; 12] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys", "/nix/store", "/gnu/store"];
/// Where names of hosts are looked up, beside the above.
const FOR_NETWORK: [&str; 2] = ["/run/systemd/resolve", "/run/NetworkManager"];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Bytes of one process's address space: a runaway ends, and runtimes that reserve much of it still run.
const MEMORY_BYTES: u64 = 32 << 30;
/// Files open at once in one process.
const OPEN_FILES: u64 = 4096;

/// How far a program is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Whether only its own folders can be written, and only they and the system's be read.
    pub files: bool,
    pub network: Network,
}

/// What a program can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing: a namespace of its own.
    Cut,
    /// Nothing by TCP; this kernel does not hold the rest.
    NoTcp,
    /// Everything, because this kernel does not hold it.
    Open,
    /// Everything, as it may.
    Allowed,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.files { "held to its own files" } else { "NOT held to its own files by this kernel" })?;
        f.write_str(match self.network {
            Network::Cut => ", without network",
            Network::NoTcp => ", without TCP (this kernel does not hold the rest of the network)",
            Network::Open => ", NOT kept from the network by this kernel",
            Network::Allowed => ", with network as its definition says",
        })
    }
}

/// What a program may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Read beside the system's folders.
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    pub network: bool,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Processor time of one process, so that even what escapes everything else comes to an end.
    pub cpu_secs: u64,
}

/// Binds this process, which must have one thread only. What this kernel cannot hold shows in the level.
pub(super) fn enter(bounds: &Bounds) -> Level {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit(Resource::Core, 0);
    limit(Resource::Fsize, bounds.file_bytes);
    limit(Resource::Nofile, OPEN_FILES);
    limit(Resource::As, MEMORY_BYTES);
    limit(Resource::Cpu, bounds.cpu_secs);
    // Also where there is no Landlock, which demands it: programs that run as others (sudo) do not do so here.
    let _ = rustix::thread::set_no_new_privs(true);
    let cut = !bounds.network && leave_network();
    let held = restrict(bounds).ok();
    let network = match held {
        _ if bounds.network => Network::Allowed,
        _ if cut => Network::Cut,
        Some(Held { tcp: true, .. }) => Network::NoTcp,
        _ => Network::Open,
    };
    Level { files: held.is_some_and(|held| held.files), network }
}

/// Never above what this process may set for itself. A limit that cannot be set is one less, not a failure.
fn limit(resource: Resource, most: u64) {
    let maximum = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
    let _ = setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) });
}

/// Into a user and a network namespace of its own, in which there is nothing; says whether it went.
fn leave_network() -> bool {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    #[expect(deprecated, reason = "what is unsound is sharing file tables between threads; neither happens here")]
    let left = rustix::thread::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).is_ok();
    if left {
        // Its own name in there. Without, it is called nobody, and everything still works but for programs that ask.
        let own = |file: &str, text: String| std::fs::write(Path::new("/proc/self").join(file), text);
        let _ = own("setgroups", "deny".to_owned());
        let _ = own("uid_map", format!("{user} {user} 1"));
        let _ = own("gid_map", format!("{group} {group} 1"));
    }
    left
}

#[derive(Clone, Copy)]
struct Held {
    files: bool,
    tcp: bool,
}

fn restrict(bounds: &Bounds) -> Result<Held, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let mut rules = Ruleset::default().handle_access(all)?;
    if !bounds.network {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut read: Vec<&Path> = SYSTEM.iter().map(Path::new).collect();
    read.extend(bounds.read.iter().map(PathBuf::as_path));
    if bounds.network {
        read.extend(FOR_NETWORK.iter().map(Path::new));
    }
    let status = rules
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(DEVICES, all))?
        .add_rules(path_beneath_rules(&bounds.write, all))?
        .restrict_self()?;
    let tcp =
        matches!(status.landlock, LandlockStatus::Available { effective_abi, .. } if effective_abi >= FIRST_WITH_TCP);
    Ok(Held { files: status.ruleset != RulesetStatus::NotEnforced, tcp: tcp && !bounds.network })
}
