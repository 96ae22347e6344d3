//! Other people's tools judge what deployctl writes (row C4): openssl and securesystemslib verify its envelopes,
//! in-toto-attestation reads its statements, jq its logs, tar, bsdtar and Python its packages, and curl fetches them.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "runs other programs on files of its own, and a test that panics has failed"
)]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::{BASE64, HEXLOWER};
use deployctl::message::Envelope;
use deployctl::message::envelope::pae;
use deployctl::model::{Address, Digest, Key};
use parties::Parties;
use sandbox::Sandbox;
use serde_json::{Value, json};

/// The fixed beginning of an Ed25519 key's SubjectPublicKeyInfo (RFC 8410 §4), before its 32 bytes.
const SPKI: &str = "302a300506032b6570032100";

fn spki(key: &Key) -> Vec<u8> {
    [HEXLOWER.decode(SPKI.as_bytes()).unwrap(), key.as_bytes().to_vec()].concat()
}

fn good_messages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages/good");
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Whether openssl, which knows nothing of deployctl, finds the signature right.
fn openssl_agrees(folder: &Path, key: &Key, signed: &[u8], signature: &[u8]) -> bool {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&spki(key)));
    let [public, bytes, sig] = ["public.pem", "signed", "sig"].map(|name| folder.join(name));
    fs::write(&public, pem).unwrap();
    fs::write(&bytes, signed).unwrap();
    fs::write(&sig, signature).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-inkey"]).arg(public);
    openssl.arg("-in").arg(bytes).arg("-sigfile").arg(sig).output().unwrap().status.success()
}

