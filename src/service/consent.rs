//! What a person agrees to when taking a role, in plain sentences.

use super::definition::{Permissions, Probe, Restart, RoleTerms, Run, Side};
use super::launch::relative_path;
use super::permission::Access;
use super::platform::{Platforms, Requirement};

/// What a role would run and may touch, a sentence for each thing. The terms are rendered, as far as that is possible
/// (`template::preview_run`, `template::preview_permissions`): a `{{ … }}` that remains is said to be not known yet.
/// The texts come from another party: whoever prints them escapes them.
pub fn terms_text(terms: &RoleTerms) -> Vec<String> {
    let mut sentences = vec![match &terms.run {
        None => "It installs files and runs nothing.".to_owned(),
        Some(run) => format!("It runs: {}", command_line(&run.command)),
    }];
    if let Some(run) = &terms.run {
        sentences.extend(run_text(run));
    }
    sentences.extend(network_text(&terms.permissions));
    sentences.push(write_text(&terms.permissions));
    if !terms.requires.is_empty() {
        sentences.push(format!("It needs {}.", in_a_row(terms.requires.iter().map(Requirement::in_words))));
    }
    if let Platforms::Only(_) = &terms.platforms {
        sentences.push(format!("It is made for {}.", terms.platforms));
    }
    sentences
}

/// Who may take the role, in a few words: `for the Initiator`, `for 1 to 3 peers`.
pub fn seats_text(terms: &RoleTerms) -> String {
    match (terms.side, terms.min, terms.max) {
        (Side::Initiator, _, _) => "for the Initiator".to_owned(),
        (Side::Peer, 0, None) => "for any number of peers".to_owned(),
        (Side::Peer, min, None) => format!("for {min} or more peers"),
        (Side::Peer, 0, Some(max)) => format!("for up to {max} peers"),
        (Side::Peer, 1, Some(1)) => "for 1 peer".to_owned(),
        (Side::Peer, min, Some(max)) if min == max => format!("for {min} peers"),
        (Side::Peer, min, Some(max)) => format!("for {min} to {max} peers"),
    }
}

/// A command as a person would type it: arguments in quotes where they need them.
pub fn command_line(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let quoted = |argument: &String| match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.clone(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn run_text(run: &Run) -> Vec<String> {
    let mut sentences = Vec::new();
    if !run.environment.is_empty() {
        let variables = run.environment.iter().map(|(name, value)| format!("{name}={value}"));
        sentences.push(format!("It is told: {}", command_line(&variables.collect::<Vec<_>>())));
    }
    if let Some(ready) = &run.ready {
        let within = ready.within;
        sentences.push(match &ready.probe {
            Probe::Tcp(place) => format!("It counts as ready when {place} answers, within {within}."),
            Probe::Output(text) => format!("It counts as ready when it prints “{text}”, within {within}."),
            Probe::File(name) => format!("It counts as ready when the file data/{name} is there, within {within}."),
            Probe::After(span) => format!("It counts as ready after {span}."),
        });
    }
    sentences.push(
        match run.restart {
            Restart::Never => "When it ends it is not started again.",
            Restart::OnFailure => "When it fails it is started again.",
            Restart::Always => "When it ends it is started again.",
        }
        .to_owned(),
    );
    sentences
}

fn network_text(permissions: &Permissions) -> Vec<String> {
    if permissions.network.is_empty() {
        return vec!["It may not use the network.".to_owned()];
    }
    let sentence = |text: &String| match text.parse::<Access>() {
        Ok(Access::Any) => "It may use the whole network: connect anywhere, listen on any port.".to_owned(),
        Ok(Access::Listen(port)) => format!("It may accept connections on port {port} of this machine."),
        Ok(Access::Connect(host)) => format!("It may connect to {host}."),
        Err(_) => match text.split_once(':') {
            Some(("connect", place)) => format!("It may connect to {place} (not known before everybody has answered)."),
            Some(("listen", port)) => {
                format!(
                    "It may accept connections on port {port} of this machine (not known before everybody has answered)."
                )
            }
            _ => format!("It may use the network as “{text}” says."),
        },
    };
    let mut sentences: Vec<_> = permissions.network.iter().map(sentence).collect();
    if !permissions.network.iter().any(|text| text == "any") {
        sentences.push("Of the network, the kernel holds it to these TCP ports: not to hosts, and not UDP.".to_owned());
    }
    sentences
}

fn write_text(permissions: &Permissions) -> String {
    if permissions.write.is_empty() {
        return "It may write no files but temporary ones.".to_owned();
    }
    // The data folder itself, or folders below it.
    let whole = permissions.write.iter().any(|path| relative_path(path).is_ok_and(|parts| parts.len() == 1));
    match whole {
        true => "It may write into its own data folder, and nowhere else.".to_owned(),
        false => format!(
            "It may write into {} of its own data folder, and temporary files.",
            in_a_row(permissions.write.iter().cloned())
        ),
    }
}

fn in_a_row(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::template::tests::Scene;
    use crate::service::template::{Context, preview_permissions, preview_run};

    fn terms(value: serde_json::Value) -> RoleTerms {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_person_reads_what_will_run_and_what_it_may_touch() {
        let mut terms = terms(json!({
            "for": "peer", "min": 0, "platforms": ["linux-x86_64"], "requires": ["python>=3.9", "memory>=1GiB", "display"],
            "run": {"command": ["python3", "watch.py", "{{ options.title }}"], "ready": {"file": "ready", "within": "30s"},
                    "environment": {"PORT": "{{ options.port }}"}},
            "permissions": {"network": ["connect:{{ roster.initiator.host }}:{{ options.port }}", "listen:8081"], "write": ["data/"]},
        }));
        let scene = Scene::new();
        let context = Context { roster: None, ..scene.context() };
        terms.run = Some(preview_run(terms.run.as_ref().unwrap(), &context).unwrap());
        terms.permissions = preview_permissions(&terms.permissions, &context).unwrap();
        assert_eq!(
            terms_text(&terms),
            [
                "It runs: python3 watch.py 'Tea & <Scones>'",
                "It is told: PORT=8080",
                "It counts as ready when the file data/ready is there, within 30s.",
                "When it fails it is started again.",
                "It may connect to {{ roster.initiator.host }}:8080 (not known before everybody has answered).",
                "It may accept connections on port 8081 of this machine.",
                "Of the network, the kernel holds it to these TCP ports: not to hosts, and not UDP.",
                "It may write into its own data folder, and nowhere else.",
                "It needs python 3.9 or later, 1GiB of memory and a display.",
                "It is made for linux-x86_64.",
            ]
        );
        assert_eq!(seats_text(&terms), "for any number of peers");
    }

    #[test]
    fn what_is_not_there_is_said_too() {
        let nothing = terms(json!({"for": "initiator", "min": 1, "max": 1, "platforms": ["any"]}));
        assert_eq!(
            terms_text(&nothing),
            [
                "It installs files and runs nothing.",
                "It may not use the network.",
                "It may write no files but temporary ones."
            ]
        );
        let all =
            terms(json!({"for": "peer", "min": 2, "max": 2, "platforms": ["any"], "run": {"command": ["a b", ""]},
                               "permissions": {"network": ["any"], "write": ["data/a", "data/b"]}}));
        let text = terms_text(&all);
        assert_eq!(text[0], "It runs: 'a b' ''");
        assert!(text.iter().any(|sentence| sentence.contains("whole network")));
        assert!(text.iter().any(|sentence| sentence.contains("data/a and data/b")));
        assert_eq!(seats_text(&all), "for 2 peers");
    }
}
