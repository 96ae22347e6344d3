//! The run record: how a supervisor that comes later finds the program of one that was killed.

#![expect(
    clippy::disallowed_methods,
    reason = "a record lives in run/, which may vanish, and knows nothing of `store`"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::confine::Report;
use super::happening::Meter;
use super::pid::{self, Identity, Member};
use super::plan::{REPORT, RUN_VARIABLE};
use super::probe::Stamp;
use super::sandbox::Level;

use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Nonce, Time};
use crate::service::counted::Counted;
use crate::system::System;

/// Written before and after each start of the program, removed when nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Marks every process of this run, in its environment.
    pub run: Nonce,
    /// The start of the machine that the identities belong to.
    pub boot: String,
    pub supervisor: Identity,
    /// The program, which leads the process group of the same number. Absent: being started, or between two starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Identity>,
    /// The process that holds `child` and is the parent of what it leaves behind; it ends by itself after all of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Identity>,
    /// How far `child` is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Level>,
    /// When the time began within which it has to become ready.
    pub started: Time,
    /// When `child` was started.
    pub child_started: Time,
    /// Whether it became ready since its last start.
    pub ready: bool,
    /// Whether it ever became ready.
    pub ever_ready: bool,
    /// Where in the log the output of this start begins, in bytes.
    pub log_offset: u64,
    /// What was metered before `child` was started.
    pub before: Meter,
    /// What the ready file looked like before the start, if it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stamp>,
}

impl Record {
    /// Of a run that begins, under this process.
    ///
    /// # Errors
    /// `internal` where there is no `/proc`.
    pub(super) fn new(system: &System) -> Result<Self> {
        let supervisor = Identity::own().ok_or_else(|| {
            Error::new(Code::Internal, "this process is not in /proc").hint("mount /proc: supervision needs it")
        })?;
        let now = system.now();
        Ok(Self {
            run: system.nonce(),
            boot: pid::boot(),
            supervisor,
            child: None,
            guard: None,
            confinement: None,
            started: now,
            child_started: now,
            ready: false,
            ever_ready: false,
            log_offset: 0,
            before: Meter::default(),
            stale: None,
        })
    }
    /// The record at `path`; none where nothing was left running by this start of the machine.
    ///
    /// # Errors
    /// `damaged` where the file does not read as a record.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.doing("reading", path)?,
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|why| {
            Error::new(Code::Damaged, format!("the run record {} does not read: {why}", path.display()))
                .hint("see with `ps` whether the program still runs, end it, then remove that file")
        })?;
        Ok((record.boot == pid::boot()).then_some(record))
    }
    /// Replaces the record at `path` in one step.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self)
            .map_err(|why| Error::new(Code::Internal, format!("writing a run record: {why}")))?;
        let beside = path.with_extension("new");
        // Synced, lest a power cut leave a record that does not read, for which nothing would be started any more.
        let mut file = File::create(&beside).doing("writing", &beside)?;
        file.write_all(&bytes).and_then(|()| file.sync_data()).doing("writing", &beside)?;
        std::fs::rename(&beside, path).doing("writing", path)
    }
    /// Takes the record away: nothing of the run is left.
    pub(super) fn remove(path: &Path) {
        // A record that stays names processes that are gone, which does no harm.
        let _ = std::fs::remove_file(path);
    }
    /// `NAME=value`, as it is in the environment of every process of this run.
    pub fn mark(&self) -> String {
        format!("{RUN_VARIABLE}={}", self.run)
    }
    /// What the kernel counted of the run whose record is at `path`: of the last start since it ended, or up to now.
    pub fn counted(&self, path: &Path) -> Counted {
        let report = Report::read(&path.with_file_name(REPORT)).ok().flatten();
        // A report of another start is one of an earlier run.
        let report = report.filter(|report| report.program.is_some() && report.program == self.child);
        let now = report.and_then(|report| report.counted.or_else(|| pid::counted_below(self.guard?, report.own)));
        self.before.counted.plus(now.unwrap_or_default())
    }
    /// What lives of the run: all but its guard, and the guard. It alone knows for sure when nothing else is left, and
    /// ends then.
    pub(super) fn living(&self) -> (Vec<Member>, Option<Member>) {
        let leaders: Vec<_> = self.guard.into_iter().chain(self.child).collect();
        let (guard, others): (Vec<_>, _) = pid::family(&leaders, Some(&self.mark()))
            .into_iter()
            .partition(|member| Some(member.identity) == self.guard);
        (others, guard.into_iter().next())
    }
    /// Whether another supervisor that still lives has charge of it.
    pub(super) fn is_taken(&self) -> bool {
        Some(self.supervisor) != Identity::own() && self.supervisor.is_alive()
    }
}
