//! Enrolment: one line on each side, and two nodes know each other; whatever is wrong with a token is said by name.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "looks through all that nodes have written")]

#[path = "support/sandbox.rs"]
mod sandbox;

use sandbox::{Sandbox, Serving};
use serde_json::Value;

/// A node `shop` that serves, and the others, who listen nowhere.
fn shop(others: &[&str]) -> (Sandbox, Serving) {
    let sandbox = Sandbox::new();
    sandbox.init("shop");
    for other in others {
        sandbox.init_nowhere(other);
    }
    let serving = sandbox.serve("shop", &[]);
    (sandbox, serving)
}

fn token(sandbox: &Sandbox, args: &[&str]) -> String {
    let made = sandbox.run("shop", &[&["trust", "token"], args].concat()).ok();
    made["token"].as_str().expect("a token").to_owned()
}

fn contacts(sandbox: &Sandbox, node: &str) -> Vec<(String, String)> {
    let listed = sandbox.run(node, &["trust", "list"]).ok();
    let words =
        |may: &Value| may.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(",");
    let all = listed["contacts"].as_array().expect("contacts").iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), words(&one["may"]))).collect()
}

fn told(name: &str, may: &str) -> (String, String) {
    (name.to_owned(), may.to_owned())
}

fn audited(sandbox: &Sandbox, code: &str) -> usize {
    sandbox.audit("shop").iter().filter(|line| line["code"] == code).count()
}

/// Every byte that was written in the sandbox, as text.
fn everything(sandbox: &Sandbox) -> String {
    let mut folders = vec![sandbox.path().to_owned()];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                all.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
            }
        }
    }
    all
}

#[test]
fn one_line_on_each_side_makes_two_nodes_contacts_with_the_rights_that_each_side_said() {
    let (sandbox, _serving) = shop(&["ada"]);
    let made = sandbox.run("shop", &["trust", "token", "--may", "request,invite", "--valid", "10m"]).ok();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with(made["address"].as_str().unwrap()), "{made}");

    let joined = sandbox.run_piped("ada", &["trust", "join", "-", "--may", "provide"], &format!("{token}\n")).ok();
    assert_eq!(joined["name"], "shop");
    assert_eq!(joined["may"], serde_json::json!(["provide"]));
    assert_eq!(joined["there"], serde_json::json!({ "name": "ada", "may": ["request", "invite"] }));
    assert_eq!(contacts(&sandbox, "ada"), [told("shop", "provide")]);
    assert_eq!(contacts(&sandbox, "shop"), [told("ada", "request,invite")]);
    sandbox.run("ada", &["request", "--provider", "shop", "--list"]).ok();

    let listed = sandbox.run("shop", &["trust", "token", "--list"]).ok();
    let used = &listed["tokens"][0];
    assert_eq!((&used["id"], &used["state"], &used["contact"]), (&made["id"], &"used".into(), &"ada".into()));
    let audit = sandbox.audit("shop");
    assert!(audit.iter().any(|line| line["what"].as_str().unwrap().starts_with("enrolled as the contact ada")));
    std::fs::remove_file(sandbox.path().join("input")).unwrap();
    let secret = token.split_once('#').unwrap().1;
    let places = everything(&sandbox).matches(secret).count();
    assert_eq!(places, 1, "the secret stands on the maker's stdout alone");
}

#[test]
fn a_token_that_is_used_wrong_expired_or_revoked_is_refused_by_name_and_leaves_an_audit_line() {
    let (sandbox, _serving) = shop(&["ada", "ben"]);
    let join = |node: &str, token: &str| sandbox.run(node, &["trust", "join", token]);
    let used = token(&sandbox, &[]);
    join("ada", &used).ok();
    join("ben", &used).fails(6, "too-late").says(&["used already"]).hints(&["trust token"]);

    let mut wrong = token(&sandbox, &[]);
    let last = wrong.pop();
    wrong.pop();
    wrong.push_str(if last == Some('a') { "7q" } else { "7a" });
    join("ben", &wrong).fails(4, "bad-proof").says(&["never made here"]).hints(&["trust token"]);

    let expired = token(&sandbox, &["--valid", "1ms"]);
    join("ben", &expired).fails(6, "expired").says(&["token expired at"]);

    let revoked = token(&sandbox, &["--may", "request"]);
    let listed = sandbox.run("shop", &["trust", "token", "--list"]).ok();
    let open =
        listed["tokens"].as_array().unwrap().iter().find(|one| one["state"] == "open" && one["may"][0] == "request");
    sandbox.run("shop", &["trust", "token", "--revoke", open.unwrap()["id"].as_str().unwrap()]).ok();
    join("ben", &revoked).fails(4, "bad-proof");

    // Another node answers at the address than the one whose key the token names.
    let impostor = sandbox.init("impostor");
    let key = impostor.trim_start_matches("deploy://").split('@').next().unwrap().to_owned();
    let key_of_shop = used.trim_start_matches("deploy://").split('@').next().unwrap().to_owned();
    join("ben", &used.replace(&key_of_shop, &key)).fails(4, "wrong-key");
    join("ben", "deploy://nonsense").fails(2, "bad-address").hints(&["trust token"]);
    sandbox.run("ben", &["trust", "join"]).fails(2, "prompt-needed").hints(&["stdin"]);
    join("shop", &token(&sandbox, &[])).fails(6, "wrong-state").says(&["this very node"]);
    sandbox.run("ben", &["trust", "token"]).fails(6, "wrong-state").says(&["listens nowhere"]);

    assert_eq!(contacts(&sandbox, "ben"), []);
    assert_eq!(contacts(&sandbox, "shop"), [told("ada", "")]);
    assert_eq!(
        (audited(&sandbox, "too-late"), audited(&sandbox, "expired"), audited(&sandbox, "bad-proof")),
        (1, 1, 1)
    );
}

