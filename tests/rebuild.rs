//! A running session is built again (rows A11, B14, B22): its next generation reaches one participant after the other, or
//! goes back where it is not ready.

#![expect(clippy::disallowed_methods, reason = "tells the services' programs what to do by files")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::path::PathBuf;

use parties::Parties;
use sandbox::{Sandbox, until};
use serde_json::Value;
use services::Role;

/// Keeps the secret of each generation, and may be told which generation is not to get ready.
const TELLS: &str = "generation=$(basename \"$(pwd -P)\")\n\
cp \"$DEPLOYCTL_SECRET_FILE\" \"$DEPLOYCTL_DATA/secret.$generation\"\n\
[ -e \"$DEPLOYCTL_DATA/not.$generation\" ] && sleep 600\necho up\nexec sleep 600\n";

fn running(parties: &Parties) -> String {
    let tells = Role::new(TELLS).ready("{ output = \"up\", within = \"4s\" }");
    parties.offer("tells", &tells, &tells);
    parties.running("tells")
}

fn root(sandbox: &Sandbox, node: &str, session: &str) -> PathBuf {
    let role = if node == "i" { "host" } else { "guest" };
    sandbox.state(node).join("installs/sessions").join(session).join(role)
}

/// What is installed, and which of it is current.
fn installed(sandbox: &Sandbox, node: &str, session: &str) -> (Vec<String>, String) {
    let root = root(sandbox, node, session);
    let folders = fs::read_dir(root.join("generations")).expect("generations").flatten();
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let current = fs::read_link(root.join("current")).expect("a link");
    (names, current.file_name().expect("a number").to_string_lossy().into_owned())
}

fn secret(sandbox: &Sandbox, node: &str, session: &str, generation: u32) -> String {
    let path = root(sandbox, node, session).join("data").join(format!("secret.{generation}"));
    fs::read_to_string(path).expect("a secret")
}

fn generations(status: &Value) -> Vec<Option<u64>> {
    status["participants"].as_array().expect("participants").iter().map(|one| one["generation"].as_u64()).collect()
}

fn is_confirmed(status: &Value) -> bool {
    sandbox::participants(status).iter().all(|(_, state)| state == "confirmed")
}

#[test]
fn the_next_generation_reaches_everybody_and_has_a_new_secret_that_who_left_does_not_know() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let session = running(&parties);
    let built = sandbox.run("p", &["build", &session]).ok();
    assert_eq!((&built["rollout"]["generation"], &built["rollout"]["state"]), (&2.into(), &"delivered".into()));
    assert_eq!(built["state"], "running");
    let status = sandbox.wait("i", &session, "all on 2", |status| generations(status) == [Some(2); 3]);
    assert!(is_confirmed(&status), "{status:#}");
    for node in ["i", "a", "b"] {
        assert_eq!(installed(sandbox, node, &session), (vec!["1".to_owned(), "2".to_owned()], "2".to_owned()));
        assert_eq!(secret(sandbox, node, &session, 1), secret(sandbox, "i", &session, 1));
        assert_eq!(secret(sandbox, node, &session, 2), secret(sandbox, "i", &session, 2));
        let verified = sandbox.run(node, &["verify", &session]).ok()["verified"][0].clone();
        assert_eq!((&verified["manifests"], &verified["provenances"]), (&2.into(), &2.into()), "{verified:#}");
    }
    let first = secret(sandbox, "i", &session, 1);
    assert_ne!(first, secret(sandbox, "i", &session, 2));

    sandbox.run("b", &["stop", &session]).ok();
    sandbox.wait("p", &session, "b has gone", |status| status["participants"][2]["state"] == "removed");
    sandbox.run("p", &["build", &session]).ok();
    assert_eq!(secret(sandbox, "i", &session, 3), secret(sandbox, "a", &session, 3));
    assert_ne!(secret(sandbox, "i", &session, 2), secret(sandbox, "i", &session, 3));
    assert!(!sandbox.state("b").join("sessions").join(&session).join("secrets").exists());
    // The current one and the one before are kept.
    assert_eq!(installed(sandbox, "a", &session), (vec!["2".to_owned(), "3".to_owned()], "3".to_owned()));

    let back = sandbox.run("a", &["install", "--rollback", &session]).ok();
    assert_eq!(generations(&back), [Some(2)]);
    assert_eq!(installed(sandbox, "a", &session).1, "2");
    sandbox.wait("p", &session, "a is back on 2", |status| {
        generations(status)[1] == Some(2) && is_confirmed_but_b(status)
    });
    let none = sandbox.run("a", &["install", "--rollback", &session]).fails(6, "wrong-state");
    none.says(&["no generation before"]);
    sandbox.run("a", &["verify", &session]).ok();

    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p", "a", "b"]);
    for node in ["i", "a", "b"] {
        let packages = fs::read_dir(sandbox.state(node).join("packages")).map_or(0, Iterator::count);
        assert_eq!(packages, 0, "{node} keeps packages of a session that is over");
    }
    for node in ["p", "a"] {
        let exported = sandbox.path().join(format!("{node}.json"));
        let exported = exported.to_str().expect("a path");
        sandbox.run(node, &["status", &session, "--export", exported]).ok();
        sandbox.run("b", &["verify", exported]).ok();
    }
}

fn is_confirmed_but_b(status: &Value) -> bool {
    sandbox::participants(status).iter().all(|(name, state)| state == "confirmed" || name == "b")
}

