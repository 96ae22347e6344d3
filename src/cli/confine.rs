//! `deployctl confine`, started by deployctl itself.

use std::path::PathBuf;

use super::shell::Shell;
use crate::model::Result;
use crate::process::confine;

/// Run a build's command within bounds (started by deployctl itself)
#[derive(clap::Args)]
pub(super) struct Args {
    /// What to run
    confinement: PathBuf,
    /// Where to say how it went
    report: PathBuf,
}

/// Takes the shell as every command does, and nothing of it: this process must not have a second thread.
pub(super) fn run(args: &Args, _: &Shell) -> Result<()> {
    confine::confine(&args.confinement, &args.report)
}
