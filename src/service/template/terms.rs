//! The texts of run and permission sections: words with `{{ expressions }}` in them.
//!
//! Only expressions: no statements, no repetition, and filters whose results are bounded, because a participant
//! renders these texts, and the consent screen shows them, before it has any reason to trust who wrote them.

use std::cell::Cell;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, filters, tests as is};

use super::{Context, explain};
use crate::model::Code;
use crate::model::error::{Error, Result};
use crate::model::suggest::did_you_mean;
use crate::service::definition::{Permissions, Probe, Ready, Run};
use crate::service::launch;
use crate::service::option::OptionSpec;
use crate::service::permission::Access;

/// Bytes of one text, before rendering.
pub const TEXT_BYTES: usize = 4096;
/// Bytes of one text, rendered: what an operating system takes as one argument at least.
pub const RENDERED_BYTES: usize = 64 * 1024;
/// Bytes of all texts of one section, rendered.
const SECTION_BYTES: usize = 1024 * 1024;
/// Expressions of one section.
const SECTION_EXPRESSIONS: usize = 500;
/// Steps for one expression.
const STEPS: u64 = 100_000;

/// The run section as this participant runs it; program, probe and variables keep to `launch`.
///
/// # Errors
/// `bad-definition` naming the key, the expression and what is wrong with it.
pub fn render_run(run: &Run, context: &Context<'_>) -> Result<Run> {
    let mut run = map_run(run, &Renderer::new(context, false))?;
    if let Some(program) = run.command.first() {
        launch::program(program).map_err(|why| in_definition("run.command", why))?;
    }
    match run.ready.as_mut().map(|ready| &mut ready.probe) {
        Some(Probe::Tcp(place)) => {
            let host = launch::probe_address(place).map_err(|why| in_definition("run.ready.tcp", why))?;
            *place = host.to_string();
        }
        Some(Probe::File(file)) => {
            launch::data_file(file).map_err(|why| in_definition("run.ready.file", why))?;
        }
        _ => {}
    }
    Ok(run)
}

/// The permissions as this participant grants them; every one of them reads as an `Access` or a folder below `data/`.
///
/// # Errors
/// `bad-definition` naming the key, the expression and what is wrong with it.
pub fn render_permissions(permissions: &Permissions, context: &Context<'_>) -> Result<Permissions> {
    let rendered = map_permissions(permissions, &Renderer::new(context, false))?;
    for access in &rendered.network {
        access.parse::<Access>().map_err(|why| in_definition("permissions.network", why))?;
    }
    for folder in &rendered.write {
        launch::writable(folder).map_err(|why| in_definition("permissions.write", why))?;
    }
    Ok(rendered)
}

/// As `render_run`, for the consent screen: expressions that name the roster stay as they are written.
///
/// # Errors
/// As `render_run`.
pub fn preview_run(run: &Run, context: &Context<'_>) -> Result<Run> {
    map_run(run, &Renderer::new(context, true))
}

/// As `render_permissions`, for the consent screen: expressions that name the roster stay as they are written.
///
/// # Errors
/// As `render_permissions`.
pub fn preview_permissions(permissions: &Permissions, context: &Context<'_>) -> Result<Permissions> {
    map_permissions(permissions, &Renderer::new(context, true))
}

fn in_definition(key: &str, why: Error) -> Error {
    Error { code: Code::BadDefinition, ..why }.while_doing(key)
}

fn map_run(run: &Run, renderer: &Renderer<'_>) -> Result<Run> {
    let ready = run.ready.as_ref().map(|ready| {
        let probe = match &ready.probe {
            Probe::Tcp(text) => Probe::Tcp(renderer.render("run.ready.tcp", text)?),
            Probe::Output(text) => Probe::Output(renderer.render("run.ready.output", text)?),
            Probe::File(text) => Probe::File(renderer.render("run.ready.file", text)?),
            Probe::After(span) => Probe::After(*span),
        };
        Ok(Ready { probe, within: ready.within })
    });
    let environment = run.environment.iter().map(|(name, text)| {
        launch::variable(name).map_err(|why| in_definition("run.environment", why))?;
        Ok((name.clone(), renderer.render(&format!("run.environment.{name}"), text)?))
    });
    if run.command.is_empty() {
        return Err(Error::new(Code::BadDefinition, "run.command: it is empty"));
    }
    Ok(Run {
        command: renderer.render_all("run.command", &run.command)?,
        ready: ready.transpose()?,
        stop: run.stop.clone(),
        restart: run.restart,
        environment: environment.collect::<Result<_>>()?,
    })
}

