//! Every command that takes its time can be asked to end, by Ctrl-C and by SIGTERM: it says in one sentence what was done
//! and what was not, exits with 130 or 143, and leaves nothing that is half done.

#![expect(clippy::disallowed_methods, reason = "looks at what commands left, and writes services")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use parties::Parties;
use rustix::process::Signal;
use sandbox::{Refusal, Running, is_alive, until};
use services::{Role, STAYS};

/// With what a command is asked, and how it ends then.
const ASKED: [(Signal, i32, &str); 2] = [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")];

/// Whether a process hears both signals by now, instead of dying of them: bits of `SigCgt`, proc(5).
fn hears(pid: u32) -> bool {
    let status = sandbox::read(Path::new(&format!("/proc/{pid}/status")));
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    [Signal::INT, Signal::TERM].iter().all(|signal| caught & (1 << (signal.as_raw() - 1)) != 0)
}

/// Asks a command to end that is `so_far`; gives what it says, which is its last line on stderr.
fn ends(running: Running, so_far: impl Fn() -> bool, asked: (Signal, i32, &str)) -> Refusal {
    let (signal, exit, code) = asked;
    until("it is so far", || hears(running.pid()) && so_far());
    running.signal(signal);
    let mut output = running.finish();
    // Those that watch have told what they saw.
    output.stdout.clear();
    let refusal = output.fails(exit, code);
    assert!(refusal.message.starts_with(&format!("{code}; ")), "{refusal:?}");
    refusal
}

#[test]
fn who_waits_for_others_says_how_far_the_session_is() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = parties.serve("p");
    let session = parties.request("stays", &["--peer", "a", "--peer", "b"]);
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    let here = ["session", &session[..8], "inviting", "nothing of it is installed here", "status", "stop"];
    let looked = ["only looked", "changed nothing"];
    let cases: [(&str, &[&str], &[&str]); 7] = [
        ("a", &["install", &session], &here),
        ("a", &["install", &session, "--start"], &here),
        ("a", &["start", &session], &here),
        ("a", &["start", &session, "--foreground"], &here),
        ("i", &["status", "--watch", &session], &looked),
        ("i", &["status", "--watch"], &looked),
        ("i", &["discover", "--watch"], &looked),
    ];
    for (node, command, says) in cases {
        for asked in ASKED {
            ends(sandbox.begin(node, command), || true, asked).says(says);
        }
    }
    for asked in ASKED {
        let sessions = || {
            let status = sandbox.run("i", &["status"]).ok();
            let all = status["sessions"].as_array().into_iter().flatten();
            all.filter(|one| one["state"] == "inviting").count()
        };
        let before = sessions();
        let request = ["request", "stays", "--provider", "p", "--peer", "a", "--wait", "running"];
        let said = ends(sandbox.begin("i", &request), || sessions() > before, asked);
        said.says(&["session", "inviting", "status", "stop"]);
        let requested = said.session.clone().expect("the error names the session");
        assert_eq!(sandbox.state_of("i", &requested), "inviting");
        sandbox.run("i", &["stop", &requested]).ok();
    }
    for node in ["i", "p", "a"] {
        assert_eq!(sandbox.state_of(node, &session), "inviting");
    }
}

#[test]
fn who_gets_no_answer_says_that_nothing_is_half_done_or_what_is() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let provider = parties.serve("p");
    let session = parties.request("stays", &["--peer", "a"]);
    let place = provider.address().rsplit('@').next().expect("a place").to_owned();
    sandbox.run("a", &["accept", "--from", "p", "--list"]).ok();
    provider.stop();
    // Whoever connects waits for an answer that does not come.
    let _silent = TcpListener::bind(&place).expect("the provider's place");
    let before = sandbox.run("a", &["status", &session]).ok();
    let moved = || sandbox.run("a", &["status", &session]).ok() != before;
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("i", &["request", "--provider", "p", "--list"], &["nothing is half done"]),
        ("i", &["request", "stays", "--provider", "p", "--peer", "a"], &["nothing is half done"]),
        ("a", &["accept", "--from", "p"], &["nothing is half done"]),
    ];
    for (node, command, says) in cases {
        for asked in ASKED {
            ends(sandbox.begin(node, command), || true, asked).says(says);
        }
    }
    assert_eq!(sandbox.run("i", &["status"]).ok()["sessions"].as_array().map(Vec::len), Some(1));
    let [interrupt, terminate] = ASKED;
    let said = ends(sandbox.begin("a", &["accept", &session, "--yes"]), moved, interrupt);
    said.says(&["session", &session[..8], "nothing of it is installed here", "deployctl serve"]);
    let said = ends(sandbox.begin("a", &["remove", &session]), || true, terminate);
    said.says(&["session", &session[..8]]);
}

