//! Three machines as far as the network goes: provider, Initiator and peer in network namespaces of their own with a
//! bridge between them, running the `site` of the fixtures (row A20). Needs root, iproute2 and Python.

#![expect(clippy::disallowed_methods, reason = "sets the network up, and looks at the site from another machine")]

#[path = "support/sandbox.rs"]
mod sandbox;

#[path = "support/network.rs"]
mod network;

use std::process::Command;

use network::{Network, ip_of, namespace};
use sandbox::{Sandbox, participants};

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
    sandbox.around = network::on;
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
