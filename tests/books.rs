//! Books between parties that do not trust each other: what was signed twice is refused and kept as evidence (row P10),
//! and statements are of a period and of an Initiator (row A18).

#![expect(clippy::disallowed_methods, reason = "looks at the nodes' files from outside")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test give up loudly")]

#[path = "support/parties.rs"]
mod parties;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;

use std::fs;
use std::sync::Arc;

use deployctl::message::{Body, Head, Message, Verified};
use deployctl::model::{Code, Error, MessageId, SessionId};
use deployctl::node::{Client, NodeIdentity, Posted};
use deployctl::store::ledger::{Ledger, LedgerLine};
use deployctl::store::{StateDir, StoredIdentity};
use parties::{Parties, WELCOME};
use sandbox::{Sandbox, lines};
use serde_json::Value;

/// The keys of a node, in other hands.
fn identity(sandbox: &Sandbox, node: &str) -> Arc<NodeIdentity> {
    let stored = StoredIdentity::load(&StateDir::open(&sandbox.state(node), false).unwrap()).unwrap();
    Arc::new(NodeIdentity::from_pem(stored.key_pem.reveal(), &stored.cert_pem).unwrap())
}

/// Hands a message to a node, as this identity.
fn post(from: &Arc<NodeIdentity>, to: &str, message: &Message) -> Result<(), Error> {
    let client = Client::new(Arc::clone(from));
    let posted = Posted { envelope: message.seal(&from.signing()), secrets: Default::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(client.post(&to.parse().unwrap(), &posted)).map(drop)
}

fn first_line(sandbox: &Sandbox, node: &str, session: &str) -> LedgerLine {
    let session: SessionId = session.parse().unwrap();
    let state = StateDir::open(&sandbox.state(node), false).unwrap();
    Ledger::of(&state, session).read().unwrap().lines.remove(0)
}

/// The same accounting, with nothing of what was used in it.
fn understated(line: &LedgerLine) -> Message {
    let (mut message, _) = Verified::open(line.accounting.clone()).unwrap().into_parts();
    let Body::Accounting(accounting) = &mut message.body else { panic!("{message:?}") };
    accounting.usage = Default::default();
    message.head.id = MessageId::from_bytes([7; 16]);
    message
}

/// A session that runs, with one accounting.
fn accounted(parties: &Parties) -> String {
    parties.offer_stays();
    let session = parties.running("stays");
    parties.sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=12"]).ok();
    session
}

#[test]
fn a_meter_that_is_called_nearly_like_one_with_a_price_is_asked_back() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let session = accounted(&parties);
    let before = sandbox.run("i", &["account", &session]).ok()["usage"]["reading"].clone();
    let command = ["account", &session, "--interim", "--usage", "raeding=3"];
    let refusal = sandbox.run("i", &command).fails(2, "usage");
    refusal.says(&["“raeding”", "no price", "did you mean “reading”?"]).hints(&["nothing was accounted", "--yes"]);
    let after = sandbox.run("i", &["account", &session]).ok();
    assert_eq!((&after["usage"]["reading"], &after["usage"]["raeding"]), (&before, &Value::Null));
    // Whoever means it, and a meter that is like no other, are believed.
    sandbox.run("i", &[&command[..], &["--yes"]].concat()).ok();
    sandbox.run("i", &["account", &session, "--interim", "--usage", "pages=2"]).ok();
}

