//! `deployctl demo`

use super::shell::Shell;
use crate::model::{Code, Error, Result};

/// See the whole method at work: provider, Initiator and peers on this machine
#[derive(clap::Args)]
pub(super) struct Args {
    /// How many peers
    #[arg(long, default_value_t = 2)]
    peers: u16,
}

pub(super) fn run(args: Args, _shell: &Shell) -> Result<()> {
    Err(Error::new(Code::Internal, format!("{} peers", args.peers)))
}
