//! `deployctl supervise`, started by deployctl itself.

use super::leaving::asked_to_stop;
use super::shell::Shell;
use crate::model::{Code, Error, Party, Result, SessionId};
use crate::process::detach;
use crate::roles::programs::run;
use crate::roles::supervise;
use crate::store::programs::ProgramId;

/// Run a role's program (started by deployctl itself)
#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(required_unless_present = "program")]
    session: Option<SessionId>,
    party: Option<Party>,
    /// An installed program instead of a session's role
    #[arg(long, value_name = "NAME@KEY", conflicts_with = "session")]
    program: Option<ProgramId>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    detach::become_session_leader()?;
    let node = shell.node()?;
    let stop = async {
        asked_to_stop().await;
    };
    match (&args.program, args.session, args.party) {
        (Some(program), ..) => shell.run_until_stopped(run::supervise(node, program.clone(), stop)),
        (None, Some(session), Some(party)) => {
            shell.run_until_stopped(supervise::supervise(node, session, party, stop)).map(drop)
        }
        _ => Err(Error::new(Code::Usage, "supervise needs a session and a party, or a program")),
    }
}
