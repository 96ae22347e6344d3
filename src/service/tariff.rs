//! What usage costs, and the statement that says so.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize};

use super::usage::{Amount, MeterName, Usage, parse_decimal};
use crate::model::error::{Error, Result};
use crate::model::{Code, serde_as_text};

/// Digits of a price, before and after its point together: the product with an amount (18 digits) then has at most the
/// 28 that a decimal holds exactly.
const PRICE_DIGITS: usize = 10;
/// Digits after the point of a line's cost.
const LINE_DIGITS: u32 = 4;
/// Digits after the point of a total.
const TOTAL_DIGITS: u32 = 2;

/// What usage costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    pub currency: Currency,
    /// Price of one unit of each meter.
    #[serde(deserialize_with = "prices")]
    pub per: BTreeMap<MeterName, Decimal>,
}

/// ISO 4217: three capital letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency(String);

impl FromStr for Currency {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            Error::new(Code::BadInput, format!("“{text}” is not a currency"))
                .hint("write its three capital letters (ISO 4217), like EUR")
        })
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
serde_as_text!(Currency);

/// A price for one unit of a meter.
///
/// # Errors
/// `bad-input` for a sign, an exponent, or more than 10 digits altogether.
pub fn parse_price(text: &str) -> Result<Decimal> {
    let refuse = || {
        Error::new(Code::BadInput, format!("“{text}” is not a price"))
            .hint("write a text of digits, at most 10 and 6 of them after the point, like \"0.02\"")
    };
    let price = parse_decimal(text).map_err(|_| refuse())?;
    match text.bytes().filter(u8::is_ascii_digit).count() <= PRICE_DIGITS {
        true => Ok(price),
        false => Err(refuse()),
    }
}

fn prices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<MeterName, Decimal>, D::Error> {
    let texts = BTreeMap::<MeterName, String>::deserialize(deserializer)?;
    let prices = texts.into_iter().map(|(meter, price)| Ok((meter, parse_price(&price)?)));
    prices.collect::<Result<_>>().map_err(serde::de::Error::custom)
}

/// What a session's usage costs. Amounts and costs are texts in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// `None` where the service has no tariff.
    pub currency: Option<Currency>,
    /// The sum of the exact costs, rounded half up to 2 digits. It may differ from the sum of the lines' costs as
    /// they are shown.
    pub total: Decimal,
    pub lines: Vec<Line>,
}

/// One meter of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub meter: MeterName,
    pub amount: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// 0 for a meter that the tariff does not name.
    pub price: Decimal,
    /// Rounded half up to 4 digits.
    pub cost: Decimal,
}

/// Puts the usage through the tariff. Every meter is listed, by name; without a price it costs nothing.
pub fn statement(tariff: Option<&Tariff>, usage: &Usage) -> Statement {
    let line = |(meter, used): (&MeterName, &Amount)| {
        let price = tariff.and_then(|tariff| tariff.per.get(meter)).copied().unwrap_or_default();
        Line::new(meter.clone(), used.amount, used.unit.clone(), price)
    };
    let lines: Vec<Line> = usage.iter().map(line).collect();
    Statement { currency: tariff.map(|tariff| tariff.currency.clone()), total: total(&lines), lines }
}

/// What lines cost together: the sum of their exact costs, rounded half up to 2 digits.
pub fn total<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Decimal {
    let exact = lines.into_iter().fold(Decimal::ZERO, |sum, line| sum.saturating_add(line.exact()));
    rounded(exact, TOTAL_DIGITS)
}

impl Line {
    pub fn new(meter: MeterName, amount: Decimal, unit: Option<String>, price: Decimal) -> Self {
        let mut line = Self { meter, amount, unit, price, cost: Decimal::ZERO };
        line.cost = rounded(line.exact(), LINE_DIGITS);
        line
    }
    /// Does not overflow: see `PRICE_DIGITS`.
    fn exact(&self) -> Decimal {
        self.amount.saturating_mul(self.price)
    }
}

fn rounded(exact: Decimal, digits: u32) -> Decimal {
    let mut rounded = exact.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(digits);
    rounded
}

