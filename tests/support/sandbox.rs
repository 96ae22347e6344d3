//! Real processes in a folder of their own: nodes by name, commands with a cleared environment and a deadline, `serve`s
//! that are stopped or killed, and waiting for what a node says of a session instead of for time.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, clippy::panic, reason = "runs the program from outside, and gives up loudly")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// What nothing in these tests takes longer than on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK: Duration = Duration::from_millis(30);

/// A folder with the state directories of some nodes in it. Whatever still runs in it is ended when it is dropped.
pub struct Sandbox {
    folder: TempDir,
    outputs: AtomicUsize,
    /// Put before the program: `ip netns exec NAME`.
    pub around: fn(&str) -> Vec<String>,
}

/// What a command said.
#[derive(Debug)]
pub struct Output {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// An error as `--format json` tells it.
#[derive(Debug)]
pub struct Refusal {
    pub message: String,
    pub hint: String,
    pub session: Option<String>,
}

/// A command that runs meanwhile.
pub struct Running {
    child: Child,
    command: String,
    pub stdout: PathBuf,
    stderr: PathBuf,
}

/// A `serve`. Killed when it is dropped.
pub struct Serving {
    running: Running,
    /// The line that it prints when it is ready.
    pub ready: Value,
}

impl Sandbox {
    pub fn new() -> Self {
        // Short, because a socket's path has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("dt").tempdir_in("/tmp").expect("a folder for the test");
        Self { folder, outputs: AtomicUsize::new(0), around: |_| Vec::new() }
    }
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
    pub fn state(&self, node: &str) -> PathBuf {
        self.path().join(node)
    }
    /// Makes a node with an address; gives the address.
    pub fn init(&self, node: &str) -> String {
        self.init_at(node, &format!("127.0.0.1:{}", free_port()))
    }
    pub fn init_at(&self, node: &str, host: &str) -> String {
        let made = self.run(node, &["init", "--name", node, "--address", host]).ok();
        made["address"].as_str().expect("an address").to_owned()
    }
    /// Makes a node that listens nowhere.
    pub fn init_nowhere(&self, node: &str) -> String {
        let made = self.run(node, &["init", "--name", node]).ok();
        made["address"].as_str().expect("an address").to_owned()
    }
    /// Sets a node up differently.
    pub fn configure(&self, node: &str, settings: &str) {
        fs::write(self.state(node).join("config.toml"), settings).expect("a node's settings");
    }
    /// The folder of what is installed for a role.
    pub fn installed(&self, node: &str, session: &str, role: &str) -> PathBuf {
        self.state(node).join("installs/sessions").join(session).join(role)
    }
    /// Tells `node` of another one.
    pub fn trust(&self, node: &str, name: &str, address: &str, may: &str) {
        let mut args = vec!["trust", "add", name, address];
        if !may.is_empty() {
            args.extend(["--may", may]);
        }
        self.run(node, &args).ok();
    }
    pub fn command(&self, node: &str, args: &[&str]) -> Command {
        let mut words = (self.around)(node);
        words.push(program());
        let mut command = Command::new(&words[0]);
        let home = self.path().join("home");
        fs::create_dir_all(&home).expect("a home folder");
        command.args(&words[1..]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin").env("HOME", home);
        command.arg("--state").arg(self.state(node)).args(args).stdin(Stdio::null()).current_dir(self.path());
        command
    }
    /// Begins a command whose output is JSON.
    pub fn begin(&self, node: &str, args: &[&str]) -> Running {
        let args: Vec<_> = ["--format", "json"].iter().chain(args).copied().collect();
        self.begin_as_is(node, &args)
    }
    pub fn begin_as_is(&self, node: &str, args: &[&str]) -> Running {
        let number = self.outputs.fetch_add(1, Ordering::Relaxed);
        let output = |kind: &str| self.path().join(format!("{number}.{kind}"));
        let (stdout, stderr) = (output("out"), output("err"));
        let mut command = self.command(node, args);
        command.stdout(File::create(&stdout).expect("a file for stdout"));
        command.stderr(File::create(&stderr).expect("a file for stderr"));
        let child = command.spawn().expect("the program runs");
        Running { child, command: format!("{node}: {}", args.join(" ")), stdout, stderr }
    }
    /// Runs a command whose output is JSON.
    pub fn run(&self, node: &str, args: &[&str]) -> Output {
        self.begin(node, args).finish()
    }
    /// Runs a command whose output is JSON, with a text on stdin.
    pub fn run_piped(&self, node: &str, args: &[&str], text: &str) -> Output {
        let input = self.path().join("input");
        fs::write(&input, text).expect("a file for stdin");
        let mut command = self.command(node, &[&["--format", "json"], args].concat());
        let output = command.stdin(File::open(&input).expect("the file")).output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Output { command: args.join(" "), code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
    /// Runs a command as a person would, without a terminal.
    pub fn human(&self, node: &str, args: &[&str]) -> Output {
        self.begin_as_is(node, args).finish()
    }
    /// Runs `serve` and waits until it is ready.
    pub fn serve(&self, node: &str, extra: &[&str]) -> Serving {
        let args: Vec<_> = ["-v", "serve"].iter().chain(extra).copied().collect();
        let mut running = self.begin(node, &args);
        let mut ready = Value::Null;
        until(&format!("{node} is ready"), || {
            let exited = running.child.try_wait().expect("a child can be waited for");
            assert!(exited.is_none(), "{}: {exited:?}\n{}", running.command, running.said());
            ready = serde_json::from_str(read(&running.stdout).trim()).unwrap_or_default();
            ready.is_object()
        });
        assert_eq!(ready["event"], "ready");
        Serving { running, ready }
    }
    pub fn status(&self, node: &str, session: &str) -> Value {
        self.run(node, &["status", session]).ok()
    }
    pub fn state_of(&self, node: &str, session: &str) -> String {
        self.status(node, session)["state"].as_str().expect("a state").to_owned()
    }
    /// Waits until what `node` says of the session fits.
    pub fn wait(&self, node: &str, session: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let output = self.run(node, &["status", session]);
            let status = (output.code == 0).then(|| output.ok());
            match status {
                Some(status) if fits(&status) => return status,
                _ if began.elapsed() < PATIENCE => thread::sleep(LOOK),
                other => panic!("waited for {node} to say: {what}; it says {other:#?}\n{}", self.talk()),
            }
        }
    }
    /// Waits until the session is in this state for `node`.
    pub fn wait_state(&self, node: &str, session: &str, state: &str) -> Value {
        self.wait(node, session, state, |status| status["state"] == state)
    }
    /// What all nodes said on stderr.
    pub fn talk(&self) -> String {
        let mut all = String::new();
        for number in 0..self.outputs.load(Ordering::Relaxed) {
            let text = read(&self.path().join(format!("{number}.err")));
            if !text.is_empty() {
                all.push_str(&format!("-- {number}\n{text}"));
            }
        }
        all
    }
    /// The lines of a node's audit.
    pub fn audit(&self, node: &str) -> Vec<Value> {
        lines(&self.state(node).join("audit.jsonl"))
    }
    /// The folder of a node's part in a session.
    pub fn party(&self, node: &str, session: &str, party: &str) -> PathBuf {
        self.state(node).join("sessions").join(session).join(party)
    }
    /// The run record of a role that runs.
    pub fn record(&self, node: &str, session: &str, party: &str) -> Value {
        let path = self.state(node).join("run").join(format!("{session}.{party}")).join("record.json");
        serde_json::from_str(&read(&path)).unwrap_or_default()
    }
    /// Every process that works in this sandbox or was told of it.
    pub fn processes(&self) -> Vec<i32> {
        let here = self.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let told =
                String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).unwrap_or_default()).contains(&here);
            let works = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.path()));
            if pid != std::process::id().cast_signed() && (told || works) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for _ in 0..20 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for pid in left {
                signal(pid, Signal::KILL);
            }
            thread::sleep(LOOK);
        }
        if thread::panicking() && std::env::var_os("KEEP_SANDBOX").is_some() {
            self.folder.disable_cleanup(true);
            let mut out = std::io::stderr();
            drop(std::io::Write::write_fmt(&mut out, format_args!("kept {}\n", self.path().display())));
        }
    }
}