#[test]
fn an_accounting_signed_twice_is_refused_and_both_are_kept_as_evidence() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let serving = parties.serve_all();
    let session = accounted(&parties);
    let (initiator, provider) = (identity(sandbox, "i"), serving[0].address());
    let line = first_line(sandbox, "p", &session);
    let other = understated(&line);
    let hashes = [line.accounting.hash(), other.seal(&initiator.signing()).hash()].map(|hash| hash.to_string());

    let refused = post(&initiator, provider, &other).unwrap_err();
    assert_eq!(refused.code, Code::ForkedChain, "{refused}");
    // The same id with other bytes is no way around it, nor is another number after the same accounting.
    let mut same_id = other.clone();
    same_id.head.id = Verified::open(line.accounting.clone()).unwrap().head.id;
    assert_eq!(post(&initiator, provider, &same_id).unwrap_err().code, Code::ForkedChain);
    post(&initiator, provider, &other).unwrap_err();
    // Who is not the Initiator has no chain to fork.
    let mut of_a_peer = other.clone();
    let peer = identity(sandbox, "a");
    of_a_peer.head.from = peer.key();
    assert_eq!(post(&peer, provider, &of_a_peer).unwrap_err().code, Code::NotPermitted);

    let evidence = sandbox.state("p").join("ledger").join(format!("{session}.fork.jsonl"));
    assert_eq!(lines(&evidence).len(), 2, "each once");
    let audit = sandbox.audit("p");
    let told = |line: &Value| line["code"] == "forked-chain" && line["what"].as_str().unwrap().contains(&session);
    assert!(audit.iter().any(told), "{audit:#?}");
    let alone = sandbox.path().join("evidence.fork.jsonl");
    fs::copy(&evidence, &alone).unwrap();
    let alone = alone.to_str().unwrap();
    for check in [&["account", "verify", &session][..], &["account", "verify"], &["verify", &session]] {
        let refusal = sandbox.run("p", check).fails(4, "forked-chain");
        refusal.says(&["accounting 1", &session, &hashes[0], &hashes[1]]);
    }
    sandbox.run("nobody", &["account", "verify", alone]).fails(4, "forked-chain").says(&[&session, &hashes[1]]);
    let transcript = sandbox.path().join("p.json");
    sandbox.run("p", &["status", &session, "--export", transcript.to_str().unwrap()]).ok();
    sandbox.run("nobody", &["verify", transcript.to_str().unwrap()]).fails(4, "forked-chain");

    // The session goes on, and the Initiator's own books are in order.
    sandbox.run("i", &["account", &session, "--interim", "--usage", "reading=1"]).ok();
    sandbox.run("i", &["account", "verify", &session]).ok();
    let text = fs::read_to_string(&evidence).unwrap();
    fs::write(
        alone,
        text.replace("\"taken\"", "\"t\"").replace("\"refused\"", "\"taken\"").replace("\"t\"", "\"refused\""),
    )
    .unwrap();
    sandbox.run("nobody", &["account", "verify", alone]).fails(4, "forked-chain");
    let mut one: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    one["refused"] = one["taken"].clone();
    fs::write(alone, format!("{one}\n")).unwrap();
    sandbox.run("nobody", &["account", "verify", alone]).fails(4, "broken-chain").says(&["do not contradict"]);
}

#[test]
fn a_second_receipt_that_says_something_else_is_kept_as_evidence() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let serving = parties.serve_all();
    let session = accounted(&parties);
    let provider = identity(sandbox, "p");
    let line = first_line(sandbox, "i", &session);
    let other = understated(&line);
    let (mut receipt, _) = Verified::open(line.receipt.clone()).unwrap().into_parts();
    let initiator = identity(sandbox, "i");
    let Body::Receipt(said) = &mut receipt.body else { panic!("{receipt:?}") };
    said.hash = other.seal(&initiator.signing()).hash();
    receipt.head = Head { id: MessageId::from_bytes([8; 16]), ..receipt.head };

    let refused = post(&provider, serving[1].address(), &receipt).unwrap_err();
    assert_eq!(refused.code, Code::ForkedChain, "{refused}");
    let refusal = sandbox.run("i", &["account", "verify", &session]).fails(4, "forked-chain");
    let hashes = [line.receipt.hash(), receipt.seal(&provider.signing()).hash()].map(|hash| hash.to_string());
    refusal.says(&["receipt 1", &session, &hashes[0], &hashes[1]]);
    sandbox.run("p", &["account", "verify", &session]).ok();

    // What nobody was shown together is found by who puts two ledgers beside each other.
    let paths = ["ours.jsonl", "theirs.jsonl"].map(|name| sandbox.path().join(name).to_str().unwrap().to_owned());
    let forged = LedgerLine {
        sequence: 1,
        accounting: other.seal(&initiator.signing()),
        receipt: receipt.seal(&provider.signing()),
    };
    for (path, line) in paths.iter().zip([&line, &forged]) {
        fs::write(path, format!("{}\n", serde_json::to_string(line).unwrap())).unwrap();
        sandbox.run("nobody", &["account", "verify", path]).ok();
    }
    let refusal = sandbox.run("nobody", &["account", "verify", &paths[0], &paths[1]]).fails(4, "forked-chain");
    refusal.says(&["accounting 1", &session, "ours.jsonl", "theirs.jsonl"]);
}

