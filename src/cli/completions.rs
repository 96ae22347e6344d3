//! `deployctl completions`

use serde::Serialize;

use super::complete::{NAMES, script};
use super::shell::Shell;
use crate::model::Result;

/// Print the script that lets a shell complete words
///
/// Commands and flags, and as of now: contacts, sessions, invitations, services of a provider that was asked before,
/// and their options. The network is not asked.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  source <(deployctl completions bash)                                    in ~/.bashrc
  deployctl completions zsh > ~/.zfunc/_deployctl                         with fpath+=~/.zfunc before compinit
  deployctl completions fish > ~/.config/fish/completions/deployctl.fish
  eval (deployctl completions elvish | slurp)                             in ~/.config/elvish/rc.elv
  deployctl completions powershell >> $PROFILE")]
pub(super) struct Args {
    /// The shell
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    shell: String,
}

#[derive(Serialize)]
struct Script<'a> {
    shell: &'a str,
    script: String,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let made = Script { shell: &args.shell, script: script(&args.shell)? };
    if shell.ui.is_json() { shell.ui.json(&made) } else { shell.ui.verbatim(&made.script) }
}
