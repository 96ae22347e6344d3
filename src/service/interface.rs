//! The interface of a service: what an Initiator gets to see before requesting it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::consent::{seats_text, terms_text};
use super::definition::{Definition, RoleTerms, Tariff};
use super::option::{Given, OptionSpec, Resolved, resolve};
use super::parse::MAX_ROLES;
use super::schema::{from_schema, to_schema};
use crate::model::error::{Error, Result};
use crate::model::{Code, RoleName, ServiceName};

/// A service as its provider shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub name: ServiceName,
    pub version: Version,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// JSON Schema (2020-12) of the options.
    pub schema: Value,
    pub roles: BTreeMap<RoleName, RoleTerms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<Tariff>,
}

impl From<&Definition> for Interface {
    fn from(definition: &Definition) -> Self {
        Self {
            name: definition.name.clone(),
            version: definition.version.clone(),
            summary: definition.summary.clone(),
            category: definition.category.clone(),
            license: definition.license.clone(),
            schema: to_schema(definition),
            roles: definition.roles.iter().map(|(name, role)| (name.clone(), role.terms.clone())).collect(),
            tariff: definition.tariff.clone(),
        }
    }
}

impl Interface {
    /// The options, in the order of a form.
    ///
    /// # Errors
    /// `bad-input` if the schema is none that this version reads, or there are more roles than a service can have.
    pub fn options(&self) -> Result<Vec<OptionSpec>> {
        if self.roles.len() > MAX_ROLES {
            return Err(Error::new(Code::BadInput, format!("the interface has more than {MAX_ROLES} roles")));
        }
        from_schema(&self.schema)
    }

    /// What was given, with defaults and checked, as the provider will check it again.
    ///
    /// # Errors
    /// As `options` and `option::resolve`.
    pub fn resolve(&self, given: &Given) -> Result<Resolved> {
        resolve(&self.options()?, given)
    }

    /// For people: options, roles, tariff. The texts are the provider's: whoever prints them escapes them.
    ///
    /// # Errors
    /// As `options`.
    pub fn describe(&self) -> Result<String> {
        let mut text = format!("{} {}", self.name, self.version);
        let about =
            [Some(&self.summary).filter(|text| !text.is_empty()), self.category.as_ref(), self.license.as_ref()];
        about.into_iter().flatten().for_each(|about| {
            text.push_str("\n  ");
            text.push_str(about);
        });
        text.push_str("\n\nOptions\n");
        let options = self.options()?;
        if options.is_empty() {
            text.push_str("  none\n");
        }
        options.iter().for_each(|option| describe_option(&mut text, option));
        for (name, terms) in &self.roles {
            let _ = writeln!(text, "\nRole {name}, {}", seats_text(terms));
            terms_text(terms).iter().for_each(|sentence| _ = writeln!(text, "  {sentence}"));
        }
        if let Some(tariff) = &self.tariff {
            text.push_str("\nTariff\n");
            tariff
                .per
                .iter()
                .for_each(|(meter, price)| _ = writeln!(text, "  {price} {} per {meter}", tariff.currency));
        }
        Ok(text)
    }
}

/// Two to four lines; writing to a text cannot fail.
fn describe_option(text: &mut String, option: &OptionSpec) {
    let _ = writeln!(text, "  {}", option.name);
    if let Some(title) = &option.title {
        let _ = writeln!(text, "      {title}");
    }
    for line in option.description.iter().flat_map(|description| description.lines()) {
        let _ = writeln!(text, "      {line}");
    }
    let _ = write!(text, "      {}", option.allowed());
    match &option.default {
        Some(default) => _ = write!(text, "; else {default}"),
        None if option.required => text.push_str("; required"),
        None => {}
    }
    if option.secret {
        let roles: Vec<&str> = option.roles.iter().map(|role| &**role).collect();
        let _ = write!(text, "; secret, for {} alone", roles.join(", "));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::parse::parse;

    fn interface(text: &str) -> Interface {
        Interface::from(&parse("service.toml", text, None).unwrap())
    }

    #[test]
    fn an_interface_reads_back_and_checks_options_as_its_definition_does() {
        let definition =
            parse("service.toml", include_str!("../../fixtures/services/site/service.toml"), None).unwrap();
        let interface = Interface::from(&definition);
        let again: Interface = serde_json::from_str(&serde_json::to_string(&interface).unwrap()).unwrap();
        assert_eq!(again, interface);
        assert_eq!(again.options().unwrap(), definition.options);
        let given = Given::from([("port".parse().unwrap(), json!(9000))]);
        assert_eq!(again.resolve(&given).unwrap().options["port"].to_json(), json!(9000));
        assert!(again.resolve(&Given::from([("prot".parse().unwrap(), json!(1))])).is_err());
    }

    #[test]
    fn people_read_it_as_text() {
        let text = interface(include_str!("../../fixtures/services/notice/service.toml")).describe().unwrap();
        assert_eq!(text, include_str!("../../fixtures/services/notice/interface.txt"));
    }

    #[test]
    fn a_service_without_options_says_so() {
        let text = "name = \"x\"\nversion = \"1.0.0\"\n[roles.a]\nfor = \"initiator\"\nbuild.copy = \".\"\n";
        let text = interface(text).describe().unwrap();
        assert!(text.starts_with("x 1.0.0\n\nOptions\n  none\n\nRole a, for the Initiator\n"), "{text}");
    }
}
