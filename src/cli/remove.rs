//! `deployctl remove`

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::shell::Shell;
use super::status::{self, program};
use super::stop;
use crate::message::ReportState;
use crate::model::{Code, Error, Key, Party, Result, ServiceName, SessionId, Span};
use crate::roles::Node;
use crate::roles::drive::ByHand;
use crate::roles::housekeeping::Found;
use crate::roles::part::Wishes;
use crate::roles::sitting::Projection;
use crate::session::Summary;
use crate::store::programs::Program;
use crate::ui::table::table;

/// How long to wait until the software is gone.
const GONE: Span = Span::from_secs(120);
/// How long to wait until everybody is told what they have to know.
const TOLD: Span = Span::from_secs(10);

/// Remove the software of a session, or a program
///
/// From this machine, and nothing else. If it is running, you leave the session first
/// (as a peer) or end it (as the Initiator); a program is stopped.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl remove 7k3q
  deployctl remove 7k3q --keep-data     leaves the program's own data
  deployctl remove 7k3q --forget        and then its log and accountings, too
  deployctl remove --expired --dry-run  shows what nobody needs any more

It cannot be undone, but for --keep-data; a program is installed again by deployctl install PROGRAM.")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; or an installed program
    #[arg(value_name = "SESSION|PROGRAM", required_unless_present = "expired")]
    session: Option<String>,
    /// Leave the program's own data folder
    #[arg(long)]
    keep_data: bool,
    /// Then also remove what tells of the session here: its log, manifests and accountings. Cannot be undone
    #[arg(long, conflicts_with = "keep_data")]
    forget: bool,
    /// What nobody needs any more: expired interfaces, packages and secrets of sessions that are over, leftovers.
    /// `serve` does so every hour; the audit stays, and so do logs and accountings unless `[keep] records` says for how
    /// long
    #[arg(long, conflicts_with_all = ["session", "keep_data", "forget"])]
    expired: bool,
    /// Only show what would go
    #[arg(long, requires = "expired")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Expired {
    /// False where it was only shown.
    removed: bool,
    bytes: u64,
    expired: Vec<Found>,
}

fn remove_expired(dry_run: bool, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let expired = if dry_run { node.expired()? } else { node.keep_house()? };
    let all = Expired { removed: !dry_run, bytes: expired.iter().map(|one| one.bytes).sum(), expired };
    shell.ui.data(&all, || {
        if all.expired.is_empty() {
            return "there is nothing that nobody needs any more".to_owned();
        }
        let root = node.state.root();
        let row = |one: &Found| {
            let path = one.path.strip_prefix(root).unwrap_or(&one.path).display().to_string();
            vec![one.bytes.to_string(), path, one.why.clone()]
        };
        let rows: Vec<_> = all.expired.iter().map(row).collect();
        let what = if all.removed { "removed" } else { "would be removed" };
        format!("{}{} bytes {what}", table(&["BYTES", "WHAT", "WHY"], &rows), all.bytes)
    })
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let Some(prefix) = args.session.as_deref() else { return remove_expired(args.dry_run, shell) };
    let node = shell.node()?;
    if let Some(found) = program::named(&node, prefix)? {
        return remove_program(&node, &found, args.keep_data, shell);
    }
    if !args.forget {
        return remove_software(&node, prefix, args.keep_data, shell);
    }
    let all = [Party::Initiator, Party::Peer, Party::Provider];
    let part = node.part_as(prefix, &all).map_err(|why| program::unknown(prefix, why))?;
    forget(&node, &part, shell)
}

/// What was forgotten.
#[derive(Serialize)]
struct Forgotten {
    session: SessionId,
    forgotten: bool,
    bytes: u64,
}

