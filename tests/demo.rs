//! The demo as a newcomer runs it: the built binary alone, real processes, and nothing left when it is over.

#![expect(clippy::disallowed_methods, reason = "starts the program, and looks at what it leaves")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Beyond this the demo would be no demo.
const LIMIT: Duration = Duration::from_secs(60);

/// The demo, with `folder` for its temporary files: whatever of it survives can be told by that.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deployctl"));
    command.arg("demo").args(arguments).env("TMPDIR", folder).env_remove("DEPLOYCTL_FORMAT").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let begun = Instant::now();
    let output = demo(folder, arguments).output().expect("it starts");
    assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
    output
}

fn result(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(err, "");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 1, "{out}");
    serde_json::from_str(lines[0]).expect("one JSON document")
}

/// Processes that name the folder in their arguments or their environment, and what is in it.
fn survivors(folder: &Path) -> Vec<String> {
    let name = folder.display().to_string();
    let of = |pid: &str, file: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let processes = std::fs::read_dir("/proc").expect("the process table").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> = pids
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| of(pid, "cmdline").contains(&name) || of(pid, "environ").contains(&name))
        .map(|pid| of(&pid, "cmdline"))
        .collect();
    let files = std::fs::read_dir(folder).expect("the folder").flatten();
    found.extend(files.map(|entry| entry.path().display().to_string()));
    found
}

#[test]
fn the_whole_method_is_shown_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shown = result(&run(folder.path(), &["--format", "json"]));
    assert_eq!(shown["ok"], true);
    assert_eq!(shown["left_behind"], Value::Array(Vec::new()));
    assert!(["chat", "site", "notice"].contains(&shown["service"].as_str().unwrap()), "{shown}");
    assert_eq!(shown["session"].as_str().map(str::len), Some(26));
    assert!(shown["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(shown["statement"]["closed"], true);
    assert_eq!(shown["statement"]["accountings"], 2);
    assert_eq!(shown["statement"]["currency"], "EUR");
    let steps = shown["steps"].as_array().unwrap();
    assert!(steps.len() > 10);
    for (number, step) in (1..).zip(steps) {
        assert_eq!(step["number"], number);
        assert!(step["what"].is_string() && step["seconds"].is_number() && step["saw"].is_array(), "{step}");
    }
    assert_eq!(survivors(folder.path()), Vec::<String>::new());
}

#[test]
fn a_person_reads_steps_on_stderr_and_one_line_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--service", "notice", "--peers", "3"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.lines().count(), 1);
    assert!(out.starts_with("done: notice was deployed to 4 nodes"), "{out}");
    for wanted in [
        "\n 2. ",
        "dora → shop: answer",
        "shop → ben: invitation",
        "shop → cleo: delivery",
        "ben sees: notice: The kettle is on.",
        "anna → shop: accounting",
        "dora: reader removed",
        "no process of the service runs",
    ] {
        assert!(err.contains(wanted), "{wanted:?} is not in\n{err}");
    }
    assert_eq!(survivors(folder.path()), Vec::<String>::new());
}

#[test]
fn quiet_is_one_line_and_keep_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["-q", "--keep", "--service", "notice", "--peers", "1"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    let kept = survivors(folder.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mut status = Command::new(env!("CARGO_BIN_EXE_deployctl"));
    status.args(["--format", "json", "--state", &format!("{}/anna", kept[0]), "status"]);
    let status: Value = serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
    assert_eq!(status["sessions"][0]["state"], "closed");
}

#[test]
fn a_demo_that_is_asked_to_end_takes_everything_with_it() {
    for (signal, code, word) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = demo(folder.path(), &["--service", "notice"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
        // As soon as the software is there, programs and their supervisors begin.
        let mut line = String::new();
        while !line.contains("reader installed") {
            line.clear();
            let read = std::io::BufRead::read_line(&mut told, &mut line).unwrap();
            assert_ne!(read, 0, "it ended before anything was installed");
        }
        // The rest is read too, or the demo would wait for a reader.
        let rest = std::thread::spawn(move || std::io::read_to_string(told).unwrap());
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(rest.join().unwrap().contains(&format!("error: {word}")));
        assert_eq!(survivors(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn a_number_of_peers_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for peers in ["0", "17"] {
        assert_eq!(run(folder.path(), &["--peers", peers]).status.code(), Some(2));
    }
}
