//! `deployctl demo`

mod acts;
mod proof;
mod services;
mod stage;
mod story;

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::leaving::{Asked, asked_to_stop, hung_up};
use super::shell::Shell;
use crate::model::{Error, Result};
use services::Show;
use stage::{Stage, failed};
use story::{Step, Story};

/// Who is who on the stage; the peers follow.
const PROVIDER: usize = 0;
const INITIATOR: usize = 1;
const FIRST_PEER: usize = 2;
/// All of it may take so long where `--timeout` says nothing else: a machine that is slower than that shows nothing.
const LIMIT: Duration = Duration::from_secs(180);

const NAMES: [&str; 18] = [
    "shop", "anna", "ben", "cleo", "dora", "emil", "fay", "gus", "hana", "ivo", "june", "kai", "lena", "milo", "nora",
    "otto", "pia", "quin",
];

/// See the whole method at work: provider, Initiator and peers on this machine
///
/// Everybody is a process of its own with a state directory of its own, and they speak mutual TLS over the loopback
/// interface: request, invitation, consent, build, delivery, installation, start, accounting, end, removal. It takes
/// some seconds, changes nothing outside of a temporary folder, and leaves nothing behind.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl demo
  deployctl demo --peers 5 --service notice
  deployctl demo --keep             leaves the state directories there to look around
  deployctl demo --format json      one document: the steps, the statement, what was left behind")]
pub(super) struct Args {
    /// How many peers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    peers: u16,
    /// What they run; else the first of these that this machine can show
    #[arg(long, value_enum)]
    service: Option<Show>,
    /// Leave the state directories where they are
    #[arg(long)]
    keep: bool,
}

#[derive(Serialize)]
struct Shown {
    ok: bool,
    service: &'static str,
    session: String,
    seconds: f64,
    steps: Vec<Step>,
    statement: Value,
    left_behind: Vec<String>,
    /// Where the state directories are, if they were to stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    shell.run_until_stopped(async {
        tokio::select! {
            shown = play(args, shell) => shown,
            asked = asked_to_stop() => Err(interrupted(asked)),
            () = hung_up() => Err(interrupted(Asked::Terminated)),
        }
    })
}

fn interrupted(asked: Asked) -> Error {
    asked.error("the nodes of the demo are gone, and so are their files")
}

async fn play(args: &Args, shell: &Shell) -> Result<()> {
    let show = choose(args.service, shell)?;
    let setting = shell.setting()?;
    let story = Story::begin(&shell.ui, &shell.system);
    let names = &NAMES[..FIRST_PEER + usize::from(args.peers)];
    let mut stage = Stage::set(names, story, setting.program, setting.inherited)?;
    let limit = shell.timeout.map_or(LIMIT, crate::model::Span::as_duration);
    let played = tokio::time::timeout(limit, acts::all(&mut stage, show)).await;
    let played = played.unwrap_or_else(|_| Err(failed(format!("it took longer than {limit:?}"))));
    let folder = stage.scratch.path().display().to_string();
    if args.keep {
        stage.scratch.keep();
        shell.ui.note(&format!("kept in {folder}; to look around, for example at anna's side:"));
        shell.ui.note(&format!("  deployctl --state {folder}/anna status"));
    }
    let (session, statement) = played.map_err(|error| as_failure(error, &stage))?;
    if !args.keep {
        stage.scratch.remove()?;
    }
    let nodes = stage.parties.len();
    let (steps, seconds) = stage.story.end();
    let kept = args.keep.then_some(folder);
    let shown =
        Shown { ok: true, service: show.name(), session, seconds, steps, statement, left_behind: Vec::new(), kept };
    shell.ui.data(&shown, || {
        format!(
            "done: {} was deployed to {} nodes, run, paid for and removed in {seconds} s; nothing is left behind",
            show.name(),
            nodes - 1
        )
    })
}

/// Whatever it was, the demo failed: the codes of its commands are for those who run them.
fn as_failure(error: Error, stage: &Stage) -> Error {
    let mut failure = failed(format!("{}: {}", stage.story.at(), error.message));
    failure.session = error.session;
    failure.hint(match error.hint {
        Some(hint) => format!("{hint}; `deployctl demo --keep` leaves everything there to look at"),
        None => "`deployctl demo --keep` leaves everything there to look at".to_owned(),
    })
}

/// The service that was asked for, or the first that this machine can show. The last of them needs nothing.
fn choose(wanted: Option<Show>, shell: &Shell) -> Result<Show> {
    for show in wanted.as_ref().map_or(Show::value_variants(), std::slice::from_ref) {
        let lacks = show.lacks()?;
        if lacks.is_empty() {
            return Ok(*show);
        }
        shell.ui.note(&format!("{} cannot be shown here: {}", show.name(), lacks.join("; ")));
    }
    shell.ui.note(&format!("{} takes its place", Show::Notice.name()));
    Ok(Show::Notice)
}
