//! A person's terminal: tmux with a shell in it, keys that are typed, and the screen as the person sees it.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, clippy::panic, reason = "runs tmux, and gives up loudly")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use regex_lite::Regex;

use super::sandbox::{PATIENCE, Sandbox};

const LOOK: Duration = Duration::from_millis(50);
/// What comes before each command.
const PROMPT: &str = "$ ";

pub struct Terminal {
    socket: PathBuf,
    folder: PathBuf,
}

impl Terminal {
    /// A shell in which `deployctl` is this node.
    pub fn of(sandbox: &Sandbox, node: &str) -> Self {
        let terminal = Self { socket: sandbox.path().join(format!("tmux-{node}")), folder: sandbox.path().to_owned() };
        let program = Path::new(env!("CARGO_BIN_EXE_deployctl")).parent().expect("a folder");
        let path = format!("PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin", program.display());
        let state = format!("DEPLOYCTL_STATE={}", sandbox.state(node).display());
        let home = format!("HOME={}", sandbox.path().join("home").display());
        let shell = ["env", "-i", &path, &home, &state, "LANG=C.UTF-8", "TERM=xterm-256color", "PS1=$ ", "sh", "-i"];
        let size = ["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "40"];
        terminal.tmux(&[size.as_slice(), &shell].concat());
        terminal.wait("the prompt", |screen| screen == PROMPT.trim_end());
        terminal
    }
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("LANG", "C.UTF-8");
        let output =
            command.arg("-S").arg(&self.socket).args(args).current_dir(&self.folder).output().expect("tmux runs");
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
    /// The screen, without blanks at the ends of its lines or empty lines at its end.
    pub fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p", "-J"]);
        let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }
    fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if fits(&screen) {
                return screen;
            }
            assert!(began.elapsed() < PATIENCE, "waited too long for {what}; the screen is\n{screen}");
            thread::sleep(LOOK);
        }
    }
    /// Waits until the last line of the screen ends with this.
    pub fn asked(&self, question: &str) -> String {
        self.wait(question, |screen| screen.lines().last().is_some_and(|line| line.trim_end().ends_with(question)))
    }
    /// Waits until this is somewhere on the screen.
    pub fn shows(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }
    /// Presses a key, as tmux calls it.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }
    /// Types a line, and waits until the screen is another one: the question on it is answered.
    pub fn answer(&self, text: &str) {
        let before = self.screen();
        if !text.is_empty() {
            self.tmux(&["send-keys", "-l", text]);
        }
        self.press("Enter");
        self.wait("the answer to be taken", |screen| screen != before);
    }
    /// Waits until the command has ended: gives the screen as it left it, and its exit code. The terminal has to be as it
    /// was before.
    pub fn ended(&self) -> (String, i32) {
        let screen = self.asked(PROMPT.trim_end());
        self.answer("echo code $?");
        let after = self.wait("the exit code", |screen| {
            screen.lines().any(|line| line.starts_with("code ")) && screen.ends_with(PROMPT.trim_end())
        });
        let code = after.lines().filter_map(|line| line.strip_prefix("code ")).next_back().expect("a code");
        let code = code.parse().expect("a number");
        self.answer("clear; stty -a | tr ' ' '\\n' | grep -cx -e echo -e isig -e icanon");
        let modes = self.wait("the terminal's modes", |screen| screen.lines().count() == 2);
        assert_eq!(modes.lines().next(), Some("3"), "the terminal shows, edits and interrupts as before");
        self.answer("clear");
        self.wait("an empty screen", |screen| screen == PROMPT.trim_end());
        (screen, code)
    }
    /// The screen is the one that is kept as `tests/screens/NAME.txt`; with BLESS=1 it becomes that.
    pub fn compare(&self, name: &str, screen: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
        let shown = format!("{}\n", self.without_chance(screen));
        if env::var_os("BLESS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, &shown).expect("a screen");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == shown, "{} is not what is shown (BLESS=1 keeps this):\n{shown}", path.display());
    }
    /// Keys, ids, times, places and amounts that differ from run to run.
    fn without_chance(&self, screen: &str) -> String {
        let patterns = [
            (r"deploy://[a-z2-7]{52}@127\.0\.0\.1:[0-9]+", "ADDRESS"),
            (r"deploy://[a-z2-7]{52}", "ADDRESS"),
            (r"[a-z2-7]{52}", "KEY"),
            (r"([a-z2-7]{4} ){3,12}[a-z2-7]{4}", "GROUPS OF A KEY"),
            (r"[a-z2-7]{26}", "ID"),
            (r"127\.0\.0\.1:[0-9]+", "HOST:PORT"),
            (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "TIME"),
            (r"\b(in [0-9]+ (s|min|h|d)|[0-9]+ (s|min|h|d) ago)\b", "WHEN"),
            (r"\(now\)", "(WHEN)"),
            (r"(session|stop|install|package|status|accept|start) [a-z2-7]{8}\b", "$1 SHORT"),
            (r"✓ [a-z2-7]{8}:", "✓ SHORT:"),
            (r"node-[a-z2-7]{8}", "node-SHORT"),
            (r"[0-9]{3,} bytes", "N bytes"),
            (r"linux-(x86_64|aarch64)", "PLATFORM"),
        ];
        let screen = screen.replace(&self.folder.display().to_string(), "DIR");
        patterns.iter().fold(screen, |text, (pattern, instead)| {
            Regex::new(pattern).expect("a pattern").replace_all(&text, *instead).into_owned()
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
