//! File systems of a test's own, which are gone with its mount namespace.

#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    reason = "no test file uses all of it"
)]
#![allow(clippy::disallowed_methods, reason = "runs unshare and mount")]

use std::path::Path;
use std::process::Command;

/// True in a mount namespace of the test's own. Elsewhere the test is run in one, which `unshare` makes in the first of
/// these ways (its flags) that the system lets us take, or it is said why it is skipped; then false.
pub fn in_own(test: &str, ways: &[&str]) -> bool {
    if std::env::var_os("OWN_MOUNTS").is_some() {
        return true;
    }
    let can = |way: &&&str| {
        let tried = Command::new("unshare").args([way, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(way) = ways.iter().find(can) else {
        println!("skipped: this system does not let this user mount anything in a namespace");
        return false;
    };
    let exe = std::env::current_exe().expect("this test");
    let mut command = Command::new("unshare");
    command.arg(way).arg(exe).args(["--exact", test, "--nocapture"]).env("OWN_MOUNTS", "1");
    let ended = command.output().expect("unshare runs");
    let told = [ended.stdout, ended.stderr].map(|told| String::from_utf8_lossy(&told).into_owned()).concat();
    assert!(ended.status.success(), "{told}");
    told.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| println!("{line}"));
    false
}

/// # Errors
/// What `mount` says.
pub fn mount(arguments: &[&str], folder: &Path) -> Result<(), String> {
    let mounted = Command::new("mount").args(arguments).arg(folder).output().map_err(|why| why.to_string())?;
    let told = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
    if mounted.status.success() { Ok(()) } else { Err(told) }
}
