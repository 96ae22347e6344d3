//! Running programs are held to what their terms say: one tries to get out by every way that it can think of, and does
//! what it may.

#![expect(clippy::panic, clippy::print_stdout, reason = "a test that panics has failed; what cannot be tested is said")]
#![expect(clippy::disallowed_methods, reason = "listens, looks at files, and tells the services' programs what to do")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use parties::Parties;
use sandbox::{Sandbox, is_alive, until};
use serde_json::{Value, json};
use services::{Role, STAYS};

/// Tries everything that `plan.json` in its own folder says, and writes what came of it: null, or the system's word.
const TRIES: &str = r#"
import errno, json, os, signal, socket, subprocess, sys
data = os.environ["DEPLOYCTL_DATA"]
plan = json.load(open("plan.json"))
said = {}

def attempt(name, what):
    try:
        what()
        said[name] = None
    except OSError as why:
        said[name] = errno.errorcode.get(why.errno, str(why))

def write(path, mode="w"):
    with open(path, mode) as file:
        file.write("x\n")

def listen(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        listener.bind(("127.0.0.1", port))

def connect(port):
    socket.create_connection(("127.0.0.1", port), 5).close()

def talk_to_itself():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        connect(listener.getsockname()[1])

def send(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))

def parent_of(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])

guard = os.getppid()
supervisor = parent_of(guard)
for path in plan["outside"]:
    attempt("write " + path, lambda: write(path))
for path in plan["hidden"] + [f"/proc/{pid}/environ" for pid in (guard, supervisor)]:
    attempt("read " + path, lambda: open(path).read())
attempt("write own generation", lambda: write("new"))
attempt("change own generation", lambda: write("plan.json", "a"))
attempt("cut a file short", lambda: os.truncate(plan["hidden"][0], 0))
os.symlink(plan["hidden"][0], data + "/link")
attempt("follow a link", lambda: open(data + "/link").read())
attempt("make a device", lambda: os.mknod(data + "/device", 0o600 | 0o020000, os.makedev(1, 3)))
for name, pid in [("guard", guard), ("supervisor", supervisor), ("tester", plan["tester"])]:
    attempt("signal " + name, lambda: os.kill(pid, signal.SIGKILL))
for port in plan["bind"]:
    attempt(f"bind {port}", lambda: listen(port))
for port in plan["connect"]:
    attempt(f"connect {port}", lambda: connect(port))
attempt("send", lambda: send(plan["udp"]))
attempt("talk to itself", talk_to_itself)
attempt("write data", lambda: write(data + "/own"))
attempt("write temporary", lambda: write(os.environ["TMPDIR"] + "/own"))
attempt("write home", lambda: write(os.environ["HOME"] + "/home"))
attempt("read options", lambda: open(os.environ["DEPLOYCTL_OPTIONS"]).read())
attempt("read secret", lambda: open(os.environ["DEPLOYCTL_SECRET_FILE"]).read())
attempt("read system", lambda: open("/etc/passwd").read())
attempt("say what was used", lambda: write(os.environ["DEPLOYCTL_USAGE_FILE"], "a"))
attempt("say something", lambda: write("/dev/stderr"))
said["open"] = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
subprocess.run(["sh", "-c", plan["leave"]])
with open(data + "/said.new", "w") as file:
    json.dump(said, file)
os.rename(data + "/said.new", data + "/said")
print("up", flush=True)
signal.pause()
"#;

/// Leaves processes that have no parent, no group and no mark any more.
fn leaves(number: u32) -> String {
    format!("setsid sleep 6{number}1 & setsid env -i sh -c 'sleep 6{number}2 & sleep 6{number}3' & :")
}

fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).skip(1).any(|one| one == argument.as_bytes()))
}

