//! `deployctl man`: the pages of the commands, made from what `--help` says.

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;
use super::shell::Shell;
use crate::model::{Code, Error, Result};

/// When these pages were last looked through, as a page's foot says.
const DATE: &str = "2026-11-22";
const PROGRAM: &str = "deployctl";
/// Flags that all commands share are told on the page of the program.
const SHARED: &str = "Global options";

const EXITS: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Failed for another reason: a build that fails, a service that does not become ready."),
    ("2", "Wrong usage, or a question was needed and not allowed."),
    ("3", "The other side said no: declined, refused, withdrawn, not permitted, quorum missed."),
    (
        "4",
        "Authentication or verification failed: key, signature, digest, replay, downgrade, more than was accepted, a broken chain.",
    ),
    ("5", "Could not be reached, timed out, or locked by another process; trying again may help."),
    ("6", "No such thing, or not in a state for this: expired, too late, already answered."),
    ("7", "Partly done: some participants failed."),
    ("8", "Bad input: a service definition, options, an archive, a damaged file."),
    ("130", "Interrupted (SIGINT)."),
    ("143", "Terminated (SIGTERM)."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("DEPLOYCTL_STATE", "The state directory, where --state is left out."),
    ("DEPLOYCTL_FORMAT", "The form of the output, where --format is left out."),
    (
        "DEPLOYCTL_LISTEN, DEPLOYCTL_SERVICES, DEPLOYCTL_ADVERTISE, DEPLOYCTL_INTERFACE",
        "The flags of serve of these names.",
    ),
    ("XDG_STATE_HOME", "Where the state directory is, where nobody names one."),
    ("NO_COLOR", "No colours, where --color is left out."),
];

const FILES: &[(&str, &str)] = &[
    ("~/.local/state/deployctl/", "The state directory; in $XDG_STATE_HOME/deployctl/ where that is set."),
    ("config.toml", "In the state directory: this node's settings, see deployctl-config.toml(5)."),
    ("identity/node.key", "The node's private key. Whoever has it is this node."),
    ("services/NAME/service.toml", "What this node offers as a provider, see deployctl-service.toml(5)."),
    ("sessions/ID/PARTY/log.jsonl", "All that was said and done in a session, one record a line."),
    ("audit.jsonl", "Who was refused, and why."),
];

/// Print a page of the manual, for man(1); without a name, the names of all
#[derive(clap::Args)]
pub(super) struct Args {
    /// A page, like `deployctl-request`
    #[arg(value_name = "PAGE")]
    page: Option<String>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let all = pages();
    let Some(wanted) = &args.page else {
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        return shell.ui.data(&names, || names.join("\n"));
    };
    let page = all.iter().find(|(name, _)| name == wanted);
    let (_, command) = page.ok_or_else(|| Error::new(Code::Usage, format!("there is no page {wanted}")))?;
    let page = page_of(command)?;
    if shell.ui.is_json() { shell.ui.json(&page) } else { shell.ui.verbatim(&page) }
}

/// The program's commands as pages, by name.
fn pages() -> Vec<(String, Command)> {
    let mut program = Cli::command().disable_help_subcommand(true).term_width(0);
    program.build();
    let mut found = Vec::new();
    collect(PROGRAM, &program, &mut found);
    found
}

fn collect(name: &str, command: &Command, found: &mut Vec<(String, Command)>) {
    found.push((name.to_owned(), command.clone().display_name(name)));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(&format!("{name}-{}", inner.get_name()), inner, found);
    }
}

