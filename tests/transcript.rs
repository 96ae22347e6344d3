//! `status --export` and `verify FILE`, `account verify FILE`, `verify PACKAGE` of the real program: whatever is changed
//! in what is shown to a third party, it is found.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests are outside of the program")]

#[path = "support/quick.rs"]
mod quick;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::path::Path;

use deployctl::model::{Code, Hash};
use deployctl::roles::transcript::{Transcript, verify};
use quick::{Quick, fixtures};
use serde_json::Value;

const SIGNATURE: &str = "only-the-holder-knows-this";

fn export(quick: &Quick, who: &str) -> (String, Transcript) {
    let file = quick.sandbox.path().join(format!("{who}.json"));
    let path = file.display().to_string();
    let told = quick.run(who, &["status", &quick.session, "--export", &path]).ok();
    assert_eq!(told["session"], quick.session.as_str());
    let on_stdout = quick.run(who, &["status", &quick.session, "--export", "-"]).ok();
    assert_eq!((&on_stdout["format"], &on_stdout["session"]), (&"deployctl-transcript".into(), &told["session"]));
    (path, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap())
}

/// One other letter or digit in the middle.
fn changed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = (bytes.len() / 2..bytes.len()).find(|at| bytes[*at].is_ascii_lowercase()).unwrap();
    bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
    String::from_utf8(bytes).unwrap()
}