/// A role that tries to get out.
fn tries(parties: &Parties, name: &str, roles: [(&Role, &Value); 2]) {
    let [host, guest] = roles;
    parties.offer(name, host.0, guest.0);
    for (role, plan) in [("host", host.1), ("guest", guest.1)] {
        let folder = parties.services().join(name).join(role);
        fs::write(folder.join("tries.py"), TRIES).expect("a script");
        fs::write(folder.join("plan.json"), plan.to_string()).expect("a plan");
    }
}

fn said(data: &Path) -> Value {
    until("the program has tried everything", || data.join("said").exists());
    serde_json::from_slice(&fs::read(data.join("said")).expect("what it said")).expect("JSON")
}

/// What the level does not hold is told, and not looked at.
struct Judge {
    level: Value,
    said: Value,
}

impl Judge {
    fn is_held(&self, what: &str) -> bool {
        match what {
            "network" => ["cut", "ports"].iter().any(|held| self.level["network"] == *held),
            what => self.level[what] == true,
        }
    }
    fn refused(&self, held_by: &str, names: &[String]) {
        if !self.is_held(held_by) {
            println!("skipped: this kernel does not hold {held_by} ({}): {names:?}", self.level["text"]);
            return;
        }
        for name in names {
            let word = self.said[name].as_str().unwrap_or_else(|| panic!("{name} succeeded: {:#}", self.said));
            let words = ["EACCES", "EPERM", "EROFS", "ECONNREFUSED", "ENETUNREACH"];
            assert!(words.contains(&word), "{name}: {word}");
        }
    }
    fn allowed(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.said.get(*name), Some(&Value::Null), "{name}: {:#}", self.said);
        }
    }
}

fn judge(sandbox: &Sandbox, node: &str, session: &str, role: &str) -> Judge {
    let status = sandbox.status(node, session);
    let level = status["confinement"].clone();
    let text = level["text"].as_str().unwrap_or_else(|| panic!("no level: {status:#}"));
    let shown = sandbox.human(node, &["status", session]).stdout;
    assert!(shown.contains(&format!("held      {text}")), "{shown}");
    Judge { level, said: said(&data(sandbox, node, session, role)) }
}

fn data(sandbox: &Sandbox, node: &str, session: &str, role: &str) -> PathBuf {
    sandbox.state(node).join("installs").join("sessions").join(session).join(role).join("data")
}

/// Where a node's program must not write.
fn outside(sandbox: &Sandbox, node: &str) -> Vec<PathBuf> {
    let name = format!("deployctl-escape-{}", std::process::id());
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let (state, other) = (sandbox.state(node), sandbox.state(if node == "i" { "a" } else { "i" }));
    let own = ["", "sessions", "installs", "installs/sessions", "run", "identity"].map(|folder| state.join(folder));
    let others = [home, "/tmp".into(), "/dev/shm".into(), sandbox.path().to_owned(), other.join("installs")];
    own.into_iter().chain(others).map(|folder| folder.join(&name)).collect()
}

/// What a node's program must not read.
fn hidden(sandbox: &Sandbox, node: &str) -> [PathBuf; 2] {
    ["identity/node.key", "config.toml"].map(|file| sandbox.state(node).join(file))
}

fn refused_by_files(judge: &Judge, sandbox: &Sandbox, node: &str, record: &Value) {
    let written = outside(sandbox, node).into_iter().map(|path| format!("write {}", path.display()));
    let read = hidden(sandbox, node).map(|path| format!("read {}", path.display()));
    let pids = ["guard", "supervisor"].map(|who| format!("read /proc/{}/environ", record[who]["pid"]));
    let more = ["write own generation", "change own generation", "cut a file short", "follow a link", "make a device"];
    judge.refused("files", &written.chain(read).chain(pids).chain(more.map(str::to_owned)).collect::<Vec<_>>());
    assert!(outside(sandbox, node).iter().all(|path| !judge.is_held("files") || !path.exists()));
}

