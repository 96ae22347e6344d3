//! What clap says, in the shape of everything else: help and version as data, wrong usage as an error with what to do.

use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use serde::Serialize;

use super::{Cli, exit, shell};
use crate::model::{Code, Error};
use crate::ui::{Format, Settings, Ui};

/// How a line begins in which clap says what was meant perhaps.
const TIP: &str = "tip: ";

/// What lists the values that a missing argument can have, by how help calls them.
const LISTED: [(&str, &str); 4] = [
    ("<SESSION", "`deployctl status` lists sessions and programs"),
    ("<CONTACT", "`deployctl trust list` lists contacts"),
    ("<INVITATION", "`deployctl invite` lists invitations"),
    ("<SETTING", "`deployctl config` lists settings"),
];

/// A screen before there is a command that says how it is to look.
pub(super) fn screen(json: bool) -> Ui {
    let format = if json { Format::Json } else { Format::Human };
    Ui::new(Settings { format, no_color: shell::no_color(), ..Settings::default() })
}

/// Whether JSON is wanted, before the arguments are known to be right; the last flag counts, then the environment.
pub(super) fn wants_json(arguments: &[OsString]) -> bool {
    let ours = arguments.split(|one| one == "--").next().unwrap_or_default();
    let joined = |one: &OsString| Some(one.to_str()?.strip_prefix("--format=")?.to_owned());
    let apart = |pair: &[OsString]| (pair[0] == "--format").then(|| pair[1].to_string_lossy().into_owned());
    let mut backwards = ours.iter().enumerate().rev();
    match backwards.find_map(|(at, one)| joined(one).or_else(|| apart(ours.get(at..at + 2)?))) {
        Some(format) => format == "json",
        None => std::env::var_os("DEPLOYCTL_FORMAT").is_some_and(|format| format == "json"),
    }
}

/// Help and version are data; all else that clap says is wrong usage.
pub(super) fn answer(said: &clap::Error, arguments: &[OsString], json: bool) -> ExitCode {
    let ui = screen(json);
    let result = match said.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion if !json => {
            // A reader who has gone is no failure.
            let _ = said.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelp => ui.json(&Help { help: said.to_string() }),
        ErrorKind::DisplayVersion => {
            ui.json(&Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            let _ = said.print();
            return ExitCode::from(Code::Usage.exit());
        }
        _ => Err(wrong(said, &command_of(arguments))),
    };
    exit(&ui, result)
}

#[derive(Serialize)]
struct Help {
    help: String,
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// The first paragraph is what is wrong; tips and what a value's own parser advises are what to do.
fn wrong(said: &clap::Error, command: &str) -> Error {
    let text = said.to_string();
    let mut lines = text.lines();
    let paragraph: Vec<_> = lines.by_ref().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let rest: Vec<_> = lines.map(str::trim).collect();
    let message = match (said.kind(), paragraph.split_first()) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => format!("a command belongs after `{command}`"),
        (_, Some((first, []))) => (*first).to_owned(),
        (_, Some((first, more))) => format!("{first} {}", more.join(", ")),
        (_, None) => "these arguments do not fit".to_owned(),
    };
    // How a text that begins with a dash is passed on is seldom what was meant.
    let tips = rest.iter().filter_map(|line| line.strip_prefix(TIP)).filter(|tip| !tip.starts_with("to pass "));
    let tips = tips.map(str::to_owned);
    let advice = said.source().and_then(|why| why.downcast_ref::<Error>()).and_then(|why| why.hint.clone());
    let help = format!("`{command} --help` says what can be given");
    let is_missing = said.kind() == ErrorKind::MissingRequiredArgument;
    let listed =
        LISTED.iter().filter(|(value, _)| is_missing && message.contains(value)).map(|(_, how)| (*how).to_owned());
    let hints: Vec<_> = tips.chain(advice).chain(listed).chain([help]).collect();
    Error::new(Code::Usage, message.trim_start_matches("error: ")).hint(hints.join("; ").replace("?; ", "? "))
}

/// The commands that are named, `deployctl trust add`; a value that is called like one of them is taken for it.
fn command_of(arguments: &[OsString]) -> String {
    let mut command = Cli::whole();
    let mut named = vec![env!("CARGO_PKG_NAME").to_owned()];
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            named.push(word.to_owned());
            command = inner.clone();
        }
    }
    named.join(" ")
}
