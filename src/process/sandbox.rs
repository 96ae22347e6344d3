//! What holds a program within its limits: resource limits, Landlock for files, signals and TCP ports, a network namespace
//! for those that have no network. All of it binds a thread and what that starts, and cannot be taken back.

#![expect(clippy::disallowed_methods, reason = "tells the kernel who this process is in its own namespace")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope, path_beneath_rules,
};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, netlink};
use rustix::process::{Resource, Rlimit, getgid, getrlimit, getuid, setrlimit};
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde::{Deserialize, Serialize};

use crate::service::permission::Access as Declared;

/// The newest Landlock that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V9;
/// The first Landlock that keeps files outside from being cut short, too.
const FIRST_WITH_FILES: ABI = ABI::V3;
/// The first Landlock that refuses TCP.
const FIRST_WITH_TCP: ABI = ABI::V4;
/// The first Landlock that refuses signals.
const FIRST_WITH_SIGNALS: ABI = ABI::V6;
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
    /// Whether only its own processes can be signalled.
    #[serde(default)]
    pub signals: bool,
    pub network: Network,
}

/// What a program can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing: a namespace of its own.
    Cut,
    /// By TCP the ports that it may, on any host; this kernel does not hold the rest.
    Ports,
    /// Nothing by TCP; this kernel does not hold the rest.
    NoTcp,
    /// Everything, because this kernel does not hold it.
    Open,
    /// Everything, as it may.
    Allowed,
}

impl Level {
    /// Whether all is held that a kernel can hold.
    pub fn is_full(self) -> bool {
        self.files && matches!(self.network, Network::Cut | Network::Ports | Network::Allowed)
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.files, self.network) {
            (true, Network::Cut) => "files and network held",
            (true, Network::Ports) => "files and network held (TCP by its ports; not by host, and not UDP)",
            (true, Network::NoTcp) => "files held, of the network TCP alone",
            (true, Network::Open) => "files held, network not",
            (true, Network::Allowed) => "files held, network free as declared",
            (false, Network::Cut) => "network held, files not",
            (false, Network::Ports | Network::NoTcp) => "of the network TCP held, files not",
            (false, Network::Open) => "not held",
            (false, Network::Allowed) => "files not held, network free as declared",
        })
    }
}

/// What a program may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Read beside the system's folders.
    pub read: Vec<PathBuf>,
    /// Folders to read and write in.
    pub write: Vec<PathBuf>,
    /// Files to read and write that are there already.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    pub network: Reach,
    /// Absent: as this process has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// How much of the network a program may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    Everything,
    #[default]
    Nothing,
    /// By TCP: these ports here, and these anywhere.
    Ports {
        listen: BTreeSet<u16>,
        connect: BTreeSet<u16>,
    },
}

impl Reach {
    /// What was declared. The hosts are for people: the kernel does not tell them apart.
    pub fn of(declared: &[Declared]) -> Self {
        let (mut listen, mut connect) = (BTreeSet::new(), BTreeSet::new());
        for access in declared {
            match access {
                Declared::Any => return Self::Everything,
                Declared::Listen(port) => listen.insert(*port),
                Declared::Connect(host) => connect.insert(host.port),
            };
        }
        if declared.is_empty() { Self::Nothing } else { Self::Ports { listen, connect } }
    }
}

/// What a command may spend that has to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Processor time of one process, so that even what escapes everything else comes to an end.
    pub cpu_secs: u64,
}

/// Calls `start` on a thread that is held, and so is what it starts; this thread, which must be the only one, stays free
/// to watch over it. What this kernel cannot hold shows in the level.
pub(super) fn hold<T: Send>(bounds: &Bounds, start: impl FnOnce(Level) -> T + Send) -> T {
    limit(Resource::Core, 0);
    if let Some(limits) = &bounds.limits {
        rustix::process::umask(Mode::from_raw_mode(0o022));
        limit(Resource::Fsize, limits.file_bytes);
        limit(Resource::Nofile, OPEN_FILES);
        limit(Resource::As, MEMORY_BYTES);
        limit(Resource::Cpu, limits.cpu_secs);
    }
    // What this process was handed by mistake is not handed on.
    close_fds::set_fds_cloexec(3, &[]);
    // Also where there is no Landlock, which demands it: programs that run as others (sudo) do not do so here.
    let _ = rustix::thread::set_no_new_privs(true);
    let cut = bounds.network == Reach::Nothing && leave_network();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            drop_capabilities();
            // Without rules the ABI is that of a kernel without Landlock.
            let abi = restrict(bounds, cut).unwrap_or(ABI::Unsupported);
            start(level(&bounds.network, cut, abi))
        });
        held.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What root keeps when it is held: to own files and ports. The rest would lead around the rules.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// Takes all other capabilities from what this thread starts. Who has none to take cannot, and need not.
fn drop_capabilities() {
    let all = (0..u64::BITS).map(|n| CapabilitySet::from_bits_retain(1 << n));
    for one in all.filter(|one| !KEPT.contains(*one)) {
        // Most of the 64 do not exist.
        let _ = rustix::thread::remove_capability_from_bounding_set(one);
    }
}

fn level(reach: &Reach, cut: bool, abi: ABI) -> Level {
    let network = match reach {
        Reach::Everything => Network::Allowed,
        Reach::Nothing if cut => Network::Cut,
        _ if abi < FIRST_WITH_TCP => Network::Open,
        Reach::Nothing => Network::NoTcp,
        Reach::Ports { .. } => Network::Ports,
    };
    Level { files: abi >= FIRST_WITH_FILES, signals: abi >= FIRST_WITH_SIGNALS, network }
}

