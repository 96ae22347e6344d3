//! How it stands with programs: those that are installed here, and those that were handed to others.

use serde::Serialize;

use crate::cli::shell::Shell;
use crate::model::{Code, Error, Result};
use crate::roles::Node;
use crate::roles::programs::Summary;
use crate::roles::programs::handed::{Handed, Installation};
use crate::store::programs::Program;
use crate::ui::escape::escape_line;
use crate::ui::table::table;

/// One program by its name: as it is installed here, and what others have of it.
#[derive(Serialize)]
struct One {
    #[serde(flatten)]
    installed: Option<Summary>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    installations: Vec<Installation>,
}

/// The installed program that a text names; nothing where it names none.
///
/// # Errors
/// `ambiguous`.
pub(crate) fn named(node: &Node, text: &str) -> Result<Option<Program>> {
    match node.installed_program(text) {
        Ok(program) => Ok(Some(program)),
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Shows a program; says whether there is one of this name.
pub(super) fn show(node: &Node, text: &str, shell: &Shell) -> Result<bool> {
    let installed = named(node, text)?.map(|program| node.summarize(&program)).transpose()?;
    let handed = node.handed()?.into_iter().find(|handed| *handed.program == *text);
    if installed.is_none() && handed.is_none() {
        return Ok(false);
    }
    let one = One { installed, installations: handed.map(|handed| handed.installations).unwrap_or_default() };
    let text = || {
        let installed = one.installed.as_ref().map(describe);
        let handed = (!one.installations.is_empty()).then(|| installations(&one.installations));
        installed.into_iter().chain(handed).collect::<Vec<_>>().join("\n")
    };
    shell.ui.data(&one, text)?;
    Ok(true)
}

/// One program for a person.
pub(crate) fn describe(summary: &Summary) -> String {
    let mut lines = vec![format!("program   {}", summary.program), format!("signer    {}", summary.signer)];
    if let Some(current) = &summary.current {
        let by = if current.by.is_empty() { String::new() } else { format!(", by {}", current.by.join(" and ")) };
        lines.push(format!("version   {}, generation {}", current.version, current.generation));
        lines.push(format!("platform  {}{by}", current.platform));
        lines.push(format!("folder    {}", current.folder.display()));
    }
    lines.push(format!("state     {}", summary.state));
    if let Some(before) = &summary.before {
        lines.push(format!("before    {before}; to go back: deployctl install --rollback {}", summary.program));
    }
    if let Some(failure) = &summary.failure {
        lines.push(format!("failure   {}", escape_line(&failure.text)));
        let tail = failure.tail.iter().flat_map(|tail| tail.lines());
        lines.extend(tail.map(|line| format!("  | {}", escape_line(line))));
    }
    lines.join("\n")
}

/// All installed programs, a line each.
pub(super) fn list(programs: &[Summary]) -> String {
    let rows: Vec<_> = programs
        .iter()
        .map(|one| {
            let current = one.current.as_ref();
            vec![
                one.program.to_string(),
                current.map(|current| current.version.to_string()).unwrap_or_default(),
                one.state.to_string(),
                one.signer.short(),
                one.failure.as_ref().map(|failure| failure.text.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    table(&["PROGRAM", "VERSION", "STATE", "SIGNER", "FAILURE"], &rows)
}

/// What others have of this node's programs, a line each.
pub(super) fn handed(all: &[Handed]) -> String {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|handed| handed.installations.iter().map(|one| [vec![handed.program.to_string()], row(one)].concat()))
        .collect();
    table(&["OFFERED", "TO", "VERSION", "PLATFORM", "STATE", "REASON"], &rows)
}

fn installations(all: &[Installation]) -> String {
    table(&["TO", "VERSION", "PLATFORM", "STATE", "REASON"], &all.iter().map(row).collect::<Vec<_>>())
}

fn row(one: &Installation) -> Vec<String> {
    let reason = one.reason.clone().unwrap_or_default();
    vec![one.name.clone(), one.version.to_string(), one.platform.to_string(), one.state.clone(), reason]
}

/// How a hint begins that knows better than where to look.
const MEANT: &str = "did you mean";

/// Nothing of this name is here.
pub(crate) fn unknown(text: &str, why: Error) -> Error {
    match why.code {
        Code::NotFound => {
            let meant = why
                .hint
                .filter(|hint| hint.starts_with(MEANT))
                .unwrap_or("`deployctl status` lists sessions and programs".into());
            Error::new(Code::NotFound, format!("there is no session and no program {text} here")).hint(meant)
        }
        _ => why,
    }
}
