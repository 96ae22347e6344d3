//! Whatever others write reaches a person's screen harmless and visible: nothing in it moves the cursor, changes colours,
//! turns the writing direction or hides. In JSON it is the same text, and nothing of it is raw.

#![expect(clippy::disallowed_methods, reason = "writes services as a hostile author would")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;

use parties::Parties;
use sandbox::{Output, Sandbox, until};
use services::{Role, STAYS};

/// Clears the screen, returns to the line's begin, turns the direction, hides, and names the window.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{202e}\u{200b}\u{9b}31m";
/// What all that looks like when it is escaped; a part of it.
const SEEN: &str = "\\u{1b}[2J";

/// What no terminal may get from others: controls but line feeds, and characters that turn or hide.
fn unsafe_in(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    })
}

/// Runs a command for a person and for a program. Gives what the person sees.
fn harmless(sandbox: &Sandbox, node: &str, args: &[&str]) -> String {
    let human = sandbox.human(node, &[&["--no-input", "-v"], args].concat());
    let Output { stdout, stderr, command, .. } = &human;
    let both = format!("{stdout}{stderr}");
    assert_eq!(unsafe_in(&both), None, "{command}: {both:?}");
    let json = sandbox.run(node, &[&["-v"], args].concat());
    for line in json.stdout.lines().chain(json.stderr.lines()) {
        assert_eq!(unsafe_in(line), None, "{args:?}: {line:?}");
        let read = serde_json::from_str::<serde_json::Value>(line);
        assert!(read.is_ok(), "{args:?}: {line}");
    }
    both
}

/// A service whose program writes hostile text before it fails.
fn offer_nasty(parties: &Parties) {
    parties.offer("nasty", &Role::new(STAYS), &Role::new("printf '\\033[2J\\r tail\\n'\nexit 3\n"));
}

#[test]
fn a_definition_with_hostile_text_is_refused_harmlessly() {
    let parties = Parties::new();
    let folder = parties.offer("nasty", &Role::new(STAYS), &Role::new(STAYS));
    let path = folder.join("service.toml");
    let text = fs::read_to_string(&path).expect("the definition");
    let nasty = "A service \\u001b[2J\\u202e";
    fs::write(&path, text.replace("A service", nasty)).expect("a hostile one");
    let build = ["build", "--service", "services/nasty", "--role", "host", "--output", "out"];
    harmless(&parties.sandbox, "p", &build);
    assert_eq!(parties.sandbox.run("p", &build).code, 8);
}

#[test]
fn what_others_write_is_harmless_on_every_screen() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    offer_nasty(&parties);
    let serving = ["p", "i", "a", "b"].map(|node| parties.serve(node));
    let seen = |node: &str, args: &[&str], what: &str| {
        let text = harmless(sandbox, node, args);
        let at = text.find(what).map(|at| &text[at..]);
        assert!(at.is_some_and(|rest| rest.contains(SEEN)), "{node} {args:?} does not show {what}: {text}");
    };
    let note = format!("note {NASTY}");
    let session = parties.request("nasty", &["--peer", "a", "--peer", "b", "--note", &note, "--quorum", "any"]);
    let session = session.as_str();
    for node in ["a", "b"] {
        until("it is invited", || sandbox.run(node, &["status", session]).code == 0);
    }
    let invited = sandbox.run("a", &["accept", "--list"]).ok()["invitations"][0]["invitation"].clone();
    let invited = invited.as_str().expect("an invitation");
    seen("a", &["accept", invited], "note");
    seen("a", &["invite", "show", invited], "note");
    let why = format!("because {NASTY}");
    sandbox.run("b", &["accept", session, "--decline", "--reason", &why]).ok();
    sandbox.wait("i", session, "b has declined", |status| status["participants"][2]["state"] == "declined");
    for node in ["i", "p"] {
        seen(node, &["invite", session], "because");
        seen(node, &["status", session], "because");
    }
    sandbox.run("a", &["accept", session, "--yes"]).ok();
    for node in ["i", "a"] {
        let status = sandbox.wait(node, session, "over", |status| status["over"] == true);
        assert_eq!(status["state"], "failed", "{status:#}");
        seen(node, &["status", session], "| ");
    }
    let all: [&[&str]; 9] = [
        &["status"],
        &["status", "--timeline", session],
        &["status", session, "--export", "party.json"],
        &["status", session, "--export", "-"],
        &["verify", session],
        &["invite"],
        &["start", session],
        &["stop", session],
        &["remove", session],
    ];
    for node in ["p", "i", "a", "b"] {
        for args in all {
            harmless(sandbox, node, args);
        }
    }
    drop(serving);
    let talk = sandbox.talk();
    assert_eq!(unsafe_in(&talk), None, "{talk:?}");
}

#[test]
fn what_is_typed_is_told_back_harmless() {
    let sandbox = Sandbox::new();
    sandbox.init("n");
    let all: [&[&str]; 10] = [
        &[NASTY],
        &["status", NASTY],
        &["status", &format!("--{NASTY}")],
        &["accept", NASTY],
        &["request", "x", "--provider", NASTY, "--peer", "y"],
        &["trust", "add", NASTY, "deploy://x"],
        &["trust", "remove", NASTY],
        &["verify", NASTY],
        &["install", NASTY, "--manifest", NASTY],
        &["status", "--timeout", NASTY],
    ];
    for args in all {
        let said = harmless(&sandbox, "n", args);
        assert!(said.contains("error"), "{args:?}: {said}");
    }
}
