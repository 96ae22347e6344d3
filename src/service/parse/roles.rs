//! `[roles.NAME]` with its build, run and permissions.

use super::walk::{Entry, Findings, Section};
use crate::model::Host;
use crate::service::definition::{Build, Permissions, Probe, Ready, Restart, Role, RoleTerms, Run, Side, Signal, Stop};
use crate::service::option::OptionSpec;
use crate::service::permission::{Access, DATA, relative_path};
use crate::service::platform::{Platforms, Requirement};
use crate::service::suggest::did_you_mean;
use crate::service::template::terms;

const MAX_REQUIREMENTS: usize = 64;
const MAX_TEMPLATES: usize = 1000;
const MAX_ARGUMENTS: usize = 256;
const MAX_PERMISSIONS: usize = 64;

/// A role. Where something is wrong, something else stands in its place: with a finding there is no definition.
pub(super) fn read(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Role {
    section.allow(&["for", "min", "max", "platforms", "requires", "build", "run", "permissions"], findings);
    let side = section
        .require("for", "write for = \"initiator\" or for = \"peer\"", findings)
        .and_then(|entry| word(&entry, &[("initiator", Side::Initiator), ("peer", Side::Peer)], findings));
    let (min, max) = read_numbers(section, side, findings);
    let run = section.section("run", findings).map(|run| read_run(&run, options, findings));
    let permissions = section.section("permissions", findings).map(|it| read_permissions(&it, options, findings));
    let terms = RoleTerms {
        side: side.unwrap_or(Side::Initiator),
        min,
        max,
        platforms: read_platforms(section, findings),
        requires: read_requirements(section, findings),
        run,
        permissions: permissions.unwrap_or_default(),
    };
    Role { terms, build: read_build(section, findings) }
}

/// One of some words, each with what it stands for.
fn word<T: Copy>(entry: &Entry<'_>, words: &[(&str, T)], findings: &mut Findings<'_>) -> Option<T> {
    let text = entry.text(findings)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let meant = did_you_mean(text, known.iter().copied());
        entry.wrong(findings, format!("“{text}” is unknown{meant}"), format!("write one of {}", known.join(", ")));
    }
    found
}

fn read_numbers(section: &Section<'_>, side: Option<Side>, findings: &mut Findings<'_>) -> (u32, Option<u32>) {
    let range = "from 0 to 4294967295";
    let min: u32 = section.entry("min").and_then(|entry| entry.count(range, findings)).unwrap_or(0);
    let max: Option<u32> = section.entry("max").and_then(|entry| entry.count(range, findings));
    if let Some(max) = max.filter(|max| min > *max) {
        if let Some(entry) = section.entry("min") {
            entry.wrong(
                findings,
                format!("min {min} is larger than max {max}"),
                "write a min that is not larger than max",
            );
        }
    }
    if side != Some(Side::Initiator) {
        return (min, max);
    }
    for (key, number) in [("min", Some(min)), ("max", max)] {
        if let Some(entry) = section.entry(key).filter(|_| number.is_some_and(|number| number > 1)) {
            entry.wrong(findings, "there is one Initiator", format!("write {key} = 1, or for = \"peer\""));
        }
    }
    (min, max.or(Some(1)))
}

fn read_platforms(section: &Section<'_>, findings: &mut Findings<'_>) -> Platforms {
    let Some(entry) = section.entry("platforms") else { return Platforms::Any };
    let Some(items) = entry.texts(findings) else { return Platforms::Any };
    let texts: Vec<&str> = items.iter().map(Entry::as_text).collect();
    let platforms = Platforms::from_texts(&texts).map_err(|why| entry.refused(findings, why));
    platforms.unwrap_or(Platforms::Any)
}

fn read_requirements(section: &Section<'_>, findings: &mut Findings<'_>) -> Vec<Requirement> {
    let items = listed(section, "requires", MAX_REQUIREMENTS, findings);
    items.iter().filter_map(|item| item.parsed(findings)).collect()
}

