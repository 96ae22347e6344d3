//! What grows is cleared by rule, a full disk is foreseen, and an older state directory is brought up to date.

#![expect(clippy::disallowed_methods, reason = "prepares and looks at the nodes' files from outside")]
#![expect(clippy::unwrap_used, reason = "helpers of a test give up loudly")]

#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/noise.rs"]
mod noise;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::path::Path;
use std::process::Command;

use noise::noise;
use parties::Parties;
use sandbox::{Sandbox, read, until};
use serde_json::Value;
use services::{Role, STAYS};

/// What is over goes at once.
const KEEP_NOTHING: &str = "[keep]\nexpired = \"0s\"\nended = \"0s\"\n";

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The rules by which something would go, or went.
fn rules(answer: &Value) -> Vec<String> {
    let mut rules: Vec<_> =
        answer["expired"].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap().to_owned()).collect();
    rules.sort();
    rules.dedup();
    rules
}

fn close(parties: &Parties, session: &str, nodes: &[&str]) {
    parties.sandbox.run("i", &["stop", session]).ok();
    parties.all_is_well(session, nodes);
    // Nothing waits to be sent any more.
    let status = parties.sandbox.party("p", session, "provider").join("status.json");
    until("the provider's part is at rest", || {
        serde_json::from_str::<Value>(&read(&status)).unwrap_or_default()["live"] == false
    });
}

#[test]
fn what_nobody_needs_any_more_goes_and_what_others_check_stays() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    fs::write(sandbox.state("p").join("config.toml"), KEEP_NOTHING).unwrap();
    let mut serving = parties.serve_all();
    let session = parties.running("stays");
    let other = parties.request("stays", &["--peer", "a", "--set", "word=coffee", "--wait", "running"]);
    let packages = sandbox.state("p").join("packages");
    let secrets = |session: &str| sandbox.state("p").join("sessions").join(session).join("secrets");
    let all = names(&packages);
    assert!(!all.is_empty() && secrets(&session).exists());

    // Everything is needed while the sessions live.
    let nothing = sandbox.run("p", &["remove", "--expired"]).ok();
    assert!(
        !rules(&nothing).iter().any(|rule| rule == "package" || rule == "secrets" || rule == "interface"),
        "{nothing:#}"
    );
    assert_eq!(names(&packages), all);

    close(&parties, &session, &["i", "p", "a", "b"]);
    let shown = sandbox.run("p", &["remove", "--expired", "--dry-run"]).ok();
    assert_eq!((&shown["removed"], rules(&shown).contains(&"package".to_owned())), (&false.into(), true), "{shown:#}");
    assert_eq!(names(&packages), all, "it was only shown");
    let text = sandbox.human("p", &["remove", "--expired", "--dry-run"]).stdout;
    assert!(text.contains("would be removed") && text.contains("packages/"), "{text}");
    let removed = sandbox.run("p", &["remove", "--expired"]).ok();
    assert_eq!((&removed["removed"], &removed["bytes"]), (&true.into(), &shown["bytes"]));
    assert!(!secrets(&session).exists() && secrets(&other).exists());
    let left = names(&packages);
    assert!(!left.is_empty() && left.len() < all.len(), "the other session's stay: {left:?}");
    assert_eq!(rules(&sandbox.run("p", &["remove", "--expired"]).ok()), [""; 0]);
    sandbox.run("p", &["verify", &session]).ok();
    sandbox.run("p", &["account", "verify"]).ok();
    assert!(sandbox.run("p", &["account"]).ok()["statements"][0]["total"].is_string());

    // What a node offered goes with the contact; what a stranger did, and tokens, when they are of no use any more.
    let shown = |node: &str| names(&sandbox.state(node).join("shown")).len();
    assert!(shown("i") > 0);
    sandbox.run("i", &["trust", "remove", "p"]).ok();
    assert_eq!(shown("i"), 0);
    let stranger = sandbox.state("b").join("shown").join(format!("{}.json", "a".repeat(52)));
    fs::create_dir_all(stranger.parent().unwrap()).unwrap();
    fs::write(&stranger, "{}").unwrap();
    let token = sandbox.run("b", &["trust", "token"]).ok();
    let [token] = &names(&sandbox.state("b").join("tokens"))[..] else { panic!("{token}") };
    let token = sandbox.state("b").join("tokens").join(token);
    let mut kept: Value = serde_json::from_str(&read(&token)).unwrap();
    kept["expires"] = "2026-01-01T00:00:00.000Z".into();
    fs::write(&token, kept.to_string()).unwrap();
    let went = rules(&sandbox.run("b", &["remove", "--expired"]).ok());
    assert!(went.contains(&"shown".to_owned()) && went.contains(&"token".to_owned()), "{went:?}");
    assert!(!stranger.exists() && !token.exists());

    // An interface is kept until it has expired, and goes then; what was used is a replay all the same.
    let interfaces = sandbox.state("p").join("interfaces");
    let [first, second] = &names(&interfaces)[..] else { panic!("{:?}", names(&interfaces)) };
    let path = interfaces.join(first);
    let mut given: Value = serde_json::from_str(&read(&path)).unwrap();
    given["expires"] = "2026-01-01T00:00:00.000Z".into();
    fs::write(&path, given.to_string()).unwrap();
    // A node that runs does so by itself.
    serving.remove(0).stop();
    let _again = parties.serve("p");
    until("the interface has gone", || names(&interfaces) == [second.clone()]);
    close(&parties, &other, &["i", "p", "a"]);
}

