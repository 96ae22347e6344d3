//! `[roles.NAME.build]`: a folder that is copied, or a command that is run.

use super::walk::{Entry, Findings, Section};
use crate::model::Span;
use crate::service::definition::{Build, CommandBuild, CopyBuild};
use crate::service::launch::{self, relative_path};

const MAX_ARGUMENTS: usize = 256;
const MAX_TEMPLATES: usize = 1000;

/// The build of a role's section. Where something is wrong, something else stands in its place.
pub(super) fn read(role: &Section<'_>, findings: &mut Findings<'_>) -> Build {
    let nothing = Build::Copy(CopyBuild { copy: String::new(), templates: Vec::new() });
    let remedy = format!("write [{}.build] with copy = \"FOLDER/\", the folder of the role's software", role.path());
    let Some(build) = role.require("build", &remedy, findings).and_then(|entry| entry.section(findings)) else {
        return nothing;
    };
    build.allow(&["copy", "templates", "command", "network", "deadline"], findings);
    match (build.has("copy"), build.has("command")) {
        (true, true) => {
            build.wrong(findings, "“copy” and “command” are two ways to build", "keep one of them");
            nothing
        }
        (false, true) => {
            misplaced(&build, &["templates"], "“copy”; a command renders its files itself", findings);
            Build::Command(read_command(&build, findings))
        }
        (true, false) => {
            misplaced(&build, &["network", "deadline"], "“command”", findings);
            Build::Copy(read_copy(&build, findings))
        }
        (false, false) => {
            let remedy =
                "write copy = \"FOLDER/\", the folder of the role's software, or command = [\"sh\", \"build.sh\"]";
            build.wrong(findings, "“copy” is missing", remedy);
            Build::Copy(read_copy(&build, findings))
        }
    }
}

/// Keys that belong to the other way of building.
fn misplaced(build: &Section<'_>, keys: &[&str], to: &str, findings: &mut Findings<'_>) {
    for (key, entry) in keys.iter().filter_map(|key| Some((key, build.entry(key)?))) {
        entry.wrong(findings, format!("“{key}” belongs to {to}"), format!("leave {key} out"));
    }
}

fn read_copy(build: &Section<'_>, findings: &mut Findings<'_>) -> CopyBuild {
    let copy = build.entry("copy").and_then(|entry| path(&entry, findings));
    let mut templates = Vec::new();
    for item in build.listed("templates", MAX_TEMPLATES, findings) {
        let Some(template) = path(&item, findings) else { continue };
        if template.strip_suffix(".j2").is_none_or(|rest| rest.is_empty() || rest.ends_with('/')) {
            item.wrong(
                findings,
                format!("“{template}” is not the name of a template"),
                "let it end in .j2, like \"config.json.j2\"",
            );
        } else if templates.contains(&template) {
            item.wrong(findings, "it is there twice", "write each template once");
        }
        templates.push(template);
    }
    CopyBuild { copy: copy.unwrap_or_default(), templates }
}

fn read_command(build: &Section<'_>, findings: &mut Findings<'_>) -> CommandBuild {
    let items = build.listed("command", MAX_ARGUMENTS, findings);
    if let Some(entry) = build.entry("command")
        && entry.value().as_array().is_some_and(|items| items.is_empty())
    {
        entry.wrong(findings, "it is empty", "write command = [\"sh\", \"build.sh\"]");
    }
    if let Some(item) = items.first()
        && let Err(why) = launch::program(item.as_text())
    {
        item.refused(findings, why);
    }
    for item in items.iter().filter(|item| item.as_text().contains('\0')) {
        item.wrong(findings, "it holds a zero character", "leave it out");
    }
    CommandBuild {
        command: items.iter().map(|item| item.as_text().to_owned()).collect(),
        network: build.entry("network").and_then(|entry| entry.flag(findings)).unwrap_or(false),
        deadline: read_deadline(build, findings),
    }
}

fn read_deadline(build: &Section<'_>, findings: &mut Findings<'_>) -> Span {
    let Some(entry) = build.entry("deadline") else { return CommandBuild::default_deadline() };
    let Some(deadline) = entry.parsed::<Span>(findings) else { return CommandBuild::default_deadline() };
    if deadline.as_ms() == 0 || deadline > CommandBuild::LONGEST {
        let longest = CommandBuild::LONGEST;
        entry.wrong(findings, format!("a build cannot take {deadline}"), format!("write a time up to {longest}"));
    }
    deadline
}

/// A relative path, as written.
fn path(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let text = entry.text(findings)?;
    if text.is_empty() {
        entry.wrong(findings, "it is empty", "write a path below the service's folder, like \"host/\"");
        return None;
    }
    relative_path(text).map_err(|why| entry.refused(findings, why)).ok()?;
    Some(text.to_owned())
}