impl Running {
    /// Waits for its end.
    pub fn finish(mut self) -> Output {
        let began = Instant::now();
        let mut nap = Duration::from_millis(1);
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if began.elapsed() > 2 * PATIENCE => {
                    drop(self.child.kill());
                    panic!("{} does not end\n{}", self.command, self.said());
                }
                None => thread::sleep(nap),
            }
            nap = (nap * 2).min(LOOK);
        };
        let code = status.code().unwrap_or(-1);
        Output { code, stdout: read(&self.stdout), stderr: read(&self.stderr), command: self.command.clone() }
    }
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn signal(&self, with: Signal) {
        signal(self.child.id().cast_signed(), with);
    }
    fn said(&self) -> String {
        format!("{}{}", read(&self.stdout), read(&self.stderr))
    }
}

impl Serving {
    pub fn address(&self) -> &str {
        self.ready["address"].as_str().expect("an address")
    }
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }
    /// Switches it off as a power cut would.
    pub fn kill(self) {
        self.running.signal(Signal::KILL);
    }
    /// Asks it to end, and expects that it does so cleanly.
    pub fn stop(self) {
        self.running.signal(Signal::TERM);
        let mut child = Guard(self);
        let status = child.0.wait();
        assert_eq!(status.code, 0, "{status:?}");
    }
    fn wait(&mut self) -> Output {
        let began = Instant::now();
        let status = loop {
            match self.running.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None => assert!(began.elapsed() < PATIENCE, "{} does not end", self.running.command),
            }
            thread::sleep(LOOK);
        };
        Output {
            code: status.code().unwrap_or(-1),
            stdout: read(&self.running.stdout),
            stderr: read(&self.running.stderr),
            command: self.running.command.clone(),
        }
    }
}

