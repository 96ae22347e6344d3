//! Which words can come next, for a shell that asks: from the arguments' definitions and from the state directory, which
//! is only read. No locks, no repairs, no network, and no errors: they would stand in the middle of a person's line.

mod known;
mod line;
mod shells;
mod values;

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;

use super::Cli;
use line::Line;
pub(super) use shells::{NAMES, script};

/// By this variable a shell's script says that it asks, and which shell it is.
const VARIABLE: &str = "DEPLOYCTL_COMPLETE";

/// Answers a shell; nothing where none asks.
pub(super) fn answer() -> Option<ExitCode> {
    let _asked = std::env::var_os(VARIABLE)?;
    let words = || std::env::args_os().skip_while(|word| *word != "--").skip(1);
    let completer = CompleteEnv::with_factory(|| match words().next() {
        Some(_) => values::with_values(Cli::whole(), &Line::of(words())),
        None => Cli::command(),
    });
    let folder = std::env::current_dir().ok();
    match completer.var(VARIABLE).shells(shells::all()).try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(_) if words().next().is_some() => Some(ExitCode::FAILURE),
        Err(error) => {
            let _ = error.print();
            Some(ExitCode::FAILURE)
        }
    }
}
