//! Reads a `service.toml`: every mistake at once, each with its line and what would be right.

mod build;
mod options;
mod roles;
mod run;
mod sections;
mod walk;

use std::collections::BTreeMap;
use std::fmt;

use toml::de::DeTable;

use super::definition::{Definition, Role, Side};
use crate::model::{Code, Error, RoleName};
use walk::{Findings, Section};

/// Bytes of a `service.toml`.
pub const DEFINITION_BYTES: usize = 1024 * 1024;
/// Roles of one service.
pub const MAX_ROLES: usize = 64;
/// Characters of a summary.
const SUMMARY_CHARS: usize = 300;

/// A mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file as the caller calls it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The key with its sections: `roles.host.run.command`. Empty if it is no key's.
    pub key: String,
    pub message: String,
    /// What would be right.
    pub remedy: String,
}
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All findings in one error of code `bad-definition`, one a line.
pub fn findings_to_error(findings: &[Finding]) -> Error {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    Error::new(Code::BadDefinition, lines.join("\n")).hint("mend the definition, then run the same command again")
}

/// Reads a definition. `file` is how findings call it; `folder` is the name of the folder that it lies in, which must
/// be the service's.
///
/// # Errors
/// All findings, by line; at least one.
pub fn parse(file: &str, text: &str, folder: Option<&str>) -> Result<Definition, Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    if text.len() > DEFINITION_BYTES {
        findings.add(0, "", "the file is larger than 1 MiB", "put what belongs to the software into other files");
        return Err(findings.sorted());
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        findings.add(
            at,
            "",
            format!("this is not TOML: {}", error.message()),
            "see https://toml.io for how it is written",
        );
    }
    if !errors.is_empty() {
        return Err(findings.sorted());
    }
    let definition = read(&Section::root(table.get_ref()), folder, &mut findings);
    match (definition, findings.is_empty()) {
        (Some(definition), true) => Ok(definition),
        _ => Err(findings.sorted()),
    }
}

fn read(root: &Section<'_>, folder: Option<&str>, findings: &mut Findings<'_>) -> Option<Definition> {
    const KEYS: [&str; 10] =
        ["name", "version", "summary", "category", "license", "options", "roles", "limits", "enables", "tariff"];
    root.allow(&KEYS, findings);
    let name = read_name(root, folder, findings);
    let version = root.require("version", "write version = \"1.0.0\"", findings).and_then(|entry| {
        entry
            .text(findings)?
            .parse()
            .map_err(|why| {
                entry.wrong(
                    findings,
                    format!("it is not a version: {why}"),
                    "write three numbers (semver), like \"1.0.0\"",
                );
            })
            .ok()
    });
    let summary = sections::line(root, "summary", SUMMARY_CHARS, findings);
    let category = sections::category(root, findings);
    let license = sections::license(root, findings);
    let options = options::read(root, findings);
    let roles = read_roles(root, &options, findings);
    let limits = sections::limits(root, findings);
    let enables = sections::enables(root, findings);
    let tariff = sections::tariff(root, findings);
    Some(Definition {
        name: name?,
        version: version?,
        summary: summary.unwrap_or_default(),
        category,
        license,
        options,
        roles,
        tariff,
        limits,
        enables,
    })
}

fn read_name(
    root: &Section<'_>,
    folder: Option<&str>,
    findings: &mut Findings<'_>,
) -> Option<crate::model::ServiceName> {
    let entry = root.require("name", "write name = \"…\", the folder's name", findings)?;
    let name: crate::model::ServiceName = entry.parsed(findings)?;
    if let Some(folder) = folder.filter(|folder| **folder != *name) {
        let remedy = format!("write name = \"{folder}\", or rename the folder");
        entry.wrong(findings, format!("“{name}” is not the name of the folder, which is “{folder}”"), remedy);
    }
    Some(name)
}

fn read_roles(
    root: &Section<'_>,
    options: &[super::option::OptionSpec],
    findings: &mut Findings<'_>,
) -> BTreeMap<RoleName, Role> {
    let mut roles = BTreeMap::new();
    let Some(section) = root.section("roles", findings) else {
        if !root.has("roles") {
            findings.add(0, "roles", "a service needs a role", "write [roles.host] with for = \"initiator\"");
        }
        return roles;
    };
    for (key, entry) in section.entries().take(MAX_ROLES) {
        let name: Option<RoleName> = entry.parsed_key(key, findings);
        if let (Some(name), Some(role)) = (name, entry.section(findings)) {
            roles.insert(name, roles::read(&role, options, findings));
        }
    }
    if section.len() > MAX_ROLES {
        section.wrong(findings, format!("there are more than {MAX_ROLES} roles"), "split the service");
    } else if section.len() == 0 {
        section.wrong(findings, "a service needs a role", "write [roles.host] with for = \"initiator\"");
    } else if !roles.values().any(|role| role.terms.side == Side::Initiator) && section.len() == roles.len() {
        section.wrong(findings, "no role is for the Initiator", "write for = \"initiator\" in one of them");
    }
    roles
}

#[cfg(test)]
mod tests;