fn map_permissions(permissions: &Permissions, renderer: &Renderer<'_>) -> Result<Permissions> {
    Ok(Permissions {
        network: renderer.render_all("permissions.network", &permissions.network)?,
        write: renderer.render_all("permissions.write", &permissions.write)?,
    })
}

/// Renders the texts of one section, which together may not cost more than `SECTION_BYTES` and `SECTION_EXPRESSIONS`.
struct Renderer<'a> {
    environment: Environment<'static>,
    context: &'a Context<'a>,
    value: Value,
    keep_roster: bool,
    expressions: Cell<usize>,
    bytes: Cell<usize>,
}

impl<'a> Renderer<'a> {
    fn new(context: &'a Context<'a>, keep_roster: bool) -> Self {
        let (expressions, bytes) = (Cell::new(0), Cell::new(0));
        Self { environment: environment(), context, value: context.to_value(), keep_roster, expressions, bytes }
    }

    fn render_all(&self, key: &str, texts: &[String]) -> Result<Vec<String>> {
        texts.iter().map(|text| self.render(key, text)).collect()
    }

    fn render(&self, key: &str, text: &str) -> Result<String> {
        self.rendered(text).map_err(|why| {
            Error::new(Code::BadDefinition, format!("{key}: {why}"))
                .hint("this is the service's definition, which its provider can mend")
        })
    }

    fn rendered(&self, text: &str) -> Result<String, String> {
        let mut rendered = String::new();
        for part in parts(text)? {
            match part {
                Part::Words(words) => rendered.push_str(words),
                Part::Expression { whole, inner } => {
                    let value = self.evaluated(inner, whole).map_err(|why| format!("{whole}: {why}"))?;
                    rendered.push_str(&value);
                }
            }
            if rendered.len() > RENDERED_BYTES {
                return Err(format!("it becomes longer than {RENDERED_BYTES} bytes"));
            }
        }
        self.bytes.set(self.bytes.get() + rendered.len() + 1);
        if self.bytes.get() > SECTION_BYTES {
            return Err("the section becomes too long".to_owned());
        }
        match rendered.contains('\0') {
            true => Err("it becomes a text with a NUL character".to_owned()),
            false => Ok(rendered),
        }
    }

    fn evaluated(&self, inner: &str, whole: &str) -> Result<String, String> {
        self.expressions.set(self.expressions.get() + 1);
        if self.expressions.get() > SECTION_EXPRESSIONS {
            return Err("there are too many expressions in this section".to_owned());
        }
        let expression = self.environment.compile_expression(inner).map_err(|why| explain(&why))?;
        if self.context.roster.is_none() && expression.undeclared_variables(false).contains("roster") {
            return match self.keep_roster {
                true => Ok(whole.to_owned()),
                false => Err("the roster is not known yet".to_owned()),
            };
        }
        let value = expression.eval(self.value.clone()).map_err(|why| explain(&why))?;
        match value.kind() {
            ValueKind::Undefined => Err(format!("“{}” is undefined", inner.trim())),
            ValueKind::Bool => Ok(value.is_true().to_string()),
            ValueKind::String | ValueKind::Number => Ok(value.to_string()),
            _ => Err("it is no single value; a list is written with | join(\",\")".to_owned()),
        }
    }
}

/// What is wrong with a text before anything is known: its syntax, names that do not exist, options that are secret.
/// Each problem comes with its remedy.
pub(in crate::service) fn problems(text: &str, specs: &[OptionSpec]) -> Vec<(String, String)> {
    let plain = "write text with {{ options.NAME }} and the like in it";
    let parts = match parts(text) {
        Ok(parts) => parts,
        Err(why) => return vec![(why, plain.to_owned())],
    };
    let environment = environment();
    let mut problems = Vec::new();
    for part in parts {
        let Part::Expression { inner, whole } = part else { continue };
        match environment.compile_expression(inner) {
            Err(why) => problems.push((format!("{whole}: {}", explain(&why)), plain.to_owned())),
            Ok(expression) => {
                let mut names: Vec<_> = expression.undeclared_variables(true).into_iter().collect();
                names.sort();
                problems.extend(names.iter().filter_map(|name| unknown_name(name, specs)));
            }
        }
    }
    problems
}

