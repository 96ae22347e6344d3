//! What a person sees and is asked at a terminal, key by key. The screens are kept in `tests/screens`; `BLESS=1 cargo test
//! --test terminal` keeps them anew.

#![expect(clippy::disallowed_methods, reason = "writes services, and runs the program from outside")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;
#[path = "support/terminal.rs"]
mod terminal;

use std::fs;
use std::path::Path;
use std::process::Command;

use parties::Parties;
use rustix::process::Signal;
use sandbox::{Sandbox, until};
use terminal::Terminal;

/// Says so where there is no tmux, which has another flag for its version than the rest.
fn has_tmux() -> bool {
    let found = Command::new("tmux").arg("-V").output().is_ok();
    if !found {
        needs::skip("tmux is not installed");
    }
    found
}

/// A service with an option that has to be given, and one of each kind beside it.
fn offer_survey(parties: &Parties) {
    let folder = parties.services().join("survey");
    for role in ["host", "guest"] {
        fs::create_dir_all(folder.join(role)).expect("a folder");
        fs::write(folder.join(role).join("run.sh"), services::STAYS).expect("a script");
    }
    let role = |name: &str, side: &str| {
        format!(
            "\n[roles.{name}]\nfor = \"{side}\"\nplatforms = [\"any\"]\nbuild = {{ copy = \"{name}/\" }}\n\
             [roles.{name}.run]\ncommand = [\"sh\", \"run.sh\"]\nready = {{ output = \"up\", within = \"30s\" }}\n\
             [roles.{name}.permissions]\nwrite = [\"data/\"]\nnetwork = [\"listen:{{{{ options.port }}}}\"]\n"
        )
    };
    let head = "name = \"survey\"\nversion = \"1.2.0\"\nsummary = \"Asks everybody a question\"\ncategory = \"tools\"\n\
        license = \"MIT\"\n\n[options.question]\ntype = \"string\"\ntitle = \"Question\"\n\
        description = \"What everybody is asked\"\nrequired = true\nmax_length = 80\n\n\
        [options.port]\ntype = \"integer\"\ntitle = \"Port\"\ndefault = 8080\nminimum = 1024\nmaximum = 65535\n\n\
        [options.colour]\nenum = [\"red\", \"green\"]\ntitle = \"Colour\"\ndefault = \"red\"\n\n\
        [options.pin]\ntype = \"string\"\ntitle = \"PIN\"\nsecret = true\nroles = [\"host\"]\n\n\
        [tariff]\ncurrency = \"EUR\"\nper = { minute = \"0.02\" }\n";
    let text = [head.to_owned(), role("host", "initiator"), role("guest", "peer")].concat();
    fs::write(folder.join("service.toml"), text).expect("a definition");
}

#[test]
fn a_newcomer_is_offered_a_node() {
    if !has_tmux() {
        return;
    }
    let sandbox = Sandbox::new();
    let terminal = Terminal::of(&sandbox, "new");
    terminal.answer("deployctl status");
    terminal.asked("[y/N]");
    terminal.press("C-c");
    let (screen, code) = terminal.ended();
    terminal.compare("init-interrupted", &screen);
    assert_eq!(code, 130);
    assert!(!sandbox.state("new").exists(), "nothing was made");

    terminal.answer("deployctl status");
    terminal.asked("[y/N]");
    terminal.press("C-d");
    let (screen, code) = terminal.ended();
    assert_eq!(code, 2, "{screen}");

    terminal.answer("deployctl trust list");
    terminal.asked("[y/N]");
    terminal.answer("y");
    terminal.asked("[none]:");
    terminal.answer("Anna Smith");
    terminal.shows("Anna Smith");
    terminal.answer("anna");
    terminal.asked("[it listens nowhere]:");
    terminal.answer("");
    let (screen, code) = terminal.ended();
    terminal.compare("init-offered", &screen);
    assert_eq!(code, 0);
    let made = sandbox.run("new", &["init"]).ok();
    assert_eq!((&made["name"], made["address"].as_str().is_some_and(|it| !it.contains('@'))), (&"anna".into(), true));
}

#[test]
fn a_stranger_is_shown_by_its_key_and_options_are_a_form() {
    if !has_tmux() {
        return;
    }
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    offer_survey(&parties);
    let (provider, _peer) = (parties.serve("p"), parties.serve("a"));
    sandbox.run("i", &["trust", "remove", "p"]).ok();
    let request = format!("deployctl request survey --peer a --note 'Dear a' --provider {}", provider.address());
    sandbox
        .run("i", &["request", "survey", "--peer", "a", "--provider", provider.address()])
        .fails(6, "unknown-contact");

    let terminal = Terminal::of(sandbox, "i");
    terminal.answer(&request);
    terminal.asked("[y/N]");
    terminal.answer("n");
    let (screen, code) = terminal.ended();
    terminal.compare("stranger-refused", &screen);
    assert_eq!(code, 2);

    terminal.answer(&request);
    terminal.asked("[y/N]");
    terminal.answer("y");
    terminal.shows("Its name here");
    terminal.answer("shop");
    for (question, answer) in [
        ("characters):", ""),
        ("characters):", "?"),
        ("characters):", "Tea?"),
        ("[8080]:", "80"),
        ("[8080]:", "<"),
        ("characters):", "Coffee?"),
        ("[8080]:", "9090"),
        ("[red]:", "gren"),
        ("[red]:", "green"),
        ("[leave it out]:", "hunter2"),
    ] {
        terminal.asked(question);
        terminal.answer(answer);
    }
    let (screen, code) = terminal.ended();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("hunter2"), "{screen}");
    terminal.compare("form", &screen);
    let session = screen.lines().rev().nth(1).expect("the session's id").trim().to_owned();
    drop(terminal);
    answers(sandbox, &session);
}