/// A second Initiator, which asks for a session with peer `b`.
fn second_initiator(parties: &Parties) -> sandbox::Serving {
    let sandbox = &parties.sandbox;
    let address = |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().unwrap().to_owned();
    let j = sandbox.init("j");
    sandbox.trust("p", "j", &j, "request");
    sandbox.trust("j", "p", &address("p"), "provide");
    sandbox.trust("j", "b", &address("b"), "");
    sandbox.trust("b", "j", &j, WELCOME);
    sandbox.serve("j", &[])
}

#[test]
fn statements_are_of_a_period_and_of_each_initiator() {
    let parties = Parties::new();
    let sandbox = &parties.sandbox;
    let _serving = parties.serve_all();
    let _j = second_initiator(&parties);
    parties.offer_stays();
    for (node, peer, readings) in [("i", "a", "reading=12"), ("j", "b", "reading=5"), ("i", "a", "reading=1")] {
        let args = ["request", "stays", "--provider", "p", "--peer", peer, "--wait", "running"];
        let session = sandbox.run(node, &args).ok()["session"].as_str().unwrap().to_owned();
        sandbox.run(node, &["account", &session, "--interim", "--usage", readings]).ok();
        sandbox.run(node, &["account", &session, "--final"]).ok();
        sandbox.wait("p", &session, "closed", |status| status["state"] == "closed");
    }
    let all = sandbox.run("p", &["account"]).ok();
    let of = |all: &Value, name: &str| {
        let found = all["statements"].as_array().unwrap().iter().find(|one| one["initiator"] == name).cloned();
        found.unwrap_or_else(|| panic!("no statement of {name}: {all:#}"))
    };
    let reading = |one: &Value| {
        one["lines"].as_array().unwrap().iter().find(|line| line["meter"] == "reading").unwrap()["amount"].clone()
    };
    let (i, j) = (of(&all, "i"), of(&all, "j"));
    assert_eq!((&i["sessions"], &j["sessions"]), (&2.into(), &1.into()), "{all:#}");
    assert_eq!((reading(&i), reading(&j)), ("13".into(), "5".into()), "{all:#}");
    assert_eq!((&i["currency"], &i["provider"], &j["currency"]), (&"EUR".into(), &"p".into(), &"EUR".into()));

    // Two periods that follow each other hold everything once.
    let rows = sandbox.run("p", &["account", "export"]).ok();
    let mut times: Vec<_> =
        rows["accountings"].as_array().unwrap().iter().map(|row| row["time"].as_str().unwrap().to_owned()).collect();
    times.sort();
    let middle = times[times.len() / 2].as_str();
    let before = sandbox.run("p", &["account", "--until", middle]).ok();
    let after = sandbox.run("p", &["account", "--since", middle]).ok();
    let count = |one: &Value| {
        one["statements"].as_array().unwrap().iter().map(|one| one["accountings"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(count(&before) + count(&after), count(&all));
    assert!(count(&before) > 0 && count(&after) > 0);
    let empty = sandbox.run("p", &["account", "--since", "2100-01-01"]).ok();
    assert_eq!(empty["statements"], Value::Array(Vec::new()));
    let only = sandbox.run("p", &["account", "--initiator", "j"]).ok();
    assert_eq!(only["statements"].as_array().unwrap().len(), 1);
    assert_eq!(only["statements"][0], j);
    // The Initiator's own books say the same.
    let own = sandbox.run("j", &["account"]).ok();
    assert_eq!((&own["statements"][0]["total"], &own["statements"][0]["lines"]), (&j["total"], &j["lines"]));

    let sessions = sandbox.run("p", &["account", "export", "--by", "session"]).ok();
    assert_eq!(sessions["statements"].as_array().unwrap().len(), 3);
    let csv = sandbox.human("p", &["account", "export", "--csv", "--by", "initiator"]).stdout;
    assert!(csv.starts_with("initiator,provider,session,service,meter,amount,price,cost,currency\r\n"), "{csv}");
    assert!(csv.contains("\r\nj,p,,stays,reading,5,0.01,0.0500,EUR\r\n"), "{csv}");
    let table = sandbox.human("p", &["account"]).stdout;
    assert!(table.contains("i owes p: ") && table.contains("j owes p: "), "{table}");
    sandbox.run("p", &["account", "--since", "2026-02-01", "--until", "2026-01-01"]).fails(2, "usage");
}
