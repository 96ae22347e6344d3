//! A program is looked up because a service was seen (row B20): the garage door of the fixtures, a UPnP device in Python,
//! and its opener, which is right only where it comes from the door's own node.

#![expect(clippy::disallowed_methods, reason = "runs the door, and writes what its owner configures")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/network.rs"]
mod network;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use network::{Network, ip_of};
use sandbox::{Output, Sandbox, free_port, lines, read, until};
use serde_json::{Value, json};

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/services");
const SERVICE: &str = "urn:example-org:service:DoorOpener:1";
const DEVICE: &str = "urn:example-org:device:GarageDoor:1";

/// A door, and what it says. Ended when it is dropped.
struct Door {
    child: Child,
    said: PathBuf,
    /// Of its description.
    location: String,
}

impl Door {
    /// Hangs a door up on the machine of a node, which offers the opener for it.
    fn new(sandbox: &Sandbox, node: &str, ip: &str, port: u16, name: &str) -> Self {
        let file = |kind: &str| sandbox.path().join(format!("{name}.{kind}"));
        fs::write(file("seed"), format!("the seed of {name}\n")).expect("a seed");
        let offer = sandbox.state(node).join("offers/garage-door");
        fs::create_dir_all(&offer).expect("a folder");
        let options = format!("seed = \"the seed of {name}\"\nhost = \"{ip}\"\nport = {port}\n");
        fs::write(offer.join("options.toml"), options).expect("options");
        let said = file("said");
        let mut words = (sandbox.around)(node);
        words.push("python3".to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["-IS", &format!("{SERVICES}/garage-door/door/door.py"), ip, &port.to_string()]);
        command.arg(file("seed")).arg(file("codes")).arg(name).stdin(Stdio::null());
        command.stdout(File::create(&said).expect("a file for stdout"));
        let door =
            Self { child: command.spawn().expect("it runs"), said, location: format!("http://{ip}:{port}/device.xml") };
        until("the door is there", || door.events().contains(&"ready".to_owned()));
        door
    }
    /// What happened to it until now.
    fn events(&self) -> Vec<String> {
        let text = read(&self.said);
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let event =
            |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["event"].as_str().map(str::to_owned);
        whole.lines().filter_map(event).collect()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn try_for(sandbox: &Sandbox, node: &str, what: &str, more: &[&str]) -> Output {
    sandbox.run(node, &[&["install", "--for", what, "--yes"], more].concat())
}

#[test]
fn b20_the_opener_is_looked_up_because_the_door_was_seen_and_opens_it_only_from_the_doors_own_node() {
    if !needs::has(&["python3"]) {
        return;
    }
    let network = match Network::new() {
        Ok(network) => network,
        Err(why) => {
            needs::skip(&format!("network namespaces cannot be made here (they need root and iproute2): {why}"));
            return;
        }
    };
    let mut sandbox = Sandbox::new();
    sandbox.around = network::on;
    let [p, b, _] = ["p", "b", "a"].map(|node| sandbox.init_at(node, &format!("{}:4800", ip_of(node))));
    let door = Door::new(&sandbox, "p", &ip_of("p"), 49200, "Garage");
    let _p = sandbox.serve("p", &["--services", SERVICES, "--advertise", "upnp,mdns"]);

    // Somebody whom nobody knows here: named, with what to do, and nothing is taken from him.
    let mut refused = None;
    until("a sees the door and its node", || {
        let tried = try_for(&sandbox, "a", SERVICE, &["--start"]);
        assert_ne!(tried.code, 0, "{tried:?}");
        let is_seen = tried.stderr.contains("unknown-contact") && tried.stderr.contains("garage-door 1.0.0");
        refused = is_seen.then_some(tried);
        refused.is_some()
    });
    refused.expect("it was refused").fails(6, "unknown-contact").hints(&["trust add", &p, "--from"]);
    assert_eq!(door.events(), ["ready"]);

    // A neighbour takes it, without starting it, and offers it on.
    sandbox.trust("b", "door", &p, "provide");
    until("b has the opener", || try_for(&sandbox, "b", DEVICE, &[]).code == 0);
    let _b = sandbox.serve("b", &["--share", "--advertise", "upnp,mdns"]);
    sandbox.trust("a", "neighbour", &b, "provide");
    let mut refused = String::new();
    until("the neighbour's opener is refused by the door", || {
        let tried = try_for(&sandbox, "a", SERVICE, &["--start", "-v"]);
        assert_ne!(tried.code, 0, "{tried:?}");
        refused = tried.stderr;
        refused.contains("that is not the code")
    });
    assert!(refused.contains("comes from neighbour"), "{refused}");
    assert!(door.events().contains(&"refused".to_owned()) && !door.events().contains(&"open".to_owned()));

    // The door's own node has a seed with it.
    sandbox.trust("a", "door", &p, "provide");
    let mut installed = Value::Null;
    until("the door's own opener opens it", || {
        let done = try_for(&sandbox, "a", SERVICE, &["--start"]);
        installed = if done.code == 0 { done.document() } else { Value::Null };
        installed.is_object()
    });
    assert_eq!((&installed["state"], &installed["source"]), (&json!("confirmed"), &json!(p)), "{installed:#}");
    assert_eq!(door.events().last().map(String::as_str), Some("open"));
    let found = sandbox.run("a", &["discover", "--enables", &door.location]).ok();
    assert_eq!(found[0]["programs"][0]["name"], "garage-door", "{found:#}");

    sandbox.run("a", &["stop", "garage-door"]).ok();
    until("the door is closed", || door.events().last().map(String::as_str) == Some("closed"));
    drop(network);
}

#[test]
fn b20_of_several_doors_the_one_that_is_named_is_opened_and_the_opener_follows_to_another() {
    if !needs::has(&["python3"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let (shop, _) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("anna", "shop", &shop, "provide");
    sandbox.configure("shop", "[offer]\nto = \"anyone\"\n");
    let there = ["--interface", "lo", "--start"];
    try_for(&sandbox, "anna", "http://127.0.0.1:1/none.xml", &there).fails(5, "unreachable");
    try_for(&sandbox, "anna", "http://203.0.113.9/device.xml", &there).fails(2, "usage").says(&["203.0.113.9"]);
    try_for(&sandbox, "anna", "no type", &there).fails(2, "usage");

    let left = Door::new(&sandbox, "shop", "127.0.0.1", free_port(), "Left");
    let _shop = sandbox.serve("shop", &["--services", SERVICES]);
    let first = try_for(&sandbox, "anna", &left.location, &there).document();
    assert_eq!((&first["state"], &first["generation"]), (&json!("confirmed"), &json!(1)), "{first:#}");
    assert_eq!(left.events(), ["ready", "open"]);

    // Another door of the same owner, of the same seed's kind.
    let right = Door::new(&sandbox, "shop", "127.0.0.1", free_port(), "Right");
    let mut several = None;
    until("both doors are seen", || {
        let tried = try_for(&sandbox, "anna", SERVICE, &there[..2]);
        let sees_both = tried.code == 2 && [&left, &right].iter().all(|door| tried.stderr.contains(&door.location));
        several = sees_both.then_some(tried);
        several.is_some()
    });
    several.expect("both were named").fails(2, "prompt-needed").hints(&["--for"]);
    let second = try_for(&sandbox, "anna", &right.location, &there).document();
    assert_eq!((&second["state"], &second["generation"]), (&json!("confirmed"), &json!(2)), "{second:#}");
    assert_eq!(right.events(), ["ready", "open"]);
    // The same program for another service is started for that, and not installed again.
    let programs = sandbox.state("anna").join("run/programs");
    let folder = fs::read_dir(&programs).expect("a folder").next().expect("one").expect("a program").path();
    let seen: Value = serde_json::from_str(&read(&folder.join("given/seen-service.json"))).expect("what was seen");
    assert_eq!((&seen["name"], &seen["location"]), (&json!("Right"), &json!(right.location)));
    needs::fit_schemas(sandbox.path(), &[json!({"what": "the door", "schema": "seen-service", "document": seen})]);
    assert_eq!((&seen["type"], &seen["address"]), (&json!(DEVICE), &json!("127.0.0.1")));
    assert!(seen["description"].as_str().is_some_and(|text| text.contains("GarageDoor")), "{seen:#}");

    let none = try_for(&sandbox, "anna", "urn:example-org:service:Window:1", &there);
    none.fails(6, "not-found");
    assert!(lines(&sandbox.state("anna").join("audit.jsonl")).is_empty());
}
