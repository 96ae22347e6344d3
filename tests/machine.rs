//! What programs read: with `--format json`, stdout is documents that fit `schemas/`, and nothing else, whatever happens;
//! an error is one line on stderr. Every command and every exit code is seen here.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "writes services, reads what commands printed, and gives up loudly"
)]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use parties::Parties;
use rustix::process::Signal;
use sandbox::{Output, Sandbox, until};
use serde_json::{Value, json};
use services::{FAILS, Role, STAYS};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What commands printed, each with the schema that it has to fit.
#[derive(Default)]
struct Notes(RefCell<Vec<Value>>);

impl Notes {
    /// A command of this schema that is done: one document.
    fn done(&self, schema: &str, output: &Output) -> Value {
        let document = output.ok();
        self.lines(schema, output);
        document
    }
    /// Each line of stdout, and of stderr each event.
    fn lines(&self, schema: &str, output: &Output) {
        output.stdout.lines().for_each(|line| self.note(schema, &output.command, line));
        output.stderr.lines().filter(|line| !line.contains("\"error\"")).for_each(|line| {
            self.note("event", &output.command, line);
        });
    }
    /// A command that fails: nothing on stdout, one line on stderr.
    fn fails(&self, output: &Output, exit: i32, code: &str) {
        output.fails(exit, code);
        self.note("error", &output.command, &output.stderr);
    }
    fn note(&self, schema: &str, what: &str, line: &str) {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {what}: {line}"));
        self.0.borrow_mut().push(json!({ "what": what, "schema": schema, "document": document }));
    }
    fn judge(&self, folder: &Path) {
        needs::fit_schemas(folder, &self.0.borrow());
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value:#}"))
}

/// A program that is offered beside the services.
fn put_program(services: &Path) {
    let folder = services.join("clock");
    fs::create_dir_all(folder.join("app")).expect("a folder");
    fs::write(folder.join("app/run.sh"), STAYS).expect("a script");
    let definition = "name = \"clock\"\nversion = \"1.0.0\"\nsummary = \"Tells the time\"\ncategory = \"tools\"\n\
        license = \"MIT\"\n[roles.app]\nfor = \"initiator\"\nplatforms = [\"any\"]\nrequires = [\"sh\"]\n\
        build = { copy = \"app/\" }\n\
        [roles.app.run]\ncommand = [\"sh\", \"run.sh\"]\nready = { output = \"up\", within = \"20s\" }\n";
    fs::write(folder.join("service.toml"), definition).expect("a definition");
}

/// The invitation that waits at a node.
fn invitation(sandbox: &Sandbox, node: &str, notes: &Notes) -> String {
    let mut found = String::new();
    until("an invitation is there", || {
        let listed = notes.done("accept", &sandbox.run(node, &["accept", "--list"]));
        found = listed["invitations"][0]["invitation"].as_str().unwrap_or_default().to_owned();
        !found.is_empty()
    });
    found
}

#[test]
fn every_commands_documents_fit_their_schemas_through_a_whole_session() {
    let parties = Parties::asking();
    let (sandbox, notes) = (&parties.sandbox, Notes::default());
    let run = |node: &str, args: &[&str]| sandbox.run(node, args);
    let see = |schema: &str, node: &str, args: &[&str]| notes.done(schema, &run(node, args));
    parties.offer_stays();
    let serving = ["p", "i", "a"].map(|node| parties.serve(node));
    serving.iter().for_each(|one| notes.note("serve", "serve", &one.ready.to_string()));

    see("request", "i", &["request", "--provider", "p", "--list"]);
    see("request", "i", &["request", "stays", "--provider", "p", "--interface"]);
    let request = ["request", "stays", "--provider", "p", "--peer", "a", "--note", "Come!"];
    let session = text(&see("request", "i", &request), "session").to_owned();
    let session = session.as_str();
    let invited = invitation(sandbox, "a", &notes);
    for args in [&["invite"][..], &["invite", "list", session], &["invite", "show", &invited]] {
        see("invite", "a", args);
    }
    see("invite", "p", &["invite", "resend", &invited]);
    see("invite", "i", &["invite", session]);
    see("accept", "a", &["accept", &invited, "--yes"]);
    see("install", "a", &["install", session]);
    for node in ["i", "a"] {
        see("start", node, &["start", session]);
    }
    for args in [&["status"][..], &["status", session], &["status", session, "--timeline"]] {
        for node in ["p", "i", "a"] {
            see("status", node, args);
        }
    }
    let talk = run("i", &["-v", "account", session, "--interim", "--usage", "reading=3"]);
    assert_eq!(talk.code, 0, "{talk:#?}");
    notes.lines("account", &talk);
    let mut watch = sandbox.begin("i", &["status", "--watch", session]);
    until("the watch has begun", || !sandbox::read(&watch.stdout).is_empty());
    see("stop", "i", &["stop", session]);
    until("the watch has ended", || watch.has_ended());
    notes.lines("status", &watch.finish());
    for node in ["p", "i", "a"] {
        sandbox.wait(node, session, "over", |status| status["over"] == true);
        see("verify", node, &["verify", session]);
    }
    see("remove", "a", &["remove", session]);
    after_the_session(sandbox, &notes, session);
    drop(serving);
    let talk: Vec<_> = sandbox.talk().lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    assert!(talk.iter().any(|line| line.contains("\"message\"")), "{talk:#?}");
    talk.iter().for_each(|line| notes.note("event", "serve -v", line));
    notes.judge(sandbox.path());
}

/// What is left of it in files.
fn after_the_session(sandbox: &Sandbox, notes: &Notes, session: &str) {
    let see = |schema: &str, args: &[&str]| notes.done(schema, &sandbox.run("i", args));
    see("account", &["account"]);
    see("account", &["account", "export", "--by", "session"]);
    see("account", &["account", session]);
    see("account", &["account", "export"]);
    see("account", &["account", "export", "--csv", "--output", "all.csv"]);
    see("account", &["account", "verify"]);
    see("account", &["account", "verify", session]);
    see("status", &["status", session, "--export", "party.json"]);
    see("status", &["status", session, "--export", "-"]);
    see("verify", &["verify", "party.json"]);
    see("remove", &["remove", "--expired", "--dry-run"]);
    see("remove", &["remove", "--expired"]);
    see("remove", &["remove", session, "--forget", "--yes"]);
}

#[test]
fn the_documents_of_programs_fit_too() {
    let sandbox = Sandbox::new();
    let notes = Notes::default();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "provide");
    let services = sandbox.path().join("services");
    put_program(&services);
    let _serving = sandbox.serve("shop", &["--services", services.to_str().expect("a path")]);
    let see = |schema: &str, args: &[&str]| notes.done(schema, &sandbox.run("anna", args));
    see("discover", &["discover", "--from", "shop"]);
    see("discover", &["discover", "--from", "shop", "--explain", "clock"]);
    see("install", &["install", "clock", "--from", "shop", "--yes"]);
    see("install", &["install", "clock", "--from", "shop", "--yes"]);
    see("start", &["start", "clock"]);
    see("status", &["status", "clock"]);
    see("status", &["status"]);
    see("verify", &["verify", "clock"]);
    notes.done("status", &sandbox.run("shop", &["status", "clock"]));
    notes.done("status", &sandbox.run("shop", &["status"]));
    see("stop", &["stop", "clock"]);
    see("remove", &["remove", "clock"]);
    notes.judge(sandbox.path());
}

