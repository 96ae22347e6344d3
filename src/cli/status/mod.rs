//! `deployctl status`

mod diagram;
pub(super) mod program;
mod watch;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::shell::Shell;
use crate::model::{Code, Error, Party, Result, SessionId, SessionState, Time};
use crate::process::sandbox::Level;
use crate::roles::Node;
use crate::roles::programs::{self, handed::Handed};
use crate::roles::sitting::Projection;
use crate::roles::timeline::timeline;
use crate::roles::transcript::{self, Transcript};
use crate::session::{RolloutState, RolloutSummary, Summary};
use crate::store::file;
use crate::ui::escape::escape_line;
use crate::ui::table::table;
use crate::ui::time::relative;

/// See what is going on
///
/// Shows the sessions that this node has a part in, the programs that are installed here, and what others have of those
/// that it offers; or one of them in full.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl status 7k3q
  deployctl status 7k3q --timeline            who said what to whom, when, and what it proved
  deployctl status 7k3q --watch               until the session is over
  deployctl status 7k3q --export party.json   for others, who check it with `deployctl verify party.json`
  deployctl --format json status --watch      one line for each change")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; or a program
    #[arg(value_name = "SESSION|PROGRAM")]
    session: Option<String>,
    /// Go on showing what changes, until Ctrl-C or until the session is over
    #[arg(long)]
    watch: bool,
    /// Show the messages between the parties in order
    #[arg(long, requires = "session", conflicts_with = "watch")]
    timeline: bool,
    /// Write the transcript of the session, without secrets, for others to verify; `-` is stdout
    #[arg(long, value_name = "FILE", requires = "session", conflicts_with_all = ["watch", "timeline"])]
    export: Option<PathBuf>,
    /// Whose side is exported, where this node plays several parties
    #[arg(long, value_name = "PARTY", requires = "export")]
    r#as: Option<Party>,
}

/// Columns where nobody says how many there are.
const COLUMNS: usize = 100;

#[derive(Serialize)]
struct All {
    sessions: Vec<Summary>,
    programs: Vec<programs::Summary>,
    /// What others have of this node's programs.
    offered: Vec<Handed>,
}

impl All {
    /// A table for each kind of which there are some.
    fn lists(&self) -> Vec<String> {
        let lists = [
            (!self.sessions.is_empty()).then(|| list(&self.sessions)),
            (!self.programs.is_empty()).then(|| program::list(&self.programs)),
            (!self.offered.is_empty()).then(|| program::handed(&self.offered)),
        ];
        lists.into_iter().flatten().collect()
    }
}

/// One session; where this node plays several parts in it, the others follow in `parts`.
#[derive(Serialize)]
struct One {
    #[serde(flatten)]
    first: Part,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    #[serde(flatten)]
    summary: Summary,
    /// Of this node's own program, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    confinement: Option<Held>,
}