/// The texts under a key, or none.
fn listed<'d>(section: &Section<'d>, key: &str, most: usize, findings: &mut Findings<'_>) -> Vec<Entry<'d>> {
    let Some(entry) = section.entry(key) else { return Vec::new() };
    let items = entry.texts(findings).unwrap_or_default();
    if items.len() > most {
        entry.wrong(findings, format!("there are more than {most} of them"), "write fewer");
        return Vec::new();
    }
    items
}

fn read_build(section: &Section<'_>, findings: &mut Findings<'_>) -> Build {
    let nothing = Build { copy: String::new(), templates: Vec::new() };
    let remedy = "write [….build] with copy = \"FOLDER/\", the folder of the role's software";
    let Some(build) = section.require("build", remedy, findings).and_then(|entry| entry.section(findings)) else {
        return nothing;
    };
    build.allow(&["copy", "templates", "command"], findings);
    if let Some(command) = build.entry("command") {
        let remedy = "write copy = \"FOLDER/\" with the folder that holds the finished software";
        command.wrong(findings, "build commands are not supported yet by this version", remedy);
    }
    let copy = match build.entry("copy") {
        Some(entry) => path(&entry, findings),
        None if build.has("command") => None,
        None => {
            build.wrong(findings, "“copy” is missing", "write copy = \"FOLDER/\", the folder of the role's software");
            None
        }
    };
    let mut templates = Vec::new();
    for item in listed(&build, "templates", MAX_TEMPLATES, findings) {
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
    Build { copy: copy.unwrap_or_default(), templates }
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

fn read_run(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Run {
    section.allow(&["command", "ready", "stop", "restart", "environment"], findings);
    if let Some(entry) = section.require("command", "write command = [\"PROGRAM\", \"ARGUMENT\"]", findings) {
        if entry.value().as_array().is_some_and(|items| items.is_empty()) {
            entry.wrong(findings, "it is empty", "write command = [\"PROGRAM\", \"ARGUMENT\"]");
        }
    }
    let items = listed(section, "command", MAX_ARGUMENTS, findings);
    let command: Vec<String> = items.iter().map(|item| template(item, options, findings)).collect();
    if let Some((item, program)) = items.first().zip(command.first()) {
        if program.is_empty() || program.contains("{{") {
            item.wrong(
                findings,
                "the program must be known before anything else is",
                "write its name or its path in the software",
            );
        } else if let Err(why) = relative_path(program) {
            item.refused(findings, why);
        }
    }
    let words = [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
    Run {
        command,
        ready: section.section("ready", findings).and_then(|ready| read_ready(&ready, options, findings)),
        stop: section.section("stop", findings).map(|stop| read_stop(&stop, findings)).unwrap_or_default(),
        restart: section.entry("restart").and_then(|entry| word(&entry, &words, findings)).unwrap_or_default(),
        environment: read_environment(section, options, findings),
    }
}

/// A text with expressions in it.
fn template(entry: &Entry<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> String {
    let Some(text) = entry.text(findings) else { return String::new() };
    for (problem, remedy) in terms::problems(text, options) {
        entry.wrong(findings, problem, remedy);
    }
    text.to_owned()
}

fn read_ready(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Option<Ready> {
    const PROBES: [&str; 4] = ["tcp", "output", "file", "after"];
    section.allow(&["tcp", "output", "file", "after", "within"], findings);
    let within = section.entry("within").and_then(|entry| entry.parsed(findings));
    let given: Vec<&str> = PROBES.into_iter().filter(|probe| section.has(probe)).collect();
    let [kind] = given.as_slice() else {
        let remedy = "write one of tcp = \"HOST:PORT\", output = \"TEXT\", file = \"NAME\", after = \"2s\"";
        section.wrong(findings, format!("one way to tell belongs here, not {}", given.len()), remedy);
        return None;
    };
    let entry = section.entry(kind)?;
    let probe = match *kind {
        "after" => Probe::After(entry.parsed(findings)?),
        "tcp" => {
            let text = template(&entry, options, findings);
            if let Err(why) = terms::outline(&text).parse::<Host>() {
                entry.wrong(findings, format!("“{text}” is not HOST:PORT"), why.hint.unwrap_or_default());
            }
            Probe::Tcp(text)
        }
        "file" => {
            let text = template(&entry, options, findings);
            match relative_path(&terms::outline(&text)) {
                Ok(parts) if parts.is_empty() => {
                    entry.wrong(findings, "it names no file", "write a file's name in the data folder, like \"ready\"")
                }
                Ok(_) => {}
                Err(why) => entry.refused(findings, why),
            }
            Probe::File(text)
        }
        _ => {
            let text = template(&entry, options, findings);
            if text.is_empty() || text.contains('\n') {
                entry.wrong(
                    findings,
                    "a line of output cannot be told by it",
                    "write a text that stands within one line",
                );
            }
            Probe::Output(text)
        }
    };
    Some(Ready { probe, within: within.unwrap_or_else(Ready::default_within) })
}

fn read_stop(section: &Section<'_>, findings: &mut Findings<'_>) -> Stop {
    const SIGNALS: [(&str, Signal); 7] = [
        ("TERM", Signal::Term),
        ("INT", Signal::Int),
        ("HUP", Signal::Hup),
        ("QUIT", Signal::Quit),
        ("USR1", Signal::Usr1),
        ("USR2", Signal::Usr2),
        ("KILL", Signal::Kill),
    ];
    section.allow(&["signal", "grace"], findings);
    let default = Stop::default();
    Stop {
        signal: section.entry("signal").and_then(|entry| word(&entry, &SIGNALS, findings)).unwrap_or(default.signal),
        grace: section.entry("grace").and_then(|entry| entry.parsed(findings)).unwrap_or(default.grace),
    }
}

fn read_environment(
    section: &Section<'_>,
    options: &[OptionSpec],
    findings: &mut Findings<'_>,
) -> std::collections::BTreeMap<String, String> {
    let Some(environment) = section.section("environment", findings) else { return Default::default() };
    let mut variables = std::collections::BTreeMap::new();
    for (name, entry) in environment.entries() {
        let fits = !name.is_empty()
            && name.len() <= 128
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits {
            entry.wrong(
                findings,
                format!("“{name}” cannot be a variable"),
                "write letters, digits and _, not beginning with a digit",
            );
        } else if name.starts_with("DEPLOYCTL_") {
            entry.wrong(findings, "names that begin with DEPLOYCTL_ are set by deployctl", "choose another name");
        }
        variables.insert(name.to_owned(), template(&entry, options, findings));
    }
    variables
}

fn read_permissions(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Permissions {
    section.allow(&["network", "write"], findings);
    let mut network = Vec::new();
    let whole = section.entry("network").filter(|entry| entry.value().is_str());
    match whole.as_ref().map(|entry| (entry, entry.as_text())) {
        Some((_, "none")) => {}
        Some((_, "any")) => network.push("any".to_owned()),
        Some((entry, _)) => {
            entry.wrong(findings, "it is not a list", "write a list like [\"listen:8080\"], or \"any\" or \"none\"")
        }
        None => {
            for item in listed(section, "network", MAX_PERMISSIONS, findings) {
                let text = template(&item, options, findings);
                if let Err(why) = terms::outline(&text).parse::<Access>() {
                    item.wrong(findings, format!("“{text}” is not a network permission"), why.hint.unwrap_or_default());
                }
                network.push(text);
            }
        }
    }
    let mut write = Vec::new();
    for item in listed(section, "write", MAX_PERMISSIONS, findings) {
        let text = template(&item, options, findings);
        match relative_path(&terms::outline(&text)) {
            Ok(parts) if parts.first() == Some(&DATA) => {}
            Ok(_) => {
                item.wrong(findings, "only the data folder can be written", "write \"data/\" or a folder below it")
            }
            Err(why) => item.refused(findings, why),
        }
        write.push(text);
    }
    Permissions { network, write }
}