impl Statement {
    /// For people: one line for each meter and one for the total, numbers aligned.
    pub fn table(&self) -> String {
        let currency = self.currency.as_ref().map(Currency::to_string).unwrap_or_default();
        let mut rows = vec![["meter".to_owned(), "amount".to_owned(), "price".to_owned(), "cost".to_owned()]];
        for line in &self.lines {
            let unit = line.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
            let (amount, price) = (format!("{}{unit}", line.amount), line.price.to_string());
            rows.push([line.meter.to_string(), amount, price, line.cost.to_string()]);
        }
        rows.push(["total".to_owned(), String::new(), currency, self.total.to_string()]);
        let mut widths = [0; 4];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let lines = rows.iter().map(|[meter, amount, price, cost]| {
            let [first, second, third, fourth] = widths;
            format!("{meter:first$}  {amount:>second$}  {price:>third$}  {cost:>fourth$}\n")
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::usage::parse_usage;

    fn tariff() -> Tariff {
        serde_json::from_value(json!({"currency": "EUR", "per": {"minute": "0.02", "session": "0.10"}})).unwrap()
    }

    fn usage(texts: &[&str]) -> Usage {
        let mut usage = Usage::default();
        for text in texts {
            let (meter, amount) = parse_usage(text).unwrap();
            usage.add(meter, amount).unwrap();
        }
        usage
    }

    #[test]
    fn a_statement_lists_every_meter_and_sums_up() {
        let statement = statement(Some(&tariff()), &usage(&["session=1", "minute=12.5", "readings=3 pages"]));
        assert_eq!(
            serde_json::to_value(&statement).unwrap(),
            json!({"currency": "EUR", "total": "0.35", "lines": [
                {"meter": "minute", "amount": "12.5", "price": "0.02", "cost": "0.2500"},
                {"meter": "readings", "amount": "3", "unit": "pages", "price": "0", "cost": "0.0000"},
                {"meter": "session", "amount": "1", "price": "0.10", "cost": "0.1000"},
            ]})
        );
        assert_eq!(
            statement.table(),
            "meter      amount  price    cost\n\
             minute       12.5   0.02  0.2500\n\
             readings  3 pages      0  0.0000\n\
             session         1   0.10  0.1000\n\
             total                EUR    0.35\n"
        );
    }

    #[test]
    fn the_total_is_rounded_half_up_once_from_exact_costs() {
        let total = |texts: &[&str]| statement(Some(&tariff()), &usage(texts)).total.to_string();
        assert_eq!(total(&["minute=0.25"]), "0.01");
        assert_eq!(total(&["minute=0.249999"]), "0.00");
        assert_eq!(total(&["minute=0.75"]), "0.02");
        assert_eq!(total(&["minute=1.24", "session=0.002"]), "0.03");
    }

    #[test]
    fn without_a_tariff_nothing_costs_anything() {
        let statement = statement(None, &usage(&["minute=5"]));
        assert_eq!(serde_json::to_value(&statement).unwrap()["currency"], json!(null));
        assert_eq!(statement.total.to_string(), "0.00");
    }

    #[test]
    fn the_largest_numbers_stay_exact() {
        let tariff: Tariff =
            serde_json::from_value(json!({"currency": "EUR", "per": {"m": "9999.999999", "n": "9999999999"}})).unwrap();
        let statement = statement(Some(&tariff), &usage(&["m=999999999999.999999", "n=999999999999.999999"]));
        assert_eq!(statement.lines[0].cost.to_string(), "9999999998999999.9900");
        assert_eq!(statement.lines[1].cost.to_string(), "9999999998999999990000.0000");
    }

    #[test]
    fn what_is_no_tariff_is_refused() {
        for json in [
            json!({"currency": "eur", "per": {}}),
            json!({"currency": "EURO", "per": {}}),
            json!({"currency": "EUR", "per": {"minute": 0.02}}),
            json!({"currency": "EUR", "per": {"minute": "-0.02"}}),
            json!({"currency": "EUR", "per": {"minute": "12345678901"}}),
            json!({"currency": "EUR", "per": {"Minute": "1"}}),
        ] {
            assert!(serde_json::from_value::<Tariff>(json.clone()).is_err(), "{json}");
        }
    }
}
