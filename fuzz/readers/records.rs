//! Envelopes, and what is made of them and kept: ledgers and transcripts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use deployctl::message::{Envelope, SigningKey, Verified};
use deployctl::model::Hash;
use deployctl::node::{InboxBatch, Posted};
use deployctl::roles::proof;
use deployctl::roles::transcript::{Transcript, verify};
use deployctl::service::usage::{parse_usage, parse_usage_line};
use deployctl::store::{fork, ledger};

/// The types of messages: the first byte draws one.
const KINDS: [&str; 23] = [
    "service-request",
    "invitation",
    "answer",
    "delivery",
    "accounting",
    "interface",
    "enrol",
    "program-delivery",
    "interface-request",
    "notification",
    "add-peers",
    "close-answers",
    "withdraw",
    "registration",
    "progress",
    "report",
    "start",
    "terminate",
    "leave",
    "receipt",
    "program-request",
    "program-report",
    "rotate",
];

/// Known nodes, with their keys as texts: who signed what the fixtures have, and one more.
static SIGNERS: LazyLock<Vec<(String, SigningKey)>> = LazyLock::new(|| {
    let keys = [9, 1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]).unwrap());
    keys.map(|key| (key.key().to_string(), key)).into()
});

/// The known node whose key the payload has first, as the sender's; else the one more.
fn signer(payload: &[u8]) -> &'static SigningKey {
    let at = |text: &str| payload.windows(text.len()).position(|window| window == text.as_bytes());
    let first = SIGNERS.iter().filter_map(|(text, key)| Some((at(text)?, key))).min_by_key(|(at, _)| *at);
    first.map_or(&SIGNERS[0].1, |(_, key)| key)
}

/// An envelope as it comes over the network; and what a known node would have signed, as a message.
pub(super) fn envelope(input: &[u8]) {
    if let Ok(envelope) = Envelope::from_json(input) {
        assert!(envelope.verify(&SIGNERS[0].1.key()).is_err());
        let _ = Verified::open(envelope);
    }
    let _ = (Posted::from_json(input), serde_json::from_slice::<InboxBatch>(input));
    let Some((kind, payload)) = input.split_first() else { return };
    let kind = format!("application/vnd.deployctl.{}.v1+json", KINDS[usize::from(*kind) % KINDS.len()]);
    let signer = signer(payload);
    if let Ok(message) = Verified::open(Envelope::seal(&kind, payload.to_vec(), signer)) {
        assert_eq!(message.head.from, signer.key());
        let _ = message.check_nested();
        let again = Verified::open(message.clone().into_parts().0.seal(signer)).expect("what reads is written");
        assert_eq!(again.into_parts().0, message.into_parts().0);
    }
}

/// The lines of a ledger as they are; and what Initiator and provider would have signed, a pair of payloads a line.
pub(super) fn ledger(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check(text);
    let _ = (fork::parse("a fork", input), parse_usage(text), parse_usage_line(text));
    let seal = |kind: &str, payload: &str| {
        let kind = format!("application/vnd.deployctl.{kind}.v1+json");
        serde_json::to_value(Envelope::seal(&kind, payload.as_bytes().to_vec(), signer(payload.as_bytes()))).unwrap()
    };
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    let sealed = (1..).zip(pairs).map(|(sequence, (accounting, receipt))| {
        let (accounting, receipt) = (seal("accounting", accounting), seal("receipt", receipt));
        serde_json::json!({ "sequence": sequence, "accounting": accounting, "receipt": receipt }).to_string() + "\n"
    });
    check(&sealed.collect::<String>());
}

fn check(text: &str) {
    let Ok(lines) = ledger::read_text("a ledger", text) else { return };
    if let Ok(Some(checked)) = proof::check_ledger(&lines, "a ledger", &mut BTreeMap::new()) {
        assert_eq!(checked.accountings, lines.len() as u64);
    }
}

/// True transcripts: one of each party.
static TRANSCRIPTS: LazyLock<[Transcript; 3]> = LazyLock::new(|| {
    [
        include_str!("../../fixtures/fuzz/transcript/initiator.json"),
        include_str!("../../fixtures/fuzz/transcript/provider.json"),
        include_str!("../../fixtures/fuzz/transcript/peer.json"),
    ]
    .map(|text| serde_json::from_str(text).unwrap())
});

/// A transcript. The first byte draws a true one, in which records are given other bodies, chained as if they had been
/// written so: each is the record's number and, after its length in two bytes, its body. Else the input is the document.
pub(super) fn transcript(input: &[u8]) {
    if let Ok(transcript) = serde_json::from_slice::<Transcript>(input) {
        let _ = verify(&transcript);
    }
    let Some((which, mut rest)) = input.split_first() else { return };
    let Some(whole) = TRANSCRIPTS.get(usize::from(*which)) else { return };
    let (mut transcript, mut changed) = (whole.clone(), false);
    while let Some(([number, low, high], more)) = rest.split_first_chunk::<3>() {
        let (body, after) = more.split_at(more.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        rest = after;
        let at = usize::from(*number) % transcript.records.len();
        let (Ok(body), line) = (std::str::from_utf8(body), &mut transcript.records[at]) else { continue };
        let from = line.find(r#","body":"#).unwrap() + r#","body":"#.len();
        let to = line.rfind(r#","check":""#).unwrap();
        if !body.contains('\n') && line[from..to] != *body {
            line.replace_range(from..to, body);
            changed = true;
        }
    }
    chain(&mut transcript);
    if let Ok(verified) = verify(&transcript) {
        assert!(!changed, "the seal is over every record");
        assert_eq!((verified.session, verified.party), (whole.session, whole.party));
    }
}

/// Chains records as if they had been written so.
fn chain(transcript: &mut Transcript) {
    let domain = format!("deployctl session log v1\n{}\n{}\n", transcript.session, transcript.party);
    let mut before = Hash::of(domain.as_bytes());
    for line in &mut transcript.records {
        let at = line.find(r#""prev":""#).unwrap() + r#""prev":""#.len();
        line.replace_range(at..at + 64, &before.to_string());
        line.truncate(line.rfind(r#","check":""#).unwrap());
        let check = &Hash::of(line.as_bytes()).to_string()[..16];
        *line += &format!(r#","check":"{check}"}}"#);
        before = Hash::of(line.as_bytes());
    }
}