#[test]
fn openssl_verifies_every_kind_of_message_and_refuses_a_changed_type() {
    if !needs::has(&["openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let messages = good_messages();
    assert!(messages.len() >= 15, "{} messages", messages.len());
    for path in messages {
        let vector: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let envelope: Envelope = serde_json::from_value(vector.get("envelope").cloned().unwrap_or(vector)).unwrap();
        let [signature] = envelope.signatures.as_slice() else { panic!("{path:?} has another number of signatures") };
        let key: Key = signature.keyid.parse().unwrap();
        let agrees = |signed: &[u8]| openssl_agrees(folder.path(), &key, signed, &signature.sig);
        assert!(agrees(&pae(&envelope.payload_type, &envelope.payload)), "{path:?}");
        let other_type = envelope.payload_type.replace(".v1+json", ".v2+json");
        assert!(!agrees(&pae(&other_type, &envelope.payload)), "{path:?}");
    }
}

/// A session that ran and ended; its nodes still serve.
fn ended_session() -> (Parties, Vec<sandbox::Serving>, String) {
    let parties = Parties::new();
    parties.offer_stays();
    let serving = parties.serve_all();
    let session = parties.running("stays");
    parties.sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=2"]).ok();
    parties.sandbox.run("i", &["stop", &session]).ok();
    parties.all_is_well(&session, &["p", "i", "a", "b"]);
    (parties, serving, session)
}

/// Every envelope that is somewhere inside, also those in payloads.
fn envelopes_in(value: &Value, found: &mut Vec<Envelope>) {
    if let Ok(envelope) = serde_json::from_value::<Envelope>(value.clone()) {
        if let Ok(payload) = serde_json::from_slice(&envelope.payload) {
            envelopes_in(&payload, found);
        }
        found.push(envelope);
    } else if let Some(fields) = value.as_object() {
        fields.values().for_each(|field| envelopes_in(field, found));
    } else if let Some(items) = value.as_array() {
        items.iter().for_each(|item| envelopes_in(item, found));
    }
}

#[test]
fn securesystemslib_verifies_a_sessions_envelopes_and_in_toto_parses_its_statements() {
    let Some(python) = needs::judge() else { return };
    let (parties, _serving, session) = ended_session();
    let party = parties.sandbox.party("p", &session, "provider");
    let mut envelopes = Vec::new();
    sandbox::lines(&party.join("log.jsonl")).iter().for_each(|record| envelopes_in(record, &mut envelopes));
    for file in fs::read_dir(party.join("manifests")).unwrap() {
        let statement: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        envelopes_in(&statement, &mut envelopes);
    }
    let mut input = String::new();
    for envelope in &envelopes {
        let key: Key = envelope.signatures[0].keyid.parse().unwrap();
        let mut other = *key.as_bytes();
        other[0] ^= 1;
        let case = json!({ "envelope": envelope, "public": HEXLOWER.encode(key.as_bytes()), "other": HEXLOWER.encode(&other) });
        input.push_str(&format!("{case}\n"));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/envelopes.py");
    let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the judge refused");
    let judged: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds = judged["kinds"].as_object().unwrap();
    for kind in
        ["service-request", "notification", "invitation", "answer", "delivery", "report", "accounting", "receipt"]
    {
        assert!(kinds.contains_key(&format!("application/vnd.deployctl.{kind}.v1+json")), "{kind}: {judged}");
    }
    let total: u64 = kinds.values().filter_map(Value::as_u64).sum();
    assert_eq!(total, envelopes.len() as u64);
    let predicates = json!({ "urn:deployctl:manifest:v1": 2, "https://slsa.dev/provenance/v1": 2 });
    assert_eq!(judged["predicates"], predicates, "of two roles each");
}

#[test]
fn jq_reads_the_log_of_a_session() {
    if !needs::has(&["jq"]) {
        return;
    }
    let (parties, _serving, session) = ended_session();
    for (node, party) in [("p", "provider"), ("i", "initiator"), ("a", "peer")] {
        let log = parties.sandbox.party(node, &session, party).join("log.jsonl");
        // Each line is a record, numbered without gaps; each envelope's payload is JSON that names its sender.
        let filter = "[inputs] | (map(.seq) == [range(1; length + 1)]) and \
                      (map(.body.envelope // empty | .payload | @base64d | fromjson | .from | length) | all(. == 52))";
        assert_eq!(shell("jq -n \"$FILTER\" \"$LOG\"", &log, filter), "true\n", "{node}");
    }
}

/// What a line for the shell prints.
fn shell(line: &str, log: &Path, filter: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("LOG", log).env("FILTER", filter).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_queries_that_the_readme_shows_find_what_it_says() {
    if !needs::has(&["jq"]) {
        return;
    }
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let queries: Vec<_> = readme.lines().filter(|line| line.starts_with("jq ") && line.contains("$LOG")).collect();
    assert_eq!(queries.len(), 4, "{queries:?}");
    let (parties, _serving, session) = ended_session();
    let log = parties.sandbox.party("i", &session, "initiator").join("log.jsonl");
    let said: Vec<_> = queries.iter().map(|query| shell(query, &log, "")).collect();
    assert!(said[0].lines().any(|line| line.ends_with("\tsent\tservice-request.v1")), "{}", said[0]);
    let invited: Vec<&str> = said[1].lines().collect();
    assert_eq!(invited, ["a", "b"]);
    let results: Vec<&str> = said[2].lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(results.contains(&"installed") && results.contains(&"removed"), "{results:?}");
    assert!(said[3].lines().any(|line| line.starts_with("reading 2")), "{}", said[3]);
}

/// Name, whether it is executable, and the content of everything below a folder; what a link leads to.
fn tree(root: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, about) = (entry.path(), entry.metadata().unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            // What is installed is read-only: the packages' own modes but for that.
            let mode = format!("{:o}", about.permissions().mode() & 0o7555);
            if about.is_symlink() {
                all.insert(name, ("link".into(), fs::read_link(&path).unwrap().display().to_string().into_bytes()));
            } else if about.is_dir() {
                all.insert(name, (format!("folder {mode}"), Vec::new()));
                folders.push(path);
            } else {
                all.insert(name, (format!("file {mode}"), fs::read(&path).unwrap()));
            }
        }
    }
    all
}

/// A service whose host's software has everything that a package can hold.
fn offer_everything(parties: &Parties) {
    parties.offer_stays();
    let host = parties.services().join("stays/host");
    let long = "a-very-long-name-".repeat(12);
    fs::create_dir_all(host.join("deep/er").join(&long)).unwrap();
    fs::create_dir(host.join("empty")).unwrap();
    fs::write(host.join("deep/er").join(&long).join("Größe, mit Leerzeichen.txt"), "eight\n").unwrap();
    fs::write(host.join("none"), "").unwrap();
    fs::write(host.join("large"), (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<_>>()).unwrap();
    fs::write(host.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(host.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../tool", host.join("deep/link")).unwrap();
}

/// The package of the Initiator's role, at the provider.
fn package(sandbox: &Sandbox, session: &str) -> (Digest, PathBuf) {
    let status = sandbox.status("i", session);
    let digest: Digest = status["packages"][0]["digest"].as_str().unwrap().parse().unwrap();
    (digest, sandbox.state("p").join("packages").join(format!("{digest}.tar.gz")))
}

#[test]
fn tar_bsdtar_and_python_open_a_package_alike_and_as_it_was_installed() {
    if !needs::has(&["tar", "bsdtar", "python3"]) {
        return;
    }
    let parties = Parties::new();
    offer_everything(&parties);
    let _serving = parties.serve_all();
    let session = parties.running("stays");
    let (_, file) = package(&parties.sandbox, &session);
    let installed = tree(&parties.sandbox.installed("i", &session, "host").join("current/"));
    assert_eq!(installed["tool"].0, "file 555");
    assert_eq!(installed["deep/link"], ("link".to_owned(), b"../tool".to_vec()));
    assert!(installed.len() >= 11 && installed.contains_key("empty"), "{:?}", installed.keys());
    let unpack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/unpack.py");
    for tool in [&["tar", "-xzpf"][..], &["bsdtar", "-xpf"], &["python3", unpack]] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]).arg(&file);
        if tool[0] != "python3" {
            command.arg("-C");
        }
        let output = command.arg(folder.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{tool:?}: {output:?}");
        let unpacked = tree(folder.path());
        assert_eq!(unpacked.keys().collect::<Vec<_>>(), installed.keys().collect::<Vec<_>>(), "{tool:?}");
        for (name, entry) in &installed {
            assert!(
                unpacked[name] == *entry,
                "{tool:?}: {name} is {} and was installed as {}",
                unpacked[name].0,
                entry.0
            );
        }
    }
}

/// Asks the provider as `node`, or as nobody; curl knows the provider by its key.
fn curl(sandbox: &Sandbox, node: Option<&str>, provider: &Address, path: &str, more: &[&str]) -> Output {
    let pin = format!("sha256//{}", BASE64.encode(Digest::of(&spki(&provider.key)).as_bytes()));
    let place = provider.host.as_ref().unwrap();
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "--insecure",
        "--max-time",
        "30",
        "--pinnedpubkey",
        &pin,
        "--write-out",
        "%{stderr}%{http_code}",
    ]);
    if let Some(node) = node {
        let identity = sandbox.state(node).join("identity");
        command.arg("--cert").arg(identity.join("node.crt")).arg("--key").arg(identity.join("node.key"));
    }
    command.args(more).arg(format!("https://{place}{path}")).output().unwrap()
}

#[test]
fn curl_fetches_a_package_by_ranges_and_is_refused_without_rights_or_a_certificate() {
    if !needs::has(&["curl"]) {
        return;
    }
    let parties = Parties::new();
    offer_everything(&parties);
    let serving = parties.serve_all();
    let session = parties.running("stays");
    let sandbox = &parties.sandbox;
    sandbox.init_nowhere("stranger");
    let (digest, file) = package(sandbox, &session);
    let provider: Address = serving[0].address().parse().unwrap();
    let path = format!("/v1/packages/{digest}");
    let ask = |node: Option<&str>, more: &[&str]| {
        let output = curl(sandbox, node, &provider, &path, more);
        let status = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout, status)
    };

    let size = fs::metadata(file).unwrap().len();
    let middle = size / 2;
    let (first, status) = ask(Some("i"), &["--range", &format!("0-{}", middle - 1)]);
    assert_eq!((status.as_str(), first.len() as u64), ("206", middle));
    let (second, status) = ask(Some("i"), &["--range", &format!("{middle}-")]);
    assert_eq!((status.as_str(), second.len() as u64), ("206", size - middle));
    let glued = [first, second].concat();
    assert_eq!(Digest::of(&glued), digest);
    assert_eq!(ask(Some("i"), &[]), (glued, "200".to_owned()));
    assert_eq!(ask(Some("i"), &["--range", &format!("{size}-")]).1, "416");

    // A peer's package is another one; a stranger has none.
    for node in ["a", "stranger"] {
        let (body, status) = ask(Some(node), &[]);
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem["code"].as_str(), status.as_str()), (Some("not-permitted"), "403"), "{node}: {problem}");
    }
    let nobody = curl(sandbox, None, &provider, &path, &[]);
    assert!(!nobody.status.success() && nobody.stdout.is_empty(), "{nobody:?}");
    // And curl itself sees that it is another's key.
    let impostor = Address { key: sandbox_key(sandbox, "a"), ..provider.clone() };
    let mistaken = curl(sandbox, Some("i"), &impostor, &path, &[]);
    assert_eq!(mistaken.status.code(), Some(90), "the pinned key differs: {mistaken:?}");
}

fn sandbox_key(sandbox: &Sandbox, node: &str) -> Key {
    let made = sandbox.run(node, &["init"]).ok();
    made["address"].as_str().unwrap().parse::<Address>().unwrap().key
}
