//! All accountings of this node, meter by meter: what a bookkeeper takes over.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::Serialize;

use super::books::tariff;
use super::cast::Cast;
use super::node::Node;
use super::sitting::entries;
use crate::message::{AccountingKind, Body, Verified};
use crate::model::{Code, Error, Key, Party, Result, ServiceName, SessionId, Time};
use crate::service::tariff::{Currency, Tariff, statement};
use crate::service::usage::MeterName;
use crate::store::ledger::{Ledger, LedgerLine};
use crate::store::log;

/// Which accountings are wanted; all unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Issued at this time or later.
    pub since: Option<Time>,
    /// Issued before this time.
    pub until: Option<Time>,
    pub initiator: Option<Key>,
}

impl Wanted {
    fn takes(&self, issued: Time, initiator: &Key) -> bool {
        self.since.is_none_or(|since| issued >= since)
            && self.until.is_none_or(|until| issued < until)
            && self.initiator.is_none_or(|wanted| wanted == *initiator)
    }
}

/// One meter of one accounting. One that counted nothing has a row without a meter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub session: SessionId,
    pub sequence: u64,
    pub kind: AccountingKind,
    pub time: Time,
    pub initiator: String,
    pub initiator_key: Key,
    pub provider: String,
    pub provider_key: Key,
    pub service: ServiceName,
    pub meter: Option<MeterName>,
    pub amount: Decimal,
    pub unit: Option<String>,
    pub price: Decimal,
    /// Rounded half up to 4 digits.
    pub cost: Decimal,
    pub currency: Option<Currency>,
}

/// Reads all ledgers of this node, oldest session first.
///
/// # Errors
/// `broken-chain`, `damaged`; `io`.
pub fn accountings(node: &Node, wanted: &Wanted) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut done = BTreeSet::new();
    for part in node.parts()? {
        let (session, party) = (part.summary.session, part.summary.party);
        // Where this node is both, both wrote the one ledger.
        if party == Party::Peer || !done.insert(session) {
            continue;
        }
        let lines = Ledger::of(&node.state, session).read()?.lines;
        if lines.is_empty() {
            continue;
        }
        let contents = log::read(&node.state.session_log(session, party), session, party)?;
        let entries = entries(&contents.records)?;
        let cast = Cast::of(party, node.me_in(&entries), &entries, |key| node.calls(key));
        let tariff = tariff(node, session)?;
        for line in lines {
            rows.extend(rows_of(line, &cast, &part.summary.service, tariff.as_ref(), wanted)?);
        }
    }
    Ok(rows)
}

fn rows_of(
    line: LedgerLine,
    cast: &Cast,
    service: &ServiceName,
    tariff: Option<&Tariff>,
    wanted: &Wanted,
) -> Result<Vec<Row>> {
    let message = Verified::open(line.accounting)?;
    let Body::Accounting(said) = &message.body else {
        return Err(Error::new(Code::BrokenChain, "the ledger holds something else than accountings"));
    };
    let (initiator, provider) = (message.head.from, message.head.to);
    if !wanted.takes(message.head.issued, &initiator) {
        return Ok(Vec::new());
    }
    let statement = statement(tariff, &said.usage);
    let empty = Row {
        session: said.session,
        sequence: said.sequence,
        kind: said.kind,
        time: message.head.issued,
        initiator: cast.name_of(&initiator),
        initiator_key: initiator,
        provider: cast.name_of(&provider),
        provider_key: provider,
        service: service.clone(),
        meter: None,
        amount: Decimal::ZERO,
        unit: None,
        price: Decimal::ZERO,
        cost: Decimal::ZERO,
        currency: statement.currency.clone(),
    };
    if statement.lines.is_empty() {
        return Ok(vec![empty]);
    }
    let row = |line: crate::service::tariff::Line| Row {
        meter: Some(line.meter),
        amount: line.amount,
        unit: line.unit,
        price: line.price,
        cost: line.cost,
        ..empty.clone()
    };
    Ok(statement.lines.into_iter().map(row).collect())
}