struct Guard(Serving);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.running.child.kill());
        drop(self.running.child.wait());
    }
}

impl Output {
    /// It was done: exit code 0, one document on stdout, nothing on stderr.
    pub fn ok(&self) -> Value {
        assert_eq!(self.code, 0, "{self:#?}");
        assert_eq!(self.stderr, "", "{self:#?}");
        self.document()
    }
    /// The one document on stdout.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:#?}"))
    }
    /// It failed with this exit code and this word: nothing on stdout, one line on stderr with a message for people.
    pub fn fails(&self, exit: i32, code: &str) -> Refusal {
        assert_eq!(self.code, exit, "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        let line: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|why| panic!("{why}: {self:#?}"));
        let error = &line["error"];
        assert_eq!(error["code"], code, "{self:#?}");
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.len() > 10, "a message that says something: {self:#?}");
        let hint = error["hint"].as_str().unwrap_or_default().to_owned();
        let is_asked = ["interrupted", "terminated"].contains(&code);
        assert!(is_asked || hint.len() > 10, "a remedy for {code}: {self:#?}");
        Refusal { message, hint, session: error["session"].as_str().map(str::to_owned) }
    }
}

impl Refusal {
    /// Message or hint say all of these.
    pub fn says(&self, words: &[&str]) -> &Self {
        let text = format!("{}\n{}", self.message, self.hint);
        for word in words {
            assert!(text.contains(word), "“{word}” is not in: {text}");
        }
        self
    }
    /// It tells what to do next.
    pub fn hints(&self, words: &[&str]) -> &Self {
        assert!(!self.hint.is_empty(), "no hint: {}", self.message);
        for word in words {
            assert!(self.hint.contains(word), "“{word}” is not in the hint: {}", self.hint);
        }
        self
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
        thread::sleep(LOOK);
    }
}

/// The program under test: the one that was built with the tests, or another build, to measure it.
fn program() -> String {
    std::env::var("DEPLOYCTL_UNDER_TEST").unwrap_or_else(|_| env!("CARGO_BIN_EXE_deployctl").to_owned())
}

/// A port that nobody listens on, outside of those that are given to connections, so that it stays free while a node is
/// switched off.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1000).unwrap_or(0) * 20;
    loop {
        let port = 10_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process that has gone already is none to signal.
pub fn signal(pid: i32, with: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone = kill_process(pid, with);
    }
}

pub fn is_alive(pid: i32) -> bool {
    let stat = read(&PathBuf::from(format!("/proc/{pid}/stat")));
    // A zombie has ended.
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

pub fn lines(path: &Path) -> Vec<Value> {
    read(path).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The states of the participants of a status, by name.
pub fn participants(status: &Value) -> Vec<(String, String)> {
    let all = status["participants"].as_array().expect("participants");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect()
}
