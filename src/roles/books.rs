//! The ledger of a session, and what its usage costs (rows A16, A18).

use serde::Serialize;

use super::node::Node;
use crate::message::{AccountingKind, Body, Envelope, Verified};
use crate::model::suggest::nearest;
use crate::model::{Code, Error, Party, Result, SessionId};
use crate::service::tariff::{Statement, Tariff, statement};
use crate::service::usage::Usage;
use crate::session::Machine;
use crate::session::record::Replayed;
use crate::store::ledger::{Ledger, LedgerLine};

/// What a session used so far, and what it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub session: SessionId,
    /// How many accountings the ledger holds.
    pub accountings: u64,
    /// The final one is among them.
    pub closed: bool,
    #[serde(flatten)]
    pub statement: Statement,
}

/// Makes the ledger hold what the log says was accounted for and receipted. Called before a receipt leaves.
pub(super) fn keep(node: &Node, replayed: &Replayed, session: SessionId) -> Result<()> {
    if replayed.accounts.is_empty() {
        return Ok(());
    }
    let ledger = Ledger::of(&node.state, session);
    let there = ledger.read()?.lines.iter().map(|line| line.sequence).max().unwrap_or(0);
    for (sequence, accounting, receipt) in replayed.accounts.iter().filter(|(sequence, ..)| *sequence > there) {
        let line = LedgerLine {
            sequence: *sequence,
            accounting: Envelope::clone(accounting),
            receipt: Envelope::clone(receipt),
        };
        ledger.append(&line)?;
    }
    Ok(())
}

/// The sum of all accountings of a session.
pub fn account(node: &Node, session: SessionId) -> Result<Account> {
    let tariff = tariff(node, session)?;
    let mut usage = Usage::default();
    let (mut accountings, mut closed) = (0, false);
    for line in Ledger::of(&node.state, session).read()?.lines {
        let message = Verified::open(line.accounting)?;
        let Body::Accounting(accounting) = &message.body else {
            return Err(
                Error::new(Code::BrokenChain, "the ledger holds something else than accountings").about(session)
            );
        };
        for (meter, amount) in accounting.usage.iter() {
            usage.add(meter.clone(), amount.clone())?;
        }
        accountings += 1;
        closed |= accounting.kind == AccountingKind::Final;
    }
    Ok(Account { session, accountings, closed, statement: statement(tariff.as_ref(), &usage) })
}

/// Looks at meters that are named by hand: an accounting cannot be taken back.
///
/// # Errors
/// `usage` for a meter that has no price, but is called nearly like one that has.
pub fn check_meters(node: &Node, session: SessionId, usage: &Usage) -> Result<()> {
    let Some(tariff) = tariff(node, session)? else { return Ok(()) };
    let priced = || tariff.per.keys().map(|meter| &**meter);
    for (meter, _) in usage.iter().filter(|(meter, _)| !tariff.per.contains_key(*meter)) {
        if let Some(near) = nearest(meter, priced()) {
            let why = format!("the meter “{meter}” has no price in this service's tariff; did you mean “{near}”?");
            return Err(Error::new(Code::Usage, why)
                .hint("nothing was accounted for; an accounting cannot be taken back, but --yes makes this one")
                .about(session));
        }
    }
    Ok(())
}

/// The tariff that was agreed for this session.
pub(super) fn tariff(node: &Node, session: SessionId) -> Result<Option<Tariff>> {
    for party in [Party::Provider, Party::Initiator] {
        match node.read(session, party) {
            Ok(replayed) => {
                return Ok(match &replayed.machine {
                    Machine::Provider(provider) => provider.interface.tariff.clone(),
                    Machine::Initiator(initiator) => {
                        initiator.interface().and_then(|interface| interface.tariff.clone())
                    }
                    Machine::Peer(_) => None,
                });
            }
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(Code::WrongState, "only the Initiator and the provider of a session have its accounts")
        .about(session))
}
