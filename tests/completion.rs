//! Completion: what a word can become, and that the real bash, zsh and fish make it so.

#![expect(clippy::disallowed_methods, reason = "runs shells, and looks at the state directory from outside")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use parties::Parties;
use sandbox::Sandbox;
use serde_json::json;
use services::{Role, STAYS};

const PROGRAM: &str = env!("CARGO_BIN_EXE_deployctl");

/// What a shell is told, line by line: `WORD` or `WORD<tab>ABOUT`, as fish gets it.
fn answers(state: &Path, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("DEPLOYCTL_STATE", state).env("DEPLOYCTL_COMPLETE", "fish").args(["--", "deployctl"]);
    let output = command.args(words).stdin(Stdio::null()).output().expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn first_words(answers: &[String]) -> Vec<&str> {
    answers.iter().map(|line| line.split('\t').next().unwrap_or_default()).collect()
}

/// Everything below a folder with its content and when it was changed.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let changed = fs::symlink_metadata(&path).expect("an entry").modified().expect("a time");
        if path.is_dir() && !path.is_symlink() {
            all.push((path.clone(), Vec::new(), changed));
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), fs::read(&path).unwrap_or_default(), changed));
        }
    }
    all.sort();
    all
}

/// A session that runs and an invitation that is open, once everybody has come to rest.
fn running_and_open() -> (Parties, String, String) {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    let role = Role::new(STAYS);
    let definition = parties.offer("lines", &role, &role).join("service.toml");
    let more = "\n[options.size]\nenum = [\"small\", \"large\", \"$(touch pwned)\"]\ndefault = \"small\"\n\
                [options.shade]\ntype = \"string\"\n\
                [options.password]\ntype = \"string\"\nsecret = true\nroles = [\"host\"]\n";
    fs::write(&definition, fs::read_to_string(&definition).expect("a definition") + more).expect("a definition");
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let running = parties.request("lines", &["--peer", "a"]);
    sandbox.wait_state("a", &running, "inviting");
    sandbox.run("a", &["accept", &running, "--yes"]).ok();
    sandbox.wait_state("i", &running, "running");
    sandbox.run("i", &["request", "--provider", "p", "--list"]).ok();
    let open = parties.request("lines", &["--peer", "a"]);
    sandbox.wait_state("a", &open, "inviting");
    (parties, running, open)
}

#[test]
fn what_this_node_knows_is_offered_and_nothing_is_touched_by_it() {
    let (parties, running, open) = running_and_open();
    let [i, a, p] = ["i", "a", "p"].map(|node| parties.sandbox.state(node));
    let invitation = parties.sandbox.run("a", &["accept", "--list"]).ok()["invitations"][0]["invitation"].clone();
    let sessions = answers(&i, &["stop", ""]);
    assert!(
        sessions.iter().any(|line| line.starts_with(&format!("{}\tlines running, ", &running[..8]))),
        "{sessions:?}"
    );
    assert_eq!(answers(&i, &["status", &open[..6]]).len(), 1);
    assert_eq!(first_words(&answers(&i, &["stop", &open[..12]])), [open.as_str()], "who types more gets it all");
    assert!(answers(&i, &["request", "--provider", ""]).iter().any(|line| line.starts_with("p\tmay ")));
    assert_eq!(first_words(&answers(&i, &["request", "--provider", "p", "li"])), ["lines"]);
    let set = |word: &str| answers(&i, &["request", "lines", "--provider", "p", "--set", word]);
    assert_eq!(
        set("s"),
        ["size=\tsize: one of small, large, $(touch pwned)", "shade=\tshade: text"].map(str::to_owned)
    );
    assert_eq!(set("size="), ["size=small\tthe default", "size=large"], "what a shell would run is not offered");
    assert!(set("pass").is_empty(), "no secrets in a line that others can see");
    assert_eq!(answers(&i, &["request", "lines", "--provider", "p", "--role", ""]), ["guest", "host"]);
    assert_eq!(answers(&i, &["request", "lines", "--provider", "p", "--peer", "a=g"]), ["a=guest"]);
    assert_eq!(answers(&i, &["trust", "add", "x", "y", "--may", "request,p"]), ["request,provide"]);
    assert_eq!(first_words(&answers(&i, &["request", "--wait", "r"])), ["registered", "running"]);
    let invited = answers(&a, &["accept", ""]);
    let invitation = &invitation.as_str().expect("an id")[..8];
    assert!(
        invited.iter().any(|line| line.starts_with(&format!("{invitation}\tlines from i, inviting"))),
        "{invited:?}"
    );
    assert!(answers(&p, &["invite", "resend", ""]).iter().any(|line| line.starts_with(invitation)));
}

