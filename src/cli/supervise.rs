//! `deployctl supervise`, started by deployctl itself.

use super::shell::{Shell, asked_to_stop};
use crate::model::{Party, Result, SessionId};
use crate::process::detach;
use crate::roles::supervise;

/// Run a role's program (started by deployctl itself)
#[derive(clap::Args)]
pub(super) struct Args {
    session: SessionId,
    party: Party,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    detach::become_session_leader()?;
    let node = shell.node()?;
    shell.run_until_stopped(supervise::supervise(node, args.session, args.party, asked_to_stop()))
}
