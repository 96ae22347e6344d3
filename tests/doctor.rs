//! `config` and `doctor`: what is set and by whom, what is wrong and how to mend it.

#![expect(clippy::disallowed_methods, reason = "breaks nodes on purpose")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sandbox::Sandbox;
use serde_json::{Value, json};

fn setting(sandbox: &Sandbox, key: &str) -> Value {
    sandbox.run("n", &["config", "get", key]).ok()
}

#[test]
fn each_setting_says_where_it_comes_from_and_the_stronger_one_wins() {
    let sandbox = Sandbox::new();
    sandbox.init("n");
    let listen = setting(&sandbox, "serve.listen");
    assert_eq!(listen, json!({"key": "serve.listen", "value": null, "source": "default"}));
    sandbox.configure("n", "[serve]\nlisten = \"127.0.0.1:4800\"\n");
    let listen = setting(&sandbox, "serve.listen");
    assert_eq!((&listen["value"], &listen["source"]), (&json!("127.0.0.1:4800"), &json!("file")));
    let mut command = sandbox.command("n", &["--format", "json", "config", "get", "serve.listen"]);
    let output = command.env("DEPLOYCTL_LISTEN", "127.0.0.1:4900").output().expect("the program runs");
    let listen: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let expected =
        json!({"key": "serve.listen", "value": "127.0.0.1:4900", "source": "environment", "from": "DEPLOYCTL_LISTEN"});
    assert_eq!(listen, expected);
    assert_eq!(setting(&sandbox, "state")["source"], "flag");
    assert_eq!(setting(&sandbox, "accounting.interval")["value"], "1m");
    let all = sandbox.run("n", &["config"]).ok();
    assert!(all["settings"].as_array().is_some_and(|all| all.len() > 15), "{all:#}");
    let human = sandbox.human("n", &["config"]).stdout;
    assert!(human.lines().any(|line| line.starts_with("serve.listen") && line.ends_with("/config.toml")), "{human}");
}

#[test]
fn a_setting_or_a_key_that_is_not_known_is_refused_with_what_was_meant() {
    let sandbox = Sandbox::new();
    sandbox.init("n");
    assert_eq!(
        sandbox.run("n", &["config", "get", "policy.instal"]).fails(2, "usage").hint,
        "did you mean policy.install?"
    );
    sandbox.configure("n", "[policy]\ninstal = \"ask\"\n");
    assert_eq!(sandbox.run("n", &["config"]).fails(8, "bad-input").hint, "did you mean install?");
}

/// The findings of a check, and the exit code.
fn examined(sandbox: &Sandbox, args: &[&str]) -> (i32, Vec<Value>) {
    let output = sandbox.run("n", &[&["doctor"], args].concat());
    let report = output.document();
    if output.code != 0 {
        let said: Value = serde_json::from_str(&output.stderr).expect("why it failed");
        assert_eq!(said["error"]["code"], "unwell", "{said:#}");
    }
    (output.code, report["findings"].as_array().expect("findings").clone())
}

fn of<'a>(findings: &'a [Value], check: &str) -> Vec<&'a Value> {
    findings.iter().filter(|one| one["check"] == check).collect()
}

#[test]
fn a_node_that_is_well_is_said_to_be() {
    let sandbox = Sandbox::new();
    sandbox.init("n");
    let other = sandbox.init("other");
    sandbox.trust("n", "other", &other, "provide");
    let _serving = [sandbox.serve("other", &[]), sandbox.serve("n", &[])];
    let (code, findings) = examined(&sandbox, &[]);
    assert_eq!(code, 0, "{findings:#?}");
    for check in ["state", "identity", "keys", "config", "disk", "clock", "serve", "contacts"] {
        let found = of(&findings, check);
        assert!(
            !found.is_empty() && (check == "disk" || found.iter().all(|one| one["level"] == "ok")),
            "{check}: {findings:#?}"
        );
    }
    assert!(!of(&findings, "discovery").is_empty() && !of(&findings, "landlock").is_empty());
}

#[test]
fn what_is_wrong_is_found_all_at_once_each_with_its_remedy() {
    let sandbox = Sandbox::new();
    let other = sandbox.init("other");
    sandbox.init("n");
    sandbox.trust("n", "other", &other, "provide");
    let state = sandbox.state("n");
    fs::set_permissions(state.join("identity/node.key"), fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::create_dir_all(state.join("services/tea")).expect("a folder");
    fs::write(state.join("contacts/ada.toml.damaged-1"), "?").expect("a file");
    sandbox.configure("n", "[policy]\ninstal = \"ask\"\n");
    let (code, findings) = examined(&sandbox, &["--offline"]);
    assert_eq!(code, 1);
    for (check, level, remedy) in [
        ("identity", "error", "chmod 600"),
        ("keys", "error", "chmod 600"),
        ("config", "error", "did you mean install?"),
        ("damage", "warning", "rename it back"),
        ("serve", "warning", "deployctl serve"),
    ] {
        let found = of(&findings, check);
        let fits =
            |one: &&Value| one["level"] == level && one["remedy"].as_str().is_some_and(|text| text.contains(remedy));
        assert!(found.iter().any(fits), "{check}: {found:#?}");
    }
    assert!(of(&findings, "contacts").is_empty() && of(&findings, "discovery").is_empty(), "--offline asks nobody");
}

#[test]
fn a_contact_that_does_not_answer_or_is_another_is_told_and_no_error_of_this_node() {
    let sandbox = Sandbox::new();
    let (silent, other) = (sandbox.init("silent"), sandbox.init("other"));
    sandbox.init("n");
    let serving = sandbox.serve("other", &[]);
    sandbox.trust("n", "silent", &silent, "");
    let at = other.split_once('@').expect("an address with a place").1;
    let key = sandbox.init("third").split_once('@').expect("an address with a place").0.to_owned();
    sandbox.trust("n", "changed", &format!("{key}@{at}"), "");
    let (code, findings) = examined(&sandbox, &[]);
    drop(serving);
    assert_eq!(code, 0, "{findings:#?}");
    let contacts = of(&findings, "contacts");
    let says = |name: &str, words: &str| {
        contacts.iter().any(|one| {
            one["level"] == "warning"
                && one["message"].as_str().is_some_and(|text| text.contains(name) && text.contains(words))
        })
    };
    assert!(says("silent", "cannot be reached") && says("changed", "another key answers"), "{contacts:#?}");
}

#[test]
fn where_there_is_no_node_that_is_what_is_found() {
    let sandbox = Sandbox::new();
    let (code, findings) = examined(&sandbox, &["--offline"]);
    assert_eq!((code, of(&findings, "state")[0]["level"].as_str()), (1, Some("error")));
    assert!(!sandbox.state("n").exists());
}