/// The text with every expression replaced by `1`, which is a host, a port and a file name alike: what can be checked
/// of its form before anything is known.
pub(in crate::service) fn outline(text: &str) -> String {
    let parts = parts(text).unwrap_or_default();
    parts.iter().map(|part| if let Part::Words(words) = part { *words } else { "1" }).collect()
}

fn unknown_name(path: &str, specs: &[OptionSpec]) -> Option<(String, String)> {
    const ROOTS: [&str; 6] = ["options", "session", "role", "platform", "service", "roster"];
    let (root, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = rest.split('.').next().unwrap_or("");
    let known: Vec<&str> = match root {
        "options" => match specs.iter().find(|spec| &*spec.name == field) {
            Some(spec) if spec.secret => {
                let remedy = "let the program read it from the file in $DEPLOYCTL_OPTION_FILES";
                return Some((format!("“{path}” is secret, and templates do not see secrets"), remedy.to_owned()));
            }
            _ => specs.iter().filter(|spec| !spec.secret).map(|spec| &*spec.name).collect(),
        },
        "service" => vec!["name", "version"],
        "roster" => vec!["initiator", "peers"],
        _ if ROOTS.contains(&root) => return None,
        _ => {
            let meant = did_you_mean(root, ROOTS);
            return Some((format!("“{path}” does not exist{meant}"), format!("name one of {}", ROOTS.join(", "))));
        }
    };
    if field.is_empty() || known.contains(&field) {
        return None;
    }
    let remedy = match (root, known.is_empty()) {
        ("options", true) => format!("define it under [options.{field}]"),
        ("options", false) => format!("name one of {}, or define it under [options.{field}]", known.join(", ")),
        _ => format!("name one of {}", known.join(", ")),
    };
    Some((format!("“{path}” does not exist{}", did_you_mean(field, known)), remedy))
}

/// A piece of a text.
#[derive(Debug, PartialEq)]
enum Part<'t> {
    Words(&'t str),
    /// With and without its braces.
    Expression {
        whole: &'t str,
        inner: &'t str,
    },
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    if text.len() > TEXT_BYTES {
        return Err(format!("it is longer than {TEXT_BYTES} bytes"));
    }
    if text.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        parts.push(words(&rest[..begin])?);
        let end = expression_end(&rest[begin + 2..])?;
        let (inner, whole) = (&rest[begin + 2..begin + 2 + end], &rest[begin..begin + end + 4]);
        if inner.starts_with(['-', '+']) || inner.ends_with('-') {
            return Err(format!("{whole}: “-” next to a brace would trim spaces, and there is nothing to trim here"));
        }
        parts.push(Part::Expression { whole, inner });
        rest = &rest[begin + end + 4..];
    }
    parts.push(words(rest)?);
    Ok(parts)
}

fn words(text: &str) -> Result<Part<'_>, String> {
    match ["{%", "{#"].iter().find(|mark| text.contains(**mark)) {
        Some(mark) => Err(format!("“{mark}” cannot be used here; only {{{{ expressions }}}} can")),
        None => Ok(Part::Words(text)),
    }
}

/// Where the `}}` is that ends an expression; one within quotes does not. Multiplication, which can make a long text
/// of a short one, is refused.
fn expression_end(text: &str) -> Result<usize, String> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '*' => return Err("“*” cannot be used here".to_owned()),
            None if text[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    Err("“{{” has no “}}”".to_owned())
}

/// Nothing but what cannot grow: see the top of this file.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS));
    environment.set_debug(true);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("int", filters::int);
    environment.add_filter("join", join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("map", filters::map);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", is::is_defined);
    environment.add_test("undefined", is::is_undefined);
    environment
}

/// Joins the items of a list; fails over `RENDERED_BYTES`.
#[expect(clippy::needless_pass_by_value, reason = "the engine calls filters with values")]
fn join(list: Value, between: Option<String>) -> Result<String, minijinja::Error> {
    let between = between.unwrap_or_default();
    let mut joined = String::new();
    for (n, item) in list.try_iter()?.enumerate() {
        if item.is_undefined() {
            return Err(minijinja::Error::new(ErrorKind::UndefinedError, "something in the list is undefined"));
        }
        if n > 0 {
            joined.push_str(&between);
        }
        joined.push_str(&item.to_string());
        if joined.len() > RENDERED_BYTES {
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the joined text is too long"));
        }
    }
    Ok(joined)
}

#[cfg(test)]
mod tests;
