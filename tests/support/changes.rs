//! What commands change on one machine without any network: a program's installation, update, rollback and removal, each
//! from a state that is copied, so that it can be done again and again.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, clippy::panic, reason = "looks at what commands left, and copies it")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::built::{Built, built};
use super::calls::Call;
use super::sandbox::{Sandbox, read};

/// A command, from which state it starts, and which text the program says before and after.
#[derive(Debug)]
pub struct Change {
    pub name: &'static str,
    before: &'static str,
    after: &'static str,
}

/// The first is taken as the state before all.
pub const CHANGES: &[Change] = &[
    Change { name: "install", before: "", after: "one" },
    Change { name: "update", before: "one", after: "two" },
    Change { name: "rollback", before: "two", after: "one" },
    Change { name: "remove", before: "two", after: "" },
];

/// What an interrupted change leaves, and what nobody may find later.
const TRACES: [&str; 3] = [".staging-", ".new", ".tmp-"];

pub struct Stage {
    pub sandbox: Sandbox,
    built: [Built; 2],
}

impl Stage {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.init_nowhere("n");
        let built = ["one", "two"].map(|text| {
            let version = if text == "one" { "1.0.0" } else { "2.0.0" };
            built(&sandbox, version, text).resigned()
        });
        sandbox.trust("n", "maker", &format!("deploy://{}", built[0].signer), "provide");
        let stage = Self { sandbox, built };
        stage.keep("");
        stage.sandbox.run("n", &stage.built[0].install()).ok();
        stage.keep("one");
        stage.sandbox.run("n", &stage.built[1].install()).ok();
        stage.keep("two");
        stage
    }
    pub fn state(&self) -> PathBuf {
        self.sandbox.state("n")
    }
    fn root(&self) -> PathBuf {
        self.state().join("installs/programs").join(&self.built[0].signer).join("tool")
    }
    fn kept(&self, text: &str) -> PathBuf {
        self.sandbox.path().join(format!("kept-{text}"))
    }
    fn keep(&self, text: &str) {
        copy(&self.state(), &self.kept(text));
    }
    /// Puts the state before a change in its place.
    pub fn begin(&self, change: &Change) {
        remove(&self.state());
        copy(&self.kept(change.before), &self.state());
    }
    fn words(&self, change: &Change) -> Vec<&str> {
        match change.name {
            "install" => self.built[0].install(),
            "update" => self.built[1].install(),
            "rollback" => vec!["install", "--rollback", "tool"],
            _ => vec!["remove", "tool"],
        }
    }
    pub fn command(&self, change: &Change) -> Command {
        self.sandbox.command("n", &[&["--format", "json"], self.words(change).as_slice()].concat())
    }
    /// What the program that is current says.
    fn says(&self) -> String {
        read(&self.root().join("current/bin/run"))
    }

    /// Whether everything is as after the change, and nothing else is there.
    pub fn is_after(&self, change: &Change) {
        assert_eq!(self.says(), change.after, "{}", change.name);
        if change.after.is_empty() {
            assert!(!self.root().exists(), "all of it is gone");
            let of_record = |path: &PathBuf| path.ends_with("tool/program.json");
            assert!(!paths(&self.state()).iter().any(of_record), "its record, too");
        } else {
            self.sandbox.run("n", &["verify", "tool"]).ok();
            let status = self.sandbox.run("n", &["status", "tool"]).ok();
            let version = if change.after == "one" { "1.0.0" } else { "2.0.0" };
            assert_eq!(
                (&status["version"], &status["state"]),
                (&version.into(), &"installed".into()),
                "{}",
                change.name
            );
        }
    }

    /// After a fault: the old or the new program is whole, the same command again comes to the end, saying what it found,
    /// and nothing is left over.
    pub fn try_again(&self, change: &Change) {
        let says = self.says();
        assert!(says == change.before || says == change.after, "it says {says:?}");
        let journal: Value = serde_json::from_str(&read(&self.root().join("journal.json"))).unwrap_or_default();
        let pending = journal["pending"]["op"].as_str().map(ToOwned::to_owned);
        let again = self.sandbox.human("n", &self.words(change));
        // Removed but for the last word: there is nothing to be removed any more.
        let gone = change.after.is_empty() && again.code == 6 && again.stderr.contains("no session");
        assert!(again.code == 0 || gone, "{again:#?}");
        if let Some(pending) = pending.filter(|pending| pending != "remove") {
            let tells = ["finished installing", "undid the interrupted installation", "finished switching"];
            assert!(tells.iter().any(|tell| again.stderr.contains(tell)), "{pending} is not told: {again:#?}");
        }
        self.sandbox.run("n", &["remove", "--expired"]).ok();
        self.is_after(change);
        let left = left_over(&self.state());
        assert!(left.is_empty(), "{left:?} is left");
    }

    /// A command that met an error says so in one line and with the right code; or it did not matter, and all is done.
    pub fn is_told(&self, change: &Change, output: &Output, code: &str, call: &Call) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(0) {
            assert!(!call.name.contains("sync"), "what could not be synced is not done");
            return self.is_after(change);
        }
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told: Value = serde_json::from_str(stderr.trim()).unwrap_or_else(|why| panic!("{why}: {stderr}"));
        assert_eq!(told["error"]["code"], code, "{told}");
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(&*self.state().to_string_lossy()), "no path in {message}");
    }
}

/// What interrupted changes left in a state directory.
pub fn left_over(state: &Path) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| TRACES.iter().any(|trace| path.to_string_lossy().contains(trace));
    paths(state).into_iter().filter(is_left).collect()
}

/// Everything below a folder, by its path in it.
pub fn paths(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a kind").is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(folder).expect("it is below").to_owned());
        }
    }
    found
}

/// Copies a folder with its modes.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy(&from, &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from).expect("a link"), &to).expect("a link");
        } else if kind.is_file() {
            fs::copy(&from, &to).expect("a file");
        }
    }
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("its mode");
}

/// Removes a folder, read-only ones in it, too.
pub fn remove(folder: &Path) {
    for path in paths(folder) {
        let path = folder.join(path);
        if fs::symlink_metadata(&path).expect("it is there").is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode");
        }
    }
    fs::remove_dir_all(folder).expect("it goes");
}