/// The peer sees what a yes means, and what was asked for is what was answered in the form.
fn answers(sandbox: &Sandbox, session: &str) {
    until("a is invited", || sandbox.run("a", &["status", session]).code == 0);
    let terminal = Terminal::of(sandbox, "a");
    terminal.answer("deployctl accept");
    terminal.asked("[y/N]");
    terminal.answer("perhaps");
    terminal.shows("please answer y or n");
    terminal.answer("no");
    let (screen, code) = terminal.ended();
    terminal.compare("accept", &screen);
    assert_eq!(code, 2);
    for said in ["question = Coffee?", "port = 9090", "colour = green"] {
        assert!(screen.contains(said), "{screen}");
    }
    terminal.answer("deployctl accept");
    terminal.asked("[y/N]");
    terminal.press("C-c");
    assert_eq!(terminal.ended().1, 130);
    assert_eq!(sandbox.state_of("a", session), "inviting");
    terminal.answer("deployctl accept");
    terminal.asked("[y/N]");
    terminal.answer("y");
    let (screen, code) = terminal.ended();
    assert_eq!(code, 0, "{screen}");
}

#[test]
fn a_program_is_installed_after_a_yes_to_all_that_it_may_do() {
    if !has_tmux() {
        return;
    }
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "");
    let folder = sandbox.path().join("services/clock");
    fs::create_dir_all(folder.join("app")).expect("a folder");
    fs::write(folder.join("app/run.sh"), services::STAYS).expect("a script");
    let definition = "name = \"clock\"\nversion = \"1.0.0\"\nsummary = \"Tells the time\"\ncategory = \"tools\"\n\
        license = \"MIT\"\n[roles.app]\nfor = \"initiator\"\nplatforms = [\"any\"]\nbuild = { copy = \"app/\" }\n\
        [roles.app.run]\ncommand = [\"sh\", \"run.sh\"]\n[roles.app.permissions]\nnetwork = [\"any\"]\nwrite = [\"data/\"]\n";
    fs::write(folder.join("service.toml"), definition).expect("a definition");
    let _serving = sandbox.serve("shop", &["--services", "services"]);

    let terminal = Terminal::of(&sandbox, "anna");
    terminal.answer("deployctl install clock --from shop");
    terminal.asked("[y/N]");
    terminal.press("C-c");
    let (screen, code) = terminal.ended();
    terminal.compare("install", &screen);
    assert_eq!(code, 130);
    assert!(!sandbox.state("anna").join("installs").exists(), "nothing is installed");
    terminal.answer("deployctl install clock --from shop");
    terminal.asked("[y/N]");
    terminal.answer("y");
    let (screen, code) = terminal.ended();
    assert_eq!(code, 0, "{screen}");
}

#[test]
fn who_waits_sees_how_far_everybody_is_and_may_leave_at_any_time() {
    if !has_tmux() {
        return;
    }
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "a", "b"].map(|node| parties.serve(node));
    let terminal = Terminal::of(sandbox, "i");
    terminal.answer("deployctl request stays --provider p --peer a --peer b --wait running");
    let screen = terminal.shows("] invited");
    assert!(screen.contains("b (guest)"), "{screen}");
    terminal.shows("✓");
    let status = sandbox.run("i", &["status"]).ok();
    let session = status["sessions"][0]["session"].as_str().expect("a session").to_owned();
    for node in ["a", "b"] {
        until("it is invited", || sandbox.run(node, &["status", &session]).code == 0);
    }
    sandbox.run("a", &["accept", &session, "--yes"]).ok();
    terminal.shows("] accepted");
    terminal.press("C-c");
    let (screen, code) = terminal.ended();
    terminal.compare("interrupted", &screen);
    assert_eq!(code, 130);
    assert_eq!(sandbox.state_of("i", &session), "inviting", "it waits for b all the same");

    terminal.answer(&format!("deployctl start {session}"));
    terminal.shows("] accepted");
    // What is typed meanwhile moves nothing.
    terminal.press("Enter");
    terminal.press("x");
    terminal.press("C-u");
    let is_start = |pid: &i32| sandbox::read(Path::new(&format!("/proc/{pid}/cmdline"))).contains("start");
    let start = sandbox.processes().into_iter().find(is_start).expect("the command");
    sandbox::signal(start, Signal::TERM);
    let (screen, code) = terminal.ended();
    assert_eq!(code, 143, "{screen}");
    assert!(screen.contains("error: terminated; session") && !screen.contains("[="), "{screen}");

    sandbox.run("b", &["accept", &session, "--yes"]).ok();
    terminal.answer(&format!("deployctl start {session}"));
    let (screen, code) = terminal.ended();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("✓") && screen.contains("confirmed") && !screen.contains("[="), "{screen}");
    // Nobody serves at i: what follows is done by commands.
    sandbox.run("i", &["stop", &session]).ok();
}

#[test]
fn without_a_terminal_it_is_a_line_a_step_and_with_quiet_nothing() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve_all();
    let request = ["request", "stays", "--provider", "p", "--peer", "a", "--wait", "running"];
    let said = sandbox.human("i", &request);
    assert_eq!(said.code, 0, "{said:#?}");
    let session = said.stdout.trim();
    let short = &session[..8];
    assert!(said.stderr.contains(&format!("  {short} at initiator: running\n")), "{said:#?}");
    assert!(said.stderr.contains(&format!("  {short} at initiator: a (guest) accepted\n")), "{said:#?}");
    assert!(!said.stderr.contains(['\u{1b}', '\r', '[', '✓']), "{said:#?}");
    let quiet: Vec<_> = ["-q"].iter().chain(&request).copied().collect();
    let said = sandbox.human("i", &quiet);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:#?}");
}
