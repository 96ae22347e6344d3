//! A program is looked up because somebody else's program said by DNS-SD that a service is there (row B20): python-zeroconf
//! publishes two lamps on the loopback, and a node has the program for lamps. UPnP's case is in `garage_door.rs`.

#![expect(clippy::disallowed_methods, reason = "runs the publisher, and looks at files as the program would")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sandbox::{Output, Sandbox, read, until};
use serde_json::{Value, json};

const LAMP: &str = "_lamp._tcp";

/// Lamps that are advertised. Switched off when they are dropped.
struct Lamps(Child);

impl Lamps {
    /// Names with ports.
    fn new(sandbox: &Sandbox, python: &Path, lamps: &[&str]) -> Self {
        let said = sandbox.path().join("said");
        let publisher = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/zeroconf_publish.py");
        let mut command = Command::new(python);
        command.args([publisher, "127.0.0.1", &format!("{LAMP}.local.")]).args(lamps).stdin(Stdio::null());
        command.stdout(File::create(&said).expect("a file for stdout"));
        let mut lamps_on = Self(command.spawn().expect("it runs"));
        until("the lamps are published", || {
            assert!(lamps_on.0.try_wait().expect("a child can be waited for").is_none(), "the publisher ended");
            read(&said).lines().count() == lamps.len()
        });
        lamps_on
    }
}

impl Drop for Lamps {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program that says what it was given, and stays.
fn put_switch(shelf: &Path) {
    let folder = shelf.join("switch");
    fs::create_dir_all(folder.join("app")).expect("a folder");
    let script = "cp \"$DEPLOYCTL_SEEN_SERVICE\" \"$DEPLOYCTL_DATA/seen.json\"\necho up\nexec sleep 1000\n";
    fs::write(folder.join("app/run.sh"), script).expect("a script");
    let definition = format!(
        "name = \"switch\"\nversion = \"1.0.0\"\nsummary = \"Switches lamps\"\ncategory = \"home\"\nlicense = \"MIT\"\n\
         [enables]\ntypes = [\"{LAMP}\"]\n\
         [roles.app]\nfor = \"initiator\"\nplatforms = [\"any\"]\nbuild = {{ copy = \"app/\" }}\n\
         [roles.app.run]\ncommand = [\"sh\", \"run.sh\"]\nready = {{ output = \"up\", within = \"20s\" }}\n\
         [roles.app.permissions]\nwrite = [\"data/\"]\n"
    );
    fs::write(folder.join("service.toml"), definition).expect("a definition");
}

fn install_for(sandbox: &Sandbox, what: &str) -> Output {
    sandbox.run("anna", &["install", "--for", what, "--interface", "lo", "--yes", "--start"])
}

/// What the running program was given.
fn given(installed: &Value) -> Value {
    let folder = PathBuf::from(installed["folder"].as_str().expect("a folder"));
    serde_json::from_str(&read(&folder.join("../../data/seen.json"))).expect("what was seen")
}

#[test]
fn b20_a_program_is_looked_up_installed_and_started_for_a_service_that_zeroconf_publishes() {
    let Some(python) = needs::judge() else { return };
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("anna", "shop", &shop, "provide");
    sandbox.trust("shop", "anna", &anna, "request");
    let shelf = sandbox.path().join("shelf");
    put_switch(&shelf);
    let advertised = ["--advertise", "upnp", "--interface", "lo"];
    let _shop = sandbox.serve("shop", &[&["--services", shelf.to_str().expect("a path")], &advertised[..]].concat());
    install_for(&sandbox, "_no-lamp._tcp").fails(6, "not-found").says(&["no such service was seen"]);

    let lamps = Lamps::new(&sandbox, &python, &["Desk Lamp=4711", "Floor Lamp=4712"]);
    let mut several = None;
    until("both lamps are seen", || {
        // A lamp that is seen alone, as the other one's answer may come later, is a lamp, too.
        let tried = install_for(&sandbox, LAMP);
        let sees_both = ["Desk Lamp._lamp._tcp", "Floor Lamp._lamp._tcp"].iter().all(|one| tried.stderr.contains(one));
        several = sees_both.then_some(tried);
        several.is_some()
    });
    several.expect("both were named").fails(2, "prompt-needed").hints(&["--for"]);
    let mut seen = Vec::new();
    for (lamp, port) in [("Desk Lamp", 4711), ("Floor Lamp", 4712)] {
        let mut installed = Value::Null;
        until("the switch runs for that lamp", || {
            let done = install_for(&sandbox, &format!("{lamp}.{LAMP}"));
            installed = if done.code == 0 { done.document() } else { Value::Null };
            installed.is_object()
        });
        assert_eq!((&installed["state"], &installed["generation"]), (&json!("confirmed"), &json!(1)), "{installed:#}");
        let told = given(&installed);
        assert_eq!(
            (&told["type"], &told["via"], &told["name"], &told["address"], &told["port"], &told["txt"]["path"]),
            (&json!(LAMP), &json!("mdns"), &json!(lamp), &json!("127.0.0.1"), &json!(port), &json!("/on"))
        );
        seen.push(json!({"what": lamp, "schema": "seen-service", "document": told}));
    }
    needs::fit_schemas(sandbox.path(), &seen);
    let found = sandbox.run("anna", &["discover", "--enables", LAMP, "--interface", "lo"]).ok();
    assert!(found.as_array().expect("nodes").iter().any(|node| node["programs"][0]["name"] == "switch"), "{found:#}");
    drop(lamps);
    sandbox.run("anna", &["stop", "switch"]).ok();
}
