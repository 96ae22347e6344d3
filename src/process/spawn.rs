//! Starting the program of a plan: by a guard of its own, which binds it to what it may do.

#![expect(clippy::disallowed_methods, reason = "programs are started here")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::confine::{self, Confinement, Report};
use super::output::Output;
use super::pid::Identity;
use super::plan::{Plan, RUN_VARIABLE};
use super::record::Record;
use super::sandbox::Level;
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Nonce};
use crate::store::{document, file};

/// A guard that has not started its program by then has lost its way.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks whether it has.
const NAP: Duration = Duration::from_millis(1);

/// The program itself, which leads its process group, and the guard that started it and is the parent of all that it
/// leaves behind. The guard ends when none of these is left.
pub(super) struct Leader {
    pub(super) identity: Identity,
    /// Absent: of a record of an earlier version.
    pub(super) guard: Option<Identity>,
    /// The guard as a child; absent: adopted from a supervisor that is gone.
    child: Option<Child>,
    /// Where the guard says how the program ended.
    report: PathBuf,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// For people: “exit status 3”.
    pub(super) status: String,
    pub(super) ok: bool,
}

/// The command that starts a guard; its files are a confinement and a report. It gets nothing of this environment, and
/// nothing of what a definition sets: it is not bound.
pub(super) fn guard(deployctl: &Path, files: [&Path; 2]) -> Command {
    let mut command = Command::new(deployctl);
    // A home, as every command wants to know where its state would be.
    command.arg("confine").args(files).env_clear().env("HOME", "/").current_dir("/");
    command.stdin(Stdio::null()).process_group(0);
    command
}

impl Leader {
    /// Starts the program with its own process group, a clean environment, nothing to read and its output in the log.
    /// Waits until it runs, and says how far it is held.
    ///
    /// # Errors
    /// Those of [`Plan::program`]; `service-failed` where the system does not run it; `unsuitable` where the kernel does
    /// not hold it as far as is required.
    pub(super) fn start(plan: &Plan, run: Nonce, output: &Output) -> Result<(Self, Level)> {
        let confinement = plan.confinement(run)?;
        let [order, report] = plan.guard_files();
        file::remove_unsynced(&report)?;
        document::write_json_unsynced(&order, &confinement, file::PRIVATE)?;
        let mut command = guard(&plan.deployctl, [&order, &report]);
        // Its own name and the places that it works for, by which it is found.
        command.envs(&plan.variables).env(RUN_VARIABLE, run.to_string());
        command.stdout(output.writer()?).stderr(output.writer()?);
        let mut child = command.spawn().doing("starting", &plan.deployctl)?;
        let guard = Identity::of(child.id());
        match first_word(&report, &mut child) {
            Ok(Report { level, program: Some(identity), .. }) => {
                Ok((Self { identity, guard, child: Some(child), report }, level))
            }
            said => {
                // It has nothing to watch over.
                let _ = child.kill();
                let _ = child.wait();
                Err(said.map_or_else(|error| error, |report| failed(&confinement, report)))
            }
        }
    }
    pub(super) fn adopted(identity: Identity, plan: &Plan, record: &Record) -> Self {
        let [_, report] = plan.guard_files();
        Self { identity, guard: record.guard, child: None, report }
    }
    /// How it ended, if it did. One whose guard was killed is as good as ended: nobody finds all that it starts.
    pub(super) fn ended(&self) -> Option<End> {
        let is_guarded = self.guard.is_some_and(|guard| guard.is_alive());
        if self.identity.is_alive() && (is_guarded || self.guard.is_none()) {
            return None;
        }
        let unknown = || End { status: "unknown status, as its guard was gone".into(), ok: false };
        match Report::read(&self.report).ok().flatten().and_then(|report| report.end) {
            Some(confine::End::Exited(code)) => Some(End { status: format!("exit status {code}"), ok: code == 0 }),
            Some(confine::End::Killed(signal)) => {
                Some(End { status: format!("killed by signal {signal}{}", named(signal)), ok: false })
            }
            // It says so in a moment.
            None if is_guarded => None,
            _ => Some(unknown()),
        }
    }
    /// Takes note of the guard's end, which gives its pid back.
    pub(super) fn reap(mut self) {
        if let Some(child) = &mut self.child {
            // One that the system cannot end (a dead disk) stays a child, and is named among the survivors.
            let _ = child.try_wait();
        }
    }
}

/// What the guard says first: that it started the program, or why not.
fn first_word(report: &Path, guard: &mut Child) -> Result<Report> {
    let begun = Instant::now();
    let lost = |how: &str| {
        Error::new(Code::ServiceFailed, format!("the process that was to hold the program {how}"))
            .hint("see whether the machine has memory and processes to spare")
    };
    loop {
        // Asked before the report is read: its last word comes before its end.
        let ended = guard.try_wait().doing("waiting for", report)?;
        match Report::read(report)? {
            Some(said) => return Ok(said),
            None => match ended {
                Some(status) => return Err(lost(&format!("ended: {status}"))),
                None if begun.elapsed() > START_LIMIT => return Err(lost("did not start it")),
                None => std::thread::sleep(NAP),
            },
        }
    }
}

fn failed(confinement: &Confinement, report: Report) -> Error {
    match report.end {
        Some(confine::End::NotStarted { why, errno }) => {
            not_started(&confinement.program.display().to_string(), &why, errno)
        }
        _ => Error::new(
            Code::Unsuitable,
            format!("this machine cannot hold the program to its permissions: {}", report.level),
        )
        .hint("config.toml requires that; [policy] confinement = \"best-effort\" runs it all the same"),
    }
}

fn not_started(program: &str, why: &str, errno: Option<i32>) -> Error {
    let hint = match errno.map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => "the interpreter that its first line names is not on this machine",
        Some(rustix::io::Errno::NOEXEC) => {
            "it is no program of this machine's kind; a script needs a first line like #!/bin/sh"
        }
        Some(rustix::io::Errno::ACCESS) => "check whether the file system is mounted noexec",
        _ => "see whether the machine has memory and processes to spare",
    };
    Error::new(Code::ServiceFailed, format!("starting {program}: {why}")).hint(hint)
}

pub(super) fn named(signal: i32) -> &'static str {
    const NAMES: [(Signal, &str); 10] = [
        (Signal::HUP, " (SIGHUP)"),
        (Signal::INT, " (SIGINT)"),
        (Signal::QUIT, " (SIGQUIT)"),
        (Signal::ILL, " (SIGILL)"),
        (Signal::ABORT, " (SIGABRT)"),
        (Signal::KILL, " (SIGKILL)"),
        (Signal::SEGV, " (SIGSEGV)"),
        (Signal::PIPE, " (SIGPIPE)"),
        (Signal::BUS, " (SIGBUS)"),
        (Signal::TERM, " (SIGTERM)"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map_or("", |(_, name)| name)
}
