//! `deployctl build`

use super::shell::Shell;
use super::status;
use crate::model::{Party, Result, SessionState};
use crate::roles::drive::ByHand;

/// Build the software of a session now
///
/// The provider's `serve` does so by itself when the answers are in; this is for
/// when it is not running.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id
    session: String,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let part = node.part_as(&args.session, &[Party::Provider])?;
    let session = part.summary.session;
    let summary =
        shell.run(node.wait_for(session, Party::Provider, ByHand::default(), shell.timeout, |projection| {
            let summary = &projection.summary;
            match summary.state {
                SessionState::Inviting => Some(Err(crate::model::Error::new(
                    crate::model::Code::WrongState,
                    "not all have answered yet: the roster is not fixed",
                )
                .about(session))),
                state if state.is_end() => Some(Err(status::ended(summary))),
                state if state > SessionState::Building => Some(Ok(summary.clone())),
                _ => None,
            }
        }))?;
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}