#[test]
fn the_documents_of_one_node_alone_fit_too() {
    let sandbox = Sandbox::new();
    let notes = Notes::default();
    let see = |node: &str, schema: &str, args: &[&str]| notes.done(schema, &sandbox.run(node, args));
    let host = format!("127.0.0.1:{}", sandbox::free_port());
    let made = see("n", "init", &["init", "--name", "n", "--address", &host]);
    see("n", "init", &["init", "--csr"]);
    see("m", "init", &["init"]);
    let serving = sandbox.serve("n", &[]);
    let token = see("n", "trust", &["trust", "token", "--may", "request"]);
    see("m", "trust", &["trust", "join", text(&token, "token"), "--may", "provide"]);
    let other = see("n", "trust", &["trust", "token"]);
    see("n", "trust", &["trust", "token", "--list"]);
    see("n", "trust", &["trust", "token", "--revoke", text(&other, "id")]);
    see("m", "trust", &["trust", "add", "n", text(&made, "address"), "--may", "provide,invite"]);
    see("m", "trust", &["trust", "remove", "n"]);
    see("n", "trust", &["trust", "list"]);
    drop(serving);
    see("n", "config", &["config"]);
    see("n", "config", &["config", "get", "accounting.interval"]);
    see("n", "doctor", &["doctor", "--offline"]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        see("n", "completions", &["completions", shell]);
    }
    for args in [&["--help"][..], &["-h"], &["--version"], &["trust", "add", "--help"], &["stop", "--version"]] {
        see("n", "help", args);
    }
    let built = sandbox.path().join("built");
    let service = format!("{ROOT}/fixtures/services/notice");
    let build = ["build", "--service", &service, "--role", "reader", "--output", built.to_str().expect("a path")];
    let built = see("n", "build", &build);
    let file = |what: &str| text(&built[what], "file").to_owned();
    let (package, manifest) = (file("package"), file("manifest"));
    see("n", "verify", &["verify", &package, "--manifest", &manifest, "--signer", text(&built, "signer")]);
    see("n", "demo", &["demo", "--service", "notice"]);
    notes.judge(sandbox.path());
}

