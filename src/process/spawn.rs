//! Starting the program of a plan.

#![expect(clippy::disallowed_methods, reason = "programs are started here")]

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::output::Output;
use super::pid::Identity;
use super::plan::Plan;
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Nonce};

/// The program itself, which leads its process group. One of our own is waited for (and its pid given back to the
/// system) only when nothing of its group is left, so that the group's number cannot become another's.
pub(super) struct Leader {
    pub(super) identity: Identity,
    /// Absent: adopted from a supervisor that is gone.
    child: Option<Child>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// For people: “exit status 3”.
    pub(super) status: String,
    pub(super) ok: bool,
}

impl Leader {
    /// Starts the program with its own process group, a clean environment, nothing to read and its output in the log.
    ///
    /// # Errors
    /// Those of [`Plan::program`], and `service-failed` where the system does not run it.
    pub(super) fn start(plan: &Plan, run: Nonce, output: &Output) -> Result<Self> {
        let program = plan.program()?;
        let environment = plan.whole_environment(run)?;
        let scratch = plan.data.join("tmp");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&scratch).doing("making", &scratch)?;
        let mut command = Command::new(&program);
        command.args(plan.command.iter().skip(1)).current_dir(&plan.folder);
        command.env_clear().envs(environment).process_group(0);
        command.stdin(Stdio::null()).stdout(output.writer()?).stderr(output.writer()?);
        let mut child = command.spawn().map_err(|why| not_started(&program.display().to_string(), &why))?;
        let Some(identity) = Identity::of(child.id()) else {
            // Without /proc it could not be supervised.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(Code::Internal, "the started program is not in /proc").hint("mount /proc"));
        };
        Ok(Self { identity, child: Some(child) })
    }
    pub(super) fn adopted(identity: Identity) -> Self {
        Self { identity, child: None }
    }
    /// How it ended, if it did. How an adopted one ended only its dead parent could have asked: it counts as failed.
    pub(super) fn ended(&self) -> Option<End> {
        let unknown = || End { status: "unknown status, as its supervisor was gone".into(), ok: false };
        let own = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Some(Ok(status)) = own.map(|pid| rustix::process::waitid(WaitId::Pid(pid), look)) else {
            return (!self.identity.is_alive()).then(unknown);
        };
        let status = status?;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => End { status: format!("exit status {code}"), ok: code == 0 },
            (None, Some(signal)) => End { status: format!("killed by signal {signal}{}", named(signal)), ok: false },
            (None, None) => End { status: "an unknown status".into(), ok: false },
        })
    }
    /// Takes note of its end, which gives its pid back.
    pub(super) fn reap(mut self) {
        if let Some(child) = &mut self.child {
            // One that the system cannot end (a dead disk) stays a child, and is named among the survivors.
            let _ = child.try_wait();
        }
    }
}

fn not_started(program: &str, why: &std::io::Error) -> Error {
    let hint = match why.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
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
