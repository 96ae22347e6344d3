//! `deployctl install`

use std::path::PathBuf;

use super::shell::Shell;
use super::{start, status};
use crate::model::{Code, Error, ParticipantState, Party, Result};
use crate::roles::drive::ByHand;
use crate::roles::part::Wishes;
use crate::roles::sitting::Projection;
use crate::session::Summary;

/// Fetch, verify and install what was delivered
///
/// Fetches what was delivered for this node, checks that it is what was accepted, and installs it: complete or not at all.
/// Where nothing is delivered yet, waits for it and asks the provider meanwhile.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl install 7k3q
  deployctl install 7k3q --start
  deployctl install 7k3q --root ~/services

To undo: deployctl remove SESSION")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id
    session: String,
    /// Wait until the service has started and is ready here
    #[arg(long)]
    start: bool,
    /// Install below this folder instead of the state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let part = node.part_as(&args.session, &[Party::Initiator, Party::Peer])?;
    let (session, party) = (part.summary.session, part.summary.party);
    if let Some(summary) = installed(&part) {
        let summary = summary?;
        shell.ui.note("it is installed already");
        return finish(args, summary, &node, shell);
    }
    if let Some(root) = &args.root {
        let root = std::path::absolute(root).map_err(|why| Error::new(Code::Usage, format!("--root: {why}")))?;
        let wishes = node.wishes(session, party)?;
        node.wish(session, party, &Wishes { root: Some(root), ..wishes })?;
    }
    // What could not be installed is cleared away by this very command: nobody else may come by.
    let by_hand = ByHand { install: true, remove: true, attended: true, ..ByHand::default() };
    let summary = shell.run(node.wait_for(session, party, by_hand, shell.timeout, installed))?;
    finish(args, summary, &node, shell)
}

fn finish(args: &Args, summary: Summary, node: &std::sync::Arc<crate::roles::Node>, shell: &Shell) -> Result<()> {
    let summary = if args.start { shell.run(start::until_ready(node, &summary, shell))? } else { summary };
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Whether this node's own part is installed, or cannot be any more.
fn installed(projection: &Projection) -> Option<Result<Summary>> {
    let summary = &projection.summary;
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
