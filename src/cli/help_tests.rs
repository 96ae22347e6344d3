//! Whether the help helps: every command fits a screen, has examples, and says how to undo it.

use clap::{Command, CommandFactory};

use super::{COMMANDS, Cli};

/// A screen.
const LINES: usize = 24;
const COLUMNS: usize = 80;

/// Commands that change nothing, so that nothing is to be undone.
const READS: &[&str] = &[
    "account export",
    "account verify",
    "completions",
    "config",
    "config get",
    "demo",
    "discover",
    "doctor",
    "invite list",
    "invite show",
    "status",
    "trust list",
    "verify",
];

/// All commands that people see, by their names without the program's.
fn all() -> Vec<(String, Command)> {
    fn collect(name: &str, command: &Command, found: &mut Vec<(String, Command)>) {
        found.push((name.to_owned(), command.clone()));
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
            collect(format!("{name} {}", inner.get_name()).trim(), inner, found);
        }
    }
    let mut program = Cli::command().term_width(COLUMNS);
    program.build();
    let mut found = Vec::new();
    collect("", &program, &mut found);
    found
}

#[test]
fn short_help_fits_a_screen() {
    let mut faults = Vec::new();
    for (name, mut command) in all() {
        let help = command.render_help().to_string();
        let lines = help.trim_end().lines().count();
        let columns = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        if lines > LINES || columns > COLUMNS {
            faults.push(format!("{name}: {lines} lines, {columns} columns\n{help}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn long_help_has_examples_and_says_how_to_undo() {
    let mut faults = Vec::new();
    for (name, mut command) in all() {
        let help = command.render_long_help().to_string();
        let run = format!("  deployctl {name}");
        if !help.contains("\nExample") || !help.lines().any(|line| line.trim_end().starts_with(run.trim_end())) {
            faults.push(format!("{name}: no example"));
        }
        let undoes = help.contains("To undo") || help.contains("cannot be undone");
        if !name.is_empty() && undoes == READS.contains(&name.as_str()) {
            faults.push(format!("{name}: says how to undo it: {undoes}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_programs_help_names_every_command() {
    let words: Vec<&str> =
        COMMANDS.lines().filter(|line| line.starts_with("  ")).flat_map(str::split_whitespace).collect();
    for (name, _) in all().iter().filter(|(name, _)| !name.is_empty() && !name.contains(' ')) {
        assert!(words.contains(&name.as_str()), "{name}");
    }
}
