//! Statements: what was accounted in a period, put together for each Initiator, provider and currency, or for each
//! session. An accounting belongs to the period in which it was issued, as a whole: periods that follow each other add
//! up, with nothing in both and nothing in none.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Serialize;

use super::accountings::Row;
use crate::model::{Key, ServiceName, SessionId};
use crate::service::tariff::{Currency, Line, total};
use crate::service::usage::MeterName;

/// What a statement is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Initiator,
    Session,
}

/// What one owes another, for a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    pub initiator: String,
    pub initiator_key: Key,
    pub provider: String,
    pub provider_key: Key,
    /// Where it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    pub currency: Option<Currency>,
    /// The sum of the exact costs, rounded half up to 2 digits, once.
    pub total: Decimal,
    pub sessions: u64,
    pub accountings: u64,
    pub lines: Vec<ServiceLine>,
}

/// One meter of one service at one price.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceLine {
    pub service: ServiceName,
    #[serde(flatten)]
    pub line: Line,
}

/// Who owes whom, in what, and for which session where that matters.
type Parties = (Key, Key, Option<Currency>, Option<SessionId>);
/// What is counted together.
type Meter = (ServiceName, MeterName, Option<String>, Decimal);

/// Puts rows together. Statements come in the order of keys, their lines in that of services and meters.
pub fn statements(rows: &[Row], by: By) -> Vec<Statement> {
    let mut groups: BTreeMap<Parties, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let session = (by == By::Session).then_some(row.session);
        groups.entry((row.initiator_key, row.provider_key, row.currency.clone(), session)).or_default().push(row);
    }
    groups.into_iter().map(|(parties, rows)| statement(parties, &rows)).collect()
}

fn statement((initiator_key, provider_key, currency, session): Parties, rows: &[&Row]) -> Statement {
    let mut meters: BTreeMap<Meter, Decimal> = BTreeMap::new();
    for row in rows {
        let Some(meter) = &row.meter else { continue };
        let sum = meters.entry((row.service.clone(), meter.clone(), row.unit.clone(), row.price)).or_default();
        *sum = sum.saturating_add(row.amount);
    }
    let line =
        |((service, meter, unit, price), amount)| ServiceLine { service, line: Line::new(meter, amount, unit, price) };
    let lines: Vec<ServiceLine> = meters.into_iter().map(line).collect();
    Statement {
        initiator: rows[0].initiator.clone(),
        initiator_key,
        provider: rows[0].provider.clone(),
        provider_key,
        session,
        currency,
        total: total(lines.iter().map(|one| &one.line)),
        sessions: rows.iter().map(|row| row.session).collect::<BTreeSet<_>>().len() as u64,
        accountings: rows.iter().map(|row| (row.session, row.sequence)).collect::<BTreeSet<_>>().len() as u64,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::AccountingKind;
    use crate::model::Time;

    fn row(session: u8, sequence: u64, who: u8, meter: &str, amount: &str, price: &str) -> Row {
        Row {
            session: SessionId::from_bytes([session; 16]),
            sequence,
            kind: AccountingKind::Interim,
            time: Time::from_unix_ms(0),
            initiator: format!("i{who}"),
            initiator_key: Key::from_bytes([who; 32]),
            provider: "shop".to_owned(),
            provider_key: Key::from_bytes([9; 32]),
            service: "chess".parse().unwrap(),
            meter: Some(meter.parse().unwrap()),
            amount: amount.parse().unwrap(),
            unit: None,
            price: price.parse().unwrap(),
            cost: Decimal::ZERO,
            currency: Some("EUR".parse().unwrap()),
        }
    }

    #[test]
    fn a_statement_sums_up_for_each_initiator_and_rounds_once() {
        let rows = [
            row(1, 1, 1, "minute", "0.25", "0.02"),
            row(1, 2, 1, "minute", "0.25", "0.02"),
            row(2, 1, 1, "minute", "0.20", "0.02"),
            row(2, 1, 1, "session", "1", "0.10"),
            row(3, 1, 2, "minute", "10", "0.02"),
        ];
        let all = serde_json::to_value(statements(&rows, By::Initiator)).unwrap();
        assert_eq!(all[0]["initiator"], "i1");
        assert_eq!((&all[0]["sessions"], &all[0]["accountings"]), (&json!(2), &json!(3)));
        assert_eq!(all[0]["total"], "0.11", "0.014 and 0.10, not 0.01 three times");
        let minute =
            json!({"service": "chess", "meter": "minute", "amount": "0.70", "price": "0.02", "cost": "0.0140"});
        assert_eq!(all[0]["lines"][0], minute);
        assert_eq!((&all[1]["initiator"], &all[1]["total"]), (&json!("i2"), &json!("0.20")));
        assert_eq!(statements(&rows, By::Session).len(), 3);
    }

    #[test]
    fn other_prices_and_currencies_are_not_put_together() {
        let mut rows =
            [row(1, 1, 1, "minute", "1", "0.02"), row(2, 1, 1, "minute", "1", "0.03"), row(3, 1, 1, "m", "1", "1")];
        rows[2].currency = Some("CHF".parse().unwrap());
        let all = statements(&rows, By::Initiator);
        assert_eq!(all.iter().map(|one| one.lines.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[1].total.to_string(), "0.05");
        assert!(statements(&[], By::Initiator).is_empty());
    }
}
