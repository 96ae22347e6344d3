//! What can stand for an argument, by the name that its help gives the value.

use std::ffi::OsStr;
use std::sync::Arc;

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};

use super::known;
use super::line::Line;
use crate::model::{Party, Way};
use crate::store::config::KEYS;
use crate::store::rights::Right;
use crate::ui::escape::{escape_line, shorten};

/// Characters of what is said about a word.
const ABOUT_CHARS: usize = 60;

/// A word that can come next, and what it is.
pub(super) struct Word {
    text: String,
    about: Option<String>,
}

impl Word {
    pub(super) fn new(text: impl Into<String>, about: impl Into<String>) -> Self {
        Self { text: text.into(), about: Some(about.into()) }
    }
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), about: None }
    }
    /// Bash takes words into the line as they are, and some of them are strangers': none that a shell reads otherwise.
    fn is_safe(&self) -> bool {
        self.text.chars().all(|c| c.is_ascii_alphanumeric() || "_.,:/@%+=-".contains(c))
    }
}

impl From<Word> for CompletionCandidate {
    fn from(word: Word) -> Self {
        let about = word.about.map(|about| shorten(&escape_line(&about), ABOUT_CHARS).into());
        Self::new(word.text).help(about)
    }
}

type Source = fn(&Line, &str) -> Vec<Word>;

/// Every name of a value in this program's help, and where its words come from.
const SOURCES: &[(&str, Source)] = &[
    ("CONTACT", known::contacts),
    ("CONTACT[=ROLE]", contacts_with_roles),
    ("ID", known::tokens),
    ("IF,…", known::network_interfaces),
    ("INVITATION", known::invitations),
    ("INVITED", known::invited),
    ("METER=AMOUNT", known::meters),
    ("NODE", known::contacts),
    ("OPTION=VALUE", known::options),
    ("PARTY", parties),
    ("PLATFORM", known::platforms),
    ("PROGRAM", known::programs),
    ("QUORUM", quorums),
    ("RIGHT,…", rights),
    ("ROLE", known::roles),
    ("SERVICE", known::services),
    ("SESSION", known::sessions),
    ("SETTING", settings),
    ("WAY,…", ways),
];

/// Names of values that nobody knows but who types them.
#[cfg(test)]
const FREE: &[&str] = &[
    "ADDR",
    "ADDRESS",
    "CATEGORY",
    "DURATION",
    "GRACE",
    "HOST:PORT",
    "KEY",
    "LICENSE",
    "NAME",
    "PEERS",
    "QUERY",
    "SIZE",
    "TEXT",
    "TIME",
    "TOKEN",
    "TYPE",
    "URI",
    "URL",
];

/// The commands, with words for all their arguments.
pub(super) fn with_values(command: Command, line: &Arc<Line>) -> Command {
    command.mut_args(|arg| attach(arg, line)).mut_subcommands(|inner| with_values(inner, line))
}

fn attach(arg: clap::Arg, line: &Arc<Line>) -> clap::Arg {
    let names: Vec<String> = value_names(&arg);
    let sources: Vec<Source> = names.iter().filter_map(|name| source(name)).collect();
    let paths = names.iter().find_map(|name| paths(name));
    if sources.is_empty() && paths.is_none() {
        return arg;
    }
    let line = Arc::clone(line);
    arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
        let text = typed.to_str().unwrap_or_default();
        let words = sources.iter().flat_map(|source| source(&line, text));
        let words = words.filter(|word| word.is_safe() && word.text.starts_with(text));
        words.map(CompletionCandidate::from).chain(paths.iter().flat_map(|paths| paths().complete(typed))).collect()
    }))
}

/// `SESSION|FILE` are two.
fn value_names(arg: &clap::Arg) -> Vec<String> {
    let takes_value = arg.get_action().takes_values() && arg.get_possible_values().is_empty();
    let names = arg.get_value_names().filter(|_| takes_value).unwrap_or_default();
    names.iter().flat_map(|name| name.split('|').map(str::to_owned)).collect()
}

fn source(name: &str) -> Option<Source> {
    SOURCES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

fn paths(name: &str) -> Option<fn() -> PathCompleter> {
    match name {
        "FILE" | "PACKAGE-FILE" => Some(PathCompleter::file),
        "DIR" => Some(PathCompleter::dir),
        _ => None,
    }
}

fn settings(_: &Line, _: &str) -> Vec<Word> {
    KEYS.iter().map(|key| Word::plain(*key)).collect()
}

fn ways(_: &Line, _: &str) -> Vec<Word> {
    Way::ALL.iter().map(|way| Word::plain(way.as_str())).collect()
}

fn parties(_: &Line, _: &str) -> Vec<Word> {
    Party::ALL.iter().map(|party| Word::plain(party.as_str())).collect()
}

fn quorums(_: &Line, _: &str) -> Vec<Word> {
    vec![Word::new("all", "every peer must accept"), Word::new("any", "one peer is enough")]
}

/// Rights that were not named yet, after those that were.
fn rights(_: &Line, typed: &str) -> Vec<Word> {
    let before = typed.rfind(',').map_or("", |comma| &typed[..=comma]);
    let named: Vec<&str> = before.split(',').collect();
    let words = Right::ALL.into_iter().map(Right::as_str).filter(|word| !named.contains(word));
    words.map(|word| Word::plain(format!("{before}{word}"))).collect()
}

fn contacts_with_roles(line: &Line, typed: &str) -> Vec<Word> {
    match typed.split_once('=') {
        Some((contact, _)) => {
            known::roles(line, "").into_iter().map(|role| Word::plain(format!("{contact}={}", role.text))).collect()
        }
        None => known::contacts(line, typed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Cli;
    use super::*;

    fn names(command: &Command, found: &mut Vec<String>) {
        found.extend(command.get_arguments().flat_map(value_names));
        command.get_subcommands().filter(|inner| !inner.is_hide_set()).for_each(|inner| names(inner, found));
    }

    #[test]
    fn every_argument_is_completed_or_known_to_be_anybodys_own_word() {
        let command = Cli::whole();
        let mut found = Vec::new();
        names(&command, &mut found);
        assert!(found.len() > 30, "{found:?}");
        let unknown: Vec<_> = found
            .iter()
            .filter(|name| source(name).is_none() && paths(name).is_none() && !FREE.contains(&name.as_str()))
            .collect();
        assert!(unknown.is_empty(), "give these a source of words, or say that they are free: {unknown:?}");
    }

    #[test]
    fn words_that_a_shell_would_run_are_not_offered() {
        for bad in ["$(reboot)", "a b", "a;b", "`x`", "a\nb", "ä", "a'b", "~x", "a\\b", "*"] {
            assert!(!Word::plain(bad).is_safe(), "{bad}");
        }
        assert!(Word::plain("port=8080").is_safe() && Word::plain("anna=guest").is_safe());
    }

    #[test]
    fn what_is_said_about_a_word_is_one_short_line_without_control_characters() {
        let word = Word::new("x", format!("\x1b[2J{}\n\u{202e}", "y".repeat(500)));
        let about = CompletionCandidate::from(word).get_help().unwrap().to_string();
        assert!(about.chars().count() <= ABOUT_CHARS && !about.contains(['\x1b', '\n', '\u{202e}']), "{about}");
    }
}
