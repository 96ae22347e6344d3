//! Checks over what logs and ledgers hold, wherever it was read from: signatures, replay, order, accountings.

use std::collections::BTreeMap;

use super::order::{self, Manifests, Subject};
use crate::message::{AccountingKind, Body, Envelope, Verified};
use crate::model::{Code, Digest, Error, Hash, Key, Result, SessionId};
use crate::package::VerifiedManifest;
use crate::session::record::{Replayed, replay};
use crate::session::{Decision, Entry, Input, What};
use crate::store::ledger::LedgerLine;

/// How many signatures of each key were checked.
pub type Signatures = BTreeMap<Key, u64>;

/// Checks everything that a log says by itself: every signature, that it replays, and the order of things.
///
/// # Errors
/// Of exit code 4, naming the record and `place`.
pub fn check_log(
    of: Subject,
    place: &str,
    entries: &[Entry],
    manifests: &Manifests,
    signatures: &mut Signatures,
) -> Result<Replayed> {
    for (number, entry) in (1..).zip(entries) {
        for envelope in envelopes(entry) {
            check_signatures(envelope, signatures)
                .map_err(|error| proven(error.while_doing(format!("record {number} of {place}"))).about(of.session))?;
        }
    }
    let replayed = replay(of.party, of.me, of.session, entries).map_err(proven)?;
    order::check(of, entries, manifests).map_err(|error| proven(error.while_doing(place)))?;
    replayed.ok_or_else(|| Error::new(Code::NotFound, format!("{place} is empty")).about(of.session))
}

/// What does not hold is a failed verification, whatever it was to the code that noticed it.
pub fn proven(mut error: Error) -> Error {
    if error.code.exit() != Code::BrokenChain.exit() {
        error.code = Code::BrokenChain;
    }
    error
}

/// The envelopes that a record holds by themselves.
fn envelopes(entry: &Entry) -> Vec<&Envelope> {
    match entry {
        Entry::Sent(sent) => vec![&sent.envelope],
        Entry::Input(Input { what, .. }) => match what {
            What::Received { message, .. } => vec![message.envelope()],
            What::Decided(Decision::Open { interface, .. }) => vec![interface],
            What::Decided(Decision::Request { request }) => {
                request.peers.iter().map(|peer| &peer.notification).collect()
            }
            What::Decided(Decision::AddPeers { peers }) => peers.iter().map(|peer| &peer.notification).collect(),
            _ => Vec::new(),
        },
    }
}

/// The envelope's own signature and those inside of it.
fn check_signatures(envelope: &Envelope, signatures: &mut Signatures) -> Result<()> {
    let message = Verified::open(envelope.clone())?;
    *signatures.entry(message.signer()).or_default() += 1;
    let nested: Vec<&Envelope> = match &message.body {
        Body::Progress(progress) => progress.answers.iter().chain(&progress.reports).collect(),
        Body::ServiceRequest(request) => request.peers.iter().map(|peer| &peer.notification).collect(),
        Body::AddPeers(add) => add.peers.iter().map(|peer| &peer.notification).collect(),
        Body::Invitation(invitation) => vec![&invitation.notification],
        _ => Vec::new(),
    };
    nested.into_iter().try_for_each(|inner| check_signatures(inner, signatures))
}

/// A ledger that is right.
#[derive(Clone, Copy, Debug)]
pub struct CheckedLedger {
    pub session: SessionId,
    pub accountings: u64,
    /// The final one is among them.
    pub closed: bool,
    /// Who signed the accountings, and who the receipts.
    pub initiator: Key,
    pub provider: Key,
}

/// Checks a ledger by itself: every accounting signed by the Initiator, every receipt by the provider and of that very
/// accounting, each chained to the one before, none missing. Nothing for one without lines.
///
/// # Errors
/// `broken-chain`, naming the accounting and `place`.
pub fn check_ledger(lines: &[LedgerLine], place: &str, signatures: &mut Signatures) -> Result<Option<CheckedLedger>> {
    let mut checked: Option<CheckedLedger> = None;
    let mut previous: Option<Hash> = None;
    for (expected, line) in (1..).zip(lines) {
        let broken = |why: &str| broken(expected, place, why);
        let open = |envelope: &Envelope| Verified::open(envelope.clone()).map_err(|error| broken(&error.message));
        let (accounting, receipt) = (open(&line.accounting)?, open(&line.receipt)?);
        let (Body::Accounting(said), Body::Receipt(signed)) = (&accounting.body, &receipt.body) else {
            return Err(broken("it is not an accounting with its receipt"));
        };
        let hash = accounting.envelope().hash();
        let now = checked.get_or_insert(CheckedLedger {
            session: said.session,
            accountings: 0,
            closed: false,
            initiator: accounting.signer(),
            provider: receipt.signer(),
        });
        let session = now.session;
        let rules = [
            (line.sequence == expected && said.sequence == expected, "it is out of order, or one before it is missing"),
            (said.session == session && signed.session == session, "it is of another session"),
            (said.previous == previous, "it does not continue the one before it"),
            (
                signed.hash == hash && signed.sequence == expected && signed.accepted,
                "the receipt is for another accounting",
            ),
            (
                (now.initiator, now.provider) == (accounting.signer(), receipt.signer()),
                "it is signed by others than the first",
            ),
            (
                accounting.head.to == now.provider && receipt.head.to == now.initiator,
                "it is not between the Initiator and the provider",
            ),
            (!now.closed, "it follows the final one"),
        ];
        if let Some((_, why)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(broken(why).about(session));
        }
        for signer in [now.initiator, now.provider] {
            *signatures.entry(signer).or_default() += 1;
        }
        previous = Some(hash);
        now.accountings = expected;
        now.closed = said.kind == AccountingKind::Final;
    }
    Ok(checked)
}

/// Compares a ledger with what a log says was accounted and receipted: nothing of it may be missing or other.
///
/// # Errors
/// `broken-chain`, naming the accounting and `place`.
pub fn check_agreement(lines: &[LedgerLine], place: &str, replayed: &Replayed) -> Result<()> {
    for (sequence, accounting, receipt) in &replayed.accounts {
        let why = match lines.iter().find(|line| line.sequence == *sequence) {
            None => "the session's log has it, the ledger does not",
            Some(line) if line.accounting.payload != accounting.payload || line.receipt.payload != receipt.payload => {
                "the ledger and the session's log differ"
            }
            Some(_) => continue,
        };
        return Err(broken(*sequence, place, why));
    }
    Ok(())
}

pub fn broken(sequence: u64, place: &str, why: &str) -> Error {
    Error::new(Code::BrokenChain, format!("accounting {sequence} in {place}: {why}"))
}

/// That a manifest has the digest by which it is kept.
///
/// # Errors
/// `bad-digest`.
pub fn is_named(manifest: VerifiedManifest, digest: &Digest) -> Result<VerifiedManifest> {
    if manifest.digest() == *digest {
        return Ok(manifest);
    }
    Err(Error::new(Code::BadDigest, format!("it has the digest {}", manifest.digest())))
}
