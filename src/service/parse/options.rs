//! `[options.NAME]`.

use toml::de::DeValue;

use super::walk::{Entry, Findings, Section};
use crate::model::suggest::did_you_mean;
use crate::model::{OptionName, RoleName};
use crate::service::option::coherence::contradictions;
use crate::service::option::{Kind, MAX_OPTIONS, OptionSpec, OptionValue, TEXT_CHARS};

/// The options in the order of the file.
pub(super) fn read(root: &Section<'_>, findings: &mut Findings<'_>) -> Vec<OptionSpec> {
    let Some(section) = root.section("options", findings) else { return Vec::new() };
    if section.len() > MAX_OPTIONS {
        section.wrong(
            findings,
            format!("there are more than {MAX_OPTIONS} options"),
            "let a file of settings do the rest",
        );
        return Vec::new();
    }
    let roles: Vec<&str> = root
        .entry("roles")
        .and_then(|entry| entry.value().as_table())
        .map_or_else(Vec::new, |roles| roles.keys().map(|name| &**name.get_ref()).collect());
    let mut options = Vec::new();
    for (key, entry) in section.entries() {
        let name: Option<OptionName> = entry.parsed_key(key, findings);
        if let Some((name, section)) = name.zip(entry.section(findings)) {
            options.push(read_one(name, &section, &roles, findings));
        }
    }
    options
}

fn read_one(name: OptionName, section: &Section<'_>, roles: &[&str], findings: &mut Findings<'_>) -> OptionSpec {
    section.allow(
        &[
            "type",
            "enum",
            "title",
            "description",
            "default",
            "pattern",
            "minimum",
            "maximum",
            "max_length",
            "required",
            "secret",
            "roles",
        ],
        findings,
    );
    let kind = read_kind(section, findings);
    let mut spec = OptionSpec::new(name, kind.clone().unwrap_or(Kind::String));
    spec.title = section.entry("title").and_then(|entry| entry.text(findings)).map(str::to_owned);
    spec.description = section.entry("description").and_then(|entry| entry.text(findings)).map(str::to_owned);
    spec.default = section.entry("default").and_then(|entry| read_value(&entry, findings));
    spec.minimum = section.entry("minimum").and_then(|entry| read_value(&entry, findings));
    spec.maximum = section.entry("maximum").and_then(|entry| read_value(&entry, findings));
    spec.pattern = section.entry("pattern").and_then(|entry| entry.parsed(findings));
    let range = format!("from 1 to {TEXT_CHARS}");
    spec.max_length = section.entry("max_length").and_then(|entry| entry.count(&range, findings));
    spec.required = section.entry("required").and_then(|entry| entry.flag(findings)).unwrap_or(false);
    spec.secret = section.entry("secret").and_then(|entry| entry.flag(findings)).unwrap_or(false);
    spec.roles = read_roles(section, roles, findings);
    if kind.is_some() {
        for wrong in contradictions(&spec) {
            // A list of roles that names none that exists has been found fault with already.
            match section.entry(wrong.key) {
                _ if wrong.key == "secret" && section.has("roles") => {}
                Some(entry) => entry.wrong(findings, wrong.message, wrong.remedy),
                None => section.wrong(findings, wrong.message, wrong.remedy),
            }
        }
    }
    spec
}

fn read_kind(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Kind> {
    const WORDS: [&str; 5] = ["string", "integer", "number", "boolean", "enum"];
    let remedy = "write type = \"string\", \"integer\", \"number\" or \"boolean\", or enum = [\"…\", \"…\"]";
    let choices = section.entry("enum").map(|entry| {
        let choices = entry.texts(findings);
        choices.map(|choices| Kind::Enum(choices.iter().map(|choice| choice.as_text().to_owned()).collect()))
    });
    let Some(entry) = section.entry("type") else {
        if choices.is_none() {
            section.wrong(findings, "“type” is missing", remedy);
        }
        return choices.flatten();
    };
    let word = entry.text(findings)?;
    match (word, choices) {
        ("string" | "enum", Some(choices)) => choices,
        ("string", None) => Some(Kind::String),
        ("integer", None) => Some(Kind::Integer),
        ("number", None) => Some(Kind::Number),
        ("boolean", None) => Some(Kind::Boolean),
        ("enum", None) => {
            section.wrong(findings, "“enum” is missing", "write enum = [\"small\", \"large\"]");
            None
        }
        _ if WORDS.contains(&word) => {
            entry.wrong(findings, "only text has choices", "write type = \"string\", or take the enum out");
            None
        }
        _ => {
            entry.wrong(findings, format!("there is no type “{word}”{}", did_you_mean(word, WORDS)), remedy);
            None
        }
    }
}

fn read_value(entry: &Entry<'_>, findings: &mut Findings<'_>) -> Option<OptionValue> {
    let value = match entry.value() {
        DeValue::String(text) => Some(OptionValue::String(text.to_string())),
        DeValue::Boolean(yes) => Some(OptionValue::Boolean(*yes)),
        DeValue::Integer(_) => return entry.count("of 64 bits", findings).map(OptionValue::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().ok().filter(|number: &f64| number.is_finite()).map(OptionValue::Number)
        }
        _ => None,
    };
    if value.is_none() {
        entry.wrong(findings, "an option cannot have this value", "write a text, a finite number, true or false");
    }
    value
}

fn read_roles(section: &Section<'_>, known: &[&str], findings: &mut Findings<'_>) -> Vec<RoleName> {
    let Some(items) = section.entry("roles").and_then(|entry| entry.texts(findings)) else { return Vec::new() };
    let mut roles = Vec::new();
    for item in items {
        let Some(role) = item.parsed::<RoleName>(findings) else { continue };
        if !known.contains(&&*role) {
            let meant = did_you_mean(&role, known.iter().copied());
            let remedy = format!("name one of {}, or define [roles.{role}]", known.join(", "));
            item.wrong(findings, format!("there is no role “{role}”{meant}"), remedy);
        } else if !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}
