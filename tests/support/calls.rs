//! The system calls by which a command changes something on disk: recorded, and made to fail or to be its last, by strace.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "runs the program from outside")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// Every call by which something on disk can change. Names that a platform does not have are skipped.
const TRACED: &str = "execve,?open,openat,?openat2,?creat,?mkdir,mkdirat,?rmdir,?unlink,unlinkat,?rename,?renameat,\
     ?renameat2,?link,linkat,?symlink,symlinkat,write,writev,pwrite64,?pwritev,?pwritev2,?copy_file_range,?sendfile,\
     ?truncate,ftruncate,fallocate,?chmod,fchmod,fchmodat,?fchmodat2,fsync,fdatasync,syncfs,sync,?dup,?dup3,close";
/// How long a command may take that meets a fault.
const MOST: Duration = Duration::from_secs(120);
/// Bytes of a text that are recorded.
const WHOLE: &str = "1000000";

/// A call, as it was made.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// The how manyeth of its name it is in its thread, from 1.
    pub nth: usize,
    pub args: Vec<Arg>,
    /// What it returned; an opened file by its path, too.
    pub result: Arg,
}

/// An argument. Texts are bytes, descriptors are numbers with the path that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arg {
    pub word: String,
    pub text: Option<Vec<u8>>,
    pub path: Option<PathBuf>,
}

impl Call {
    pub fn failed(&self) -> bool {
        self.result.word.starts_with('-') || self.result.word == "?"
    }
    /// Whether it changes something on disk, or makes it durable.
    pub fn changes(&self) -> bool {
        if self.failed() {
            return false;
        }
        match self.name.as_str() {
            "execve" | "dup" | "dup3" | "close" => false,
            "open" | "openat" | "openat2" => self.args.iter().any(|arg| arg.word.contains("O_CREAT")),
            _ => true,
        }
    }
    /// For whoever reads what failed.
    pub fn shown(&self) -> String {
        let words = self.args.iter().map(|arg| match (&arg.text, &arg.path) {
            (Some(text), _) => String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => arg.word.clone(),
        });
        format!("{} {} ({})", self.name, self.nth, words.collect::<Vec<_>>().join(", "))
    }
    /// Whether it concerns something in `folder`.
    pub fn is_in(&self, folder: &Path) -> bool {
        let names_below = self.name.ends_with("at") || self.name.ends_with("at2");
        let mut below: Option<&Path> = None;
        self.args.iter().any(|arg| {
            let path = match (&arg.text, &arg.path) {
                (Some(text), _) => {
                    Some(below.take().map_or_else(|| path_of(text).to_owned(), |at| at.join(path_of(text))))
                }
                (None, Some(path)) if names_below => {
                    below = Some(path);
                    None
                }
                (None, path) => path.clone(),
            };
            path.is_some_and(|path| path.starts_with(folder))
        })
    }
}

fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether a process may be traced here; why not, where it may not.
pub fn can_trace() -> Result<(), String> {
    let tried = Command::new("strace").args(["-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
    match tried {
        Err(_) => Err("strace is not installed".to_owned()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("tracing is forbidden here: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The same command, below strace.
fn traced(command: &Command, options: &[&OsStr]) -> Command {
    let mut traced = Command::new("strace");
    traced.env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.args(options).arg("--").arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// Runs the command to its end and gives the calls of the thread that makes all changes in `folder`: of several, the order
/// would not be known.
pub fn record(command: &Command, folder: &Path) -> Vec<Call> {
    let place = recorded(command, &["-ff"]);
    let threads = fs::read_dir(place.path()).expect("what was recorded").map(|thread| {
        let text = fs::read_to_string(thread.expect("a thread's calls").path()).expect("a thread's calls");
        parse(&text)
    });
    let mut changing = threads.filter(|calls| calls.iter().any(|call| call.changes() && call.is_in(folder)));
    let calls = changing.next().expect("a thread that changes something");
    assert_eq!(changing.count(), 0, "one thread makes all changes");
    calls
}

/// Runs the command to its end and gives the calls of its first thread: what it starts may go on.
pub fn record_first(command: &Command) -> Vec<Call> {
    let place = recorded(command, &[]);
    parse(&fs::read_to_string(place.path().join("calls")).expect("a thread's calls"))
}

/// A folder with what strace recorded of the command.
fn recorded(command: &Command, follow: &[&str]) -> TempDir {
    let place = tempfile::tempdir().expect("a folder for what is recorded");
    let (file, trace) = (place.path().join("calls"), format!("trace={TRACED}"));
    let options = ["-y", "-xx", "-s", WHOLE, "-e", &trace, "-o"].map(OsStr::new);
    let follow: Vec<_> = follow.iter().map(OsStr::new).collect();
    let mut command = traced(command, &[&follow[..], &options[..], &[file.as_os_str()]].concat());
    let output = command.output().expect("strace runs");
    assert!(output.status.success(), "{output:?}");
    place
}

/// What a call is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program's last: it is killed before the call does anything.
    Kill,
    /// It fails with this error, and does nothing.
    Error(&'static str),
}

/// Runs the command, whose first thread meets `fault` at `call`, which concerns `folder`. None where an error came elsewhere
/// instead: how often other things are written, such as to wake a thread, is not the same each time.
pub fn with_fault(command: &Command, call: &Call, fault: Fault, folder: &Path) -> Option<Output> {
    let injected = match fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(error) => format!("error={error}"),
    };
    let (name, nth) = (&call.name, call.nth);
    let (trace, inject) = (format!("trace={name}"), format!("inject={name}:{injected}:when={nth}"));
    let place = tempfile::tempdir().expect("a folder for what is recorded");
    let file = place.path().join("calls");
    let options = ["-qqq", "-y", "-s", "4096", "-e", &trace, "-e", &inject, "-o"].map(OsStr::new);
    let ended = within(MOST, traced(command, &[&options[..], &[file.as_os_str()]].concat()));
    let calls = fs::read_to_string(&file).expect("a thread's calls");
    let folder = folder.to_str().expect("a plain path");
    let is_elsewhere = calls.lines().any(|line| line.contains("(INJECTED)") && !line.contains(folder));
    if is_elsewhere && fault != Fault::Kill {
        return None;
    }
    assert!(ended.is_some(), "{fault:?} at {}: it did not end", call.shown());
    ended
}

/// Runs the command to its end; where that does not come in time, the command is killed, and all that it began.
fn within(time: Duration, mut command: Command) -> Option<Output> {
    let command = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("strace runs");
    let group = Pid::from_child(&child);
    let (giver, taker) = mpsc::channel();
    thread::spawn(move || giver.send(child.wait_with_output()));
    let ended = taker.recv_timeout(time);
    if ended.is_err() {
        let _gone_meanwhile = kill_process_group(group, Signal::KILL);
    }
    ended.ok().map(|output| output.expect("strace ends"))
}

/// The calls of one thread, in their order.
fn parse(text: &str) -> Vec<Call> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(').filter(|(name, _)| !name.contains(' ')) else { continue };
        let Some((args, result)) = rest.rsplit_once(" = ") else { continue };
        let args = args.trim_end().strip_suffix(')').unwrap_or(args);
        let nth = counts.entry(name.to_owned()).or_default();
        *nth += 1;
        let args = split(args).into_iter().map(argument).collect();
        calls.push(Call { name: name.to_owned(), nth: *nth, args, result: argument(result) });
    }
    calls
}

/// At the commas that are in no braces or brackets; texts have none, as all their bytes are numbers.
fn split(args: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, character) in args.char_indices() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(args[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(args[from..].trim());
    parts
}

fn argument(part: &str) -> Arg {
    use std::os::unix::ffi::OsStringExt;
    if let Some(text) = part.strip_prefix('"').and_then(|rest| rest.split('"').next()) {
        return Arg { word: String::new(), text: Some(bytes_of(text)), path: None };
    }
    let (word, path) = match part.split_once('<') {
        Some((word, rest)) => (word, rest.split('>').next()),
        None => (part, None),
    };
    let path = path.filter(|path| path.starts_with("\\x2f"));
    let path = path.map(|path| PathBuf::from(std::ffi::OsString::from_vec(bytes_of(path))));
    Arg { word: word.trim().to_owned(), text: None, path }
}

fn bytes_of(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|byte| u8::from_str_radix(byte.get(..2)?, 16).ok()).collect()
}
