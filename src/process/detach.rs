//! Starting another deployctl that lives on when this one, its terminal or its caller goes away.

#![expect(clippy::disallowed_methods, reason = "starts a process of this program")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::pid::Identity;
use crate::model::Code;
use crate::model::error::{Error, IoContext, Result};

/// Starts `exe` with exactly this environment, nothing to read, and its output appended to `log` (mode 0600). It has to
/// call [`become_session_leader`] first of all. It is waited for when it ends, if this process still lives then.
///
/// # Errors
/// `io` where the log does not open or `exe` does not start.
pub fn spawn_detached(
    exe: &Path,
    arguments: &[impl AsRef<OsStr>],
    environment: &BTreeMap<String, String>,
    log: &Path,
) -> Result<Identity> {
    super::output::shorten(log);
    let output = OpenOptions::new().append(true).create(true).mode(0o600).open(log).doing("opening the log", log)?;
    let errors = output.try_clone().doing("opening the log", log)?;
    let mut command = Command::new(exe);
    command.args(arguments).env_clear().envs(environment).current_dir("/");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().doing("starting", exe)?;
    let identity = Identity::of(child.id());
    // It may end long before us; unless waited for, it would stay as a zombie until we end.
    std::thread::spawn(move || child.wait());
    identity.ok_or_else(|| Error::new(Code::Internal, "the started process is not in /proc").hint("mount /proc"))
}

/// Leaves the caller's session and terminal, so that neither its hang-up nor its Ctrl-C arrives here.
///
/// # Errors
/// None where this process leads a session or group already: it was started by hand or by a service manager.
pub fn become_session_leader() -> Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(why) => Err(Error::new(Code::Internal, format!("leaving the terminal: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_process_runs_with_the_environment_and_log_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let environment = BTreeMap::from([("WORD".to_owned(), "hello".to_owned())]);
        let script = "echo $WORD ${HOME:-homeless}; cat";
        let identity = spawn_detached(Path::new("/bin/sh"), &["-c", script], &environment, &log).unwrap();
        while Identity::of(identity.pid) == Some(identity) {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "hello homeless\n");
        let missing = spawn_detached(Path::new("/nowhere/deployctl"), &[""; 0], &environment, &log).unwrap_err();
        assert_eq!(missing.code, Code::Io);
    }
}