#[test]
fn where_there_is_nothing_or_only_damage_a_shell_is_told_nothing() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("n");
    let state = sandbox.state("n");
    for (path, text) in [
        ("contacts/ada.toml", "address = 7"),
        ("sessions/aaaaaaaaaaaaaaaaaaaaaaaaaa/peer/status.json", "{"),
        ("sessions/..\n/peer/status.json", ""),
        ("shown/x.json", "[]"),
        ("tokens/\u{1b}[2J.json", ""),
    ] {
        let path = state.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let before = contents(&state);
    for words in [
        &["stop", ""][..],
        &["accept", ""],
        &["trust", "remove", ""],
        &["request", ""],
        &["request", "x", "--provider", "ada", "--set", ""],
        &["trust", "token", "--revoke", ""],
    ] {
        let mut told = answers(&state, words);
        // A flag may stand there, too.
        told.retain(|line| !line.starts_with('-'));
        assert_eq!(told, Vec::<String>::new(), "{words:?}");
    }
    assert_eq!(contents(&state), before, "nothing is set aside");
    assert!(answers(&sandbox.path().join("nowhere"), &["stop", ""]).iter().all(|line| line.starts_with('-')));
    assert!(!sandbox.path().join("nowhere").exists());
}

/// A state directory with so many sessions, each as one with five participants leaves it.
fn state_with_sessions(sandbox: &Sandbox, many: u32) -> PathBuf {
    sandbox.init_nowhere("n");
    let state = sandbox.state("n");
    for number in 0..many {
        let id = format!("{:a<26}", format!("{number:b}").replace('0', "k").replace('1', "q"));
        let folder = state.join("sessions").join(&id).join("initiator");
        fs::create_dir_all(&folder).expect("a folder");
        let who = json!({"name": "ada", "key": "k".repeat(52), "role": "host", "state": "confirmed", "failed": false});
        let summary = json!({"session": id, "party": "initiator", "state": "running", "service": "site", "over": false, "participants": vec![who; 5]});
        fs::write(folder.join("status.json"), json!({"summary": summary, "live": true}).to_string()).expect("a file");
    }
    state
}

/// The limit is loose because tests run beside others in a debug build; CONTRIBUTING.md says how it is measured.
#[test]
fn a_thousand_sessions_do_not_make_a_person_wait() {
    let sandbox = Sandbox::new();
    let state = state_with_sessions(&sandbox, 1000);
    let took = |_| {
        let began = Instant::now();
        let told = answers(&state, &["stop", ""]);
        assert_eq!(told.iter().filter(|line| !line.starts_with('-')).count(), 1000);
        began.elapsed()
    };
    let quickest = (0..10).map(took).min().expect("ten times");
    assert!(quickest.as_millis() < 250, "{quickest:?}");
}

/// A folder with the program on the path and its script as the shell is to read it.
struct Desk {
    sandbox: Sandbox,
    /// The state directory of who types.
    state: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let address = sandbox.init("shop");
        sandbox.init_nowhere("n");
        sandbox.trust("n", "shop", &address, "provide");
        sandbox.trust("n", "baker", &address.replacen(&address[9..13], "aaaa", 1), "");
        let state = sandbox.state("n");
        Self::of(sandbox, state)
    }
    fn of(sandbox: Sandbox, state: PathBuf) -> Self {
        fs::create_dir(sandbox.path().join("bin")).expect("a folder");
        symlink(PROGRAM, sandbox.path().join("bin/deployctl")).expect("a link");
        Self { sandbox, state }
    }
    /// What fish offers for a line.
    fn offered_by_fish(&self, line: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/deployctl.fish");
        let asked = format!("source {script}; complete -C 'deployctl {line}'");
        let output = self.command("fish").args(["--no-config", "-c", &asked]).output().expect("fish runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/bin:/bin", self.sandbox.path().join("bin").display());
        command.env_clear().env("PATH", path).env("DEPLOYCTL_STATE", &self.state).stdin(Stdio::null());
        command.env("HOME", self.sandbox.path()).env("LANG", "C.UTF-8").current_dir(self.sandbox.path());
        command
    }
    /// What a shell has in its line after it was typed with these tabs, and all that it showed.
    fn typed(&self, shell: &str, text: &str) -> (String, String) {
        let setup = self.sandbox.path().join(if shell == "zsh" { ".zshrc" } else { "bashrc" });
        let script = format!("{}/completions/{}", env!("CARGO_MANIFEST_DIR"), file_of(shell));
        let ready = match shell {
            "zsh" => format!(
                "autoload -U compinit; compinit -D -u; source {script}; bindkey -e; PROMPT='ready> '; unsetopt beep prompt_cr\n"
            ),
            _ => format!("source {script}; bind 'set enable-bracketed-paste off'; PS1='ready> '\n"),
        };
        fs::write(&setup, ready).expect("a file");
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells/type.py");
        let output = self.command("python3").arg(driver).arg(shell).arg(setup).arg(text).output().expect("python runs");
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shell} {text:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (shown, line) = seen.rsplit_once("Adeployctl ").expect("the line");
        (line.split('Z').next().unwrap_or_default().to_owned(), shown.to_owned())
    }
}

