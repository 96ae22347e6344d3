//! Other people's control points and browsers, on another machine as far as the network goes: what a node says of itself
//! is judged by those it is said for. Needs root and iproute2, and what `.ci/run` installs.

#![expect(clippy::disallowed_methods, reason = "runs other programs, and changes what the node offers")]

#[path = "support/link.rs"]
mod link;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/network.rs"]
mod network;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use link::offer;
use network::{Network, ip_of, namespace};
use sandbox::{Sandbox, Serving, until};
use serde_json::{Value, json};

/// A node on one machine, seen by both ways, and a second machine.
struct Scene {
    serving: Serving,
    services: PathBuf,
    udn: String,
    sandbox: Sandbox,
    _network: Network,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let network = match Network::new() {
            Ok(network) => network,
            Err(why) => {
                needs::skip(&format!("network namespaces cannot be made here (they need root and iproute2): {why}"));
                return None;
            }
        };
        let mut sandbox = Sandbox::new();
        sandbox.around = network::on;
        sandbox.init_at("p", &format!("{}:4800", ip_of("p")));
        let services = sandbox.path().join("services");
        offer(&services, "chess", "1.0.0", "games/board");
        offer(&services, "clock", "1.0.0", "tools");
        let folder = services.to_string_lossy().into_owned();
        let serving = sandbox.serve("p", &["--services", &folder, "--advertise", "upnp,mdns"]);
        let found = sandbox.run("a", &["discover"]).ok();
        assert_eq!(found[0]["address"], serving.address(), "{found:#}");
        let udn = format!("uuid:{}", deployctl::discover::Udn::of(&found[0]["key"].as_str()?.parse().ok()?));
        Some(Self { serving, services, udn, sandbox, _network: network, _alone: alone })
    }
    fn begin(&self, program: &str, arguments: &[&str]) -> Client {
        begin(&self.sandbox, "said", program, arguments)
    }
}

/// Begins a program on the second machine; what it says goes to a file of this name.
fn begin(sandbox: &Sandbox, said: &str, program: &str, arguments: &[&str]) -> Client {
    let said = sandbox.path().join(said);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace("a"), program]).args(arguments).stdin(Stdio::null());
    command.stdout(std::fs::File::create(&said).expect("a file for stdout"));
    Client { child: command.spawn().expect("it runs"), said }
}

/// A program of somebody else. Ended when it is dropped.
struct Client {
    child: Child,
    said: PathBuf,
}

impl Client {
    /// Waits until one of the JSON lines that it says fits.
    fn says(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        until(what, || {
            let said = self.said();
            let ended = self.child.try_wait().expect("a child can be waited for");
            let is_well = ended.is_none_or(|status| status.success());
            found = said.iter().find(|line| fits(line)).cloned();
            assert!(found.is_some() || is_well, "{what}: it ended\n{said:#?}");
            found.is_some()
        });
        found.expect("it was found")
    }
}

