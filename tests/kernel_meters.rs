//! What the kernel counts of a program and of all that it started is accounted for where the tariff names it: once,
//! whichever of program and supervisor dies meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests are outside of the program")]

#[path = "support/quick.rs"]
mod quick;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::path::Path;

use quick::Quick;
use sandbox::until;
use serde_json::Value;

const SERVICE: &str = r#"
name = "furnace"
version = "1.0.0"
summary = "Burns processor time"
license = "MIT"

[roles.holder]
for = "initiator"
min = 1
max = 1
platforms = ["any"]
requires = ["python>=3"]
[roles.holder.build]
copy = "holder/"
[roles.holder.run]
command = ["python3", "-IS", "burn.py"]
ready = { file = "ready", within = "300s" }
stop = { signal = "TERM", grace = "30s" }
restart = "on-failure"
[roles.holder.permissions]
write = ["data/"]

[roles.reader]
for = "peer"
platforms = ["any"]
[roles.reader.build]
copy = "holder/"
[roles.reader.run]
command = ["sleep", "600"]

[tariff]
currency = "EUR"
per = { cpu-second = "1", megabyte-written = "0.5" }
"#;

/// Burns a second by itself and one in a child that it waits for, and leaves a grandchild to burn half of one. Falls
/// over the first time. Says by its usage file what it measured by itself: the lower bound.
const BURN: &str = r#"
import os, signal, sys, time
data = os.environ["DEPLOYCTL_DATA"]

def say(seconds):
    with open(os.environ["DEPLOYCTL_USAGE_FILE"], "a") as usage:
        usage.write('{"meter":"burnt","amount":"%.6f"}\n' % seconds)

def burn(seconds):
    while time.process_time() < seconds:
        pass

def of_self_and_children():
    return sum(os.times()[:4])

def stop(*_):
    say(of_self_and_children())
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
burn(1)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        burn(0.5)
        say(time.process_time())
        open(data + "/orphan", "w").close()
        os._exit(0)
    burn(1)
    os._exit(0)
os.wait()
while not os.path.exists(data + "/orphan"):
    time.sleep(0.05)
os.remove(data + "/orphan")
if not os.path.exists(data + "/again"):
    open(data + "/again", "w").close()
    say(of_self_and_children())
    os._exit(1)
with open(data + "/large", "w") as file:
    file.write("x" * 3000000)
open(data + "/ready", "w").close()
while not os.path.exists(data + "/more"):
    time.sleep(0.1)
burn(time.process_time() + 1)
open(data + "/done", "w").close()
while True:
    signal.pause()
"#;

fn write_service(folder: &Path) {
    let holder = folder.join("furnace/holder");
    fs::create_dir_all(&holder).unwrap();
    fs::write(folder.join("furnace/service.toml"), SERVICE).unwrap();
    fs::write(holder.join("burn.py"), BURN).unwrap();
}

fn read(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn line<'a>(statement: &'a Value, meter: &str) -> Option<&'a Value> {
    statement["lines"].as_array().unwrap().iter().find(|line| line["meter"] == meter)
}

fn amount(statement: &Value, meter: &str) -> f64 {
    line(statement, meter).map_or(0.0, |line| line["amount"].as_str().unwrap().parse().unwrap())
}

#[test]
fn what_the_kernel_counts_is_accounted_once_whoever_dies_meanwhile() {
    let services = tempfile::tempdir().unwrap();
    write_service(services.path());
    let mut quick = Quick::with_services(services.path());
    quick.request("furnace", &[]);
    let session = quick.session.clone();
    let run = quick.state("anna").join("run").join(format!("{session}.initiator"));
    let meter = quick.state("anna").join("sessions").join(&session).join("initiator/meter.json");
    let data = quick.state("anna").join("installs/sessions").join(&session).join("holder/data");
    let metered = || read(&meter)["counted"]["cpu_ms"].as_u64().unwrap_or(0);
    until("a reading of both starts", || metered() >= 5_000);
    let interim = quick.run("anna", &["account", &session, "--interim"]).ok();
    assert!(amount(&interim, "cpu-second") >= 5.0, "{interim:#}");
    // The supervisor is killed; the program goes on, and burns more under another one.
    let supervisor = || read(&run.join("record.json"))["supervisor"]["pid"].as_u64();
    let before = supervisor().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("another supervisor", || supervisor().is_some_and(|now| now != before));
    fs::write(data.join("more"), "").unwrap();
    until("it has burnt more", || data.join("done").exists());
    quick.end();
    for who in ["anna", "shop"] {
        let statement = quick.run(who, &["account", &session]).ok();
        let [burnt, counted, written] =
            ["burnt", "cpu-second", "megabyte-written"].map(|meter| amount(&statement, meter));
        // Two starts of 2.5 s each, and one second more. It ends in a moment after it said what it used; anything that
        // is counted twice is half a second at least, and the kernel's clock ticks in hundredths, cut off for each
        // process.
        assert!(burnt >= 5.9, "{statement:#}");
        assert!((burnt - 0.05..burnt + 0.45).contains(&counted), "{who}: {statement:#}");
        assert!((3.0..4.0).contains(&written), "{who}: {statement:#}");
        let priced = line(&statement, "cpu-second").unwrap();
        assert_eq!((&priced["unit"], &priced["price"]), (&"s".into(), &"1".into()));
        assert!(line(&statement, "megabyte-read").is_none(), "the tariff does not name it");
        assert!(statement["total"].as_str().unwrap().parse::<f64>().unwrap() >= 5.85);
    }
}
