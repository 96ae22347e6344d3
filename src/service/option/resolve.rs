//! From what was given to what holds: defaults applied, every value checked, all problems said at once.

use std::collections::BTreeMap;

use super::{Given, Kind, OptionSpec, OptionValue, Options, SecretText};
use crate::model::error::{Error, Result};
use crate::model::suggest::did_you_mean;
use crate::model::{Code, OptionName};

/// Problems named in one error; whoever sends more is told the rest after mending these.
const MAX_PROBLEMS: usize = 20;
/// Characters of a refused value that are shown.
const SHOWN_CHARS: usize = 60;
/// The largest whole number below which every whole number is a double (2⁵³).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Options that keep the rules of their service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    pub options: Options,
    pub secrets: BTreeMap<OptionName, SecretText>,
}

/// Applies the defaults to what was given and checks everything.
///
/// # Errors
/// `bad-option`, naming every option that is unknown, missing or does not fit, its value (but of secret ones) and what
/// is allowed.
pub fn resolve(specs: &[OptionSpec], given: &Given) -> Result<Resolved> {
    let mut problems: Vec<String> =
        given.keys().filter(|name| !specs.iter().any(|spec| spec.name == **name)).map(|n| unknown(specs, n)).collect();
    let mut public = Vec::new();
    let mut secrets = BTreeMap::new();
    for spec in specs {
        let value = match given.get(&spec.name) {
            Some(value) => check(spec, value),
            None => match &spec.default {
                Some(default) => Ok(default.clone()),
                None if spec.required => Err(format!("is missing; allowed: {}", spec.allowed())),
                None => continue,
            },
        };
        match value {
            Ok(value) if spec.secret => _ = secrets.insert(spec.name.clone(), SecretText::new(value.to_string())),
            Ok(value) => public.push((spec.name.clone(), value)),
            Err(problem) => problems.push(format!("option “{}” {problem}", spec.name)),
        }
    }
    if problems.is_empty() {
        Ok(Resolved { options: public.into_iter().collect(), secrets })
    } else {
        Err(in_one_error(problems))
    }
}

/// What a name that no option has leads to.
pub(super) fn unknown(specs: &[OptionSpec], name: &str) -> String {
    let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
    let meant = did_you_mean(name, names.iter().copied());
    match (meant.is_empty(), names.is_empty()) {
        (false, _) => format!("option “{name}” does not exist{meant}"),
        (true, false) => format!("option “{name}” does not exist; there are {}", names.join(", ")),
        (true, true) => format!("option “{name}” does not exist; this service has no options"),
    }
}

fn in_one_error(mut problems: Vec<String>) -> Error {
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Error::new(Code::BadOption, problems.join("\n"))
        .hint("give options with --set NAME=VALUE; `deployctl request SERVICE --provider P --interface` lists them")
}

/// The value as its option has it, or what is wrong with it and what is allowed: the end of a sentence that begins
/// with the option. Of a secret value nothing is shown.
pub(in crate::service) fn check(spec: &OptionSpec, value: &serde_json::Value) -> Result<OptionValue, String> {
    fitting(spec, value).map_err(|why| {
        let shown = if spec.secret { "the value given".to_owned() } else { format!("“{}”", shown(value)) };
        format!("cannot be {shown}: it {why}; allowed: {}", spec.allowed())
    })
}

fn fitting(spec: &OptionSpec, value: &serde_json::Value) -> Result<OptionValue, String> {
    let value = OptionValue::from_json(value).ok_or("is not a single value")?;
    match (&spec.kind, value) {
        (Kind::Boolean, value @ OptionValue::Boolean(_)) => Ok(value),
        (Kind::Enum(choices), OptionValue::String(text)) => match choices.contains(&text) {
            true => Ok(OptionValue::String(text)),
            false => Err(format!("is none of the choices{}", did_you_mean(&text, choices.iter().map(String::as_str)))),
        },
        (Kind::String, OptionValue::String(text)) => fitting_text(spec, text),
        (Kind::Integer, OptionValue::Number(number)) if number.fract() == 0.0 && number.abs() < EXACT =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2⁵³, as just checked")]
            within(spec, OptionValue::Integer(number as i64))
        }
        (Kind::Integer, value @ OptionValue::Integer(_))
        | (Kind::Number, value @ (OptionValue::Integer(_) | OptionValue::Number(_))) => within(spec, value),
        (Kind::Integer, OptionValue::Number(_)) => Err("is not a whole number of 64 bits".to_owned()),
        (Kind::Integer | Kind::Number, _) => Err("is not a number".to_owned()),
        (Kind::Boolean, _) => Err("is neither true nor false".to_owned()),
        (Kind::String | Kind::Enum(_), _) => Err("is not text".to_owned()),
    }
}

fn fitting_text(spec: &OptionSpec, text: String) -> Result<OptionValue, String> {
    if text.contains('\0') {
        return Err("holds a NUL character".to_owned());
    }
    if u64::try_from(text.chars().count()).is_ok_and(|chars| chars > spec.text_limit()) {
        return Err(format!("is longer than {} characters", spec.text_limit()));
    }
    match &spec.pattern {
        Some(pattern) if !pattern.matches(&text) => Err("does not match the pattern".to_owned()),
        _ => Ok(OptionValue::String(text)),
    }
}

