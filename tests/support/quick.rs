//! Nodes of the real program, each a process with a state directory of its own: shop provides, anna asks, ben is invited.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_millis(20);

pub struct Quick {
    pub folder: tempfile::TempDir,
    serving: Vec<Child>,
    pub session: String,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
    pub fn error(&self) -> Value {
        let line: Value = serde_json::from_str(&self.err).unwrap_or_else(|why| panic!("{why}: {self:?}"));
        line["error"].clone()
    }
}

impl Quick {
    /// Three nodes that trust each other, with the services of `folder`.
    pub fn with_services(services: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("quick.").tempdir_in("/tmp").unwrap();
        let mut quick = Self { folder, serving: Vec::new(), session: String::new() };
        let services = services.display().to_string();
        let addresses = ["shop", "anna", "ben"].map(|name| {
            quick.run(name, &["init", "--name", name]).json();
            quick.serve(name, &services)
        });
        let [shop, anna, ben] = addresses.each_ref().map(String::as_str);
        for (who, name, address, may) in [
            ("shop", "anna", anna, Some("request")),
            ("anna", "shop", shop, Some("provide")),
            ("anna", "ben", ben, None),
            ("ben", "shop", shop, Some("provide")),
            ("ben", "anna", anna, Some("invite,auto-accept")),
        ] {
            let mut command = vec!["trust", "add", name, address];
            command.extend(may.iter().flat_map(|may| ["--may", may]));
            quick.run(who, &command).json();
        }
        quick
    }
    pub fn state(&self, who: &str) -> PathBuf {
        self.folder.path().join(who)
    }
    pub fn command(&self, who: &str, format: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deployctl"));
        command.arg("--state").arg(self.state(who)).args(["--format", format, "--no-input"]).args(arguments);
        command.env_remove("DEPLOYCTL_STATE").env_remove("DEPLOYCTL_FORMAT").stdin(Stdio::null());
        command
    }
    pub fn run(&self, who: &str, arguments: &[&str]) -> Ended {
        ended(self.command(who, "json", arguments))
    }
    pub fn run_for_people(&self, who: &str, arguments: &[&str]) -> Ended {
        ended(self.command(who, "human", arguments))
    }
    fn serve(&mut self, who: &str, services: &str) -> String {
        let mut command = self.command(who, "json", &["serve", "--listen", "127.0.0.1:0", "--services", services]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.serving.push(child);
        let ready: Value = serde_json::from_str(&line).unwrap();
        ready["address"].as_str().unwrap().to_owned()
    }
    /// Requests a service of ben, and waits until it runs.
    pub fn request(&mut self, service: &str, more: &[&str]) {
        let mut command = vec!["request", service, "--provider", "shop", "--peer", "ben", "--wait", "running"];
        command.extend(more);
        self.session = self.run("anna", &command).json()["session"].as_str().unwrap().to_owned();
    }
    /// Ends the session, and waits until it is over for everybody.
    pub fn end(&self) {
        self.run("anna", &["stop", &self.session]).json();
        for who in ["shop", "anna", "ben"] {
            let session = &self.session;
            until(who, || self.run(who, &["status", session]).json()["over"] == true);
        }
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.session.is_empty() {
            // Nothing may go on running after a test that failed.
            for who in ["anna", "ben"] {
                drop(self.command(who, "json", &["--timeout", "20s", "remove", &self.session]).output());
            }
        }
        for child in &mut self.serving {
            child.kill().ok();
            child.wait().ok();
        }
        make_removable(self.folder.path());
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to pass");
        std::thread::sleep(NAP);
    }
}

/// The fixtures that come with the program.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/services")
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Generations are read-only, which would keep the folder from going.
fn make_removable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700)).ok();
            make_removable(&entry.path());
        }
    }
}