#[test]
fn a_program_in_the_foreground_is_stopped_and_its_session_goes_on() {
    let parties = Parties::asking();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let _serving = ["p", "i"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a"]);
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    for asked in ASKED {
        let foreground = sandbox.begin("a", &["start", &session, "--foreground"]);
        parties.all_say(&session, &["p", "i", "a"], "running");
        let mut program = 0;
        until("the program runs", || {
            let record = sandbox.record("a", &session, "peer");
            program = record["child"]["pid"].as_i64().unwrap_or(0);
            program != 0 && record["ready"] == true && is_alive(i32::try_from(program).expect("a pid"))
        });
        let said = ends(foreground, || true, asked);
        said.says(&["the program is stopped", "goes on", "deployctl start", "deployctl stop"]);
        assert!(!is_alive(i32::try_from(program).expect("a pid")));
        for node in ["p", "i"] {
            assert_eq!(sandbox.state_of(node, &session), "running");
        }
    }
    sandbox.run("a", &["remove", &session]).ok();
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i"]);
}

/// What begins like this in a folder.
fn named(folder: &Path, beginning: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(beginning)).collect()
}

#[test]
fn a_build_that_is_left_off_leaves_nothing_and_can_be_done_again() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let folder = parties.offer("bread", &Role::new(STAYS), &Role::new(STAYS));
    let (gate, out) = (sandbox.path().join("gate"), sandbox.path().join("out"));
    fs::create_dir(&gate).expect("a folder");
    let wait = format!("while [ -e {}/shut ]; do sleep 0.05; done\ncp run.sh \"$DEPLOYCTL_OUTPUT\"\n", gate.display());
    fs::write(folder.join("build.sh"), wait).expect("a script");
    fs::write(folder.join("run.sh"), STAYS).expect("a script");
    let definition = fs::read_to_string(folder.join("service.toml")).expect("the definition");
    let copy = "copy = \"guest/\"\ntemplates = [\"about.txt.j2\"]";
    assert!(definition.contains(copy), "{definition}");
    let definition = definition.replace(copy, "command = [\"sh\", \"build.sh\"]");
    fs::write(folder.join("service.toml"), definition).expect("a definition");
    sandbox.configure("p", &format!("[build]\nread = [{gate:?}]\n[serve]\nservices = \"../services\"\n"));
    let serving = parties.serve_all();
    let session = parties.request("bread", &["--peer", "a", "--wait", "running"]);
    for node in serving {
        node.stop();
    }

    let shut = gate.join("shut");
    fs::write(&shut, "").expect("a file");
    let service = folder.to_str().expect("a path");
    let outside = ["build", "--service", service, "--role", "guest", "--output", out.to_str().expect("a path")];
    let packages = sandbox.state("p").join("packages");
    let of_session = ["build", &session];
    let cases: [(&[&str], &Path, &[&str]); 2] = [
        (&outside, &out, &["nothing was built", "out"]),
        (&of_session, &packages, &["session", &session[..8], "running"]),
    ];
    for (command, place, says) in cases {
        let before = named(place, "");
        for asked in ASKED {
            let builds = || sandbox.processes().iter().any(|pid| is_build(*pid));
            let said = ends(sandbox.begin("p", command), builds, asked);
            said.says(says);
            assert_eq!(named(place, ""), before, "something is left of {command:?}");
            assert!(!sandbox.processes().iter().any(|pid| is_build(*pid)), "it goes on");
        }
    }
    fs::remove_file(&shut).expect("the gate opens");
    sandbox.run("p", &outside).ok();
    // It goes on with what was begun.
    let built = sandbox.run("p", &of_session).ok();
    assert_eq!((&built["rollout"]["generation"], &built["rollout"]["state"]), (&2.into(), &"delivering".into()));
    let _serving = parties.serve_all();
    sandbox.wait("p", &session, "delivered", |status| status["rollout"]["state"] == "delivered");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
}

/// Whether this is the command of a build.
fn is_build(pid: i32) -> bool {
    sandbox::read(Path::new(&format!("/proc/{pid}/cmdline"))).contains("build.sh")
}
