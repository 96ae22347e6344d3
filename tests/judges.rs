//! Other people's tools judge what deployctl writes (row C4): openssl verifies the envelopes' signatures, jq reads logs.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "runs other programs on files of its own, and says what it skips"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::{BASE64, HEXLOWER};
use deployctl::message::Envelope;
use deployctl::message::envelope::pae;
use deployctl::model::Key;

/// The fixed beginning of an Ed25519 key's SubjectPublicKeyInfo (RFC 8410 §4), before its 32 bytes.
const SPKI: &str = "302a300506032b6570032100";

fn is_installed(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: {tool} is not installed");
    }
    there
}

fn good_messages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages/good");
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Whether openssl, which knows nothing of deployctl, finds the signature right.
fn openssl_agrees(folder: &Path, key: &Key, signed: &[u8], signature: &[u8]) -> bool {
    let der = [HEXLOWER.decode(SPKI.as_bytes()).unwrap(), key.as_bytes().to_vec()].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der));
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
    if !is_installed("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let messages = good_messages();
    assert!(messages.len() >= 15, "{} messages", messages.len());
    for path in messages {
        let vector: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let envelope: Envelope = serde_json::from_value(vector.get("envelope").cloned().unwrap_or(vector)).unwrap();
        let [signature] = envelope.signatures.as_slice() else { panic!("{path:?} has another number of signatures") };
        let key: Key = signature.keyid.parse().unwrap();
        let agrees = |signed: &[u8]| openssl_agrees(folder.path(), &key, signed, &signature.sig);
        assert!(agrees(&pae(&envelope.payload_type, &envelope.payload)), "{path:?}");
        let other_type = envelope.payload_type.replace(".v1+json", ".v2+json");
        assert!(!agrees(&pae(&other_type, &envelope.payload)), "{path:?}");
    }
}

#[test]
fn jq_reads_the_log_of_a_session() {
    if !is_installed("jq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let deployctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deployctl"));
        command.args(arguments).env("TMPDIR", folder.path()).output().unwrap()
    };
    let demo = deployctl(&["demo", "--service", "notice", "--peers", "1", "--keep", "--format", "json"]);
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let logs = Command::new("find").arg(folder.path()).args(["-name", "log.jsonl"]).output().unwrap();
    let logs = String::from_utf8(logs.stdout).unwrap();
    assert_eq!(logs.lines().count(), 3, "one log for each party: {logs}");
    for log in logs.lines() {
        // Each line is a record, numbered without gaps; each envelope's payload is JSON that names its sender.
        let filter = "[inputs] | (map(.seq) == [range(1; length + 1)]) and \
                      (map(.body.envelope // empty | .payload | @base64d | fromjson | .from | length) | all(. == 52))";
        let read = Command::new("jq").args(["-n", filter, log]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&read.stdout).trim(),
            "true",
            "{log}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}
