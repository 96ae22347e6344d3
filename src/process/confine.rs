//! Running a program within bounds. This is the child's side: a process of deployctl itself, the *guard*, that starts the
//! program bound, and stays as the parent of all that it starts. A command that builds is ended with all of that at its
//! deadline or when nobody wants it any more; a service's program is left to its supervisor, which may change.

#![expect(clippy::disallowed_methods, reason = "starts a command, waits for it, and measures what it writes")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::WaitOptions;
use serde::{Deserialize, Serialize};

use super::ending;
use super::pid::{self, Identity};
use super::sandbox::{self, Bounds, Level};
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Span};
use crate::service::counted::Counted;
use crate::store::{document, file};

/// Between two looks at the command.
const NAP: Duration = Duration::from_millis(10);
/// Between two measurements of what it wrote.
const MEASURE: Duration = Duration::from_secs(2);
/// What is killed and still there after this time is left to the caller.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a report: a few lines.
const MOST_REPORT: u64 = 1 << 20;

/// What to run, and within what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// All of it. The guard has another one: what a definition sets there concerns its program alone.
    pub environment: BTreeMap<String, String>,
    /// To run in.
    pub folder: PathBuf,
    pub bounds: Bounds,
    /// Not to be started where this kernel does not hold all of the bounds.
    #[serde(default)]
    pub require: bool,
    /// Absent: it may go on for as long as it likes, and after its caller is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Most>,
}

/// At most this, for what has to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Most {
    pub deadline: Span,
    /// Bytes that all files in the folders that may be written have together.
    pub bytes: u64,
}

/// How it goes: a file with a line for each change, of which the last holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub level: Level,
    /// Once it has been started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Identity>,
    /// Once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Processes that could not be ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<String>,
    /// What this process had used by itself when it started the program.
    #[serde(default)]
    pub own: Counted,
    /// What was used by everything that it started, once nothing of that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// How a command came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    Exited(i32),
    /// By this signal.
    Killed(i32),
    TooLong,
    TooLarge,
    NotStarted {
        why: String,
        /// The system's number of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
    },
    /// This kernel does not hold it as far as was required.
    NotHeld,
    /// Whoever wanted it has gone.
    Deserted,
}

impl Report {
    /// The latest; none where there is none yet.
    ///
    /// # Errors
    /// `damaged`; `io`.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = file::read_optional(path, MOST_REPORT)?.unwrap_or_default();
        // What has no end yet is still being written.
        let Some(whole) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
        let last = bytes[..whole].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let damaged = |why| Error::new(Code::Damaged, format!("{} does not read: {why}", path.display()));
        serde_json::from_slice(last).map(Some).map_err(damaged)
    }
    fn tell(&self, file: &mut File, path: &Path) -> Result<()> {
        let mut line = serde_json::to_vec(self).map_err(|why| Error::new(Code::Internal, why.to_string()))?;
        line.push(b'\n');
        file.write_all(&line).doing("writing", path)
    }
}

/// Does it. `confinement` and `report` are files; the latter must not be there yet. Returns when nothing of the command
/// is left that this process could end or wait for.
///
/// # Errors
/// `io`, `damaged` for those files.
pub fn confine(confinement: &Path, report: &Path) -> Result<()> {
    let plan: Confinement = document::read_json(confinement)?
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no file {}", confinement.display())))?;
    let made = OpenOptions::new().append(true).create_new(true).mode(0o600).open(report);
    let mut file = made.doing("creating", report)?;
    // Orphans of the command become children of this process, and so are found.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let caller = rustix::process::getppid();
    let own = pid::counted_of_self();
    let (level, started) = sandbox::hold(&plan.bounds, |level| (level, start(&plan, level)));
    let mut told = Report { level, program: None, end: None, survivors: Vec::new(), own, counted: None };
    let child = match started {
        Ok(child) => child,
        Err(end) => return Report { end: Some(end), ..told }.tell(&mut file, report),
    };
    told.program = Identity::of(child.id());
    told.tell(&mut file, report)?;
    let Some(most) = plan.most else {
        stay(&child, |end| {
            told.end = Some(end);
            told.tell(&mut file, report)
        })?;
        told.counted = Some(pid::counted_of_self().less(told.own));
        return told.tell(&mut file, report);
    };
    told.end = Some(watch(child, &plan, most, &|| rustix::process::getppid() == caller));
    told.survivors = end_all();
    told.tell(&mut file, report)
}

