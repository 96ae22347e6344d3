//! What is told back to a person is harmless and visible: nothing in it moves the cursor, changes colours, turns the writing
//! direction or hides. In JSON it is the same text, and nothing of it is raw.

#![expect(clippy::disallowed_methods, reason = "writes services as a hostile author would")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;

use parties::Parties;
use sandbox::{Output, Sandbox};
use services::{Role, STAYS};

/// Clears the screen, returns to the line's begin, turns the direction, hides, and names the window.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{202e}\u{200b}\u{9b}31m";
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
