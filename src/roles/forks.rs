//! Forks of a chain of accountings (row P10): an Initiator that accounts twice for one number, a provider that
//! countersigns two things. The second one is refused, and both are kept, because together they prove it to anybody.

use std::path::Path;

use super::node::Node;
use super::proof;
use crate::message::{Body, Envelope, Message, Verified};
use crate::model::{Code, Error, Hash, Result, SessionId};
use crate::session::Replayed;
use crate::store::fork::{self, Fork};
use crate::store::ledger::LedgerLine;

/// Refuses a message of a session that contradicts one of the same node that was taken before, and keeps both.
///
/// # Errors
/// `forked-chain`; where the evidence cannot be kept, why: the message is refused for now, and taken up again.
pub(super) fn refuse(node: &Node, session: SessionId, replayed: &Replayed, message: &Verified<Message>) -> Result<()> {
    if message.head.to != node.key() {
        return Ok(());
    }
    let Some((sequence, taken)) = contradicted(replayed, message)? else { return Ok(()) };
    let fork = Fork { sequence, found: node.system.now(), taken, refused: message.envelope().clone() };
    fork::keep(&node.state, session, &fork)?;
    let path = node.state.forks(session);
    Err(prove(&fork, &path.display().to_string())?
        .hint("both are kept there; `deployctl account verify` checks that file anywhere"))
}

/// The message that was taken and cannot be true if this one is, and the number of the accounting that both are about.
fn contradicted(replayed: &Replayed, message: &Verified<Message>) -> Result<Option<(u64, Envelope)>> {
    let is_receipt = match &message.body {
        Body::Receipt(_) => true,
        Body::Accounting(next) => {
            let last = replayed.accounts.last().map(|(_, accounting, _)| accounting.hash());
            if next.sequence > replayed.accounts.len() as u64 && next.previous == last {
                return Ok(None);
            }
            false
        }
        _ => return Ok(None),
    };
    for (sequence, accounting, receipt) in &replayed.accounts {
        let taken = if is_receipt { receipt } else { accounting };
        if contradict(&Verified::from_own_log(Envelope::clone(taken))?, message) {
            return Ok(Some((*sequence, Envelope::clone(taken))));
        }
    }
    Ok(None)
}

/// Whether two messages are a fork: of one node, in one session, and only one of them can be true. Accountings are if
/// they are different and have the same number, or continue the same one; receipts, if they say different things of the
/// same number.
fn contradict(one: &Verified<Message>, other: &Verified<Message>) -> bool {
    if one.signer() != other.signer() {
        return false;
    }
    match (&one.body, &other.body) {
        (Body::Accounting(first), Body::Accounting(second)) => {
            first.session == second.session
                && (first.sequence == second.sequence || first.previous == second.previous)
                && one.envelope().hash() != other.envelope().hash()
        }
        (Body::Receipt(first), Body::Receipt(second)) => {
            (first.session, first.sequence) == (second.session, second.sequence)
                && (first.hash, first.accepted) != (second.hash, second.accepted)
        }
        _ => false,
    }
}

/// What a piece of evidence proves, after its signatures were checked: the error that names session, number and both
/// hashes.
///
/// # Errors
/// `bad-signature` and the like; `broken-chain` where it proves nothing.
fn prove(fork: &Fork, place: &str) -> Result<Error> {
    let opened =
        |envelope: &Envelope| Verified::open(envelope.clone()).map_err(|error| proof::proven(error.while_doing(place)));
    let (taken, refused) = (opened(&fork.taken)?, opened(&fork.refused)?);
    if !contradict(&taken, &refused) {
        return Err(proof::broken(fork.sequence, place, "the two messages do not contradict each other"));
    }
    Ok(forked(&taken, fork.sequence, [taken.envelope().hash(), refused.envelope().hash()], place))
}

fn forked(one: &Verified<Message>, sequence: u64, hashes: [Hash; 2], place: &str) -> Error {
    let session = one.body.session();
    let name = session.map(|session| session.to_string()).unwrap_or_default();
    let (kind, signer, [first, second]) = (&one.body, one.signer(), hashes);
    let message = format!(
        "the {kind} {sequence} of session {name} was signed twice by {signer}, with different content: {first} and {second} ({place})"
    );
    let error = Error::new(Code::ForkedChain, message);
    session.map_or(error.clone(), |session| error.about(session))
}

/// That nothing in a file of evidence proves a fork: there is none, or it is empty.
///
/// # Errors
/// `forked-chain` for the first one that is proved; what else is wrong with the file.
pub fn check(path: &Path) -> Result<()> {
    check_all(&fork::read(path)?, &path.display().to_string())
}

/// As [`check`], of evidence that came in another way.
pub fn check_all(forks: &[Fork], place: &str) -> Result<()> {
    forks.first().map_or(Ok(()), |fork| Err(prove(fork, place)?))
}

/// That two ledgers of one session agree as far as both go.
///
/// # Errors
/// `forked-chain` naming the first number at which they do not.
pub fn compare(one: &[LedgerLine], other: &[LedgerLine], place: &str) -> Result<()> {
    for (one, other) in one.iter().zip(other) {
        for (first, second) in [(&one.accounting, &other.accounting), (&one.receipt, &other.receipt)] {
            let (first, second) = (Verified::open(first.clone())?, Verified::open(second.clone())?);
            if contradict(&first, &second) {
                let hashes = [first.envelope().hash(), second.envelope().hash()];
                return Err(forked(&first, one.sequence, hashes, place));
            }
        }
    }
    Ok(())
}
