//! The small parts of a definition: lines of text, `[limits]`, `[enables]`, `[tariff]`.

use std::collections::BTreeMap;

use super::walk::{Findings, Section};
use crate::service::advertised::ServiceType;
use crate::service::definition::{Bound, Enables, Limits, Tariff};
use crate::service::tariff::parse_price;
use crate::service::usage::{MAX_METERS, MeterName};

const CATEGORY_CHARS: usize = 100;
const LICENSE_CHARS: usize = 200;
const MAX_TYPES: usize = 64;

/// A text of one line with at most so many characters.
pub(super) fn line(section: &Section<'_>, key: &str, most: usize, findings: &mut Findings<'_>) -> Option<String> {
    let entry = section.entry(key)?;
    let text = entry.text(findings)?;
    if text.chars().count() > most || text.chars().any(char::is_control) {
        let message = format!("it is longer than {most} characters, or holds line breaks or other control characters");
        entry.wrong(findings, message, "write one short line");
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn category(root: &Section<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let category = line(root, "category", CATEGORY_CHARS, findings)?;
    let word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !category.split('/').all(word) {
        root.entry("category")?.wrong(
            findings,
            format!("“{category}” is not a category"),
            "write lower-case words, like \"games/board\"",
        );
        return None;
    }
    Some(category)
}

/// Only the characters are looked at: whether a licence exists, its readers know better.
pub(super) fn license(root: &Section<'_>, findings: &mut Findings<'_>) -> Option<String> {
    let license = line(root, "license", LICENSE_CHARS, findings)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | ':' | '(' | ')' | ' ');
    if license.trim().is_empty() || !license.chars().all(allowed) {
        root.entry("license")?.wrong(
            findings,
            format!("“{license}” is not an SPDX expression"),
            "write it like \"MIT OR Apache-2.0\"",
        );
        return None;
    }
    Some(license)
}

pub(super) fn limits(root: &Section<'_>, findings: &mut Findings<'_>) -> Option<Limits> {
    let section = root.section("limits", findings)?;
    section.allow(&["duration", "starts", "bound"], findings);
    let duration = section.entry("duration").and_then(|entry| entry.parsed(findings));
    let starts = section.entry("starts").and_then(|entry| entry.count("from 0 to 4294967295", findings));
    let bound = section.entry("bound").and_then(|entry| match entry.text(findings)? {
        "pair" => Some(Bound::Pair),
        other => {
            entry.wrong(findings, format!("a licence cannot be bound to “{other}”"), "write bound = \"pair\"");
            None
        }
    });
    Some(Limits { duration, starts, bound })
}

pub(super) fn enables(root: &Section<'_>, findings: &mut Findings<'_>) -> Option<Enables> {
    let section = root.section("enables", findings)?;
    section.allow(&["types"], findings);
    let items = section.require("types", "write types = [\"_door._tcp\"]", findings)?.texts(findings)?;
    if items.len() > MAX_TYPES {
        section.wrong(findings, format!("there are more than {MAX_TYPES} types"), "name those that matter");
    }
    let mut types = Vec::new();
    for item in items.iter().take(MAX_TYPES) {
        let text = item.as_text();
        match text.parse::<ServiceType>() {
            Ok(kind) => types.push(kind.to_string()),
            Err(why) => item.wrong(findings, why.message, why.hint.unwrap_or_default()),
        }
    }
    Some(Enables { types })
}

pub(super) fn tariff(root: &Section<'_>, findings: &mut Findings<'_>) -> Option<Tariff> {
    let section = root.section("tariff", findings)?;
    section.allow(&["currency", "per"], findings);
    let currency =
        section.require("currency", "write currency = \"EUR\"", findings).and_then(|entry| entry.parsed(findings));
    let per = section.require("per", "write per = { minute = \"0.02\" }", findings)?.section(findings)?;
    let mut prices = BTreeMap::new();
    if per.len() > MAX_METERS {
        per.wrong(findings, format!("there are more than {MAX_METERS} prices"), "price fewer meters");
    }
    for (key, entry) in per.entries().take(MAX_METERS) {
        let Some(meter) = entry.parsed_key::<MeterName>(key, findings) else { continue };
        let Some(text) = entry.value().as_str() else {
            entry.wrong(
                findings,
                "a price is a text, so that it is exact",
                format!("write {key} = \"0.02\", in quotes"),
            );
            continue;
        };
        match parse_price(text) {
            Ok(price) => _ = prices.insert(meter, price),
            Err(why) => entry.refused(findings, why),
        }
    }
    Some(Tariff { currency: currency?, per: prices })
}