fn file_of(shell: &str) -> &'static str {
    match shell {
        "bash" => "deployctl.bash",
        "zsh" => "_deployctl",
        _ => "deployctl.fish",
    }
}

/// What every shell makes of a line: what it was, and what it is then.
const LINES: [(&str, &str); 8] = [
    ("stat\t", "status "),
    ("request --prov\tsh\t", "request --provider shop "),
    ("request --provider=sh\t", "request --provider=shop "),
    ("trust remove b\t", "trust remove baker "),
    ("trust add x y --may request,pro\t", "trust add x y --may request,provide "),
    ("build --service notice --set rep\t", "build --service notice --set repeat="),
    ("build --service notice --set repeat=\t", "build --service notice --set repeat=5 "),
    ("verify noti\tser\t", "verify notice/service.toml "),
];

fn real(shell: &str) {
    if !needs::has(&[shell, "python3"]) {
        return;
    }
    let desk = Desk::new();
    let service = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services/notice");
    symlink(service, desk.sandbox.path().join("notice")).expect("a link");
    for (typed, line) in LINES {
        let now = desk.typed(shell, &format!("deployctl {typed}")).0;
        // Zsh takes its blank back when the cursor leaves the word.
        let line = if shell == "zsh" { line.trim_end() } else { line };
        assert_eq!(now, line, "{shell}: {typed:?}");
    }
    let (_, shown) = desk.typed(shell, "deployctl trust remove \t\t");
    assert!(shown.contains("baker") && shown.contains("shop"), "{shown}");
    if shell == "zsh" {
        assert!(shown.contains("may provide at 127.0.0.1"), "{shown}");
    }
}

#[test]
fn bash_completes_what_is_typed() {
    real("bash");
}

#[test]
fn zsh_completes_what_is_typed() {
    real("zsh");
}

#[test]
fn fish_completes_what_is_typed() {
    if !needs::has(&["fish"]) {
        return;
    }
    let desk = Desk::new();
    let service = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services/notice");
    symlink(service, desk.sandbox.path().join("notice")).expect("a link");
    let complete = |line: &str| desk.offered_by_fish(line);
    assert!(complete("stat").starts_with("status\t"), "{}", complete("stat"));
    let contact = complete("request --provider sh");
    assert!(contact.starts_with("shop\tmay provide at 127.0.0.1:"), "{contact}");
    assert!(complete("request --provider=sh").starts_with("--provider=shop"));
    assert!(complete("build --service notice --set rep").starts_with("repeat=\tRepeat: "));
    assert!(complete("build --service notice --set repeat=").starts_with("repeat=5"));
    assert_eq!(complete("trust add x y --may request,pro"), "request,provide");
    assert_eq!(complete("verify notice/ser"), "notice/service.toml");
}

#[test]
fn meters_and_who_is_invited_are_completed_by_every_shell() {
    let (parties, running, open) = running_and_open();
    let (running, open) = (&running[..8], &open[..8]);
    let state = parties.sandbox.state("i");
    let desk = Desk::of(parties.sandbox, state);
    let account = format!("account {running} --interim");
    let lines = [
        (format!("{account} --usage rea\t"), format!("{account} --usage reading=")),
        (format!("{account} --usage=rea\t"), format!("{account} --usage=reading=")),
        (format!("invite withdraw {open} --peer \t"), format!("invite withdraw {open} --peer a ")),
        (format!("invite {open} --peer a\t"), format!("invite {open} --peer a ")),
    ];
    for shell in ["bash", "zsh"].into_iter().filter(|shell| needs::has(&[shell, "python3"])) {
        for (typed, line) in &lines {
            let line = if shell == "zsh" { line.trim_end() } else { line };
            assert_eq!(desk.typed(shell, &format!("deployctl {typed}")).0, line, "{shell}: {typed:?}");
        }
    }
    if needs::has(&["fish"]) {
        for (typed, line) in &lines {
            let offered = desk.offered_by_fish(typed.trim_end_matches('\t'));
            let word = line.split(' ').rfind(|word| !word.is_empty()).expect("a word");
            assert!(offered.lines().any(|one| one.split('\t').next() == Some(word)), "{typed:?}: {offered}");
        }
        let offered = desk.offered_by_fish(&format!("{account} --usage rea"));
        assert!(offered.contains("0.01 EUR each"), "{offered}");
    }
}
