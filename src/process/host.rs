//! What this machine has: memory, disk, processor, display, programs and their versions; and which of a role's
//! requirements it does not meet.

#![expect(clippy::disallowed_methods, reason = "asks the machine")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use regex_lite::Regex;

use super::PATH;
use super::command::Tools;
use super::pid::{self, Identity};
use crate::service::device::{DeviceDescription, Tool};
use crate::service::fit;
use crate::service::platform::Platform;
use crate::service::requirement::{ProgramVersion, Requirement};

/// Programs that are asked for their version, and how: a requirement comes from another party and is looked at before
/// anybody agreed to anything, so that nothing else is run for its sake. Of others it is enough that they are there.
const TELL_VERSION: [(&str, &str); 24] = [
    ("bash", "--version"),
    ("cargo", "--version"),
    ("cmake", "--version"),
    ("curl", "--version"),
    ("deno", "--version"),
    ("docker", "--version"),
    ("dotnet", "--version"),
    ("ffmpeg", "-version"),
    ("gcc", "--version"),
    ("git", "--version"),
    ("go", "version"),
    ("java", "-version"),
    ("jvm", "-version"),
    ("make", "--version"),
    ("node", "--version"),
    ("perl", "--version"),
    ("php", "--version"),
    ("podman", "--version"),
    ("python", "--version"),
    ("python3", "--version"),
    ("ruby", "--version"),
    ("rustc", "--version"),
    ("sqlite3", "--version"),
    ("tar", "--version"),
];
/// A program has so long to tell its version …
const VERSION_LIMIT: Duration = Duration::from_secs(3);
/// … and so many bytes.
const VERSION_BYTES: u64 = 16 * 1024;
/// Tools that a description of this machine tells of, beside those that tell their versions and the emulators.
const LOOKED_FOR: [&str; 10] =
    ["bwrap", "flatpak", "glibc", "kernel", "musl", "qemu-user", "sh", "systemctl", "unzip", "xdg-open"];
/// Programs that are looked for because others' programs require them; beyond that they are not held against this machine.
const MAX_FURTHER: usize = 64;

/// Everything that this machine can say of itself to somebody who has programs. `environment` is the user's, which says
/// whether there is a display. Asks programs for their versions, each for 3 s at most and all at once.
pub fn describe(disk_at: &Path, environment: &BTreeMap<String, String>) -> DeviceDescription {
    let names = TELL_VERSION.iter().map(|(name, _)| (*name).to_owned());
    let others = LOOKED_FOR.iter().map(|name| (*name).to_owned());
    let mut device = facts(disk_at, environment);
    device.tools = look_for(names.chain(others).chain(fit::emulators()).collect());
    device
}

/// One sentence for each requirement that this machine does not meet. What cannot be found out is not held against it.
pub fn unmet(requirements: &[Requirement], disk_at: &Path, environment: &BTreeMap<String, String>) -> Vec<String> {
    let device = describe_for(requirements, disk_at, environment);
    requirements.iter().filter_map(|wanted| Some(format!("{wanted}: {}", fit::lacking(wanted, &device)?))).collect()
}

/// This machine as far as these requirements want to know it.
pub fn describe_for(
    requirements: &[Requirement],
    disk_at: &Path,
    environment: &BTreeMap<String, String>,
) -> DeviceDescription {
    let named = requirements.iter().filter_map(|wanted| match wanted {
        Requirement::Program { name, .. } => Some(name.clone()),
        _ => None,
    });
    let mut device = facts(disk_at, environment);
    device.tools = look_for(named.collect());
    device
}

/// Nothing but what these requirements name and the description of this machine does not tell of. Where it tells of no
/// tools at all, it is of another machine, and nothing is looked for.
pub fn look_further<'a>(
    requirements: impl Iterator<Item = &'a Requirement>,
    described: &DeviceDescription,
) -> DeviceDescription {
    let untold = requirements.filter_map(|wanted| match wanted {
        Requirement::Program { name, .. } => Some(name).filter(|name| !described.tools.contains_key(*name)),
        _ => None,
    });
    let names: BTreeSet<&String> = if described.tools.is_empty() { BTreeSet::new() } else { untold.collect() };
    let mut device = DeviceDescription::of(described.platform.clone());
    device.tools = look_for(names.into_iter().take(MAX_FURTHER).cloned().collect());
    device
}

/// All but the tools.
fn facts(disk_at: &Path, environment: &BTreeMap<String, String>) -> DeviceDescription {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // The folder itself may not have been made yet.
    let disk = disk_at.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    let top_khz = || read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").trim().parse::<u64>().ok();
    let shows = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    DeviceDescription {
        system: system_name(&read("/etc/os-release")),
        memory: memory_bytes(&read("/proc/meminfo")),
        disk: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        cpu_mhz: cpu_mhz(&read("/proc/cpuinfo")).or_else(|| Some(top_khz()? / 1000)),
        cpus: std::thread::available_parallelism().ok().map(|cpus| cpus.get() as u64),
        display: Some(shows("DISPLAY") || shows("WAYLAND_DISPLAY")),
        ..DeviceDescription::of(Platform::here())
    }
}

