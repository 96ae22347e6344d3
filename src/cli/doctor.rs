//! `deployctl doctor`

use serde::Serialize;

use super::shell::Shell;
use crate::model::{Code, Error, Result};
use crate::roles::doctor::{Finding, Level, examine};
use crate::ui::escape::escape_line;

/// See what is wrong with this node, and how to mend it
///
/// Looks at the state directory, the modes of keys, the settings, the disk, the clock, what the kernel can hold, the
/// services that are offered, the contacts and the local network. Nothing is changed.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl doctor
  deployctl doctor --offline            asks nobody, sends nothing
  deployctl --format json doctor | jq '.findings[] | select(.level != \"ok\")'

Warnings exit with 0, errors with 1.")]
pub(super) struct Args {
    /// Leave contacts and the local network alone
    #[arg(long)]
    offline: bool,
}

#[derive(Serialize)]
struct Report {
    /// The worst of all.
    level: Level,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let findings = shell.run(async { Ok(examine(shell.state_path(), shell.setting()?, !args.offline).await) })?;
    let level = findings.iter().map(|one| one.level).max().unwrap_or(Level::Ok);
    let report = Report { level, findings };
    shell.ui.data(&report, || report.findings.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    let errors = report.findings.iter().filter(|one| one.level == Level::Error).count();
    match errors {
        0 => Ok(()),
        many => Err(Error::new(
            Code::Unwell,
            format!("{many} of {} things are wrong with this node", report.findings.len()),
        )
        .hint("each says above how to mend it")),
    }
}

fn line(finding: &Finding) -> String {
    let word = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let line = format!("{word:<8} {:<11} {}", finding.check, escape_line(&finding.message));
    match &finding.remedy {
        Some(remedy) => format!("{line}\n{:<21}→ {}", "", escape_line(remedy)),
        None => line,
    }
}
