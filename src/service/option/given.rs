//! Options as people give them: `--set NAME=VALUE`, a file of values, answers to questions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::resolve::unknown;
use super::{Kind, OptionSpec};
use crate::model::error::{Error, Result};
use crate::model::{Code, OptionName};

/// What was given, not yet checked. It may hold secrets: print none of it.
pub type Given = BTreeMap<OptionName, Value>;

/// Bytes of a file of values.
const VALUES_BYTES: usize = 1024 * 1024;

/// `NAME=VALUE` with the value as its option's type has it.
///
/// # Errors
/// `usage` if there is no `=`, `bad-option` if the option does not exist or the text is not of its type. The value of
/// a secret option shows in none of them.
pub fn parse_set(specs: &[OptionSpec], text: &str) -> Result<(OptionName, Value)> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Error::new(Code::Usage, "an option is given as NAME=VALUE, and there is no “=”").hint("write --set port=8080")
    })?;
    let spec = find(specs, name.trim())?;
    Ok((spec.name.clone(), typed(spec, value)?))
}

/// A file of values, by its name's extension: `toml` or `json`, one value for each option.
///
/// # Errors
/// `bad-input` if it does not read as that, with its line, `too-large` over 1 MiB; no value shows.
pub fn parse_values(text: &str, extension: &str) -> Result<Given> {
    let refuse = |line: usize, why: &str| {
        Error::new(Code::BadInput, format!("the file of values is wrong in line {line}: {why}"))
            .hint("write one value for each option, like port = 8080 in TOML or {\"port\": 8080} in JSON")
    };
    if text.len() > VALUES_BYTES {
        return Err(Error::new(Code::TooLarge, "the file of values is larger than 1 MiB"));
    }
    let values = match extension {
        "json" => serde_json::from_str::<Value>(text).map_err(|why| refuse(why.line(), "it is not JSON"))?,
        "toml" => {
            let table = text.parse::<toml::Table>().map_err(|why| {
                let before = why.span().map_or(0, |span| span.start.min(text.len()));
                refuse(1 + text.as_bytes()[..before].iter().filter(|b| **b == b'\n').count(), "it is not TOML")
            })?;
            Value::Object(table.into_iter().map(|(name, value)| (name, from_toml(value))).collect())
        }
        _ => {
            return Err(Error::new(Code::BadInput, "a file of values is TOML or JSON")
                .hint("give it a name that ends in .toml or .json"));
        }
    };
    let Value::Object(values) = values else { return Err(refuse(1, "it is not a list of names with values")) };
    values.into_iter().map(|(name, value)| Ok((name.parse()?, value))).collect()
}

/// The options that must still be asked for: required, without default, not given.
pub fn missing<'s>(specs: &'s [OptionSpec], given: &Given) -> Vec<&'s OptionSpec> {
    specs.iter().filter(|spec| spec.required && spec.default.is_none() && !given.contains_key(&spec.name)).collect()
}

/// What a person typed for an option, as its type has it. Whether it keeps the constraints, `resolve` tells.
///
/// # Errors
/// `bad-option` if the text is not of the option's type.
pub fn typed(spec: &OptionSpec, text: &str) -> Result<Value> {
    let word = text.trim();
    let value = match spec.kind {
        Kind::String | Kind::Enum(_) => Some(Value::from(text)),
        Kind::Integer => word.parse::<i64>().ok().map(Value::from),
        Kind::Number => match word.parse::<i64>() {
            Ok(integer) => Some(Value::from(integer)),
            Err(_) => word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        },
        Kind::Boolean => match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(Value::Bool(true)),
            "false" | "no" | "off" | "n" => Some(Value::Bool(false)),
            _ => None,
        },
    };
    value.ok_or_else(|| {
        let shown = if spec.secret { "the value given".to_owned() } else { format!("“{text}”") };
        let (name, allowed) = (&spec.name, spec.allowed());
        Error::new(Code::BadOption, format!("option “{name}” cannot be {shown}; allowed: {allowed}"))
    })
}

fn find<'s>(specs: &'s [OptionSpec], name: &str) -> Result<&'s OptionSpec> {
    specs.iter().find(|spec| &*spec.name == name).ok_or_else(|| {
        Error::new(Code::BadOption, unknown(specs, name))
            .hint("`deployctl request SERVICE --provider P --interface` lists the options")
    })
}

/// A date is given as its text; a number that JSON does not have becomes null, which no option takes.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(name, value)| (name, from_toml(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn specs() -> Vec<OptionSpec> {
        let spec = |name: &str, kind| OptionSpec::new(name.parse().unwrap(), kind);
        vec![
            OptionSpec { required: true, ..spec("port", Kind::Integer) },
            spec("ratio", Kind::Number),
            spec("open", Kind::Boolean),
            spec("title", Kind::String),
            OptionSpec { secret: true, required: true, ..spec("pin", Kind::Integer) },
        ]
    }

    #[test]
    fn a_typed_value_has_the_type_of_its_option() {
        for (text, value) in [
            ("port=8080", json!(8080)),
            ("port= 8080", json!(8080)),
            ("ratio=2", json!(2)),
            ("ratio=0.5", json!(0.5)),
            ("open=yes", json!(true)),
            ("open=False", json!(false)),
            ("title=8080", json!("8080")),
            ("title= a=b ", json!(" a=b ")),
            ("title=", json!("")),
            ("pin=1234", json!(1234)),
        ] {
            assert_eq!(parse_set(&specs(), text).unwrap().1, value, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_value_is_refused() {
        for text in ["port=x", "port=1.5", "port=", "ratio=nan", "ratio=1e999", "open=2", "pin=hunter2"] {
            let error = parse_set(&specs(), text).unwrap_err();
            assert_eq!(error.code, Code::BadOption, "{text}");
            assert!(!error.message.contains("hunter2"));
        }
        assert_eq!(parse_set(&specs(), "port").unwrap_err().code, Code::Usage);
        assert!(parse_set(&specs(), "prot=1").unwrap_err().message.contains("did you mean “port”?"));
    }

    #[test]
    fn a_file_of_values_is_toml_or_json() {
        let toml = parse_values("port = 8080\nopen = true\ntitle = \"x\"\nratio = 0.5\n", "toml").unwrap();
        let json = parse_values(r#"{"port": 8080, "open": true, "title": "x", "ratio": 0.5}"#, "json").unwrap();
        assert_eq!(toml, json);
        let error = parse_values("title = \"hunter2\"\npin = hunter2\n", "toml").unwrap_err();
        assert!(error.message.contains("line 2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
        for (text, extension) in
            [("[1]", "json"), ("\"hunter2\"", "json"), ("{", "json"), ("a: 1", "yaml"), ("Bad-Name = 1", "toml")]
        {
            assert!(parse_values(text, extension).is_err(), "{text}");
        }
        assert_eq!(parse_values(&" ".repeat(VALUES_BYTES + 1), "json").unwrap_err().code, Code::TooLarge);
        assert!(parse_values(&"[".repeat(500_000), "json").is_err());
    }

    #[test]
    fn what_must_be_asked_for_is_what_is_required_and_not_there() {
        let given = Given::from([("port".parse().unwrap(), json!(1))]);
        let specs = specs();
        assert_eq!(missing(&specs, &given).iter().map(|spec| &*spec.name).collect::<Vec<_>>(), ["pin"]);
    }
}
