//! Children that this process listens to line by line, and that do not outlive it: whoever drops one ends it.

#![expect(clippy::disallowed_methods, reason = "starts processes of this program, and waits for their end")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::pid::{self, Identity, Member};
use crate::model::error::{IoContext, Result};

/// What is killed is gone within this time, unless the system holds it (a dead disk).
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// One line of a child, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Out(String),
    Err(String),
}

/// A running child, in a process group of its own: Ctrl-C on the terminal reaches it through this process alone.
pub struct Child {
    child: std::process::Child,
    /// What it left with, for people, once it has ended.
    ended: Option<End>,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub ok: bool,
    /// “exit status: 3”.
    pub status: String,
}

impl Child {
    /// Starts `program` with exactly this environment and nothing to read. `tell` gets its lines, from other threads; its
    /// clones are dropped when nothing more can come.
    ///
    /// # Errors
    /// `io` where it does not start.
    pub fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &BTreeMap<String, String>,
        tell: impl Fn(Line) + Clone + Send + 'static,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().doing("starting", program)?;
        if let Some(out) = child.stdout.take() {
            listen(out, tell.clone(), Line::Out);
        }
        if let Some(err) = child.stderr.take() {
            listen(err, tell, Line::Err);
        }
        Ok(Self { child, ended: None })
    }
    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<End> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(End { ok: status.success(), status: status.to_string() });
        }
        self.ended.clone()
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Asks it to come to its end.
    pub fn ask_to_stop(&self) {
        if self.ended.is_none()
            && let Some(identity) = Identity::of(self.child.id())
        {
            identity.signal(Signal::TERM);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listen(stream: impl Read + Send + 'static, tell: impl Fn(Line) + Send + 'static, line: fn(String) -> Line) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            tell(line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned()));
            bytes.clear();
        }
    });
}

/// Kills every process of a deployctl whose state directory lies below `folder`, and of the programs that it runs.
/// Returns those that are there all the same.
pub fn end_all_below(folder: &Path) -> Vec<Member> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let left = pid::users_of(folder);
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        for one in &left {
            one.identity.signal(Signal::KILL);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn shell(script: &str, environment: &BTreeMap<String, String>) -> (Child, mpsc::Receiver<Line>) {
        let (sender, lines) = mpsc::channel();
        let tell = move |line| drop(sender.send(line));
        (Child::start(Path::new("/bin/sh"), &["-c", script], environment, tell).unwrap(), lines)
    }

    #[test]
    fn a_childs_lines_arrive_and_so_does_its_end() {
        let (mut child, lines) = shell("echo one; echo two >&2; printf three; exit 3", &BTreeMap::new());
        let mut said: Vec<_> = lines.iter().collect();
        said.sort_by_key(|line| format!("{line:?}"));
        let out = |text: &str| Line::Out(text.to_owned());
        assert_eq!(said, [Line::Err("two".into()), out("one"), out("three")]);
        while child.ended().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(child.ended(), Some(End { ok: false, status: "exit status: 3".into() }));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let (child, lines) = shell("echo ready; exec sleep 600", &BTreeMap::new());
        assert_eq!(lines.recv(), Ok(Line::Out("ready".into())));
        let identity = Identity::of(child.child.id()).unwrap();
        drop(child);
        assert_eq!(Identity::of(identity.pid).filter(|now| *now == identity), None);
    }

    #[test]
    fn what_uses_a_folder_is_found_and_ended_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/data").display().to_string();
        let inside = BTreeMap::from([("DEPLOYCTL_DATA".to_owned(), data.clone())]);
        let beside = BTreeMap::from([("DEPLOYCTL_DATA".to_owned(), format!("{}x/data", folder.path().display()))]);
        let other = BTreeMap::from([("SOMETHING".to_owned(), data)]);
        let script = "echo ready; exec sleep 600";
        let mut started: Vec<_> = [&inside, &beside, &other].map(|environment| shell(script, environment)).into();
        for (_, lines) in &started {
            assert_eq!(lines.recv(), Ok(Line::Out("ready".into())));
        }
        assert_eq!(pid::users_of(folder.path()).len(), 1);
        assert_eq!(end_all_below(folder.path()), []);
        assert!(started[0].0.ended().is_some());
        assert!(started[1].0.ended().is_none() && started[2].0.ended().is_none());
    }
}
