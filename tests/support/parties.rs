//! The four of most tests: provider `p`, Initiator `i`, peers `a` and `b`, who know one another.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]

use std::path::PathBuf;

use super::sandbox::{Sandbox, Serving, free_port};
use super::services::{self, Role};

/// Introduced, and none of them serving yet.
pub struct Parties {
    pub sandbox: Sandbox,
}

/// What the peers allow the Initiator.
pub const WELCOME: &str = "invite,auto-accept";

impl Parties {
    /// Peers that accept by themselves.
    pub fn new() -> Self {
        Self::placed(Sandbox::new(), WELCOME, on_loopback)
    }
    /// Peers that leave the answer to a person.
    pub fn asking() -> Self {
        Self::placed(Sandbox::new(), "invite", on_loopback)
    }
    /// Each at its place, `HOST:PORT`.
    pub fn placed(sandbox: Sandbox, may: &str, place: impl Fn(&str) -> String) -> Self {
        let [p, i, a, b] = ["p", "i", "a", "b"].map(|node| sandbox.init_at(node, &place(node)));
        sandbox.trust("p", "i", &i, "request");
        sandbox.trust("i", "p", &p, "provide");
        for (node, address) in [("a", &a), ("b", &b)] {
            sandbox.trust("i", node, address, "");
            sandbox.trust(node, "p", &p, "provide");
            sandbox.trust(node, "i", &i, may);
        }
        Self { sandbox }
    }
    pub fn services(&self) -> PathBuf {
        self.sandbox.path().join("services")
    }
    /// Offers a service, from now on.
    pub fn offer(&self, name: &str, host: &Role, guest: &Role) -> PathBuf {
        services::write(&self.services(), name, host, guest)
    }
    /// Offers a service whose programs stay.
    pub fn offer_stays(&self) {
        self.offer("stays", &Role::new(services::STAYS), &Role::new(services::STAYS));
    }
    pub fn serve(&self, node: &str) -> Serving {
        self.serve_with(node, "services")
    }
    fn serve_with(&self, node: &str, services: &str) -> Serving {
        match node {
            "p" => self.sandbox.serve("p", &["--services", services]),
            other => self.sandbox.serve(other, &[]),
        }
    }
    pub fn serve_all(&self) -> Vec<Serving> {
        ["p", "i", "a", "b"].map(|node| self.serve(node)).into()
    }
    /// The provider offers what comes with the program.
    pub fn serve_fixtures(&self) -> Vec<Serving> {
        let services = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services");
        ["p", "i", "a", "b"].map(|node| self.serve_with(node, services)).into()
    }
    /// Requests a service and gives the session's id.
    pub fn request(&self, service: &str, more: &[&str]) -> String {
        let args: Vec<_> = ["request", service, "--provider", "p"].iter().chain(more).copied().collect();
        let requested = self.sandbox.run("i", &args).ok();
        requested["session"].as_str().expect("a session").to_owned()
    }
    /// Requests a service with both peers and waits until it runs.
    pub fn running(&self, service: &str) -> String {
        self.request(service, &["--peer", "a", "--peer", "b", "--wait", "running"])
    }
    /// Waits until everybody says that the session is in this state.
    pub fn all_say(&self, session: &str, nodes: &[&str], state: &str) {
        for node in nodes {
            self.sandbox.wait_state(node, session, state);
        }
    }
    /// Everything is accounted for, removed and in order, and nothing of the service runs any more.
    pub fn all_is_well(&self, session: &str, nodes: &[&str]) {
        let sandbox = &self.sandbox;
        for node in nodes {
            let status = sandbox.wait(node, session, "over", |status| status["over"] == true);
            assert_eq!(status["state"], "closed", "{node}: {status:#}");
            sandbox.run(node, &["verify", session]).ok();
            let installs = sandbox.state(node).join("installs");
            assert!(!installs.join("sessions").join(session).exists(), "{node} still holds the software");
        }
        let [mut at_i, mut at_p] = ["i", "p"].map(|node| sandbox.run(node, &["account", session]).ok());
        assert_eq!(at_i["closed"], true);
        for account in [&mut at_i, &mut at_p] {
            account["party"] = serde_json::Value::Null;
        }
        assert_eq!(at_i, at_p);
        for node in ["i", "p"] {
            sandbox.run(node, &["account", "verify", session]).ok();
        }
    }
}

fn on_loopback(_: &str) -> String {
    format!("127.0.0.1:{}", free_port())
}
