//! Where builds are tried: folders of services, and three nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_deployctl");
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with services, outputs and state directories.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// The service `made`, whose host is built by this script and whose guest is a copy.
    pub fn service(&self, script: &str, more: &str) -> PathBuf {
        let folder = self.path("services/made");
        fs::create_dir_all(folder.join("guest")).unwrap();
        let definition = format!(
            "name = \"made\"\nversion = \"1.0.0\"\n[options.word]\ntype = \"string\"\ndefault = \"hello\"\n\
             [roles.host]\nfor = \"initiator\"\n[roles.host.build]\ncommand = [\"sh\", \"build.sh\"]\n{more}\n\
             [roles.guest]\nfor = \"peer\"\nbuild.copy = \"guest/\"\n"
        );
        fs::write(folder.join("service.toml"), definition).unwrap();
        fs::write(folder.join("build.sh"), script).unwrap();
        fs::write(folder.join("guest/file"), "guest\n").unwrap();
        folder
    }
    pub fn build(&self, service: &Path, output: &str) -> Output {
        let output = self.path(output);
        let arguments = ["--format", "json", "build", "--service", text(service), "--role", "host"];
        deployctl(&arguments).args(["--output", text(&output)]).output().unwrap()
    }
}

/// Without state and home: this kind of build needs neither.
pub fn deployctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A provider, an Initiator and a peer with their `serve`s.
pub struct Trio {
    pub place: Place,
    pub serving: Vec<Child>,
    pub addresses: Vec<String>,
}

pub const NAMES: [&str; 3] = ["shop", "ann", "ben"];

impl Trio {
    pub fn new(script: &str) -> Self {
        let place = Place::new();
        place.service(script, "");
        let mut trio = Self { place, serving: Vec::new(), addresses: Vec::new() };
        for name in NAMES {
            let made = json(&trio.run(name, &["init", "--name", name]));
            trio.addresses.push(made["address"].as_str().unwrap().to_owned());
        }
        let services = trio.place.path("services");
        let shop = trio.serve("shop", &["--listen", "127.0.0.1:0", "--services", text(&services)]);
        trio.addresses[0] = shop;
        for (name, contact, may) in [
            ("shop", 1, "request"),
            ("shop", 2, ""),
            ("ann", 0, "provide"),
            ("ann", 2, ""),
            ("ben", 0, "provide,auto-accept"),
            ("ben", 1, "invite,auto-accept"),
        ] {
            let address = trio.addresses[contact].clone();
            let mut arguments = vec!["trust", "add", NAMES[contact], &address];
            if !may.is_empty() {
                arguments.extend(["--may", may]);
            }
            json(&trio.run(name, &arguments));
        }
        trio.serve("ann", &[]);
        trio.serve("ben", &[]);
        trio
    }
    pub fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = deployctl(&["--state", text(&self.place.path(name)), "--format", "json", "--no-input"]);
        command.args(arguments);
        command
    }
    pub fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name, arguments).output().unwrap()
    }
    /// Its address, when it is ready.
    pub fn serve(&mut self, name: &str, arguments: &[&str]) -> String {
        let mut command = self.command(name, &["serve"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        self.serving.push(child);
        serde_json::from_str::<Value>(&line).unwrap()["address"].as_str().unwrap().to_owned()
    }
    pub fn request(&self) -> String {
        let asked = json(&self.run("ann", &["request", "made", "--provider", "shop", "--peer", "ben"]));
        asked["session"].as_str().unwrap().to_owned()
    }
    /// What a node says of the session, as soon as it is like this.
    pub fn until(&self, name: &str, session: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(name, &["status", session]);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{name}: {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        for child in &mut self.serving {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