fn page_of(command: &Command) -> Result<String> {
    let name = command.get_display_name().unwrap_or(PROGRAM).to_owned();
    let is_program = name == PROGRAM;
    let mut command = command.clone();
    if !is_program {
        command = command.mut_args(|arg| {
            let shared = arg.get_help_heading() == Some(SHARED) || ["help", "version"].contains(&arg.get_id().as_str());
            arg.hide(shared)
        });
    }
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(DATE);
    let man = man.source(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"))).manual("deployctl manual");
    let mut made = Vec::new();
    let parts = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    parts
        .iter()
        .try_for_each(|part| part(&man, &mut made))
        .map_err(|why| Error::new(Code::Internal, format!("making {name}(1): {why}")))?;
    let mut page = tidy(&String::from_utf8_lossy(&made));
    subcommands(&mut page, &name, &command);
    if let Some(help) = command.get_after_long_help() {
        after_help(&mut page, &help.to_string());
    }
    if is_program {
        list(&mut page, "EXIT STATUS", EXITS);
        list(&mut page, "ENVIRONMENT", ENVIRONMENT);
        list(&mut page, "FILES", FILES);
        see_also(&mut page, &["deployctl-config.toml(5)", "deployctl-service.toml(5)", "deployctl-protocol(7)"]);
    } else {
        heading(&mut page, "EXIT STATUS");
        page.push_str(&text(
            "0 when it is done; deployctl(1) says what else there is, and what the flags do that all commands take.",
        ));
        see_also(&mut page, &["deployctl(1)"]);
    }
    Ok(page)
}

/// What mandoc would find in clap's part: blanks at the ends of lines, and breaks beside empty lines, which are breaks.
fn tidy(made: &str) -> String {
    let lines: Vec<&str> = made.lines().map(str::trim_end).collect();
    let is_empty =
        |at: Option<usize>| at.and_then(|at| lines.get(at)).is_some_and(|line| line.is_empty() || *line == ".sp");
    let is_needless = |at: usize| lines[at] == ".br" && (is_empty(at.checked_sub(1)) || is_empty(Some(at + 1)));
    (0..lines.len())
        .filter(|at| !is_needless(*at))
        .map(|at| format!("{}\n", if lines[at].is_empty() { ".sp" } else { lines[at] }))
        .collect()
}

fn heading(page: &mut String, words: &str) {
    page.push_str(&format!(".SH \"{words}\"\n"));
}

fn subcommands(page: &mut String, name: &str, command: &Command) {
    let shown: Vec<_> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).collect();
    if shown.is_empty() {
        return;
    }
    heading(page, "COMMANDS");
    for inner in shown {
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!(".TP\n{}{}", bold(&format!("{name}-{}(1)", inner.get_name())), text(&about)));
    }
}

fn list(page: &mut String, title: &str, rows: &[(&str, &str)]) {
    heading(page, title);
    for (word, about) in rows {
        page.push_str(&format!(".TP\n{}{}", bold(word), text(about)));
    }
}

fn see_also(page: &mut String, pages: &[&str]) {
    heading(page, "SEE ALSO");
    page.push_str(&text(&pages.join(", ")));
}

/// What comes after the options in `--help`: a line without an indent that ends with a colon is a heading, what is
/// indented stays as it is, all else is text.
fn after_help(page: &mut String, help: &str) {
    let mut lines = help.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if line.starts_with(' ') {
            paragraph(page);
            page.push_str(".nf\n");
            page.push_str(&text(line));
            while let Some(more) = lines.next_if(|line| line.starts_with(' ')) {
                page.push_str(&text(more));
            }
            page.push_str(".fi\n");
        } else if let Some(title) = line.strip_suffix(':').filter(|title| title.len() < 20) {
            // Told once, in full, on the program's own page.
            if title == "Exit codes" {
                while lines.next_if(|line| line.starts_with(' ')).is_some() {}
                continue;
            }
            let title = if title == "Example" { "Examples" } else { title };
            heading(page, &title.to_uppercase());
        } else {
            paragraph(page);
            page.push_str(&text(line));
            while let Some(more) = lines.next_if(|line| !line.is_empty() && !line.starts_with(' ')) {
                page.push_str(&text(more));
            }
        }
    }
}

/// A heading begins one by itself.
fn paragraph(page: &mut String) {
    let last = page.lines().last();
    if !last.is_some_and(|line| line.starts_with(".SH")) {
        page.push_str(".PP\n");
    }
}

fn bold(words: &str) -> String {
    format!("\\fB{}\\fR\n", escape(words))
}

/// A line of text as roff reads it.
fn text(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{}\n", escape(line.trim_end()))
}

fn escape(words: &str) -> String {
    words
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections_and_what_is_indented_stays() {
        let mut page = String::new();
        after_help(
            &mut page,
            "Examples:\n  deployctl x -y\n  .z\n\nTo undo: nothing\nat all.\n\nExit codes:\n  0 done\n",
        );
        let expected = ".SH \"EXAMPLES\"\n.nf\n  deployctl x \\-y\n  .z\n.fi\n.PP\nTo undo: nothing\nat all.\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn text_cannot_be_taken_for_a_request() {
        assert_eq!(text(".SH x"), "\\&.SH x\n");
        assert_eq!(text("'tis a\\b"), "\\&\\(aqtis a\\eb\n");
    }

    #[test]
    fn every_exit_code_of_an_error_is_on_the_page() {
        for code in Code::ALL {
            assert!(EXITS.iter().any(|(exit, _)| *exit == code.exit().to_string()), "{code}");
        }
    }
}
