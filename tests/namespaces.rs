//! Three machines as far as the network goes: provider, Initiator and peer in network namespaces of their own with a
//! bridge between them, running the `site` of the fixtures (row A20). Needs root, iproute2 and Python.

#![expect(clippy::disallowed_methods, reason = "sets the network up, and looks at the site from another machine")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::process::Command;

use sandbox::{Sandbox, participants};

/// Names are for the whole machine; addresses are seen in the namespaces only.
fn namespace(node: &str) -> String {
    format!("dt{}{node}", std::process::id())
}

/// The address of a node: RFC 5737 keeps this network for documentation.
fn ip_of(node: &str) -> String {
    let last = ["p", "i", "a"].iter().position(|name| *name == node).expect("one of the three") + 1;
    format!("192.0.2.{last}")
}

fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip").args(words.split(' ')).output().map_err(|why| why.to_string())?;
    if done.status.success() { Ok(()) } else { Err(format!("ip {words}: {}", String::from_utf8_lossy(&done.stderr))) }
}

/// The namespaces, and a bridge in one of its own. Taken down when it is dropped.
struct Network;

impl Network {
    fn new() -> Result<Self, String> {
        let hub = namespace("hub");
        ip(&format!("netns add {hub}"))?;
        let network = Self;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for node in ["p", "i", "a"] {
            let name = namespace(node);
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link add eth0 type veth peer name to-{node} netns {hub}"))?;
            ip(&format!("-n {hub} link set to-{node} master bridge up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", ip_of(node)))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in ["p", "i", "a", "hub"].map(namespace) {
            drop(ip(&format!("netns delete {name}")));
        }
    }
}

/// What the site answers to the machine `node`.
fn fetch(node: &str, url: &str) -> String {
    let script = "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1],timeout=5).read().decode())";
    let words = ["netns", "exec", &namespace(node), "python3", "-IS", "-c", script, url];
    let done = Command::new("ip").args(words).output().expect("ip runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_site_runs_between_three_machines() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => {
            println!("skipped: network namespaces cannot be made here (they need root and iproute2): {why}");
            return;
        }
    };
    let mut sandbox = Sandbox::new();
    sandbox.around = |node| ["ip", "netns", "exec", &namespace(node)].map(str::to_owned).into();
    let [p, i, a] = ["p", "i", "a"].map(|node| sandbox.init_at(node, &format!("{}:4800", ip_of(node))));
    sandbox.trust("p", "i", &i, "request");
    sandbox.trust("i", "p", &p, "provide");
    sandbox.trust("i", "a", &a, "");
    sandbox.trust("a", "p", &p, "provide");
    sandbox.trust("a", "i", &i, "invite,auto-accept");
    let services = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services");
    let serving = [sandbox.serve("p", &["--services", services]), sandbox.serve("i", &[]), sandbox.serve("a", &[])];
    assert_eq!(serving[0].address(), p);

    let set = ["--set", "address=0.0.0.0", "--set", "title=Three machines"];
    let request = ["request", "site", "--provider", "p", "--peer", "a", "--wait", "running"];
    let requested = sandbox.run("i", &[request.as_slice(), &set].concat()).ok();
    let session = requested["session"].as_str().expect("a session");
    let status = sandbox.wait_state("p", session, "running");
    assert!(participants(&status).iter().all(|(_, state)| state == "confirmed"), "{status:#}");
    let page = fetch("a", &format!("http://{}:8080/", ip_of("i")));
    assert!(page.contains("Three machines"), "{page}");

    sandbox.run("i", &["stop", session]).ok();
    for node in ["p", "i", "a"] {
        let status = sandbox.wait(node, session, "over", |status| status["over"] == true);
        assert_eq!(status["state"], "closed", "{status:#}");
        sandbox.run(node, &["verify", session]).ok();
    }
    drop(serving);
    drop(sandbox);
    drop(network);
}
