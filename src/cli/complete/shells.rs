//! The scripts by which shells ask. Bash and zsh have their own here; the others are clap's.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Shells};

use super::VARIABLE;
use crate::model::{Code, Result};

/// The shells that there are scripts for.
pub(in crate::cli) const NAMES: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

pub(super) const fn all() -> Shells<'static> {
    Shells(&[&BASH, &ZSH, &Fish, &Elvish, &Powershell])
}

/// The script that makes a shell ask the `deployctl` that it finds in its `PATH`.
///
/// # Errors
/// `usage` for a shell that is not among [`NAMES`].
pub(in crate::cli) fn script(shell: &str) -> Result<String> {
    let shells = all();
    let unknown = || crate::model::Error::new(Code::Usage, format!("there is no script for the shell {shell}"));
    let completer = shells.completer(shell).ok_or_else(unknown)?;
    let mut text = Vec::new();
    completer
        .write_registration(VARIABLE, "deployctl", "deployctl", "deployctl", &mut text)
        .map_err(|why| crate::model::Error::new(Code::Internal, format!("making the script for {shell}: {why}")))?;
    Ok(format!("{}\n", String::from_utf8_lossy(&text).trim_end()))
}

const BASH: Own = Own { asks: &clap_complete::env::Bash, script: include_str!("bash.in") };
const ZSH: Own = Own { asks: &clap_complete::env::Zsh, script: include_str!("zsh.in") };

/// clap's answers with a script of ours. Clap's for bash does not see that `port=80` is one word, where bash says that it
/// is three (<https://github.com/clap-rs/clap/issues/6280>); its one for zsh puts a blank after `port=`.
struct Own {
    asks: &'static (dyn EnvCompleter + Sync),
    script: &'static str,
}

impl EnvCompleter for Own {
    fn name(&self) -> &'static str {
        self.asks.name()
    }
    fn is(&self, name: &str) -> bool {
        self.asks.is(name)
    }
    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        program: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> Result<(), Error> {
        let completer = format!("'{}'", completer.replace('\'', r"'\''"));
        let text = self.script.replace("VARIABLE", variable).replace("PROGRAM", program);
        script.write_all(text.replace("COMPLETER", &completer).as_bytes())
    }
    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> Result<(), Error> {
        self.asks.write_complete(command, words, folder, answer)
    }
}