fn start(plan: &Confinement, level: Level) -> Result<Child, End> {
    if plan.require && !level.is_full() {
        return Err(End::NotHeld);
    }
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments).env_clear().envs(&plan.environment).current_dir(&plan.folder);
    let started = command.stdin(Stdio::null()).process_group(0).spawn();
    started.map_err(|why| End::NotStarted { why: why.to_string(), errno: why.raw_os_error() })
}

/// Waits until none of the program's processes is left, and tells how the program itself ended.
fn stay(program: &Child, mut tell: impl FnMut(End) -> Result<()>) -> Result<()> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid().cast_unsigned() == program.id() => {
                tell(of_status(ExitStatus::from_raw(status.as_raw())))?;
            }
            Ok(_) | Err(Errno::INTR) => {}
            // There is none left to wait for.
            Err(_) => return Ok(()),
        }
    }
}

fn watch(mut child: Child, plan: &Confinement, most: Most, is_wanted: &dyn Fn() -> bool) -> End {
    let unknown = |why: std::io::Error| End::NotStarted { why: why.to_string(), errno: why.raw_os_error() };
    let begun = Instant::now();
    let mut measured = begun;
    let leader = Identity::of(child.id());
    let end = loop {
        match child.try_wait() {
            Ok(Some(status)) => break of_status(status),
            Ok(None) => {}
            Err(why) => break unknown(why),
        }
        if begun.elapsed() >= most.deadline.as_duration() {
            break End::TooLong;
        }
        if measured.elapsed() >= MEASURE {
            measured = Instant::now();
            if is_too_large(plan, most) {
                break End::TooLarge;
            }
        }
        if !is_wanted() {
            break End::Deserted;
        }
        std::thread::sleep(NAP);
    };
    ending::kill(leader, &[]);
    if matches!(end, End::Exited(0)) && is_too_large(plan, most) { End::TooLarge } else { end }
}

fn of_status(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::NotStarted { why: "an unknown status".to_owned(), errno: None },
    }
}

/// Ends every descendant of this process; names those that stay.
fn end_all() -> Vec<String> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let living = pid::family(Identity::own().as_slice(), None);
        if living.is_empty() || Instant::now() >= deadline {
            return living.iter().map(ToString::to_string).collect();
        }
        ending::kill(None, &living);
        std::thread::sleep(NAP);
    }
}

fn is_too_large(plan: &Confinement, most: Most) -> bool {
    let mut left = most.bytes;
    plan.bounds.write.iter().any(|folder| {
        let fits = count(folder, &mut left);
        !fits
    })
}

/// Takes the lengths of the files below a folder off `left`; false where there is not so much. What goes meanwhile, or
/// cannot be read, counts as nothing.
fn count(folder: &Path, left: &mut u64) -> bool {
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.is_file() {
                match left.checked_sub(meta.len()) {
                    Some(rest) => *left = rest,
                    None => return false,
                }
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sandbox::{Network, Reach};

    #[test]
    fn what_has_to_be_held_and_is_not_is_not_started() {
        let bounds = Bounds { read: vec![], write: vec![], files: vec![], network: Reach::Nothing, limits: None };
        let plan = Confinement {
            program: "/nowhere/program".into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: "/".into(),
            bounds,
            require: true,
            most: None,
        };
        let full = Level { files: true, signals: true, network: Network::Cut };
        let is_tried = |end| matches!(end, End::NotStarted { errno: Some(_), .. });
        assert!(start(&plan, full).is_err_and(is_tried));
        for level in [Level { files: false, ..full }, Level { network: Network::NoTcp, ..full }] {
            assert!(start(&plan, level).is_err_and(|end| end == End::NotHeld));
            assert!(start(&Confinement { require: false, ..plan.clone() }, level).is_err_and(is_tried));
        }
    }

    #[test]
    fn of_a_report_the_last_whole_line_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        assert_eq!(Report::read(&path).unwrap(), None);
        let level = Level { files: true, signals: true, network: Network::Cut };
        let own = Counted::default();
        let program = Identity::own();
        let first = Report { level, program, end: None, survivors: Vec::new(), own, counted: None };
        let mut file = File::create(&path).unwrap();
        first.tell(&mut file, &path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), Some(first.clone()));
        let last = Report { end: Some(End::Exited(3)), ..first.clone() };
        file.write_all(&serde_json::to_vec(&last).unwrap()).unwrap();
        assert_eq!(Report::read(&path).unwrap(), Some(first), "its end has not come yet");
        file.write_all(b"\n").unwrap();
        assert_eq!(Report::read(&path).unwrap(), Some(last));
        std::fs::write(&path, "{}\n").unwrap();
        assert_eq!(Report::read(&path).unwrap_err().code, Code::Damaged);
    }
}
