//! `deployctl account export` and `deployctl account verify`

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::csv::csv;
use super::shell::Shell;
use super::verify::key_of;
use crate::model::count::counted;
use crate::model::{Code, Error, Key, Party, Result, SessionId, Time};
use crate::roles::accountings::{Row, Wanted, accountings};
use crate::roles::forks;
use crate::roles::proof::{self, Signatures};
use crate::roles::statements::{By, ServiceLine, Statement, statements};
use crate::roles::verify::verify_ledger;
use crate::store::ledger::LedgerLine;
use crate::store::{file, ledger};
use crate::ui::table::table;

/// Which accountings are meant. One belongs to the period in which it was issued, as a whole.
#[derive(clap::Args)]
pub(super) struct Period {
    /// Only what was accounted from then on (2026-01-31, 2026-01-31T18:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = when, help_heading = "Period", hide_short_help = true)]
    since: Option<Time>,
    /// Only what was accounted before this time
    #[arg(long, value_name = "TIME", value_parser = when, help_heading = "Period", hide_short_help = true)]
    until: Option<Time>,
    /// Only the accountings of this Initiator
    #[arg(long, value_name = "CONTACT|KEY", help_heading = "Period", hide_short_help = true)]
    initiator: Option<String>,
}

impl Period {
    /// Nothing is left out.
    pub(super) fn is_always(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.initiator.is_none()
    }
}

#[derive(clap::Args)]
pub(super) struct Export {
    /// Comma-separated values (RFC 4180) for a spreadsheet, instead of JSON
    #[arg(long)]
    csv: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What is put together: the accountings one by one, all of a session, or all of an Initiator
    #[arg(long, value_enum, default_value_t = Grouping::Accounting)]
    by: Grouping,
    #[command(flatten)]
    period: Period,
}

#[derive(Clone, Copy, ValueEnum)]
enum Grouping {
    Accounting,
    Session,
    Initiator,
}

/// A time, or the beginning of a day (UTC).
fn when(text: &str) -> Result<Time> {
    let is_day = text.len() == "2026-01-31".len();
    if is_day { format!("{text}T00:00:00Z").parse() } else { text.parse() }
}

#[derive(Serialize)]
struct Exported {
    accountings: Vec<Row>,
}

/// What was put in a file instead of being shown.
#[derive(Serialize)]
struct Written {
    rows: usize,
    file: PathBuf,
}

#[derive(Serialize)]
struct Statements {
    since: Option<Time>,
    until: Option<Time>,
    statements: Vec<Statement>,
}

const HEADER: [&str; 13] = [
    "session",
    "sequence",
    "kind",
    "time",
    "initiator",
    "provider",
    "service",
    "meter",
    "amount",
    "unit",
    "price",
    "cost",
    "currency",
];
const STATEMENT_HEADER: [&str; 9] =
    ["initiator", "provider", "session", "service", "meter", "amount", "price", "cost", "currency"];

/// The statement of a period, for each Initiator.
pub(super) fn statement(period: &Period, shell: &Shell) -> Result<()> {
    let all = statements_of(shell, period, By::Initiator)?;
    shell.ui.data(&all, || described(&all))
}

fn rows(shell: &Shell, period: &Period) -> Result<Vec<Row>> {
    let Period { since, until, initiator } = period;
    if since.zip(*until).is_some_and(|(since, until)| until <= since) {
        return Err(Error::new(Code::Usage, "--until is not later than --since"));
    }
    let initiator = initiator.as_deref().map(|text| key_of(text, shell)).transpose()?;
    accountings(&*shell.node()?, &Wanted { since: *since, until: *until, initiator })
}

fn statements_of(shell: &Shell, period: &Period, by: By) -> Result<Statements> {
    let statements = statements(&rows(shell, period)?, by);
    Ok(Statements { since: period.since, until: period.until, statements })
}

pub(super) fn export(args: &Export, shell: &Shell) -> Result<()> {
    let by = match args.by {
        Grouping::Accounting => {
            let all = Exported { accountings: rows(shell, &args.period)? };
            return write(args, shell, &all, HEADER, all.accountings.iter().map(cells).collect());
        }
        Grouping::Session => By::Session,
        Grouping::Initiator => By::Initiator,
    };
    let all = statements_of(shell, &args.period, by)?;
    let lines = all.statements.iter().flat_map(statement_cells).collect();
    write(args, shell, &all, STATEMENT_HEADER, lines)
}

fn write<T: Serialize, const N: usize>(
    args: &Export,
    shell: &Shell,
    all: &T,
    header: [&str; N],
    lines: Vec<[String; N]>,
) -> Result<()> {
    let count = lines.len();
    let Some(path) = &args.output else {
        return match args.csv {
            true => shell.ui.verbatim(&csv(header, lines)),
            false => {
                shell.ui.data(all, || table(&header, &lines.iter().map(|line| line.clone().into()).collect::<Vec<_>>()))
            }
        };
    };
    let text = match args.csv {
        true => csv(header, lines),
        false => serde_json::to_string(all).map_err(|why| Error::new(Code::Internal, why.to_string()))? + "\n",
    };
    file::write_atomic(path, text.as_bytes(), file::PRIVATE)?;
    let written = Written { rows: count, file: path.clone() };
    shell.ui.data(&written, || format!("{count} rows in {}", path.display()))
}