fn within(spec: &OptionSpec, value: OptionValue) -> Result<OptionValue, String> {
    if spec.minimum.as_ref().and_then(|minimum| value.compare(minimum)).is_some_and(std::cmp::Ordering::is_lt) {
        return Err("is too small".to_owned());
    }
    if spec.maximum.as_ref().and_then(|maximum| value.compare(maximum)).is_some_and(std::cmp::Ordering::is_gt) {
        return Err("is too large".to_owned());
    }
    Ok(value)
}

fn shown(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str, kind: Kind) -> OptionSpec {
        OptionSpec::new(name.parse().unwrap(), kind)
    }

    fn specs() -> Vec<OptionSpec> {
        vec![
            OptionSpec {
                default: Some(OptionValue::Integer(8080)),
                minimum: Some(OptionValue::Integer(1024)),
                maximum: Some(OptionValue::Integer(65535)),
                ..spec("port", Kind::Integer)
            },
            OptionSpec {
                pattern: Some("^[a-z]+$".parse().unwrap()),
                max_length: Some(5),
                required: true,
                ..spec("room", Kind::String)
            },
            spec("ratio", Kind::Number),
            spec("open", Kind::Boolean),
            spec("colour", Kind::Enum(vec!["red".into(), "green".into()])),
            OptionSpec { secret: true, max_length: Some(8), ..spec("password", Kind::String) },
        ]
    }

    fn given(value: serde_json::Value) -> Given {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn defaults_are_filled_in_and_secrets_kept_apart() {
        let resolved = resolve(&specs(), &given(json!({"room": "lobby", "ratio": 1, "password": "hunter2"}))).unwrap();
        assert_eq!(
            serde_json::to_value(&resolved.options).unwrap(),
            json!({"port": 8080, "ratio": 1, "room": "lobby"})
        );
        assert_eq!(resolved.secrets["password"].reveal(), "hunter2");
        assert!(!format!("{resolved:?}").contains("hunter2"));
    }

    #[test]
    fn what_holds_already_resolves_to_itself() {
        let all = given(json!({"port": 9000.0, "room": "a", "ratio": 0.25, "open": false, "colour": "red"}));
        let once = resolve(&specs(), &all).unwrap();
        let again: Given = once.options.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        assert_eq!(resolve(&specs(), &again).unwrap(), once);
        assert_eq!(once.options["port"], OptionValue::Integer(9000));
    }

    #[test]
    fn every_problem_is_said_at_once() {
        let wrong = json!({"prot": 1, "port": 80, "ratio": "x", "open": "yes", "colour": "gren"});
        let error = resolve(&specs(), &given(wrong)).unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        let lines: Vec<_> = error.message.lines().collect();
        assert_eq!(
            lines,
            [
                "option “prot” does not exist; did you mean “port”?",
                "option “port” cannot be “80”: it is too small; allowed: a whole number from 1024 to 65535",
                "option “room” is missing; allowed: text of at most 5 characters that matches ^[a-z]+$",
                "option “ratio” cannot be “x”: it is not a number; allowed: a number",
                "option “open” cannot be “yes”: it is neither true nor false; allowed: true or false",
                "option “colour” cannot be “gren”: it is none of the choices; did you mean “green”?; allowed: one of red, green",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (name, value) in [
            ("port", json!(65536)),
            ("port", json!(80.5)),
            ("port", json!(1e300)),
            ("port", json!(u64::MAX)),
            ("port", json!("8080")),
            ("port", json!(null)),
            ("room", json!("LOBBY")),
            ("room", json!("aaaaaa")),
            ("room", json!("a\u{0}")),
            ("room", json!(["a"])),
            ("room", json!({"a": "b"})),
            ("colour", json!(1)),
            ("open", json!(1)),
        ] {
            let mut all = given(json!({"room": "a"}));
            all.insert(name.parse().unwrap(), value.clone());
            let error = resolve(&specs(), &all).unwrap_err();
            assert!(error.message.contains(&format!("option “{name}” cannot be")), "{name} {value}: {error}");
        }
    }

    #[test]
    fn a_secret_value_shows_in_no_error() {
        let error = resolve(&specs(), &given(json!({"room": "a", "password": "far too secret"}))).unwrap_err();
        assert!(!error.message.contains("far too"), "{error}");
        assert!(error.message.contains("password"));
        assert!(!format!("{error:?}").contains("far too"));
    }

    #[test]
    fn long_values_and_long_lists_are_cut() {
        let error = resolve(&specs(), &given(json!({"room": "x".repeat(100_000)}))).unwrap_err();
        assert!(error.message.len() < 400);
        let many: Given = (0..1000).map(|n| (format!("o{n}").parse().unwrap(), json!(1))).collect();
        assert!(resolve(&specs(), &many).unwrap_err().message.ends_with("and 981 more"));
    }
}
