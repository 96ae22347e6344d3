//! The commands: one file each, its arguments beside what it does. Words for people live here.

mod accept;
mod account;
mod acquaint;
mod build;
mod complete;
mod completions;
mod config;
mod confine;
mod consent;
mod csv;
mod demo;
mod discover;
mod doctor;
mod enrol;
mod form;
#[cfg(test)]
mod help_tests;
mod init;
mod install;
mod invite;
mod leaving;
mod ledgers;
mod man;
mod mishap;
mod remedy;
mod remove;
mod request;
mod serve;
mod shell;
mod start;
mod status;
mod stop;
mod supervise;
mod trust;
mod usage;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::model::Result;
use crate::ui::Ui;
use shell::{Global, Shell};

/// Deploy software by invitation, and hand it to one another on a network.
///
/// An Initiator picks a service at a provider and names the peers; the provider invites them, builds the software for
/// those who accept, and everyone installs and runs it until the Initiator ends it. Then it is gone again.
#[derive(Parser)]
#[command(
    name = "deployctl",
    version,
    max_term_width = 100,
    propagate_version = true,
    help_template = TEMPLATE,
    before_help = COMMANDS,
    after_long_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const TEMPLATE: &str = "{about-with-newline}
{usage-heading} {usage}

{before-help}
Options:
{options}{after-help}";

/// Both helps show the commands like this: grouped, and on one screen.
const COMMANDS: &str = "First steps
  demo      see all of it at work here     init      make this node's identity
  trust     say whom this node trusts      serve     run this node
A session
  request   ask a provider for a service   invite    see and change invitations
  accept    see invitations, answer them   build     build its software now
  install   fetch, verify and install it   start     start it, or wait for it
  stop      end it, or leave it            remove    take its software away
  status    see what is going on           account   what it used, what it costs
  verify    check it from files alone
Programs of neighbours
  discover  see nodes and programs here    install, start, stop, remove NAME
This machine
  doctor    what is wrong, how to mend it  config    settings, where from
  completions  for your shell";

const EXAMPLES: &str = "Examples:
  deployctl demo                                    see the whole method at work on this machine
  deployctl init --name anna --address 192.0.2.7:4800
  deployctl trust add shop deploy://KEY@shop.example:4800 --may provide
  deployctl request --provider shop --list
  deployctl request site --provider shop --peer ben --wait running
  deployctl status

Exit codes:
  0 done   1 failed   2 wrong usage   3 the other side said no   4 verification failed
  5 not reached, try again   6 no such thing, or too late   7 partly done   8 bad input
  130 interrupted   143 terminated";

/// A command with its arguments, as something to do.
struct Command(Box<ToDo>);

type ToDo = dyn FnOnce(&Shell) -> Result<()>;

/// Each command is a module by its name, with `Args` and `run`. The arguments of one are only defined once it is known that
/// it is the one: defining those of all takes a good part of the time in which the program starts.
macro_rules! commands {
    ($($name:ident)*; hidden: $($hidden:ident)*) => {
        impl Subcommand for Command {
            fn augment_subcommands(program: clap::Command) -> clap::Command {
                program
                    $(.subcommand(clap::Command::new(stringify!($name)).defer($name::Args::augment_args)))*
                    $(.subcommand(clap::Command::new(stringify!($hidden)).hide(true).defer($hidden::Args::augment_args)))*
            }
            fn augment_subcommands_for_update(program: clap::Command) -> clap::Command {
                Self::augment_subcommands(program)
            }
            fn has_subcommand(name: &str) -> bool {
                [$(stringify!($name),)* $(stringify!($hidden)),*].contains(&name)
            }
        }

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Self::from_arg_matches_mut(&mut matches.clone())
            }
            fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
                match matches.remove_subcommand() {
                    $(Some((name, mut matches)) if name == stringify!($name) => {
                        let args = $name::Args::from_arg_matches_mut(&mut matches)?;
                        Ok(Self(Box::new(move |shell| $name::run(&args, shell))))
                    })*
                    $(Some((name, mut matches)) if name == stringify!($hidden) => {
                        let args = $hidden::Args::from_arg_matches_mut(&mut matches)?;
                        Ok(Self(Box::new(move |shell| $hidden::run(&args, shell))))
                    })*
                    _ => Err(clap::Error::new(ErrorKind::MissingSubcommand).with_cmd(&Cli::command())),
                }
            }
            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                Self::from_arg_matches(matches).map(|command| *self = command)
            }
        }
    };
}

commands! {
    init trust serve request invite accept build install start stop account remove status verify discover demo config
    doctor completions;
    hidden: man supervise confine
}

impl Cli {
    /// The commands with all their arguments, for who looks at others than the one that was asked for.
    fn whole() -> clap::Command {
        let mut command = Self::command();
        command.build();
        command
    }
}

/// Runs the program's arguments; what it returns is the process's exit code.
pub fn main() -> ExitCode {
    if let Some(answered) = complete::answer() {
        return answered;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = usage::wants_json(&arguments);
    mishap::guarded(usage::screen(json), || match Cli::try_parse_from(&arguments) {
        Ok(cli) => match Shell::new(cli.global) {
            Ok(shell) => exit(&shell.ui, (cli.command.0)(&shell)),
            Err((ui, error)) => exit(&ui, Err(error)),
        },
        Err(said) => usage::answer(&said, &arguments, json),
    })
}

fn exit(ui: &Ui, result: Result<()>) -> ExitCode {
    ui.rest();
    match result {
        // Whoever read the output has gone: that is no failure of ours.
        _ if ui.reader_left() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = ExitCode::from(error.code.exit());
            ui.error(&remedy::with(error));
            exit
        }
    }
}