fn forget(node: &Arc<Node>, part: &Projection, shell: &Shell) -> Result<()> {
    let session = part.summary.session;
    let question = format!(
        "The log, the manifests and the accountings of session {} are removed from this machine. Nobody can check them
here any more, and this cannot be undone. Remove them?",
        session.short()
    );
    if !shell.ui.confirm(&question, "--yes")? {
        return Err(Error::new(Code::PromptNeeded, "nothing was removed: the answer was no"));
    }
    if !part.removed {
        take_away(node, part, shell)?;
    }
    let told = |projection: &Projection| (!projection.live).then_some(Ok(()));
    let limit = Some(shell.timeout.unwrap_or(TOLD));
    let waited = shell.run(node.wait_for(session, part.summary.party, ByHand::default(), limit, told));
    let bytes = match waited {
        // Forgetting it says what it waits for.
        Err(error) if error.code != Code::TimedOut => return Err(error),
        _ => node.forget(session)?,
    };
    shell.ui.note(&format!("forgotten; {bytes} bytes that told of it are gone"));
    shell.ui.data(&Forgotten { session, forgotten: true, bytes }, String::new)
}

fn remove_software(node: &Arc<Node>, prefix: &str, keep_data: bool, shell: &Shell) -> Result<()> {
    let part = node.part_as(prefix, &[Party::Initiator, Party::Peer]).map_err(|why| program::unknown(prefix, why))?;
    let (session, party) = (part.summary.session, part.summary.party);
    if part.removed {
        shell.ui.note("nothing of it is installed");
        return shell.ui.data(&part.summary, || status::describe(&part.summary, shell.system.now()));
    }
    if keep_data {
        let wishes = node.wishes(session, party)?;
        node.wish(session, party, &Wishes { keep_data: true, ..wishes })?;
    }
    let summary = take_away(node, &part, shell)?;
    shell.ui.note(&said(&summary));
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Leaves or ends the session where it goes on, and waits until the software is gone.
fn take_away(node: &Arc<Node>, part: &Projection, shell: &Shell) -> Result<Summary> {
    let (session, party) = (part.summary.session, part.summary.party);
    shell.concern(session, party);
    shell.run(async {
        if !part.ending {
            let said = stop::say(node, session, party, None).await;
            if let Err(error) = said {
                if !error.code.may_pass_later() {
                    return Err(error);
                }
                shell.ui.warn(&format!("the provider does not know it yet, and will be told: {error}"));
            }
        }
        let by_hand = ByHand { remove: true, ..ByHand::default() };
        let limit = shell.timeout.unwrap_or(GONE);
        let gone = |projection: &Projection| projection.removed.then(|| Ok(projection.summary.clone()));
        let summary = node.wait_for(session, party, by_hand, Some(limit), gone).await?;
        node.clear_away(session, party, by_hand).await?;
        Ok(summary)
    })
}

/// A program that was removed.
#[derive(Serialize)]
struct Removed {
    program: ServiceName,
    signer: Key,
    state: ReportState,
    /// What is still there: the data if they were to be kept, and whatever is not ours.
    kept: Vec<PathBuf>,
}

fn remove_program(node: &Arc<Node>, program: &Program, keep_data: bool, shell: &Shell) -> Result<()> {
    let id = &program.id;
    let kept = shell.run(async {
        node.stop_program(id, Some(shell.timeout.unwrap_or(GONE))).await?;
        let kept = node.remove_program(id, keep_data)?;
        node.send_mail().await?;
        Ok(kept)
    })?;
    let removed = Removed { program: id.name.clone(), signer: id.signer, state: ReportState::Removed, kept };
    let rest: Vec<_> = removed.kept.iter().map(|path| path.display().to_string()).collect();
    let text = match rest.as_slice() {
        [] => format!("removed; nothing of {} is left on this machine", id.name),
        rest => format!("removed; kept: {}", rest.join(", ")),
    };
    shell.ui.note(&text);
    shell.ui.data(&removed, String::new)
}

fn said(summary: &Summary) -> String {
    match summary.kept.as_slice() {
        [] => format!("removed; nothing of {} is left on this machine", summary.service),
        kept => format!("removed; kept: {}", kept.join(", ")),
    }
}
