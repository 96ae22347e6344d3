//! `deployctl install`

use std::path::{Path, PathBuf};

use super::shell::Shell;
use super::{start, status};
use crate::model::{Code, Error, ParticipantState, Party, Result};
use crate::roles::drive::ByHand;
use crate::roles::part::Wishes;
use crate::roles::sitting::Projection;
use crate::service::consent::terms_text;
use crate::session::{Decision, Summary, What};

/// Fetch, verify and install what was delivered
///
/// Fetches what was delivered for this node, checks that it is what was accepted, and installs it: complete or not at all.
/// Where nothing is delivered yet, waits for it and asks the provider meanwhile.
/// With --manifest, installs a package from its file, offline: its manifest must be signed by a contact with `provide`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl install 7k3q
  deployctl install 7k3q --start
  deployctl install 7k3q --root ~/services
  deployctl install --rollback 7k3q     back to the generation before
  deployctl install chat.tar.gz --manifest chat.manifest.json

To undo: deployctl remove SESSION")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; or the file of a package
    #[arg(value_name = "SESSION|PACKAGE-FILE")]
    what: String,
    /// The signed manifest of a package that is installed from its file
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Wait until the service has started and is ready here
    #[arg(long, conflicts_with = "manifest")]
    start: bool,
    /// Go back to the generation before, which is kept until the next one comes
    #[arg(long, conflicts_with_all = ["root", "start", "manifest"])]
    rollback: bool,
    /// Install below this folder instead of the state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let root = args.root.as_ref().map(std::path::absolute).transpose();
    let root = root.map_err(|why| Error::new(Code::Usage, format!("--root: {why}")))?;
    if let Some(manifest) = &args.manifest {
        return from_file(Path::new(&args.what), manifest, root.as_deref(), shell);
    }
    let node = shell.node()?;
    let part = node.part_as(&args.what, &[Party::Initiator, Party::Peer])?;
    let (session, party) = (part.summary.session, part.summary.party);
    if args.rollback {
        node.step(session, party, What::Decided(Decision::RollBack))?;
        let summary = shell.run(node.wait_for(session, party, ByHand::default(), shell.timeout, rolled_back))?;
        return finish(args, summary, &node, shell);
    }
    if let Some(summary) = installed(&part) {
        let summary = summary?;
        shell.ui.note("it is installed already");
        return finish(args, summary, &node, shell);
    }
    if root.is_some() {
        let wishes = node.wishes(session, party)?;
        node.wish(session, party, &Wishes { root, ..wishes })?;
    }
    // What could not be installed is cleared away by this very command: nobody else may come by.
    let by_hand = ByHand { install: true, remove: true, attended: true, ..ByHand::default() };
    let summary = shell.run(node.wait_for(session, party, by_hand, shell.timeout, installed))?;
    finish(args, summary, &node, shell)
}

/// Shows what a yes means, asks for it, and installs.
fn from_file(package: &Path, manifest: &Path, root: Option<&Path>, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let offered = node.open_offer(manifest)?;
    let what = &offered.manifest;
    shell.ui.note(&format!("{} {}, role {}, signed by {}", what.name, what.version, what.role, offered.from));
    for sentence in terms_text(&what.terms) {
        shell.ui.note(&format!("  {sentence}"));
    }
    if !shell.ui.confirm("Install this?", "--yes")? {
        return Err(Error::new(Code::PromptNeeded, "not installed: the answer was no"));
    }
    let placed = node.install_offer(package, &offered, root)?;
    placed.recovered.iter().for_each(|did| shell.ui.note(did));
    shell.ui.data(&placed, || {
        let how = if placed.already { "is installed already" } else { "installed" };
        let (program, version, folder) = (&placed.program, &placed.version, placed.folder.display());
        format!("{program} {version} {how}: generation {} in {folder}", placed.generation)
    })
}

fn finish(args: &Args, summary: Summary, node: &std::sync::Arc<crate::roles::Node>, shell: &Shell) -> Result<()> {
    let summary = if args.start { shell.run(start::until_ready(node, &summary, shell))? } else { summary };
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Whether the generation before is in its place again.
fn rolled_back(projection: &Projection) -> Option<Result<Summary>> {
    if projection.ending || start::own(projection) == Some(ParticipantState::Failed) {
        return Some(Err(status::ended(&projection.summary)));
    }
    match start::own(projection) {
        Some(ParticipantState::Confirmed) if !projection.updating => Some(Ok(projection.summary.clone())),
        _ => None,
    }
}

/// Whether this node's own part is installed with nothing to follow, or cannot be any more.
fn installed(projection: &Projection) -> Option<Result<Summary>> {
    let summary = &projection.summary;
    if projection.updating && !projection.ending {
        return None;
    }
    let Some(own) = start::own(projection) else {
        return summary.over.then(|| Err(status::ended(summary)));
    };
    match own {
        ParticipantState::Installed | ParticipantState::Confirmed | ParticipantState::Stopped => {
            Some(Ok(summary.clone()))
        }
        ParticipantState::Invited => Some(Err(Error::new(Code::WrongState, "the invitation has not been answered")
            .hint("deployctl accept shows it")
            .about(summary.session))),
        ParticipantState::Failed if !projection.removed => None,
        ParticipantState::Failed | ParticipantState::Removed => Some(Err(status::ended(summary))),
        _ if summary.state.is_end() => Some(Err(status::ended(summary))),
        _ => None,
    }
}
