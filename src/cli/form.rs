//! A service's options as a form: one question each, with its default, what is allowed, help, and a way back.

use crate::model::{Code, Error, Result};
use crate::service::option::{Given, Kind, OptionSpec, missing, resolve, typed};
use crate::ui::Ui;
use crate::ui::escape::escape_line;

/// Unusable answers to one question, after which asking is given up.
const MAX_TRIES: usize = 10;

/// Asks for the options that were not given: all of them, or, unless `all`, only if one is missing that there must be.
///
/// # Errors
/// `interrupted`, `prompt-needed`: input ended, or no answer could be understood.
pub(super) fn fill(specs: &[OptionSpec], given: &mut Given, all: bool, ui: &Ui) -> Result<()> {
    if !all && missing(specs, given).is_empty() {
        return Ok(());
    }
    let open: Vec<_> = specs.iter().filter(|spec| !given.contains_key(&spec.name)).collect();
    if open.is_empty() {
        return Ok(());
    }
    ui.note("Options of the service. Enter takes what is in [brackets], ? explains, < goes back, Ctrl-C ends it.");
    let mut at = 0;
    while let Some(spec) = open.get(at) {
        match ask(spec, given, ui)? {
            Move::On => at += 1,
            Move::Back => {
                at = at.saturating_sub(1);
                given.remove(&open[at].name);
            }
        }
    }
    Ok(())
}

enum Move {
    On,
    Back,
}

/// One question, until its answer is one that the service takes.
fn ask(spec: &OptionSpec, given: &mut Given, ui: &Ui) -> Result<Move> {
    let flag = if spec.secret { "--values FILE".to_owned() } else { format!("--set {}=…", spec.name) };
    for _ in 0..MAX_TRIES {
        let answer = ui.ask_field(&question(spec), spec.secret, &flag)?;
        match answer.as_str() {
            "?" => ui.note(&explanation(spec)),
            "<" => return Ok(Move::Back),
            "" if spec.default.is_some() || !spec.required => return Ok(Move::On),
            "" => ui.note("    there is no default; please write something, or ? for help"),
            text => match check(spec, text) {
                Ok(value) => {
                    given.insert(spec.name.clone(), value);
                    return Ok(Move::On);
                }
                Err(error) => ui.note(&format!("    {}", escape_line(&error.message))),
            },
        }
    }
    Err(Error::new(Code::PromptNeeded, format!("no answer for the option {} could be understood", spec.name))
        .hint(format!("answer with {flag}")))
}

/// `  Repeat (a whole number from 1 to 3600) [5]: `
fn question(spec: &OptionSpec) -> String {
    let default = spec.default.as_ref().map(|default| format!(" [{}]", escape_line(&default.to_string())));
    let may_stay_out = (default.is_none() && !spec.required).then(|| " [leave it out]".to_owned());
    let hidden = if spec.secret { ", not shown" } else { "" };
    format!(
        "  {} ({}{hidden}){}: ",
        escape_line(spec.label()),
        escape_line(&spec.allowed()),
        default.or(may_stay_out).unwrap_or_default()
    )
}

fn explanation(spec: &OptionSpec) -> String {
    let mut lines = vec![format!("    {}: {}", spec.name, spec.allowed())];
    lines.extend(spec.description.as_ref().map(|text| format!("    {}", escape_line(text))));
    if let Kind::Enum(choices) = &spec.kind {
        lines.extend(choices.iter().map(|choice| format!("      {}", escape_line(choice))));
    }
    if spec.secret {
        let roles: Vec<_> = spec.roles.iter().map(ToString::to_string).collect();
        lines.push(format!("    A secret: only {} gets it, as a file, and it is shown nowhere.", roles.join(" and ")));
    }
    lines.join("\n")
}

/// The value that a text means, if it keeps what the option demands.
fn check(spec: &OptionSpec, text: &str) -> Result<serde_json::Value> {
    let value = typed(spec, text)?;
    let alone = Given::from([(spec.name.clone(), value.clone())]);
    resolve(std::slice::from_ref(spec), &alone)?;
    Ok(value)
}
