//! What a newcomer gets wrong, typed on purpose: every answer says what was done, to what, why it failed, and what to do
//! next, for people and for programs alike.

#![expect(clippy::disallowed_methods, reason = "reads the tests, to see that no code is forgotten")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::path::Path;

use deployctl::model::Code;
use sandbox::{Output, Sandbox};

/// What was typed, how it ends, what the message says, and what the remedy names.
type Case<'a> = (&'a [&'a str], i32, &'a str, &'a [&'a str], &'a [&'a str]);

const NO_NODE: [Case<'_>; 4] = [
    (&["status"], 2, "no-identity", &["no node in"], &["deployctl init", "--state"]),
    (&["request", "chat", "--provider", "x", "--peer", "y"], 2, "no-identity", &["no node"], &["deployctl init"]),
    (&["serve"], 2, "no-identity", &["no node in"], &["deployctl init"]),
    (&["trust", "list"], 2, "no-identity", &["no node in"], &["deployctl init"]),
];

const WRONG: [Case<'_>; 50] = [
    (&["statsu"], 2, "usage", &["statsu"], &["status", "deployctl --help"]),
    (&["trust", "ad"], 2, "usage", &["ad"], &["add", "deployctl trust --help"]),
    (&["status", "--wach"], 2, "usage", &["--wach"], &["--watch", "deployctl status --help"]),
    (&["completions", "bsh"], 2, "usage", &["bsh", "zsh", "fish"], &["bash"]),
    (&["--format", "yaml", "status"], 2, "usage", &["yaml", "human, json"], &["--help"]),
    (&["--timeout", "abc", "status"], 2, "usage", &["abc", "not a duration"], &["30s", "1h30m"]),
    (&["stop"], 2, "usage", &["<SESSION|PROGRAM>"], &["deployctl status", "deployctl stop --help"]),
    (&["remove"], 2, "usage", &["<SESSION|PROGRAM>"], &["deployctl status"]),
    (&["config", "get"], 2, "usage", &["<SETTING>"], &["deployctl config"]),
    (&["trust", "remove"], 2, "usage", &["<CONTACT>"], &["deployctl trust list"]),
    (&["request", "chat"], 2, "usage", &["--provider"], &["deployctl trust list", "deployctl request --help"]),
    (&["init", "--name", "Anna Smith"], 2, "usage", &["Anna Smith", "not a name"], &["allowed", "letters"]),
    (&["init", "--address", "anna"], 2, "usage", &["anna", "port is missing"], &["192.0.2.7:4800"]),
    (&["trust", "add", "shop", "deploy://abc"], 2, "usage", &["abc", "not a key"], &["deployctl init"]),
    (&["trust", "add", "shop", "http://x"], 2, "usage", &["deploy://"], &["deploy://KEY@host:port"]),
    (&["trust", "token", "--may", "everything"], 2, "usage", &["everything"], &["request, provide, invite"]),
    (&["trust", "token", "--valid", "soon"], 2, "usage", &["soon"], &["15m"]),
    (&["trust", "join", "xyz"], 2, "bad-address", &["not a token", "#"], &["trust token"]),
    (&["trust", "remove", "nobody"], 6, "unknown-contact", &["nobody"], &["trust list", "trust add"]),
    (&["status", "abcd"], 6, "not-found", &["abcd"], &["deployctl status"]),
    (&["stop", "abcd"], 6, "not-found", &["no session and no program abcd"], &["deployctl status"]),
    (&["account", "abcd"], 6, "not-found", &["abcd"], &["deployctl status"]),
    (&["account", "verify", "nofile"], 6, "not-found", &["no such file", "nofile"], &["deployctl status"]),
    (&["verify", "nofile"], 6, "not-found", &["no file, no session and no program nofile"], &["deployctl status"]),
    (&["account", "abcd", "--usage", "reading=3"], 2, "usage", &["--interim|--final"], &["account --help"]),
    (&["account", "export", "--since", "yesterday"], 2, "usage", &["yesterday"], &["--help"]),
    (&["accept"], 6, "not-found", &["no open invitation"], &["accept --list", "--from"]),
    (&["accept", "abcd"], 6, "not-found", &["abcd"], &["accept --list", "--from"]),
    (&["accept", "--decline", "--list"], 2, "usage", &["--decline", "--list"], &["accept --help"]),
    (&["invite", "show", "abcd"], 6, "not-found", &["abcd"], &["deployctl invite"]),
    (&["invite", "abcd", "--close"], 6, "not-found", &["abcd"], &["deployctl status"]),
    (&["install"], 2, "usage", &["SESSION|PROGRAM|URI|FILE"], &["deployctl status", "install --help"]),
    (&["install", "./chat.tar.gz"], 2, "usage", &["./chat.tar.gz", "manifest"], &["--manifest FILE"]),
    (&["install", "x.tar.gz", "--manifest", "none"], 1, "io", &["none", "No such file"], &["path"]),
    (&["install", "chess", "--from", "nobody"], 6, "unknown-contact", &["nobody"], &["trust list"]),
    (&["install", "--rollback", "chess"], 6, "not-found", &["chess"], &["deployctl status"]),
    (&["build"], 2, "usage", &["SESSION"], &["build --help"]),
    (&["build", "--service", "none", "--role", "r", "--output", "o"], 6, "not-found", &["none"], &["service.toml"]),
    (&["serve", "--listen", "4800"], 2, "usage", &["4800", "port is missing"], &["192.0.2.7:4800"]),
    (&["serve", "--listen", "192.0.2.1:4800"], 1, "io", &["192.0.2.1:4800"], &["of this machine"]),
    (&["serve", "--advertise", "mndns"], 2, "usage", &["mndns", "upnp, mdns"], &["serve --help"]),
    (&["serve", "--interface", "none", "--advertise", "mdns"], 2, "usage", &["none"], &["there are"]),
    (&["discover", "--from", "nobody"], 6, "unknown-contact", &["nobody"], &["trust list"]),
    (&["discover", "--interface", "none"], 2, "usage", &["none"], &["there are"]),
    (&["discover", "--platform", "linux"], 2, "usage", &["linux"], &["linux-x86_64"]),
    (&["request", "chat@one", "--provider", "x", "--peer", "y"], 2, "usage", &["one"], &["SERVICE@^1.2"]),
    (&["demo", "--peers", "99"], 2, "usage", &["99", "1..=16"], &["demo --help"]),
    (&["config", "get", "polcy.install"], 2, "usage", &["polcy.install"], &["policy.install"]),
    (&["remove", "--dry-run"], 2, "usage", &["--expired"], &["remove --help"]),
    (&["start", "chess"], 6, "not-found", &["chess"], &["deployctl status"]),
];