/// What tells of a session in a state directory, but for the audit, and for the interface, which tells until it expires that
/// it was used.
fn tells_of(state: &Path, session: &str) -> Vec<String> {
    let found = Command::new("grep")
        .args(["-rl", session, "--exclude=audit.jsonl", "--exclude-dir=interfaces", "."])
        .current_dir(state)
        .output();
    let mut all: Vec<_> = String::from_utf8(found.unwrap().stdout).unwrap().lines().map(str::to_owned).collect();
    all.extend(["sessions", "ledger"].iter().flat_map(|folder| names(&state.join(folder))));
    all
}

#[test]
fn records_stay_until_their_owner_lets_them_go() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let serving = parties.serve_all();
    let session = parties.running("stays");
    let forget = ["remove", &session, "--forget", "--yes"];
    sandbox.run("p", &forget).fails(6, "wrong-state").says(&["not over", &session[..8]]);
    // A word that is not said, and nothing happens.
    sandbox.run("a", &["remove", &session, "--forget"]).fails(2, "prompt-needed").says(&["--yes"]);
    sandbox.wait_state("a", &session, "running");

    close(&parties, &session, &["i", "p", "a", "b"]);
    for node in ["p", "i", "a"] {
        assert!(!tells_of(&sandbox.state(node), &session).is_empty());
        let forgotten = sandbox.run(node, &forget).ok();
        assert!(forgotten["forgotten"] == true && forgotten["bytes"].as_u64() > Some(1000), "{forgotten:#}");
        assert_eq!(tells_of(&sandbox.state(node), &session), [""; 0], "{node}");
        sandbox.run(node, &["status", &session]).fails(6, "not-found");
        sandbox.run(node, &forget).fails(6, "not-found");
        sandbox.run(node, &["doctor", "--offline"]).document();
    }
    // By rule, where the owner set one, when the node comes back; and the nodes go on working.
    drop(serving);
    let records = "[keep]\nexpired = \"0s\"\nended = \"0s\"\nrecords = \"0s\"\n";
    fs::write(sandbox.state("b").join("config.toml"), records).unwrap();
    let _serving = parties.serve_all();
    until("its records have gone", || tells_of(&sandbox.state("b"), &session).is_empty());
    let next = parties.running("stays");
    close(&parties, &next, &["i", "p", "a"]);
}