/// What this machine has for holding programs.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Whether Landlock keeps programs to their files, refuses TCP, and refuses signals to others.
    pub files: bool,
    pub tcp: bool,
    pub signals: bool,
    /// What keeps this user from making user namespaces; nothing that is known of.
    pub no_namespaces: Option<&'static str>,
}

impl Kernel {
    /// Tries it on a thread that ends with that.
    pub fn here() -> Self {
        let bounds =
            Bounds { read: Vec::new(), write: Vec::new(), files: Vec::new(), network: Reach::Nothing, limits: None };
        let abi =
            std::thread::scope(|scope| scope.spawn(|| restrict(&bounds, false).unwrap_or(ABI::Unsupported)).join());
        let abi = abi.unwrap_or(ABI::Unsupported);
        let says = |file: &str, value: &str| {
            std::fs::read_to_string(Path::new("/proc/sys").join(file)).is_ok_and(|text| text.trim() == value)
        };
        let switches = [
            ("user/max_user_namespaces", "0"),
            ("kernel/unprivileged_userns_clone", "0"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ];
        let no_namespaces = switches.into_iter().find(|(file, value)| says(file, value)).map(|(file, _)| file);
        Self {
            files: abi >= FIRST_WITH_FILES,
            tcp: abi >= FIRST_WITH_TCP,
            signals: abi >= FIRST_WITH_SIGNALS,
            no_namespaces,
        }
    }
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
        // For programs that talk to themselves; others do without.
        let _ = raise_loopback();
    }
    left
}

/// Switches the loopback interface of this namespace on: `RTM_NEWLINK` for the first interface, rtnetlink(7).
fn raise_loopback() -> rustix::io::Result<()> {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    // The family's protocol 0.
    const NETLINK_ROUTE: Option<Protocol> = None;
    let mut message = Vec::new();
    // nlmsghdr: length, type, flags, sequence, sender.
    message.extend(LENGTH.to_ne_bytes());
    message.extend([RTM_NEWLINK, NLM_F_REQUEST].map(u16::to_ne_bytes).concat());
    message.extend([0; 8]);
    // ifinfomsg: family and type, index, flags, which of them.
    message.extend([0; 4]);
    message.extend([1, IFF_UP, IFF_UP].map(u32::to_ne_bytes).concat());
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, NETLINK_ROUTE)?;
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &kernel).map(drop)
}

/// Binds this thread, which may be cut off from the network already. Gives the Landlock that this kernel has for it.
fn restrict(bounds: &Bounds, cut: bool) -> Result<ABI, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    // No devices: whoever is root could make one of a disk.
    let in_folders = all & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let in_files = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let mut rules = Ruleset::default().handle_access(all)?;
    // What has a network of its own may use that.
    if bounds.network != Reach::Everything && !cut {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut read: Vec<&Path> = SYSTEM.iter().map(Path::new).collect();
    read.extend(bounds.read.iter().map(PathBuf::as_path));
    if bounds.network != Reach::Nothing {
        read.extend(FOR_NETWORK.iter().map(Path::new));
    }
    let mut rules = rules
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(DEVICES, all))?
        .add_rules(path_beneath_rules(&bounds.files, in_files))?
        .add_rules(path_beneath_rules(&bounds.write, in_folders))?;
    if let Reach::Ports { listen, connect } = &bounds.network {
        rules = rules.add_rules(ports(listen, AccessNet::BindTcp))?.add_rules(ports(connect, AccessNet::ConnectTcp))?;
    }
    Ok(match rules.restrict_self()?.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        _ => ABI::Unsupported,
    })
}

fn ports(
    ports: &BTreeSet<u16>,
    access: impl Into<BitFlags<AccessNet>> + Copy,
) -> impl Iterator<Item = Result<NetPort, RulesetError>> {
    ports.iter().map(move |port| Ok(NetPort::new(*port, access)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_says_how_far_a_program_may_reach() {
        let of = |texts: &[&str]| Reach::of(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&[]), Reach::Nothing);
        assert_eq!(of(&["listen:80", "any"]), Reach::Everything);
        let ports = Reach::Ports { listen: [80, 81].into(), connect: [443].into() };
        assert_eq!(of(&["listen:80", "connect:a.example:443", "listen:81", "connect:b.example:443"]), ports);
    }

    #[test]
    fn the_level_says_what_a_kernel_holds_and_what_it_does_not() {
        let ports = Reach::Ports { listen: [80].into(), connect: BTreeSet::new() };
        let cases = [
            (&Reach::Nothing, true, ABI::V6, "files and network held", true),
            (&Reach::Nothing, false, ABI::V6, "files held, of the network TCP alone", false),
            (&Reach::Nothing, false, ABI::V3, "files held, network not", false),
            (&Reach::Nothing, true, ABI::V2, "network held, files not", false),
            (&Reach::Nothing, false, ABI::Unsupported, "not held", false),
            (&ports, false, ABI::V4, "files and network held (TCP by its ports; not by host, and not UDP)", true),
            (&ports, false, ABI::V3, "files held, network not", false),
            (&Reach::Everything, false, ABI::V3, "files held, network free as declared", true),
            (&Reach::Everything, false, ABI::V1, "files not held, network free as declared", false),
        ];
        for (reach, cut, abi, text, is_full) in cases {
            let level = level(reach, cut, abi);
            assert_eq!((level.to_string().as_str(), level.is_full()), (text, is_full), "{reach:?} {abi:?}");
            assert_eq!(level.signals, abi >= ABI::V6);
        }
    }
}