/// `PRETTY_NAME` of os-release(5).
fn system_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').chars().take(100).collect())
}

/// Looks for programs, all at the same time.
fn look_for(names: Vec<String>) -> BTreeMap<String, Tool> {
    std::thread::scope(|scope| {
        let looking: Vec<_> = names.into_iter().map(|name| scope.spawn(|| (tool(&name), name))).collect();
        looking.into_iter().filter_map(|one| one.join().ok()).map(|(tool, name)| (name, tool)).collect()
    })
}

fn tool(name: &str) -> Tool {
    match name {
        "kernel" => kernel().map_or(Tool::There, Tool::Version),
        "glibc" | "musl" => {
            libc().filter(|(libc, _)| *libc == name).map_or(Tool::Absent, |(_, version)| Tool::Version(version))
        }
        _ => match find_program(name) {
            Some(path) => program_version(&path, name).map_or(Tool::There, Tool::Version),
            None => Tool::Absent,
        },
    }
}

fn kernel() -> Option<ProgramVersion> {
    version_in(rustix::system::uname().release().to_str().ok()?)?.parse().ok()
}

/// The C library: `ldd` is part of it, and tells its version.
fn libc() -> Option<(&'static str, ProgramVersion)> {
    let told = output_of(&find_executable("ldd")?, &["--version"], VERSION_LIMIT)?;
    let name = if told.contains("musl") { "musl" } else { "glibc" };
    let line = told.lines().find(|line| line.contains("ersion") || line.contains("ldd"))?;
    Some((name, version_in(line.rsplit(' ').next().unwrap_or(line))?.parse().ok()?))
}

/// The program's file on the fixed path. `python` is also looked for as `python3`; `jvm` is `java`, and `qemu-user` any of
/// its emulators.
pub fn find_program(name: &str) -> Option<PathBuf> {
    match name {
        "python" => find_executable("python3").or_else(|| find_executable("python")),
        "jvm" => find_executable("java"),
        "qemu-user" => {
            fit::emulators().iter().filter(|name| name.starts_with("qemu-")).find_map(|name| find_executable(name))
        }
        _ => find_executable(name),
    }
}

/// A file of exactly this name on the fixed path.
pub(super) fn find_executable(name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| is_executable(path))
}

/// Whether it is a file that somebody may execute.
pub(super) fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// The first dotted number of what a program of this well-known name tells when it is asked for its version, within
/// 3 s. Nothing for names that are not well known: who knows what those would do.
pub fn program_version(path: &Path, name: &str) -> Option<ProgramVersion> {
    let (_, argument) = TELL_VERSION.iter().find(|(known, _)| *known == name)?;
    let version = version_in(&output_of(path, &[argument], VERSION_LIMIT)?)?;
    // Java 8 and older call themselves 1.8.
    let old_java = version.strip_prefix("1.").filter(|_| matches!(name, "java" | "jvm"));
    old_java.unwrap_or(&version).parse().ok()
}

/// What builds need so that they find Rust: its compiler is in one of these folders or on the fixed path, where it may stand
/// for the one of rustup. Nothing where it or a linker is missing.
pub fn rust(folders: impl Iterator<Item = PathBuf>) -> Option<Tools> {
    let mut all = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join("rustc"));
    let rustc = all.find(|path| is_executable(path)).or_else(|| find_executable("rustc"))?;
    let told = output_of(&rustc, &["--print", "sysroot"], VERSION_LIMIT)?;
    let root = PathBuf::from(told.trim());
    let bin = root.join("bin");
    (is_executable(&bin.join("rustc")) && find_executable("cc").is_some())
        .then(|| Tools { path: vec![bin], read: vec![root] })
}

/// The beginning of what a program prints before it ends or the time is up. It and its group are gone afterwards.
fn output_of(path: &Path, arguments: &[&str], limit: Duration) -> Option<String> {
    let (reader, writer) = std::io::pipe().ok()?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().envs([("PATH", PATH), ("LANG", "C.UTF-8")]).current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(writer.try_clone().ok()?).stderr(writer);
    let mut child = command.spawn().ok()?;
    // The command holds our ends of the pipe, which would keep it open.
    drop(command);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.take(VERSION_BYTES).read_to_end(&mut bytes);
        // Nobody may be waiting any more.
        let _ = send.send(read.map(|_| bytes));
    });
    let told = receive.recv_timeout(limit);
    if let Some(leader) = Identity::of(child.id()) {
        leader.signal_group(rustix::process::Signal::KILL);
        for member in pid::family(&[leader], None) {
            member.identity.signal(rustix::process::Signal::KILL);
        }
    }
    let _ = child.wait();
    Some(String::from_utf8_lossy(&told.ok()?.ok()?).into_owned())
}

