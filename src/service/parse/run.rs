//! `[roles.NAME.run]`.

use std::collections::BTreeMap;

use super::walk::{Entry, Findings, Section};
use crate::service::definition::{Probe, Ready, Restart, Run, Signal, Stop};
use crate::service::launch;
use crate::service::option::OptionSpec;
use crate::service::template::terms;

const MAX_ARGUMENTS: usize = 256;

/// How the role runs.
pub(super) fn read(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Run {
    section.allow(&["command", "ready", "stop", "restart", "environment"], findings);
    if let Some(entry) = section.require("command", "write command = [\"PROGRAM\", \"ARGUMENT\"]", findings)
        && entry.value().as_array().is_some_and(|items| items.is_empty())
    {
        entry.wrong(findings, "it is empty", "write command = [\"PROGRAM\", \"ARGUMENT\"]");
    }
    let items = section.listed("command", MAX_ARGUMENTS, findings);
    let command: Vec<String> = items.iter().map(|item| template(item, options, findings)).collect();
    if let Some((item, program)) = items.first().zip(command.first()) {
        let program = launch::program(&terms::outline(program)).map(drop);
        program.unwrap_or_else(|why| item.refused(findings, why));
    }
    let words = [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
    Run {
        command,
        ready: section.section("ready", findings).and_then(|ready| read_ready(&ready, options, findings)),
        stop: section.section("stop", findings).map(|stop| read_stop(&stop, findings)).unwrap_or_default(),
        restart: section.entry("restart").and_then(|entry| entry.word(&words, findings)).unwrap_or_default(),
        environment: read_environment(section, options, findings),
    }
}

/// A text with expressions in it.
pub(super) fn template(entry: &Entry<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> String {
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
        "tcp" => Probe::Tcp(read_tcp(&entry, options, findings)),
        "file" => Probe::File(read_file(&entry, options, findings)),
        _ => Probe::Output(read_output(&entry, options, findings)),
    };
    Some(Ready { probe, within: within.unwrap_or_else(Ready::default_within) })
}

fn read_tcp(entry: &Entry<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> String {
    let text = template(entry, options, findings);
    if let Err(why) = launch::probe_address(&terms::outline(&text)) {
        entry.wrong(findings, format!("“{text}” is not HOST:PORT"), why.hint.unwrap_or_default());
    }
    text
}

fn read_file(entry: &Entry<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> String {
    let text = template(entry, options, findings);
    if let Err(why) = launch::data_file(&terms::outline(&text)) {
        entry.refused(findings, why);
    }
    text
}

fn read_output(entry: &Entry<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> String {
    let text = template(entry, options, findings);
    if text.is_empty() || text.contains('\n') {
        entry.wrong(findings, "a line of output cannot be told by it", "write a text that stands within one line");
    }
    text
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
        signal: section.entry("signal").and_then(|entry| entry.word(&SIGNALS, findings)).unwrap_or(default.signal),
        grace: section.entry("grace").and_then(|entry| entry.parsed(findings)).unwrap_or(default.grace),
    }
}

fn read_environment(
    section: &Section<'_>,
    options: &[OptionSpec],
    findings: &mut Findings<'_>,
) -> BTreeMap<String, String> {
    let Some(environment) = section.section("environment", findings) else { return Default::default() };
    let mut variables = BTreeMap::new();
    for (name, entry) in environment.entries() {
        if let Err(why) = launch::variable(name) {
            entry.refused(findings, why);
        }
        variables.insert(name.to_owned(), template(&entry, options, findings));
    }
    variables
}
