//! Whether an option's own parts agree with one another: the same rules for a definition and for a schema that came
//! from elsewhere.

use super::resolve::check;
use super::{DESCRIPTION_CHARS, Kind, MAX_CHOICES, OptionSpec, OptionValue, TEXT_CHARS, TITLE_CHARS};

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) struct Contradiction {
    /// The part at fault, by its word in `service.toml`.
    pub(in crate::service) key: &'static str,
    pub(in crate::service) message: String,
    pub(in crate::service) remedy: String,
}

/// Everything about an option that does not agree.
pub(in crate::service) fn contradictions(spec: &OptionSpec) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut say = |key, message: &str, remedy: &str| {
        found.push(Contradiction { key, message: message.to_owned(), remedy: remedy.to_owned() });
    };
    words(spec, &mut say);
    choices(spec, &mut say);
    text_bounds(spec, &mut say);
    number_bounds(spec, &mut say);
    secrecy(spec, &mut say);
    if let Some(default) = spec.default.as_ref().filter(|_| !spec.secret)
        && let Err(why) = check(spec, &default.to_json())
    {
        say("default", &format!("the default {why}"), "write a default that its own option allows");
    }
    found
}

fn words(spec: &OptionSpec, say: &mut impl FnMut(&'static str, &str, &str)) {
    let fits = |text: &Option<String>, most: usize| {
        text.as_ref()
            .is_none_or(|text| text.chars().count() <= most && !text.chars().any(|c| c.is_control() && c != '\n'))
    };
    if !fits(&spec.title, TITLE_CHARS) {
        say("title", "it is too long or holds control characters", "write at most 200 plain characters");
    }
    if !fits(&spec.description, DESCRIPTION_CHARS) {
        say("description", "it is too long or holds control characters", "write at most 2000 plain characters");
    }
}

fn choices(spec: &OptionSpec, say: &mut impl FnMut(&'static str, &str, &str)) {
    let Kind::Enum(choices) = &spec.kind else { return };
    let mut sorted: Vec<_> = choices.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let fits =
        |text: &String| !text.is_empty() && text.chars().count() <= TITLE_CHARS && !text.chars().any(char::is_control);
    if choices.is_empty() || choices.len() > MAX_CHOICES {
        say("enum", "there must be 1 to 256 choices", "write enum = [\"small\", \"large\"]");
    } else if sorted.len() != choices.len() {
        say("enum", "a choice is there twice", "write each choice once");
    } else if !choices.iter().all(fits) {
        say(
            "enum",
            "a choice is empty, too long or holds control characters",
            "write 1 to 200 plain characters for each",
        );
    }
}

fn text_bounds(spec: &OptionSpec, say: &mut impl FnMut(&'static str, &str, &str)) {
    let is_text = spec.kind == Kind::String;
    if spec.pattern.is_some() && !is_text {
        say("pattern", "only text can match a pattern", "take it out, or write type = \"string\"");
    }
    match spec.max_length {
        Some(_) if !is_text => say("max_length", "only text has a length", "take it out, or write type = \"string\""),
        Some(length) if !(1..=TEXT_CHARS).contains(&length) => {
            say("max_length", "it is out of range", &format!("write a whole number from 1 to {TEXT_CHARS}"));
        }
        _ => {}
    }
}

fn number_bounds(spec: &OptionSpec, say: &mut impl FnMut(&'static str, &str, &str)) {
    for (key, bound) in [("minimum", &spec.minimum), ("maximum", &spec.maximum)] {
        match (&spec.kind, bound) {
            (_, None) | (Kind::Integer | Kind::Number, Some(OptionValue::Integer(_))) => {}
            (Kind::Number, Some(OptionValue::Number(bound))) if bound.is_finite() => {}
            (Kind::Integer, Some(_)) => {
                say(key, "it is not a whole number", "write a whole number, as the option is one");
            }
            (Kind::Number, Some(_)) => say(key, "it is not a number", "write a number"),
            (_, Some(_)) => say(key, "only numbers have bounds", "take it out, or write type = \"integer\""),
        }
    }
    if let (Some(minimum), Some(maximum)) = (&spec.minimum, &spec.maximum)
        && minimum.compare(maximum).is_some_and(std::cmp::Ordering::is_gt)
    {
        let message = format!("the minimum {minimum} is larger than the maximum {maximum}");
        say("minimum", &message, "write a minimum that is not larger than the maximum");
    }
}

fn secrecy(spec: &OptionSpec, say: &mut impl FnMut(&'static str, &str, &str)) {
    if spec.secret && spec.default.is_some() {
        say("default", "a secret with a default is no secret: everybody sees the definition", "take the default out");
    }
    if spec.secret && spec.roles.is_empty() {
        say("secret", "no role would get the secret", "write roles = [\"…\"] with the roles that get it");
    }
    if !spec.secret && !spec.roles.is_empty() {
        say("roles", "an option that is not secret is seen by every role", "take it out, or write secret = true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(spec: &OptionSpec) -> Vec<&'static str> {
        contradictions(spec).into_iter().map(|found| found.key).collect()
    }

    #[test]
    fn parts_that_do_not_agree_are_named() {
        let spec = |kind| OptionSpec::new("o".parse().unwrap(), kind);
        let number = |n| Some(OptionValue::Integer(n));
        assert!(keys(&spec(Kind::String)).is_empty());
        let wrong = OptionSpec { minimum: number(9), maximum: number(1), default: number(5), ..spec(Kind::Integer) };
        assert_eq!(keys(&wrong), ["minimum", "default"]);
        let wrong = OptionSpec { pattern: Some("a".parse().unwrap()), max_length: Some(1), ..spec(Kind::Boolean) };
        assert_eq!(keys(&wrong), ["pattern", "max_length"]);
        let wrong = OptionSpec { minimum: Some(OptionValue::Number(0.5)), ..spec(Kind::Integer) };
        assert_eq!(keys(&wrong), ["minimum"]);
        let wrong = OptionSpec { minimum: number(1), max_length: Some(0), ..spec(Kind::String) };
        assert_eq!(keys(&wrong), ["max_length", "minimum"]);
        let wrong = OptionSpec { secret: true, default: Some(OptionValue::String("x".into())), ..spec(Kind::String) };
        assert_eq!(keys(&wrong), ["default", "secret"]);
        assert_eq!(keys(&OptionSpec { roles: vec!["a".parse().unwrap()], ..spec(Kind::String) }), ["roles"]);
        for choices in [vec![], vec!["a", "a"], vec![""], vec!["\u{1b}[2J"]] {
            let choices = choices.into_iter().map(str::to_owned).collect();
            assert_eq!(keys(&spec(Kind::Enum(choices))), ["enum"]);
        }
        let wrong =
            OptionSpec { title: Some("x".repeat(201)), description: Some("\u{7}".into()), ..spec(Kind::String) };
        assert_eq!(keys(&wrong), ["title", "description"]);
    }
}
