//! Running a command to its end within bounds. This is the child's side: a process of deployctl itself that binds
//! itself, starts the command, and ends all that the command started when it is over or too long or too large.

#![expect(clippy::disallowed_methods, reason = "starts a command, waits for it, and measures what it writes")]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ending;
use super::pid::{self, Identity};
use super::sandbox::{self, Bounds, Level};
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Span};
use crate::store::document;

/// Between two looks at the command.
const NAP: Duration = Duration::from_millis(10);
/// Between two measurements of what it wrote.
const MEASURE: Duration = Duration::from_secs(2);
/// What is killed and still there after this time is left to the caller.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What to run, in the current folder and environment, and within what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub bounds: Bounds,
    pub deadline: Span,
    /// Bytes that all files in the folders that may be written have together.
    pub most_bytes: u64,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub level: Level,
    pub end: End,
    /// Processes that could not be ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<String>,
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
    NotStarted(String),
    /// Whoever wanted it has gone.
    Deserted,
}

/// Does it. `confinement` and `report` are files; the latter is written when nothing of the command is left.
///
/// # Errors
/// `io`, `damaged` for those files.
pub fn confine(confinement: &Path, report: &Path) -> Result<()> {
    let plan: Confinement = document::read_json(confinement)?
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no file {}", confinement.display())))?;
    // Opened now: soon this process cannot.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(report);
    let mut file = made.doing("creating", report)?;
    // Orphans of the command become children of this process, and so are found.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let caller = rustix::process::getppid();
    let level = sandbox::enter(&plan.bounds);
    let end = match start(&plan) {
        Ok(child) => watch(child, &plan, &|| rustix::process::getppid() == caller),
        Err(why) => End::NotStarted(why.to_string()),
    };
    let told = Report { level, end, survivors: end_all() };
    let text = serde_json::to_vec(&told).map_err(|why| Error::new(Code::Internal, why.to_string()))?;
    file.write_all(&text).doing("writing", report)
}

fn start(plan: &Confinement) -> std::io::Result<Child> {
    Command::new(&plan.program).args(&plan.arguments).stdin(Stdio::null()).process_group(0).spawn()
}

fn watch(mut child: Child, plan: &Confinement, is_wanted: &dyn Fn() -> bool) -> End {
    let begun = Instant::now();
    let mut measured = begun;
    let leader = Identity::of(child.id());
    let end = loop {
        match child.try_wait() {
            Ok(Some(status)) => break of_status(status),
            Ok(None) => {}
            Err(why) => break End::NotStarted(why.to_string()),
        }
        if begun.elapsed() >= plan.deadline.as_duration() {
            break End::TooLong;
        }
        if measured.elapsed() >= MEASURE {
            measured = Instant::now();
            if is_too_large(plan) {
                break End::TooLarge;
            }
        }
        if !is_wanted() {
            break End::Deserted;
        }
        std::thread::sleep(NAP);
    };
    ending::kill(leader, &[]);
    if matches!(end, End::Exited(0)) && is_too_large(plan) { End::TooLarge } else { end }
}

fn of_status(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::NotStarted("an unknown status".to_owned()),
    }
}

/// Ends every descendant of this process; names those that stay.
fn end_all() -> Vec<String> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let living = pid::family(Identity::own(), None);
        if living.is_empty() || Instant::now() >= deadline {
            return living.iter().map(ToString::to_string).collect();
        }
        ending::kill(None, &living);
        std::thread::sleep(NAP);
    }
}

fn is_too_large(plan: &Confinement) -> bool {
    let mut left = plan.most_bytes;
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
