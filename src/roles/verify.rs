//! Checking a session from its files alone (row C5): chains, signatures, the order of things, the ledger, what is installed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::node::Node;
use super::sitting::entries;
use crate::message::{AccountingKind, Body, Envelope, Verified};
use crate::model::{Code, Digest, Error, Hash, Key, Party, Result, SessionId};
use crate::package::{self, VerifiedManifest};
use crate::session::record::{Replayed, replay};
use crate::session::{Entry, What};
use crate::store::ledger::Ledger;
use crate::store::{installs, log};

/// What was checked and found right.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    pub session: SessionId,
    pub party: Party,
    pub records: u64,
    pub signatures: u64,
    pub accountings: u64,
    /// The generation that is installed and was compared with its manifest, file by file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Digest>,
}

/// Checks this node's side of a session.
///
/// # Errors
/// `broken-chain`, `bad-signature`, `damaged`, `bad-digest`: naming file and record.
pub fn verify_session(node: &Node, session: SessionId, party: Party) -> Result<Verification> {
    let path = node.state.session_log(session, party);
    let contents = log::read(&path, session, party)?;
    let entries = entries(&contents.records)?;
    let mut signatures = 0;
    for (number, entry) in entries.iter().enumerate() {
        let envelope = match entry {
            Entry::Sent(sent) => Some(&sent.envelope),
            Entry::Input(input) => match &input.what {
                What::Received { message, .. } => Some(message.envelope()),
                _ => None,
            },
        };
        if let Some(envelope) = envelope {
            signatures += check_signatures(envelope).map_err(|error| {
                error.while_doing(format!("record {} of {}", number + 1, path.display())).about(session)
            })?;
        }
    }
    let replayed = replay(party, node.key(), session, &entries)?
        .ok_or_else(|| Error::new(Code::NotFound, "the log is empty").about(session))?;
    let accountings = verify_ledger(node, session, Some(&replayed))?;
    let installed = verify_installed(node, session, party, &replayed)?;
    Ok(Verification { session, party, records: contents.head.seq, signatures, accountings, installed })
}

/// The envelope's own signature and those inside of it.
fn check_signatures(envelope: &Envelope) -> Result<u64> {
    let message = Verified::open(envelope.clone())?;
    let mut count = 1;
    let nested: Vec<&Envelope> = match &message.body {
        Body::Progress(progress) => progress.answers.iter().chain(&progress.reports).collect(),
        Body::ServiceRequest(request) => request.peers.iter().map(|peer| &peer.notification).collect(),
        Body::Invitation(invitation) => vec![&invitation.notification],
        _ => Vec::new(),
    };
    for inner in nested {
        count += check_signatures(inner)?;
    }
    Ok(count)
}

/// Checks the ledger of a session: every accounting signed by the Initiator, every receipt by the provider and of that
/// very accounting, each chained to the one before, none missing, none changed; and the same as the log says.
pub fn verify_ledger(node: &Node, session: SessionId, replayed: Option<&Replayed>) -> Result<u64> {
    let contents = Ledger::of(&node.state, session).read()?;
    let broken = |sequence: u64, why: &str| {
        let path = node.state.ledger(session);
        Error::new(Code::BrokenChain, format!("accounting {sequence} in {}: {why}", path.display())).about(session)
    };
    let mut previous: Option<Hash> = None;
    let mut parties: Option<(Key, Key)> = None;
    let mut closed = false;
    for (index, line) in contents.lines.iter().enumerate() {
        let expected = index as u64 + 1;
        let accounting =
            Verified::open(line.accounting.clone()).map_err(|error| broken(line.sequence, &error.message))?;
        let receipt = Verified::open(line.receipt.clone()).map_err(|error| broken(line.sequence, &error.message))?;
        let (Body::Accounting(said), Body::Receipt(signed)) = (&accounting.body, &receipt.body) else {
            return Err(broken(line.sequence, "it is not an accounting with its receipt"));
        };
        let hash = accounting.envelope().hash();
        let signers = (accounting.signer(), receipt.signer());
        let rules = [
            (line.sequence == expected && said.sequence == expected, "it is out of order, or one before it is missing"),
            (said.session == session && signed.session == session, "it is of another session"),
            (said.previous == previous, "it does not continue the one before it"),
            (
                signed.hash == hash && signed.sequence == expected && signed.accepted,
                "the receipt is for another accounting",
            ),
            (*parties.get_or_insert(signers) == signers, "it is signed by others than the first"),
            (!closed, "it follows the final one"),
        ];
        if let Some((_, why)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(broken(expected, why));
        }
        previous = Some(hash);
        closed = said.kind == AccountingKind::Final;
    }
    if let Some(replayed) = replayed {
        let in_log: BTreeMap<u64, &Envelope> =
            replayed.accounts.iter().map(|(sequence, accounting, _)| (*sequence, accounting)).collect();
        for (sequence, accounting) in &in_log {
            let in_ledger = contents.lines.iter().find(|line| line.sequence == *sequence);
            match in_ledger {
                None => return Err(broken(*sequence, "the session's log has it, the ledger does not")),
                Some(line) if line.accounting.payload != accounting.payload => {
                    return Err(broken(*sequence, "the ledger and the session's log differ"));
                }
                Some(_) => {}
            }
        }
    }
    Ok(contents.lines.len() as u64)
}

/// Compares what is installed with what was signed, file by file.
fn verify_installed(node: &Node, session: SessionId, party: Party, replayed: &Replayed) -> Result<Option<Digest>> {
    let Some(participation) = replayed.machine.participation() else { return Ok(None) };
    let Some(delivery) = participation.delivery.as_ref().filter(|_| participation.holds_software()) else {
        return Ok(None);
    };
    let summary = replayed.machine.summary();
    let Some(role) = summary.role else { return Ok(None) };
    let root = node.install_root(session, party, &role)?;
    let Some(generation) = installs::look(&root)?.and_then(|status| status.current) else { return Ok(None) };
    let digest = delivery.package.digest;
    let Some(bytes) = node.manifest(session, party, &digest)? else {
        return Err(Error::new(Code::NotFound, format!("the manifest of {} is missing", digest.short())).about(session));
    };
    let manifest = VerifiedManifest::open(&bytes, &summary.provider.key)?;
    package::check_tree(&installs::folder_of(&root, generation), &manifest)?;
    Ok(Some(digest))
}
