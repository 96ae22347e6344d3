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

use clap::{Parser, Subcommand};

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
  completions  for your shell
";

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

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Trust(trust::Args),
    Serve(serve::Args),
    Request(request::Args),
    Invite(invite::Args),
    Accept(accept::Args),
    Build(build::Args),
    Install(install::Args),
    Start(start::Args),
    Stop(stop::Args),
    Account(account::Args),
    Remove(remove::Args),
    Status(status::Args),
    Verify(verify::Args),
    Discover(discover::Args),
    Demo(demo::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
    #[command(hide = true)]
    Confine(confine::Args),
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
            Ok(shell) => exit(&shell.ui, cli.command.run(&shell)),
            Err((ui, error)) => exit(&ui, Err(error)),
        },
        Err(said) => usage::answer(&said, &arguments, json),
    })
}

impl Command {
    fn run(self, shell: &Shell) -> Result<()> {
        match self {
            Command::Init(args) => init::run(&args, shell),
            Command::Trust(args) => trust::run(&args, shell),
            Command::Serve(args) => serve::run(&args, shell),
            Command::Request(args) => request::run(&args, shell),
            Command::Invite(args) => invite::run(&args, shell),
            Command::Accept(args) => accept::run(&args, shell),
            Command::Build(args) => build::run(&args, shell),
            Command::Install(args) => install::run(&args, shell),
            Command::Start(args) => start::run(&args, shell),
            Command::Stop(args) => stop::run(&args, shell),
            Command::Account(args) => account::run(&args, shell),
            Command::Remove(args) => remove::run(&args, shell),
            Command::Status(args) => status::run(&args, shell),
            Command::Verify(args) => verify::run(&args, shell),
            Command::Discover(args) => discover::run(&args, shell),
            Command::Demo(args) => demo::run(&args, shell),
            Command::Config(args) => config::run(&args, shell),
            Command::Doctor(args) => doctor::run(&args, shell),
            Command::Completions(args) => completions::run(&args, shell),
            Command::Man(args) => man::run(&args, shell),
            Command::Supervise(args) => supervise::run(&args, shell),
            Command::Confine(args) => confine::run(&args, shell),
        }
    }
}

fn exit(ui: &Ui, result: Result<()>) -> ExitCode {
    ui.rest();
    match result {
        // Whoever read the output has gone: that is no failure of ours.
        _ if ui.reader_left() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.code.exit())
        }
    }
}