fn version_in(text: &str) -> Option<String> {
    let dotted = Regex::new(r"[0-9]+\.[0-9]+(\.[0-9]+)?").ok()?;
    let whole = Regex::new(r"[0-9]+").ok()?;
    dotted.find(text).or_else(|| whole.find(text)).map(|found| found.as_str().to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn cpu_mhz(cpuinfo: &str) -> Option<u64> {
    let lines = cpuinfo.lines().filter(|line| line.starts_with("cpu MHz"));
    let mhz = lines.filter_map(|line| line.split_once(':')?.1.trim().split('.').next()?.parse().ok());
    mhz.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet_here(requirements: &[&str]) -> Vec<String> {
        let requirements: Vec<_> = requirements.iter().map(|text| text.parse::<Requirement>().unwrap()).collect();
        unmet(&requirements, Path::new("/not/made/yet"), &BTreeMap::new())
    }

    #[test]
    fn what_this_machine_has_is_met() {
        let environment = BTreeMap::from([("DISPLAY".to_owned(), ":0".to_owned())]);
        assert_eq!(facts(Path::new("/"), &environment).display, Some(true));
        let none: [String; 0] = [];
        assert_eq!(unmet_here(&["sh", "memory>=1MiB", "disk>=1MiB", "cpus>=1", "cpu-mhz>=1"]), none);
    }

    #[test]
    fn what_it_lacks_is_named_with_what_it_has() {
        let unmet = unmet_here(&["no-such-tool>=2", "memory>=900TiB", "display", "perl>=99.1"]);
        assert_eq!(unmet[0], "no-such-tool>=2: not found on this machine");
        assert!(unmet[1].starts_with("memory>=900TiB: this machine has ") && unmet[1].ends_with(" MiB"));
        assert_eq!(unmet[2], "display: this machine has no display");
        assert!(unmet[3].starts_with("perl>=99.1: perl 5."), "{}", unmet[3]);
    }

    fn tool(script: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        // Written by another process: a file that this one has open while a test beside it forks is “busy”.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let written = Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(script).status();
        assert!(written.unwrap().success());
        (folder, path)
    }

    #[test]
    fn versions_are_read_from_either_stream() {
        let (_folder, path) = tool("echo Tool for 64 bits, version v3.9.18-rc1");
        assert_eq!(program_version(&path, "python"), "3.9.18".parse().ok());
        let (_folder, path) = tool("echo 'openjdk version \"1.8.0_292\"' >&2");
        assert_eq!(program_version(&path, "jvm"), "8.0.0".parse().ok());
        let (_folder, path) = tool("echo openjdk 17");
        assert_eq!(program_version(&path, "java"), "17.0.0".parse().ok());
        let (_folder, path) = tool("exit 1");
        assert_eq!(program_version(&path, "python"), None);
    }

    #[test]
    fn a_program_that_is_not_well_known_is_not_run_for_its_version() {
        let (folder, path) = tool("touch \"$(dirname \"$0\")/ran\"; echo 1.2");
        assert_eq!(program_version(&path, "launch-the-rockets"), None);
        assert!(!folder.path().join("ran").exists());
        assert_eq!(unmet_here(&["sh>=99"]), [""; 0]);
        assert!(TELL_VERSION.is_sorted());
    }

    #[test]
    fn a_program_that_does_not_answer_is_ended_with_its_children() {
        let (folder, path) = tool("sleep 60 & echo $! > \"$(dirname \"$0\")/pid\"; wait");
        assert_eq!(output_of(&path, &["--version"], Duration::from_millis(300)), None);
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
        while Identity::of(pid).is_some_and(|left| left.is_alive()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_machine_describes_itself() {
        let device = describe(Path::new("/not/made/yet"), &BTreeMap::new());
        assert_eq!(device.platform, Platform::here());
        assert!(device.has("sh") && device.has("kernel") && device.memory.is_some() && device.disk.is_some());
        assert_eq!(device.tools.get("qemu-s390x").is_some_and(|tool| *tool == Tool::Absent), !device.has("qemu-s390x"));
        assert!(device.has("glibc") || device.has("musl") || find_executable("ldd").is_none());
        assert_eq!(device.clone().check().unwrap(), device);
        assert_eq!(system_name("NAME=x\nPRETTY_NAME=\"Debian 12\"\n").as_deref(), Some("Debian 12"));
    }

    #[test]
    fn figures_are_read_from_proc() {
        assert_eq!(cpu_mhz("cpu MHz\t\t: 2400.123\nx: 1\ncpu MHz\t\t: 2600.9\n"), Some(2600));
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB"), Some(2 << 20));
    }
}
