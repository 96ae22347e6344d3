//! `[roles.NAME]` with its build, run and permissions.

use super::walk::{Entry, Findings, Section};
use super::{build, run};
use crate::service::definition::{Permissions, Role, RoleTerms, Side};
use crate::service::launch::writable;
use crate::service::option::OptionSpec;
use crate::service::permission::Access;
use crate::service::platform::{Platforms, Requirement};
use crate::service::template::terms;

const MAX_REQUIREMENTS: usize = 64;
const MAX_PERMISSIONS: usize = 64;

/// A role. Where something is wrong, something else stands in its place: with a finding there is no definition.
pub(super) fn read(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Role {
    section.allow(&["for", "min", "max", "platforms", "requires", "build", "run", "permissions"], findings);
    let side = section
        .require("for", "write for = \"initiator\" or for = \"peer\"", findings)
        .and_then(|entry| entry.word(&[("initiator", Side::Initiator), ("peer", Side::Peer)], findings));
    let (min, max) = read_numbers(section, side, findings);
    let run = section.section("run", findings).map(|run| run::read(&run, options, findings));
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
    Role { terms, build: build::read(section, findings) }
}

fn read_numbers(section: &Section<'_>, side: Option<Side>, findings: &mut Findings<'_>) -> (u32, Option<u32>) {
    let range = "from 0 to 4294967295";
    let min: u32 = section.entry("min").and_then(|entry| entry.count(range, findings)).unwrap_or(0);
    let max: Option<u32> = section.entry("max").and_then(|entry| entry.count(range, findings));
    if let Some(max) = max.filter(|max| min > *max)
        && let Some(entry) = section.entry("min")
    {
        entry.wrong(findings, format!("min {min} is larger than max {max}"), "write a min that is not larger than max");
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
    let items = section.listed("requires", MAX_REQUIREMENTS, findings);
    items.iter().filter_map(|item| item.parsed(findings)).collect()
}

fn read_permissions(section: &Section<'_>, options: &[OptionSpec], findings: &mut Findings<'_>) -> Permissions {
    section.allow(&["network", "write"], findings);
    let mut network = Vec::new();
    let whole = section.entry("network").filter(|entry| entry.value().is_str());
    match whole.as_ref().map(|entry| (entry, entry.as_text())) {
        Some((_, "none")) => {}
        Some((_, "any")) => network.push("any".to_owned()),
        Some((entry, _)) => {
            entry.wrong(findings, "it is not a list", "write a list like [\"listen:8080\"], or \"any\" or \"none\"");
        }
        None => {
            for item in section.listed("network", MAX_PERMISSIONS, findings) {
                let text = run::template(&item, options, findings);
                if let Err(why) = terms::outline(&text).parse::<Access>() {
                    item.wrong(findings, format!("“{text}” is not a network permission"), why.hint.unwrap_or_default());
                }
                network.push(text);
            }
        }
    }
    let mut write = Vec::new();
    for item in section.listed("write", MAX_PERMISSIONS, findings) {
        let text = run::template(&item, options, findings);
        if let Err(why) = writable(&terms::outline(&text)) {
            item.refused(findings, why);
        }
        write.push(text);
    }
    Permissions { network, write }
}
