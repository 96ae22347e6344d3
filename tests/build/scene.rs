//! Where builds are tried: folders of services.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_deployctl");

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