/// The digest of the package that a manifest is about.
fn about(manifest: &Path) -> String {
    let envelope: Value = serde_json::from_str(&read(manifest)).unwrap();
    let payload = data_encoding::BASE64.decode(envelope["payload"].as_str().unwrap().as_bytes()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    statement["subject"][0]["digest"]["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn a_state_directory_of_format_1_is_brought_up_to_date_when_it_is_opened() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    parties.offer_stays();
    let serving = parties.serve_all();
    let session = parties.running("stays");
    close(&parties, &session, &["i", "p", "a", "b"]);
    serving.into_iter().for_each(sandbox::Serving::stop);
    for (node, party) in [("p", "provider"), ("a", "peer")] {
        let folder = sandbox.party(node, &session, party).join("manifests");
        let now = names(&folder);
        // As format 1 named them.
        for name in now.iter().filter(|name| !name.ends_with(".provenance.json")) {
            let (own, package) = (name.trim_end_matches(".json"), about(&folder.join(name)));
            assert_ne!(own, package);
            fs::rename(folder.join(name), folder.join(format!("{package}.json"))).unwrap();
            let provenance = folder.join(format!("{own}.provenance.json"));
            if provenance.exists() {
                fs::rename(provenance, folder.join(format!("{package}.provenance.json"))).unwrap();
            }
        }
        assert_ne!(names(&folder), now);
        let version = sandbox.state(node).join("VERSION");
        let current = read(&version);
        fs::write(&version, "1\n").unwrap();
        sandbox.run(node, &["verify", &session]).ok();
        assert_eq!((names(&folder), read(&version)), (now, current));
    }
    fs::write(sandbox.state("p").join("VERSION"), "9999\n").unwrap();
    sandbox.run("p", &["status"]).fails(8, "newer-state").says(&["9999"]);
}

#[test]
fn a_full_disk_is_foreseen_and_named_and_harms_nothing() {
    if !mounts::in_own("a_full_disk_is_foreseen_and_named_and_harms_nothing", &["-Urm", "-m"]) {
        return;
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.state("a")).unwrap();
    let mount = |options| mounts::mount(&["-t", "tmpfs", "-o", options, "none"], &sandbox.state("a")).unwrap();
    mount("size=12m,mode=700");
    let service = services::write(&sandbox.path().join("services"), "stays", &Role::new(STAYS), &Role::new(STAYS));
    fs::write(service.join("guest/noise"), noise(4 << 20, 0)).unwrap();
    let [p, i, a] = ["p", "i", "a"].map(|node| sandbox.init(node));
    sandbox.trust("p", "i", &i, "request");
    sandbox.trust("i", "p", &p, "provide");
    sandbox.trust("i", "a", &a, "");
    sandbox.trust("a", "p", &p, "provide");
    sandbox.trust("a", "i", &i, "invite");
    let _serving = [sandbox.serve("p", &["--services", "services"]), sandbox.serve("i", &[])];
    let requested = sandbox.run("i", &["request", "stays", "--provider", "p", "--peer", "a"]).ok();
    let session = requested["session"].as_str().unwrap();
    sandbox.run("a", &["accept", "--from", "p", "--yes"]).ok();
    sandbox.wait_state("p", session, "delivering");

    let refusal = sandbox.run("a", &["install", session]).fails(1, "no-space");
    refusal.says(&["fetching and installing guest", "it needs", "are free"]).hints(&["nothing was begun", "--expired"]);
    assert_eq!(names(&sandbox.state("a").join("packages")), [""; 0]);
    assert!(!sandbox.state("a").join("installs").exists());
    mount("remount,size=40m");
    sandbox.run("a", &["install", session]).ok();

    // Full in the middle of something: an error by name, and what was there before is there.
    let filler = sandbox.state("a").join("services");
    assert!(fs::write(&filler, vec![1; 40 << 20]).is_err(), "the disk is full now");
    let contacts = names(&sandbox.state("a").join("contacts"));
    sandbox.run("a", &["trust", "add", "b", &sandbox.init("b")]).fails(1, "disk-full").hints(&["free some space"]);
    let left = fs::read_dir(sandbox.state("a").join("contacts")).unwrap().count();
    assert_eq!((names(&sandbox.state("a").join("contacts")), left), (contacts.clone(), contacts.len()));
    fs::remove_file(&filler).unwrap();
    sandbox.run("a", &["verify", session]).ok();
    sandbox.run("a", &["remove", session]).ok();
    assert!(!sandbox.state("a").join("installs").exists());
}