#[test]
fn of_two_who_join_at_once_one_wins() {
    let names = ["ada", "ben", "cem", "dora"];
    let (sandbox, _serving) = shop(&names);
    let token = token(&sandbox, &["--may", "request"]);
    let begun = names.map(|name| sandbox.begin(name, &["trust", "join", &token]));
    let ended = begun.map(sandbox::Running::finish);
    assert_eq!(ended.iter().filter(|output| output.code == 0).count(), 1, "{ended:#?}");
    ended.iter().filter(|output| output.code != 0).for_each(|output| drop(output.fails(6, "too-late")));
    assert_eq!(contacts(&sandbox, "shop").len(), 1);
}

#[test]
fn who_lost_the_answer_asks_again_and_gets_the_same_and_nothing_comes_back_that_was_removed() {
    let (sandbox, serving) = shop(&["ada"]);
    let token = token(&sandbox, &["--may", "request"]);
    serving.stop();
    sandbox.run("ada", &["trust", "join", &token]).fails(5, "unreachable").hints(&["serve"]);
    assert_eq!(contacts(&sandbox, "ada"), []);
    let _serving = sandbox.serve("shop", &[]);
    let first = sandbox.run("ada", &["trust", "join", &token]).ok();
    sandbox.run("ada", &["trust", "remove", "shop"]).ok();
    let again = sandbox.run("ada", &["trust", "join", &token]).ok();
    assert_eq!(again["there"], first["there"]);
    assert_eq!(contacts(&sandbox, "ada"), [told("shop", "")]);
    sandbox.run("shop", &["trust", "remove", "ada"]).ok();
    sandbox.run("ada", &["trust", "join", &token]).ok();
    assert_eq!(contacts(&sandbox, "shop"), []);
}

#[test]
fn a_name_that_is_taken_is_told_before_the_token_is_used_and_else_gets_a_number() {
    let (sandbox, _serving) = shop(&["ada", "eve"]);
    sandbox.trust("ada", "shop", &sandbox.init("other"), "");
    let eve = sandbox.run("eve", &["init"]).ok();
    sandbox.trust("shop", "ada", eve["address"].as_str().unwrap(), "");
    let token = token(&sandbox, &[]);
    let taken = sandbox.run("ada", &["trust", "join", &token, "--name", "shop"]).fails(6, "wrong-state");
    taken.says(&["the contact shop is another node"]).hints(&["choose another name"]);
    assert_eq!(contacts(&sandbox, "shop").len(), 1);
    let joined = sandbox.run("ada", &["trust", "join", &token]).ok();
    assert_eq!((&joined["name"], &joined["there"]["name"]), (&"shop-2".into(), &"ada-2".into()));
    assert_eq!(contacts(&sandbox, "shop"), [told("ada", ""), told("ada-2", "")]);
}

#[test]
fn who_guesses_is_told_to_wait() {
    let (sandbox, _serving) = shop(&["ada"]);
    let right = token(&sandbox, &[]);
    let wrong = |n: usize| {
        let (address, letters) = (right.split_once('#').expect("a secret").0, b"abcdefghijkl");
        format!("{address}#{}aaaaaaaaaaaaaaaaaaaaaaaaa", char::from(letters[n]))
    };
    for n in 0..10 {
        sandbox.run("ada", &["trust", "join", &wrong(n)]).fails(4, "bad-proof");
    }
    sandbox.run("ada", &["trust", "join", &wrong(10)]).fails(5, "busy").hints(&["wait a minute"]);
    assert!(audited(&sandbox, "busy") > 0);
}