#[test]
fn every_exit_code_comes_with_one_line_that_says_why() {
    let parties = Parties::new();
    let (sandbox, notes) = (&parties.sandbox, Notes::default());
    let failing = |args: &[&str], exit: i32, code: &str| notes.fails(&sandbox.run("i", args), exit, code);
    parties.offer_stays();
    let fails_at_a = format!("case $DEPLOYCTL_DATA in */a/*)\n{FAILS};; esac\nsleep 1\n{STAYS}");
    parties.offer("flour", &Role::new(STAYS), &Role::new(&fails_at_a));
    let serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let half_baked = "name = \"halfbaked\"\nversion = \"1.0.0\"\nsummary = \"Cannot be built\"\nlicense = \"MIT\"\n\
        [roles.host]\nfor = \"initiator\"\nplatforms = [\"any\"]\nbuild = { command = [\"false\"] }\n";
    fs::create_dir_all(sandbox.path().join("halfbaked")).expect("a folder");
    fs::write(sandbox.path().join("halfbaked/service.toml"), half_baked).expect("a definition");

    failing(&["build", "--service", "halfbaked", "--role", "host", "--output", "out"], 1, "build-failed");
    failing(&["request", "stays", "--provider", "p"], 2, "usage");
    failing(&["sotp"], 2, "usage");
    failing(&["accept"], 6, "not-found");
    notes.fails(&sandbox.run("a", &["request", "stays", "--provider", "p", "--peer", "i"]), 3, "not-permitted");
    let key = text(&sandbox.run("i", &["init"]).ok(), "key").to_owned();
    let service = format!("{ROOT}/fixtures/services/notice");
    let built = sandbox.run("i", &["build", "--service", &service, "--role", "reader", "--output", "notice"]).ok();
    let [package, manifest] = ["package", "manifest"].map(|what| text(&built[what], "file").to_owned());
    failing(&["verify", &package, "--manifest", &manifest, "--signer", &key], 4, "bad-signature");
    failing(&["request", "--provider", "b", "--list"], 5, "unreachable");
    let wrong = ["request", "stays", "--provider", "p", "--peer", "a", "--set", "count=99"];
    failing(&wrong, 8, "bad-option");
    let waits = sandbox.begin("i", &["-v", "request", "stays", "--provider", "p", "--peer", "b", "--wait", "answered"]);
    until("it waits", || sandbox.talk().contains("service-request"));
    waits.signal(Signal::INT);
    let waits = waits.finish();
    assert_eq!((waits.code, waits.stdout.as_str()), (130, ""), "{waits:#?}");
    notes.lines("request", &waits);
    let last = waits.stderr.lines().last().unwrap_or_default();
    notes.note("error", "interrupted", last);
    let bakery = parties.serve("b");
    let both = ["--provider", "p", "--peer", "a", "--peer", "b", "--quorum", "any", "--on-failure", "continue"];
    let partly = sandbox.run("i", &[&["request", "flour", "--wait", "running"], both.as_slice()].concat());
    assert_eq!(partly.code, 7, "{partly:#?}");
    notes.lines("request", &partly);
    notes.note("error", "partly done", &partly.stderr);
    drop((serving, bakery));
    notes.judge(sandbox.path());
}

#[test]
fn every_command_has_a_schema_and_every_schema_says_what_it_is_of() {
    let sandbox = Sandbox::new();
    let pages = sandbox.run("n", &["man"]).ok();
    let pages = pages.as_array().expect("names").iter().filter_map(Value::as_str);
    let commands = pages.filter_map(|page| page.strip_prefix("deployctl-")).filter(|name| !name.contains('-'));
    let commands: BTreeSet<String> = commands.map(str::to_owned).collect();
    let folder = PathBuf::from(ROOT).join("schemas");
    let files = fs::read_dir(folder).expect("the schemas").map(|file| file.expect("a schema").path());
    let schemas: BTreeSet<String> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    let others = ["error", "event", "help", "seen-service", "types"].map(str::to_owned);
    assert_eq!(schemas, commands.into_iter().chain(others).collect());
}

#[test]
fn nothing_is_said_where_nobody_reads_any_more() {
    let sandbox = Sandbox::new();
    sandbox.init("n");
    let all: [&[&str]; 8] = [
        &["status"],
        &["--format", "json", "status"],
        &["--help"],
        &["--format", "json", "--help"],
        &["config"],
        &["completions", "bash"],
        &["trust", "list"],
        &["status", "--watch"],
    ];
    for args in all {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = sandbox.command("n", args);
        let output = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).output().expect("it runs");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {talk}");
        assert!(!talk.contains("error") && !talk.contains("panic"), "{args:?}: {talk}");
    }
}