/// The answer for a program and for a person say the same, in the one shape.
fn is_answered(sandbox: &Sandbox, node: &str, case: &Case<'_>) {
    let (command, exit, code, says, hints) = case;
    // A format that is no format is told in the one that is asked for otherwise.
    let is_about_format = command.contains(&"--format");
    let human = sandbox.human(node, command);
    let Output { stdout, stderr, .. } = &human;
    assert_eq!((human.code, stdout.as_str()), (*exit, ""), "{human:#?}");
    let (message, hint) = stderr.trim_end().split_once("\n  hint: ").unwrap_or_default();
    assert!(!hint.is_empty(), "no hint: {human:#?}");
    assert!(message.starts_with("error: ") && !message.contains("error: error"), "{human:#?}");
    assert!(!message.ends_with('.') && message.lines().count() == 1, "one sentence: {human:#?}");
    for word in *says {
        assert!(message.contains(word), "the message does not say “{word}”: {human:#?}");
    }
    for word in *hints {
        assert!(hint.contains(word), "the remedy does not name “{word}”: {human:#?}");
    }
    if !is_about_format {
        let refusal = sandbox.run(node, command).fails(*exit, code);
        assert_eq!((format!("error: {}", refusal.message), refusal.hint.as_str()), (message.to_owned(), hint));
    }
}

#[test]
fn every_wrong_command_is_answered_with_its_cause_and_a_remedy() {
    let sandbox = Sandbox::new();
    for case in &NO_NODE {
        is_answered(&sandbox, "nobody", case);
    }
    sandbox.init("n");
    let failed: Vec<_> = WRONG
        .iter()
        .filter_map(|case| {
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| is_answered(&sandbox, "n", case)));
            tried.err().map(|_| case.0.join(" "))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Codes that nothing brings about at will, and why.
const ELSEWHERE: [(&str, &str); 1] = [(
    "session-failed",
    "of a session that ended without anybody's code: every way there is has one of its own by now",
)];

/// All sources of tests, those beside the code included.
fn texts(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let tests = text.find("#[cfg(test)]").filter(|_| path.components().any(|part| part.as_os_str() == "src"));
            let is_tests = path.to_string_lossy().contains("tests");
            all.push_str(if is_tests { &text } else { tests.map_or("", |at| &text[at..]) });
        }
    }
}

#[test]
fn no_code_is_without_a_test_that_expects_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    texts(&root.join("tests"), &mut all);
    texts(&root.join("src"), &mut all);
    let is_expected = |code: &Code| all.contains(&format!("\"{code}\"")) || all.contains(&format!("Code::{code:?}"));
    let forgotten: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !is_expected(code) && !ELSEWHERE.iter().any(|(word, _)| *word == code.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