#[test]
fn a_program_that_tries_to_get_out_stays_within_what_it_may() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a listener"));
    let [declared, undeclared] = listeners.each_ref().map(|one| one.local_addr().expect("an address").port());
    let heard = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let udp = heard.local_addr().expect("an address").port();
    let (own, foreign) = (sandbox::free_port(), sandbox::free_port());
    let number = std::process::id();
    let plan = |node: &str, n: u32| {
        json!({"outside": outside(sandbox, node), "hidden": hidden(sandbox, node), "bind": [own, foreign], "udp": udp,
               "connect": [declared, undeclared], "tester": number, "leave": leaves(number * 10 + n)})
    };
    let run = Role::new("exec python3 -IS tries.py\n").more("requires = [\"python>=3\"]");
    let reaches = run.clone().network(&format!("\"listen:{own}\", \"connect:127.0.0.1:{declared}\""));
    for node in ["i", "a"] {
        fs::write(sandbox.state(node).join("config.toml"), "[accounting]\ninterval = \"1h\"\n").expect("a setting");
    }
    tries(&parties, "tries", [(&reaches, &plan("i", 1)), (&run, &plan("a", 2))]);
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let session = parties.request("tries", &["--peer", "a", "--wait", "running"]);
    for (node, role, party) in [("i", "host", "initiator"), ("a", "guest", "peer")] {
        let judge = judge(sandbox, node, &session, role);
        let record = sandbox.record(node, &session, party);
        refused_by_files(&judge, sandbox, node, &record);
        judge.refused("signals", &["guard", "supervisor", "tester"].map(|who| format!("signal {who}")));
        judge.allowed(&["write data", "write temporary", "write home", "read options", "read secret", "read system"]);
        judge.allowed(&["say what was used", "say something"]);
        assert_eq!(judge.said["open"], json!([0, 1, 2, 3]), "nothing is open but its own three, and the list of them");
        let [to_declared, to_undeclared] = [declared, undeclared].map(|port| format!("connect {port}"));
        if node == "i" {
            judge.refused("network", &[format!("bind {foreign}"), to_undeclared, "talk to itself".to_owned()]);
            judge.allowed(&[&format!("bind {own}"), &to_declared, "send"]);
        } else {
            judge.refused("network", &[to_declared, to_undeclared]);
            judge.allowed(&["talk to itself"]);
        }
        assert!(is_alive(i32::try_from(record["supervisor"]["pid"].as_i64().unwrap_or(0)).unwrap_or(0)));
    }
    // One datagram came, from the role that has a network; the other was sent in a namespace of its own.
    heard.set_nonblocking(true).expect("a setting");
    let mut buffer = [0; 8];
    assert!(heard.recv(&mut buffer).is_ok());
    assert!(sandbox.status("a", &session)["confinement"]["network"] != "cut" || heard.recv(&mut buffer).is_err());
    let left: Vec<_> =
        [1, 2].iter().flat_map(|n| [1, 2, 3].map(|which| format!("6{}{which}", number * 10 + n))).collect();
    until("what they leave runs", || left.iter().all(|argument| runs(argument)));
    sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a"]);
    assert!(!left.iter().any(|argument| runs(argument)), "nothing is left running");
}

#[test]
fn a_node_that_requires_it_runs_what_its_kernel_holds() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    fs::write(sandbox.state("a").join("config.toml"), "[policy]\nconfinement = \"require\"\n").expect("a setting");
    parties.offer("stays", &Role::new(STAYS), &Role::new(STAYS));
    let _serving = ["p", "i", "a"].map(|node| parties.serve(node));
    let session = parties.request("stays", &["--peer", "a"]);
    let status = sandbox.wait("a", &session, "started or not", |status| {
        status["state"] == "running" || !status["reason"].is_null() || status["over"] == true
    });
    let held = sandbox.status("i", &session)["confinement"]["text"].clone();
    match status["state"].as_str() {
        Some("running") => assert_eq!(held, "files and network held"),
        _ => {
            println!("this kernel holds less: {held}");
            assert!(status.to_string().contains("cannot hold the program to its permissions"), "{status:#}");
        }
    }
}