impl Client {
    fn said(&self) -> Vec<Value> {
        // The last line may be half there.
        let text = sandbox::read(&self.said);
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(name).to_string_lossy().into_owned()
}

#[test]
fn gssdp_discover_sees_all_seven_names() {
    let Some(scene) = needs::has(&["gssdp-discover"]).then(Scene::new).flatten() else { return };
    let client = scene.begin("gssdp-discover", &["-i", "eth0"]);
    let names = |text: &str| text.lines().filter(|line| line.contains("USN:") && line.contains(&scene.udn)).count();
    until("all names are seen", || names(&sandbox::read(&client.said)) >= 7);
    let text = sandbox::read(&client.said);
    for name in ["::upnp:rootdevice", "::urn:schemas-upnp-org:device:MediaServer:1", "DownloadManager:1"] {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn async_upnp_client_browses_searches_and_follows_events() {
    let Some(python) = needs::judge() else { return };
    let Some(scene) = Scene::new() else { return };
    let mut client = scene.begin(&python.to_string_lossy(), &[&script("upnp.py"), &ip_of("a"), &scene.udn, "2"]);
    let found = client.says("the device is described", |said| said["found"].is_string());
    assert_eq!(found["type"], "urn:schemas-upnp-org:device:MediaServer:1");
    assert_eq!(found["services"].as_array().map(Vec::len), Some(4), "{found}");
    let paged = client.says("pages come", |said| said["children"].is_number());
    assert_eq!((&paged["children"], &paged["paged"]), (&json!(2), &json!(2)));
    let matches = client.says("a search is answered", |said| said["matches"].is_number());
    assert_eq!(matches["matches"], 1);
    let first = client.says("the initial event comes", |said| said["event"]["SystemUpdateID"].is_number());
    offer(&scene.services, "draw", "1.0.0", "office");
    let later = |said: &Value| {
        let number = |said: &Value| said["event"]["SystemUpdateID"].as_u64();
        number(said) > number(&first)
    };
    let second = client.says("a new program is told", later);
    assert!(second["event"]["ContainerUpdateIDs"].as_str().is_some_and(|ids| ids.contains("c/office,")), "{second}");
}

const SERVICE: &str = "_deployctl._tcp.local.";

/// What a browser of this subtype asks for.
fn subtype(label: &str) -> String {
    format!("_{label}._sub.{SERVICE}")
}

#[test]
fn python_zeroconf_finds_the_node_by_its_type_platform_and_category_and_sees_it_go() {
    let Some(python) = needs::judge() else { return };
    let Some(scene) = Scene::new() else { return };
    let here = deployctl::service::platform::Platform::here().to_string();
    let kinds = [&here, "any", "games", "games-board", "tools"].map(subtype);
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let (browse, own, python) = (script("zeroconf_browse.py"), ip_of("a"), python.to_string_lossy());
    let mut client = scene.begin(&python, &[&[browse.as_str(), own.as_str()], kinds.as_slice()].concat());
    for kind in &kinds {
        let found = client.says(&format!("{kind} is found"), |said| said["event"] == "found" && said["type"] == *kind);
        assert_eq!((&found["addresses"], &found["port"]), (&json!([ip_of("p")]), &json!(4800)), "{found}");
        assert!(scene.serving.address().contains(found["txt"]["key"].as_str().expect("a key")), "{found}");
        assert_eq!(format!("uuid:{}", found["txt"]["udn"].as_str().expect("a UDN")), scene.udn);
    }
    // With a program goes what it alone stood for. Whoever browses for the type itself with this very library is told then
    // that the instance is gone; so that is looked for afterwards.
    offer(&scene.services, "draw", "1.0.0", "office");
    std::fs::remove_dir_all(scene.services.join("clock")).expect("it goes");
    client.says("its category is gone", |said| said["event"] == "gone" && said["type"] == subtype("tools"));
    let others = [subtype("office"), SERVICE.to_owned()];
    let mut other = begin(&scene.sandbox, "other", &python, &[&browse, &own, &others[0], &others[1]]);
    for kind in &others {
        other.says(&format!("{kind} is found"), |said| said["event"] == "found" && said["type"] == **kind);
    }
    assert!(!client.said().iter().any(|said| said["event"] == "gone" && said["type"] != subtype("tools")));
    scene.serving.stop();
    for kind in kinds.iter().filter(|kind| **kind != subtype("tools")) {
        client.says(&format!("{kind} is gone"), |said| said["event"] == "gone" && said["type"] == *kind);
    }
    other.says("the node is gone", |said| said["event"] == "gone" && said["type"] == SERVICE);
}

#[test]
fn avahi_finds_the_node_by_its_type_platform_and_category_and_sees_it_go() {
    if !needs::has(&["avahi-browse", "avahi-daemon", "dbus-daemon"]) {
        return;
    }
    let Some(scene) = Scene::new() else { return };
    let here = deployctl::service::platform::Platform::here().to_string();
    let kinds = [&here, "games-board"].map(|label| subtype(label).replace(".local.", ""));
    let kinds = [kinds.as_slice(), &["_deployctl._tcp".to_owned()]].concat();
    let (judge, folder) = (script("avahi_browse.sh"), scene.sandbox.path().to_string_lossy().into_owned());
    let ours = ["--mount", "--pid", "--fork", "--kill-child", &judge, &folder];
    let client = scene.begin("unshare", &[&ours[..], &kinds.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let key = &scene.serving.address()["deploy://".len()..][..52];
    let says = |what: &str, fits: &dyn Fn(&str) -> bool| {
        until(what, || sandbox::read(&client.said).lines().any(fits));
    };
    for kind in &kinds {
        let place = format!("-{}.local;{};4800;", &key[..8], ip_of("p"));
        says(&format!("{kind} is resolved"), &|line| {
            line.starts_with(&format!("{kind} =;eth0;"))
                && line.contains(&place)
                && line.contains(&format!("\"key={key}\""))
        });
    }
    scene.serving.stop();
    // Sooner than anything that it was told would end by itself.
    for kind in &kinds {
        says(&format!("{kind} is gone"), &|line| line.starts_with(&format!("{kind} -;eth0;")));
    }
}

#[test]
fn a_node_whose_name_another_has_gets_a_number_and_says_goodbye_under_it() {
    let Some(python) = needs::judge() else { return };
    let Some(scene) = Scene::new() else { return };
    let services = scene.services.to_string_lossy().into_owned();
    let (key, _) = scene.serving.address()["deploy://".len()..].split_at(8);
    let name = format!("p {key}");
    scene.serving.stop();
    let python = python.to_string_lossy().into_owned();
    let mut rival = begin(
        &scene.sandbox,
        "rival",
        &python,
        &[&script("zeroconf_publish.py"), &ip_of("a"), SERVICE, &format!("{name}=9")],
    );
    rival.says("it is published", |said| said["event"] == "published");
    let serving = scene.sandbox.serve("p", &["--services", &services, "--advertise", "mdns"]);
    let mut client = begin(&scene.sandbox, "other", &python, &[&script("zeroconf_browse.py"), &ip_of("a"), SERVICE]);
    let renamed = format!("{name} (2).{SERVICE}");
    let found = client.says("both are found", |said| said["event"] == "found" && said["name"] == renamed);
    assert_eq!(found["port"], 4800);
    serving.stop();
    client.says("the node is gone", |said| said["event"] == "gone" && said["name"] == renamed);
    let rivals = format!("{name}.{SERVICE}");
    assert!(!client.said().iter().any(|said| said["event"] == "gone" && said["name"] == rivals));
}

#[test]
fn a_link_that_comes_while_the_node_serves_is_served_with_its_own_address() {
    let Some(scene) = Scene::new() else { return };
    let ip = |words: &str| assert!(Command::new("ip").args(words.split(' ')).status().expect("ip runs").success());
    ip(&format!("-n {} link add late type veth peer name late netns {}", namespace("p"), namespace("a")));
    for (node, last) in [("p", 1), ("a", 3)] {
        ip(&format!("-n {} addr add 198.51.100.{last}/24 brd + dev late", namespace(node)));
        ip(&format!("-n {} link set late up", namespace(node)));
    }
    let mut found = Value::Null;
    until("the node is seen on the new link", || {
        found = scene.sandbox.run("a", &["discover", "--interface", "late"]).ok();
        found[0]["address"].as_str().is_some_and(|address| address.ends_with("@198.51.100.1:4800"))
    });
}
