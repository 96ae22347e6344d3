//! What is decided in advance: the first rule that fits answers an invitation, never for strangers, and says that it did.

#![expect(clippy::disallowed_methods, reason = "writes settings as people do")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use parties::Parties;
use sandbox::{Serving, participants, until};
use serde_json::Value;

/// Peers that ask, a provider that offers `stays`, and peer `a` with this policy.
fn stage(policy: &str) -> (Parties, Vec<Serving>) {
    let parties = Parties::asking();
    parties.offer_stays();
    std::fs::write(parties.sandbox.state("a").join("config.toml"), policy).expect("a file");
    let serving = ["p", "i", "a"].map(|node| parties.serve(node)).into();
    (parties, serving)
}

fn request(parties: &Parties) -> String {
    parties.request("stays", &["--peer", "a"])
}

fn answered(parties: &Parties, session: &str) -> Value {
    parties.sandbox.wait("a", session, "answered", |status| status["policy"].is_string())
}

/// The invitation waits for a person, after the node had every occasion to answer.
fn stays_open(parties: &Parties, session: &str) {
    until("the invitation is there", || {
        let listed = parties.sandbox.run("a", &["accept", "--list"]).ok();
        listed["invitations"].as_array().is_some_and(|all| all.iter().any(|one| one["session"] == session))
    });
    // Whatever policy would answer, it answers before the next message is taken.
    parties.sandbox.run("i", &["stop", session]);
    let ended = parties.sandbox.wait("a", session, "over", |status| status["over"] == true);
    assert!(ended["policy"].is_null(), "{ended:#}");
}

#[test]
fn the_first_rule_that_fits_decides_and_log_audit_and_status_name_it() {
    let (parties, _serving) = stage(
        "[[policy.accept]]\nservice = \"other\"\nanswer = \"decline\"\n\
         [[policy.accept]]\nname = \"from-i\"\nprovider = \"p\"\ninitiator = \"i\"\nservice = \"stays\"\nrole = \"guest\"\n\
         network = \"none\"\nwrite = \"data\"\nmax-size = \"1MiB\"\n\
         [[policy.accept]]\nanswer = \"decline\"\n",
    );
    let sandbox = &parties.sandbox;
    let session = request(&parties);
    sandbox.wait_state("i", &session, "running");
    assert_eq!(answered(&parties, &session)["policy"], "from-i");
    let audit = sandbox.audit("a");
    let line = audit.iter().find(|line| line["what"].as_str().is_some_and(|what| what.contains("by policy: from-i")));
    assert!(line.is_some_and(|line| line["code"].is_null()), "{audit:#?}");
    let log = sandbox::lines(&sandbox.party("a", &session, "peer").join("log.jsonl"));
    let decision = log.iter().find(|record| record["kind"] == "decided").expect("a decision");
    assert!(decision.to_string().contains(r#""rule":{"max_size":1048576,"name":"from-i"}"#), "{decision}");
    assert!(sandbox.human("a", &["status", &session]).stdout.contains("by policy: from-i"));
    sandbox.run("i", &["stop", &session]);
    sandbox.wait_state("a", &session, "closed");
    sandbox.run("a", &["verify", &session]).ok();
}

#[test]
fn a_rule_can_decline_and_the_initiator_does_not_learn_which() {
    let (parties, _serving) =
        stage("[[policy.accept]]\nname = \"no-guests\"\nrole = \"guest\"\nanswer = \"decline\"\n");
    let session = request(&parties);
    let status = parties.sandbox.wait("i", &session, "declined", |status| {
        participants(status).iter().any(|(name, state)| name == "a" && state == "declined")
    });
    assert!(
        status.to_string().contains("declined by policy") && !status.to_string().contains("no-guests"),
        "{status:#}"
    );
    assert_eq!(answered(&parties, &session)["policy"], "no-guests");
}

#[test]
fn no_rule_accepts_for_strangers_and_where_none_fits_a_person_is_asked() {
    let (parties, _serving) = stage("[[policy.accept]]\nprovider = \"p\"\n[[policy.accept]]\n");
    // Known for the invitations of others, but not for software.
    let provider = parties.sandbox.run("p", &["init"]).ok();
    parties.sandbox.trust("a", "p", provider["address"].as_str().expect("an address"), "invite");
    stays_open(&parties, &request(&parties));

    let (parties, _serving) = stage("[[policy.accept]]\nservice = \"other\"\n[[policy.accept]]\ninitiator = \"p\"\n");
    stays_open(&parties, &request(&parties));
}

#[test]
fn a_rule_that_asks_is_stronger_than_the_right_to_auto_accept() {
    let (parties, _serving) = stage("[[policy.accept]]\nanswer = \"ask\"\n");
    let initiator = parties.sandbox.run("i", &["init"]).ok();
    parties.sandbox.trust("a", "i", initiator["address"].as_str().expect("an address"), "invite,auto-accept");
    stays_open(&parties, &request(&parties));
}

#[test]
fn a_package_larger_than_the_rule_accepted_is_refused() {
    let (parties, _serving) = stage("[[policy.accept]]\nname = \"tiny\"\nmax-size = \"0KiB\"\n");
    let session = request(&parties);
    let status = parties.sandbox.wait("i", &session, "failed", |status| status["state"] == "failed");
    assert!(status.to_string().contains("policy (tiny) accepted 0 at most"), "{status:#}");
    parties.sandbox.wait_state("a", &session, "failed");
    parties.sandbox.run("a", &["start", &session]).fails(4, "more-than-accepted").hints(&["deployctl status"]);
    let installs = parties.sandbox.state("a").join("installs").join("sessions").join(&session);
    assert!(!installs.exists());
}

#[test]
fn a_rule_says_what_waits_for_a_word_in_its_sessions() {
    let (parties, _serving) = stage("[[policy.accept]]\nservice = \"stays\"\ninstall = \"ask\"\n");
    let sandbox = &parties.sandbox;
    let session = request(&parties);
    sandbox.wait("a", &session, "delivered", |status| {
        participants(status).iter().any(|(name, state)| name == "a" && state == "delivered")
    });
    sandbox.run("a", &["install", &session]).ok();
    sandbox.wait_state("i", &session, "running");
    sandbox.run("i", &["stop", &session]);
    sandbox.wait_state("a", &session, "closed");
}