/// Numbers and chains records as if they had been written so.
fn chained(transcript: &mut Transcript) {
    let domain = format!("deployctl session log v1\n{}\n{}\n", transcript.session, transcript.party);
    let mut before = Hash::of(domain.as_bytes());
    for (number, line) in (1..).zip(&mut transcript.records) {
        let (_, rest) = line.split_once(r#","time""#).unwrap();
        let (head, rest) = rest.split_once(r#""prev":""#).unwrap();
        let (covered, _) = rest[64..].rsplit_once(r#","check":""#).unwrap();
        let covered = format!(r#"{{"seq":{number},"time"{head}"prev":"{before}{covered}"#);
        let check = &Hash::of(covered.as_bytes()).to_string()[..16];
        *line = format!(r#"{covered},"check":"{check}"}}"#);
        before = Hash::of(line.as_bytes());
    }
}

/// What is said of a transcript that was changed.
fn refused(transcript: &Transcript) -> String {
    let error = verify(transcript).unwrap_err();
    assert_eq!(error.code.exit(), Code::BrokenChain.exit(), "{error:?}");
    error.message
}

fn assert_changes_are_found(transcript: &Transcript) {
    for at in 0..transcript.records.len() {
        let mut other = transcript.clone();
        other.records[at] = changed(&other.records[at]);
        assert!(refused(&other).contains(&format!("record {} ", at + 1)), "{at}");
        // The same by somebody who chains it again: a signature, the replay or the seal tells.
        chained(&mut other);
        if other != *transcript {
            refused(&other);
        }
        let mut fewer = transcript.clone();
        fewer.records.remove(at);
        refused(&fewer);
        chained(&mut fewer);
        refused(&fewer);
    }
    for at in 0..transcript.ledger.len() {
        let mut other = transcript.clone();
        other.ledger[at] = changed(&other.ledger[at]);
        let said = refused(&other);
        assert!(
            said.contains(&format!("accounting {}", at + 1)) || said.contains(&format!("record {}", at + 1)),
            "{said}"
        );
        let mut fewer = transcript.clone();
        fewer.ledger.remove(at);
        assert!(refused(&fewer).contains("accounting "));
    }
    for digest in transcript.manifests.keys() {
        let mut other = transcript.clone();
        other.manifests.get_mut(digest).unwrap().payload[9] ^= 1;
        assert!(refused(&other).contains(&format!("manifest {digest}")));
        let mut fewer = transcript.clone();
        fewer.manifests.remove(digest);
        assert!(refused(&fewer).contains("record "));
    }
    let mut others = vec![transcript.clone(); 4];
    others[0].seal = None;
    others[1].parties[0].name.push('x');
    others[2].parties.pop();
    others[3].records.clear();
    others.iter().for_each(|other| drop(refused(other)));
}

/// Every value of the session's secrets, as text that could be found elsewhere.
fn secrets(quick: &Quick, who: &str) -> Vec<String> {
    let mut found = Vec::new();
    let folder = quick.state(who).join("sessions").join(&quick.session).join("secrets");
    for entry in fs::read_dir(folder).unwrap() {
        let value: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        found.extend(value.as_object().unwrap().values().map(|one| one.as_str().unwrap().to_owned()));
    }
    found
}

#[test]
fn a_transcript_is_checked_by_others_and_every_change_of_it_is_found() {
    let mut quick = Quick::with_services(&fixtures());
    quick.request("notice", &["--set", &format!("signature={SIGNATURE}")]);
    quick.run("anna", &["account", &quick.session, "--interim", "--usage", "reading=3"]).ok();
    a_package_is_checked_offline(&quick);
    // They go with the software.
    let secrets = ["shop", "anna", "ben"].map(|who| secrets(&quick, who));
    quick.end();
    let stranger = quick.sandbox.path().join("stranger");
    for (who, known) in ["shop", "anna", "ben"].into_iter().zip(secrets) {
        let (path, transcript) = export(&quick, who);
        let text = fs::read_to_string(&path).unwrap();
        assert!(known.len() >= 4 && known.iter().all(|one| one.len() > 8), "{who}: {known:?}");
        for secret in known.iter().map(String::as_str).chain([SIGNATURE]) {
            assert!(!text.contains(secret), "{who} shows {secret}");
        }
        // Somebody with the file alone, and without an identity.
        let verified = quick.run(stranger.file_name().unwrap().to_str().unwrap(), &["verify", &path]).ok();
        let verified = &verified["verified"][0];
        assert_eq!(verified["sealed_by"], transcript.node_key.to_string());
        let names: Vec<_> = verified["signers"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["anna", "shop", "ben"], "{who}");
        assert_eq!(verified["accountings"], transcript.ledger.len());
        assert_changes_are_found(&transcript);
        let mut other = transcript.clone();
        other.records[4] = changed(&other.records[4]);
        fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
        let ended = quick.run("stranger", &["verify", &path]);
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.stderr.contains("record 5 "), "{ended:?}");
    }
    let ended = quick.run("stranger", &["verify", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert_eq!(ended.code, 8, "{ended:?}");
    books_are_shown(&quick);
}

fn books_are_shown(quick: &Quick) {
    let ledger = quick.state("shop").join("ledger").join(format!("{}.jsonl", quick.session));
    let path = ledger.display().to_string();
    let verified = quick.run("stranger", &["account", "verify", &path]).ok();
    assert_eq!(verified["verified"][0]["accountings"], 2);
    let copy = quick.sandbox.path().join("ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    fs::write(&copy, text.lines().next_back().unwrap().to_owned() + "\n").unwrap();
    let ended = quick.run("stranger", &["account", "verify", copy.to_str().unwrap()]);
    assert_eq!(ended.code, 4, "{ended:?}");
    for who in ["shop", "anna"] {
        let csv = quick.sandbox.human(who, &["account", "export", "--csv"]).stdout;
        let mut lines = csv.split("\r\n");
        let header = "session,sequence,kind,time,initiator,provider,service,meter,amount,unit,price,cost,currency";
        assert_eq!(lines.next(), Some(header));
        let reading = lines.find(|line| line.contains(",reading,")).unwrap();
        assert!(reading.starts_with(&format!("{},1,interim,", quick.session)), "{reading}");
        assert!(reading.ends_with(",anna,shop,notice,reading,3,,0.001,0.0030,EUR"), "{reading}");
        let all = quick.run(who, &["account", "export", "--initiator", "anna"]).ok();
        assert_eq!(all["accountings"].as_array().unwrap().len(), csv.matches("\r\n").count() - 1);
        let none = quick.run(who, &["account", "export", "--since", "2100-01-01T00:00:00Z"]).ok();
        assert_eq!(none["accountings"], Value::Array(Vec::new()));
    }
}

fn a_package_is_checked_offline(quick: &Quick) {
    let only = |folder: &Path, ending: &str| {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        // Not what stands beside it: DIGEST.provenance.json.
        let is = |name: &str| name.strip_suffix(ending).is_some_and(|digest| !digest.contains('.'));
        files.find(|path| is(path.file_name().unwrap().to_str().unwrap())).unwrap()
    };
    let state = quick.state("anna");
    let manifest = only(&state.join("sessions").join(&quick.session).join("initiator/manifests"), ".json");
    let package = only(&state.join("packages"), ".tar.gz");
    let (manifest, package) = (manifest.display().to_string(), package.display().to_string());
    let checked = quick.run("anna", &["verify", &package, "--manifest", &manifest, "--signer", "shop"]).ok();
    assert!(package.contains(checked["digest"].as_str().unwrap()));
    assert_eq!(quick.run("anna", &["verify", &package, "--manifest", &manifest, "--signer", "ben"]).code, 4);
    let copy = quick.sandbox.path().join("copy.tar.gz");
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let copy = copy.display().to_string();
    assert_eq!(quick.run("anna", &["verify", &copy, "--manifest", &manifest, "--signer", "shop"]).code, 4);
}
