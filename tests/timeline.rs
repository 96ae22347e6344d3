//! `status --timeline` and `status --watch` of the real program.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/quick.rs"]
mod quick;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use quick::{Quick, fixtures};
use sandbox::until;
use serde_json::Value;

fn watch(quick: &Quick, arguments: &[&str]) -> Child {
    quick
        .sandbox
        .command("anna", &[&["--format", "json"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn a_timeline_tells_the_messages_and_a_watch_the_changes() {
    let mut quick = Quick::with_services(&fixtures());
    quick.request("notice", &[]);
    let session = quick.session.clone();
    let mut one = watch(&quick, &["status", &session, "--watch"]);
    let mut all = watch(&quick, &["status", "--watch"]);
    let mut left = watch(&quick, &["status", "--watch"]);
    let first = |child: &mut Child| {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["state"].clone()
    };
    assert_eq!(first(&mut left), "running");
    // Its reader has gone now, and nothing changes: it ends all the same.
    assert!(left.wait().unwrap().success());
    quick.end();
    let lines = BufReader::new(one.stdout.take().unwrap()).lines().map(Result::unwrap);
    let seen: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert!(one.wait().unwrap().success(), "it ends with the session");
    assert_eq!((&seen[0]["state"], &seen.last().unwrap()["state"]), (&"running".into(), &"closed".into()));
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "a line is a change");
    until("the watch", || all.try_wait().unwrap().is_none());
    interrupt(&all);
    assert_eq!(all.wait().unwrap().code(), Some(130));
    tells_everything(&quick, &session);
}

fn tells_everything(quick: &Quick, session: &str) {
    let told = quick.run("anna", &["status", &session[..10], "--timeline"]).ok();
    assert_eq!(told["session"], session);
    let rows = told["timeline"].as_array().unwrap();
    let find = |message: &str, from: &str| {
        let mut found = rows.iter().filter(|row| row["message"] == message && row["from"] == from);
        found.next().cloned().ok_or(format!("no {message} of {from}")).unwrap()
    };
    let request = find("service-request", "anna");
    assert_eq!((&request["kind"], &request["to"], &request["id"]), (&"sent".into(), &"shop".into(), &session.into()));
    assert!(request["acknowledged"].is_string());
    let answer = find("answer", "ben");
    assert_eq!((&answer["kind"], &answer["to"]), (&"shown".into(), &"shop".into()));
    assert_eq!(answer["note"], "accepts; signed by ben");
    assert!(find("accounting", "anna")["note"].as_str().unwrap().ends_with("countersigned by shop"));
    assert_eq!(find("installed", "anna")["to"], Value::Null);
    assert!(rows.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()), "in order");
    for who in ["anna", "shop", "ben"] {
        let drawn = quick.sandbox.human(who, &["status", session, "--timeline"]);
        assert_eq!(drawn.code, 0, "{drawn:?}");
        assert!(drawn.stdout.lines().all(|line| line.chars().count() <= 100), "{}", drawn.stdout);
        assert!(drawn.stdout.contains("delivery ") && drawn.stdout.contains("├─"), "{}", drawn.stdout);
    }
}