/// A line for each meter, and one for the total, whose meter is empty.
fn statement_cells(one: &Statement) -> Vec<[String; 9]> {
    let session = one.session.map(|session| session.to_string()).unwrap_or_default();
    let currency = one.currency.as_ref().map(ToString::to_string).unwrap_or_default();
    let cells = |service: String, meter: String, amount: String, price: String, cost: String| {
        let (initiator, provider) = (one.initiator.clone(), one.provider.clone());
        [initiator, provider, session.clone(), service, meter, amount, price, cost, currency.clone()]
    };
    let mut all: Vec<_> = one
        .lines
        .iter()
        .map(|ServiceLine { service, line }| {
            let unit = line.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
            let amount = format!("{}{unit}", line.amount);
            cells(service.to_string(), line.meter.to_string(), amount, line.price.to_string(), line.cost.to_string())
        })
        .collect();
    all.push(cells(String::new(), String::new(), String::new(), String::new(), one.total.to_string()));
    all
}

fn described(all: &Statements) -> String {
    let from = all.since.map(|since| format!(" from {since}")).unwrap_or_default();
    let until = all.until.map(|until| format!(" before {until}")).unwrap_or_default();
    if all.statements.is_empty() {
        return format!("nothing was accounted{from}{until}");
    }
    let one = |one: &Statement| {
        let lines: Vec<Vec<String>> = statement_cells(one).iter().map(|cells| cells[3..].to_vec()).collect();
        format!(
            "{} owes {}: {} of {}{from}{until}\n{}",
            one.initiator,
            one.provider,
            counted(one.accountings, "accounting"),
            counted(one.sessions, "session"),
            table(&STATEMENT_HEADER[3..], &lines)
        )
    };
    all.statements.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn cells(row: &Row) -> [String; 13] {
    let kind = format!("{:?}", row.kind).to_lowercase();
    [
        row.session.to_string(),
        row.sequence.to_string(),
        kind,
        row.time.to_string(),
        row.initiator.clone(),
        row.provider.clone(),
        row.service.to_string(),
        row.meter.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.amount.to_string(),
        row.unit.clone().unwrap_or_default(),
        row.price.to_string(),
        row.cost.to_string(),
        row.currency.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

#[derive(Serialize)]
struct Verified {
    session: Option<SessionId>,
    accountings: u64,
    /// Who signed the accountings, and who the receipts: of a ledger that is checked alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Key>,
}

#[derive(Serialize)]
struct AllVerified {
    verified: Vec<Verified>,
}

/// The ledger of a session, ledgers' files from anywhere, or all ledgers of this node.
pub(super) fn verify(what: &[String], shell: &Shell) -> Result<()> {
    let mut verified = Vec::new();
    let mut files: Vec<(&Path, Vec<LedgerLine>)> = Vec::new();
    for one in what {
        if !file::exists(Path::new(one))? {
            verified.extend(verify_sessions(Some(one), shell)?);
            continue;
        }
        let path = Path::new(one);
        let (checked, lines) = verify_file(path)?;
        for (other, known) in &files {
            forks::compare(known, &lines, &format!("{} and {}", other.display(), path.display()))?;
        }
        files.push((path, lines));
        verified.push(checked);
    }
    if what.is_empty() {
        verified = verify_sessions(None, shell)?;
    }
    let all = AllVerified { verified };
    shell.ui.data(&all, || all.verified.iter().map(describe).collect::<Vec<_>>().join("\n"))
}

fn describe(one: &Verified) -> String {
    let session = one.session.map(|session| session.short()).unwrap_or_default();
    let by = match (one.initiator, one.provider) {
        (Some(initiator), Some(provider)) => format!("\n  signed by {initiator}\n  countersigned by {provider}"),
        _ => String::new(),
    };
    format!("session {session}: {}, signed, countersigned and chained{by}", counted(one.accountings, "accounting"))
}

/// A ledger with the evidence of forks that lies beside it, or such evidence alone.
fn verify_file(path: &Path) -> Result<(Verified, Vec<LedgerLine>)> {
    let place = path.display().to_string();
    if place.ends_with(".fork.jsonl") {
        forks::check(path)?;
        return Err(Error::new(Code::BadInput, format!("{place} holds no evidence")));
    }
    let bytes = file::read_limited(path, ledger::MAX_LEDGER)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|why| Error::new(Code::BrokenChain, format!("the ledger {place} is no text: {why}")))?;
    let lines = ledger::read_text(&place, text)?;
    let checked = proof::check_ledger(&lines, &place, &mut Signatures::new())?
        .ok_or_else(|| Error::new(Code::BrokenChain, format!("the ledger {place} is empty")))?;
    forks::check(&path.with_extension("fork.jsonl"))?;
    let verified = Verified {
        session: Some(checked.session),
        accountings: checked.accountings,
        initiator: Some(checked.initiator),
        provider: Some(checked.provider),
    };
    Ok((verified, lines))
}

fn verify_sessions(prefix: Option<&str>, shell: &Shell) -> Result<Vec<Verified>> {
    let node = shell.node()?;
    let neither = |error: Error| match error.code {
        Code::NotFound => error.while_doing("there is no such file, and as a session"),
        _ => error,
    };
    let parts = match prefix {
        Some(prefix) => vec![node.part_as(prefix, &[Party::Initiator, Party::Provider]).map_err(neither)?],
        None => node.parts()?,
    };
    let mut verified = Vec::new();
    for part in parts.iter().filter(|part| part.summary.party != Party::Peer) {
        let session = part.summary.session;
        let replayed = node.read(session, part.summary.party)?;
        let accountings = verify_ledger(&node, session, Some(&replayed))?;
        verified.push(Verified { session: Some(session), accountings, initiator: None, provider: None });
    }
    Ok(verified)
}
