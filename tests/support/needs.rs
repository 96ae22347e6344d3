//! What tests need of the machine: other people's programs, and the Rust toolchain for services that are compiled.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "asks for programs, and gives up loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Says that a test is skipped; where all of them are required, as in CI, that is a failure.
pub fn skip(why: &str) {
    let required = std::env::var("DEPLOYCTL_JUDGES").is_ok_and(|value| value == "required");
    assert!(!required, "cannot be skipped here: {why}");
    eprintln!("skipped: {why}");
}

/// Whether all of these programs are installed; says so where not.
pub fn has(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        skip(&format!("{tool} is not installed"));
    }
    missing.is_none()
}

/// The Python that has the judges' packages; says so where there is none.
pub fn judge() -> Option<PathBuf> {
    let told = std::env::var_os("DEPLOYCTL_JUDGES_PYTHON").map(PathBuf::from);
    let python = told.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges/bin/python"));
    if !python.exists() {
        skip("the Python packages of tests/judges/requirements.txt are not installed; `.ci/run` does so");
        return None;
    }
    Some(python)
}

/// Documents fit `schemas/`, says somebody else's program. Each record is {`what`, `schema`, `document`}.
pub fn fit_schemas(folder: &Path, records: &[Value]) {
    let Some(python) = judge() else { return };
    let recorded = folder.join("recorded.jsonl");
    let lines: String = records.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&recorded, lines).expect("the records");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [judge, schemas] = ["tests/judges/schemas.py", "schemas"].map(|path| root.join(path));
    let judged = Command::new(python).arg(judge).arg(schemas).arg(recorded).output().expect("the judge runs");
    let said = [judged.stdout, judged.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(judged.status.success(), "{said}");
}

/// What a provider's `config.toml` says so that its builds find `rustc`; says so where there is none.
pub fn rust() -> Option<String> {
    let told = Command::new("rustc").args(["--print", "sysroot"]).output().ok().filter(|told| told.status.success());
    let sysroot = told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    if !sysroot.as_deref().is_some_and(|root| Path::new(root).join("bin/rustc").exists()) {
        skip("rustc is not installed");
        return None;
    }
    sysroot.map(|root| format!("[build]\npath = [\"{root}/bin\"]\nread = [\"{root}\"]\n"))
}