#[derive(Serialize)]
struct Held {
    #[serde(flatten)]
    level: Level,
    text: String,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    if args.watch {
        return watch::watch(&node, args.session.as_deref(), shell);
    }
    if let (Some(prefix), Some(file)) = (&args.session, &args.export) {
        return export(&node, prefix, args.r#as, file, shell);
    }
    if let Some(prefix) = args.session.as_ref().filter(|_| args.timeline) {
        let timeline = timeline(&node, prefix)?;
        return shell.ui.data(&timeline, || diagram::draw(&timeline, shell.ui.columns().unwrap_or(COLUMNS)));
    }
    let Some(prefix) = &args.session else {
        let sessions: Vec<_> = node.parts()?.into_iter().map(|part| part.summary).collect();
        let all = All { sessions, programs: node.programs()?, offered: node.handed()? };
        if all.sessions.is_empty() && all.programs.is_empty() && all.offered.is_empty() {
            shell.ui.note("no sessions and no programs");
        }
        return shell.ui.data(&all, || all.lists().join("\n"));
    };
    if program::show(&node, prefix, shell)? {
        return Ok(());
    }
    let (_, parts) = node.parts_of(prefix).map_err(|why| program::unknown(prefix, why))?;
    let part = |Projection { summary, .. }: Projection| {
        let level = node.confinement(summary.session, summary.party);
        Part { confinement: level.map(|level| Held { level, text: level.to_string() }), summary }
    };
    let mut parts: Vec<_> = parts.into_iter().map(part).collect();
    let now = shell.system.now();
    let text: Vec<_> = parts.iter().map(|part| part.describe(now)).collect();
    let first = parts.remove(0);
    shell.ui.data(&One { first, parts }, || text.join("\n"))
}

impl Part {
    fn describe(&self, now: Time) -> String {
        let held = self.confinement.as_ref().map(|held| format!("\nheld      {}", held.text));
        describe(&self.summary, now) + &held.unwrap_or_default()
    }
}

/// What was exported, and where to.
#[derive(Serialize)]
struct Exported {
    session: SessionId,
    party: Party,
    records: usize,
    file: PathBuf,
}

fn export(node: &Node, prefix: &str, party: Option<Party>, file: &Path, shell: &Shell) -> Result<()> {
    let all = [Party::Provider, Party::Initiator, Party::Peer];
    let part = node.part_as(prefix, party.as_slice()).or_else(|error| match party {
        Some(_) => Err(error),
        None => node.part_as(prefix, &all),
    })?;
    let transcript = transcript::export(node, part.summary.session, part.summary.party)?;
    if file == Path::new("-") {
        return shell.ui.json(&transcript);
    }
    let text = serde_json::to_string(&transcript)
        .map_err(|why| Error::new(Code::Internal, format!("writing the transcript: {why}")))?;
    file::write_atomic(file, format!("{text}\n").as_bytes(), file::PLAIN)?;
    let Transcript { session, party, records, .. } = transcript;
    let exported = Exported { session, party, records: records.len(), file: file.to_owned() };
    shell.ui.data(&exported, || {
        format!(
            "{} records of the {party} in {}; `deployctl verify {}` checks it anywhere",
            exported.records,
            file.display(),
            file.display()
        )
    })
}

fn list(sessions: &[Summary]) -> String {
    if sessions.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|one| {
            let participants: Vec<_> =
                one.participants.iter().map(|who| format!("{} {}", who.name, who.state)).collect();
            vec![
                one.session.short(),
                one.party.to_string(),
                one.service.to_string(),
                one.state.to_string(),
                participants.join(", "),
                one.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["SESSION", "PARTY", "SERVICE", "STATE", "PARTICIPANTS", "REASON"], &rows)
}

/// How far a later generation has come.
fn rollout(rollout: &RolloutSummary) -> String {
    let state = match rollout.state {
        RolloutState::Building => "is built",
        RolloutState::Delivering => "is delivered to one after the other",
        RolloutState::Delivered => "is delivered",
        RolloutState::Stopped => "was stopped",
    };
    let why = rollout.failure.as_ref().map(|failure| format!(": {}", escape_line(&failure.text))).unwrap_or_default();
    format!("rollout   generation {} {state}{why}", rollout.generation)
}

/// One session for a person.
pub(super) fn describe(summary: &Summary, now: Time) -> String {
    let version = summary.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut lines = vec![
        format!("session   {}", summary.session),
        format!("service   {}{version}", summary.service),
        format!("party     {}", summary.party),
        format!("state     {}", summary.state),
    ];
    if let Some(reason) = &summary.reason {
        lines.push(format!("reason    {}", escape_line(reason)));
    }
    if let Some(rule) = &summary.policy {
        lines.push(format!("answered  by policy: {}", escape_line(rule)));
    }
    if let Some(ends_at) = summary.ends_at.filter(|_| summary.state < SessionState::Terminating) {
        lines.push(format!("ends      {} ({ends_at})", relative(ends_at, now)));
    }
    lines.extend(summary.rollout.as_ref().map(rollout));
    for who in &summary.participants {
        let reason = who.reason.as_ref().map(|reason| format!(": {}", escape_line(reason))).unwrap_or_default();
        let later = who.generation.filter(|generation| *generation > 1);
        let later = later.map(|generation| format!(" (generation {generation})")).unwrap_or_default();
        lines.push(format!("  {:<12} {:<12} {}{later}{reason}", who.name, who.role, who.state));
    }
    for package in &summary.packages {
        lines.push(format!(
            "  package {} for {} on {}, {} bytes",
            package.digest.short(),
            package.role,
            package.platform,
            package.size
        ));
    }
    if let Some(tail) = summary.failure.as_ref().and_then(|failure| failure.tail.as_ref()) {
        lines.push("output".to_owned());
        lines.extend(tail.lines().map(|line| format!("  | {}", escape_line(line))));
    }
    lines.join("\n")
}

/// A session that ended otherwise than was waited for, as an error.
pub(super) fn ended(summary: &Summary) -> Error {
    let code = match summary.state {
        SessionState::QuorumMissed => Code::QuorumMissed,
        SessionState::Declined => Code::Declined,
        SessionState::Withdrawn => Code::Withdrawn,
        SessionState::Expired => Code::Expired,
        SessionState::Failed | SessionState::Terminating => {
            summary.failure.as_ref().map_or(Code::SessionFailed, |failure| failure.code)
        }
        _ => Code::WrongState,
    };
    let reason = summary.reason.clone().unwrap_or_else(|| "no reason was given".to_owned());
    let mut message = format!("session {} is {}: {reason}", summary.session.short(), summary.state);
    if let Some(tail) = summary.failure.as_ref().and_then(|failure| failure.tail.as_ref()) {
        let lines: Vec<_> = tail.lines().map(|line| format!("| {line}")).collect();
        message = format!("{message}\n{}", lines.join("\n"));
    }
    Error::new(code, message)
        .about(summary.session)
        .hint(format!("deployctl status {} shows who did what", summary.session.short()))
}
