//! What a program writes to `$DEPLOYCTL_USAGE_FILE` is accounted for exactly once, whoever dies meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests are outside of the program")]

#[path = "support/quick.rs"]
mod quick;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use quick::Quick;
use sandbox::until;
use serde_json::Value;

const SERVICE: &str = r#"
name = "counter"
version = "1.0.0"
summary = "Counts"
license = "MIT"

[roles.holder]
for = "initiator"
min = 1
max = 1
platforms = ["any"]
[roles.holder.build]
copy = "holder/"
[roles.holder.run]
command = ["sh", "hold.sh"]
ready = { file = "ready", within = "10s" }
restart = "on-failure"
[roles.holder.permissions]
write = ["data/"]

[roles.reader]
for = "peer"
platforms = ["any"]
[roles.reader.build]
copy = "reader/"
[roles.reader.run]
command = ["sh", "read.sh"]
[roles.reader.permissions]
write = ["data/"]

[tariff]
currency = "EUR"
per = { readings = "0.10" }
"#;

/// Fails once: what it had written stays, its last line without an end. Says a last word when it is stopped.
const HOLD: &str = r#"
use() { printf '%s' "$1" >>"$DEPLOYCTL_USAGE_FILE"; }
end='
'
[ ! -e "$DEPLOYCTL_DATA/again" ] || use "\"unit\":\"page\"}$end"
use "{\"meter\":\"readings\",\"amount\":\"1\"}$end"
use "{\"meter\":\"readings\",\"amount\":\"2\"}$end"
if [ ! -e "$DEPLOYCTL_DATA/again" ]; then
    : >"$DEPLOYCTL_DATA/again"
    : >"$DEPLOYCTL_DATA/ready"
    use "nonsense$end"
    use '{"meter":"pages","amount":"0.5",'
    sleep 1
    exit 1
fi
trap 'use "{\"meter\":\"readings\",\"amount\":\"100\"}$end"; exit 0' TERM
rm -f "$DEPLOYCTL_DATA/ready"
: >"$DEPLOYCTL_DATA/ready"
while :; do sleep 0.1; done
"#;

fn write_service(folder: &Path) {
    let service = folder.join("counter");
    fs::create_dir_all(service.join("holder")).unwrap();
    fs::create_dir_all(service.join("reader")).unwrap();
    fs::write(service.join("service.toml"), SERVICE).unwrap();
    fs::write(service.join("holder/hold.sh"), HOLD).unwrap();
    fs::write(service.join("reader/read.sh"), "while :; do sleep 0.1; done\n").unwrap();
}

fn read(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn amounts(statement: &Value, meter: &str) -> String {
    let line = statement["lines"].as_array().unwrap().iter().find(|line| line["meter"] == meter);
    line.map(|line| line["amount"].as_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn what_a_program_used_is_accounted_once_whoever_dies_meanwhile() {
    let services = tempfile::tempdir().unwrap();
    write_service(services.path());
    let mut quick = Quick::with_services(services.path());
    quick.request("counter", &[]);
    let session = quick.session.clone();
    let part = format!("{session}.initiator");
    let run = quick.state("anna").join("run").join(part);
    let meter = quick.state("anna").join("sessions").join(&session).join("initiator/meter.json");
    let metered = |name: &str| read(&meter)["usage"][name]["amount"].clone();
    until("two starts", || metered("readings") == "6" && metered("pages") == "0.5");
    let statement = quick.run("anna", &["account", &session, "--interim"]).ok();
    assert_eq!((amounts(&statement, "readings"), amounts(&statement, "pages")), ("6".into(), "0.5".into()));
    // The supervisor is killed; the program goes on, and another supervisor takes it over.
    let supervisor = || read(&run.join("record.json"))["supervisor"]["pid"].as_u64();
    let before = supervisor().unwrap();
    let started = read(&meter)["starts"].as_u64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut usage = OpenOptions::new().append(true).open(run.join("usage.jsonl")).unwrap();
    usage.write_all(b"{\"meter\":\"readings\",\"amount\":\"10\"}\n{\"meter\":\"readings\",").unwrap();
    until("another supervisor", || supervisor().is_some_and(|now| now != before));
    until("its reading", || metered("readings") == "16");
    usage.write_all(b"\"amount\":\"20\"}\n").unwrap();
    quick.end();
    for who in ["anna", "shop"] {
        let statement = quick.run(who, &["account", &session]).ok();
        assert_eq!(amounts(&statement, "readings"), "136", "{who}");
        assert_eq!(amounts(&statement, "pages"), "0.5", "{who}");
        assert_eq!(amounts(&statement, "start"), started.to_string(), "{who}: the program was adopted, not started");
        assert_eq!(statement["total"], "13.60", "{who}");
        assert_eq!(statement["closed"], true);
        quick.run(who, &["verify", &session]).ok();
    }
    assert!(!run.exists(), "the usage file goes with the software");
}