#[test]
fn a_generation_that_is_not_ready_in_time_goes_back_and_nobody_else_gets_it() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let session = running(&parties);
    fs::write(root(sandbox, "a", &session).join("data/not.2"), "").expect("a word to the program");
    let partly = sandbox.run("p", &["build", &session]).fails(7, "partly-done");
    partly.says(&["generation 2 failed at a", "the session runs on"]);
    let status = sandbox.wait("i", &session, "a is back", |status| {
        generations(status) == [Some(2), Some(1), Some(1)] && is_confirmed(status)
    });
    assert_eq!(status["state"], "running");
    let why = status["participants"][1]["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("generation 2 failed, back to 1"), "{status:#}");
    assert!(status["failure"]["text"].as_str().is_some_and(|text| text.contains("failed at a")), "{status:#}");
    assert_eq!(installed(sandbox, "a", &session), (vec!["1".to_owned()], "1".to_owned()));
    assert_eq!(installed(sandbox, "b", &session), (vec!["1".to_owned()], "1".to_owned()));
    let at_p = sandbox.status("p", &session);
    assert_eq!((&at_p["rollout"]["state"], &at_p["state"]), (&"stopped".into(), &"running".into()));
    for node in ["p", "i", "a", "b"] {
        sandbox.run(node, &["verify", &session]).ok();
    }
    let told = sandbox.run("p", &["status", &session, "--timeline"]).ok();
    let failed =
        |row: &Value| row["note"].as_str().is_some_and(|note| note.starts_with("failed generation 2, back to 1"));
    assert!(told["timeline"].as_array().is_some_and(|rows| rows.iter().any(failed)), "{told:#}");
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["i", "p", "a", "b"]);
}

#[test]
fn what_is_built_again_is_of_the_definition_that_was_accepted() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let session = running(&parties);
    let script = parties.services().join("tells/guest/run.sh");
    let before = fs::read(&script).expect("a script");
    fs::write(&script, "echo up; exec sleep 601\n").expect("a changed script");
    let refused = sandbox.run("p", &["build", &session]).fails(1, "build-failed");
    refused.says(&["the definition of tells was changed", "request the service again"]);
    let status = sandbox.wait("i", &session, "it is told", |status| status["failure"].is_object());
    assert_eq!((&status["state"], generations(&status)), (&"running".into(), vec![Some(1); 3]));
    sandbox.run("i", &["build", &session]).fails(6, "wrong-state");
    fs::write(&script, before).expect("as it was");
    sandbox.run("p", &["build", &session]).ok();
    sandbox
        .wait("i", &session, "all on 3", |status| generations(status) == [Some(3); 3] && status["failure"].is_null());
}

#[test]
fn nodes_that_do_not_serve_get_the_next_generation_through_their_supervisors() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let mut serving = parties.serve_all();
    let session = running(&parties);
    // Only the provider goes on serving.
    serving.drain(1..).for_each(sandbox::Serving::stop);
    sandbox.run("p", &["build", &session]).ok();
    for node in ["i", "a", "b"] {
        let status = sandbox.wait(node, &session, "on 2", |status| generations(status)[0] == Some(2));
        assert_eq!(status["participants"][0]["state"], "confirmed", "{status:#}");
        assert_eq!(installed(sandbox, node, &session).1, "2");
    }
    sandbox.run("i", &["stop", &session]).ok();
    until("nothing but the provider runs", || sandbox.processes().len() == 1);
}

#[test]
fn a_role_in_the_foreground_stays_there_when_another_generation_takes_over() {
    // Whether a `serve` does the node's work beside it, or nobody.
    for served in [true, false] {
        let parties = Parties::asking();
        let sandbox = &parties.sandbox;
        let tells = Role::new(TELLS).ready("{ output = \"up\", within = \"10s\" }");
        parties.offer("tells", &tells, &tells);
        let _serving = ["p", "i"].map(|node| parties.serve(node));
        let session = parties.request("tells", &["--peer", "a"]);
        until("it is invited", || sandbox.run("a", &["accept", "--from", "p", "--yes"]).code == 0);
        let mut foreground = sandbox.begin("a", &["start", &session, "--foreground"]);
        parties.all_say(&session, &["p", "i", "a"], "running");
        let _beside = served.then(|| parties.serve("a"));
        sandbox.run("p", &["build", &session]).ok();
        let status = sandbox.wait("a", &session, "on 2", |status| {
            generations(status)[0] == Some(2) && status["participants"][0]["state"] == "confirmed"
        });
        assert!(!foreground.has_ended(), "{status:#}");
        assert_eq!(installed(sandbox, "a", &session).1, "2");
        let supervisor = sandbox.record("a", &session, "peer")["supervisor"]["pid"].as_u64();
        assert_eq!(supervisor, Some(u64::from(foreground.pid())), "served: {served}");
        sandbox.run("i", &["stop", &session]).ok();
        assert_eq!(foreground.finish().code, 0);
        parties.all_is_well(&session, &["p", "i", "a"]);
    }
}

#[test]
fn a_changed_provenance_is_noticed() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let session = running(&parties);
    let folder = sandbox.party("a", &session, "peer").join("manifests");
    let is_provenance = |path: &PathBuf| path.to_string_lossy().ends_with(".provenance.json");
    let path = fs::read_dir(folder).expect("manifests").flatten().map(|entry| entry.path()).find(is_provenance);
    let path = path.expect("a provenance beside the manifest");
    let other = fs::read_dir(sandbox.party("i", &session, "initiator").join("manifests")).expect("manifests");
    let other = other.flatten().map(|entry| entry.path()).find(is_provenance).expect("the host's");
    fs::copy(other, &path).expect("the provenance of another package");
    sandbox.run("a", &["verify", &session]).fails(4, "bad-digest").says(&["provenance"]);
}
