//! `deployctl account export` and `deployctl account verify`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::csv::csv;
use super::shell::Shell;
use super::verify::key_of;
use crate::model::{Code, Error, Key, Party, Result, SessionId, Time};
use crate::roles::accountings::{Row, Wanted, accountings};
use crate::roles::proof::{self, Signatures};
use crate::roles::verify::verify_ledger;
use crate::store::{file, ledger};
use crate::ui::table::table;

#[derive(clap::Args)]
pub(super) struct Export {
    /// Comma-separated values (RFC 4180) for a spreadsheet, instead of JSON
    #[arg(long)]
    csv: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only what was accounted at this time or later (2026-01-31T18:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Only what was accounted before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// Only the accountings of this Initiator
    #[arg(long, value_name = "CONTACT|KEY")]
    initiator: Option<String>,
}

#[derive(Serialize)]
struct Exported {
    accountings: Vec<Row>,
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

pub(super) fn export(args: &Export, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let initiator = args.initiator.as_deref().map(|text| key_of(text, shell)).transpose()?;
    let wanted = Wanted { since: args.since, until: args.until, initiator };
    let all = Exported { accountings: accountings(&node, &wanted)? };
    let Some(path) = &args.output else {
        return match args.csv {
            true => shell.ui.verbatim(&csv(HEADER, all.accountings.iter().map(cells))),
            false => shell.ui.data(&all, || {
                table(&HEADER, &all.accountings.iter().map(|row| cells(row).into()).collect::<Vec<_>>())
            }),
        };
    };
    let text = match args.csv {
        true => csv(HEADER, all.accountings.iter().map(cells)),
        false => serde_json::to_string(&all).map_err(|why| Error::new(Code::Internal, why.to_string()))? + "\n",
    };
    file::write_atomic(path, text.as_bytes(), file::PRIVATE)?;
    shell.ui.note(&format!("{} rows in {}", all.accountings.len(), path.display()));
    Ok(())
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

/// The ledger of a session, a ledger's file from anywhere, or all ledgers of this node.
pub(super) fn verify(what: Option<&str>, shell: &Shell) -> Result<()> {
    let verified = match what {
        Some(path) if file::exists(Path::new(path))? => vec![verify_file(Path::new(path))?],
        prefix => verify_sessions(prefix, shell)?,
    };
    let all = AllVerified { verified };
    shell.ui.data(&all, || all.verified.iter().map(describe).collect::<Vec<_>>().join("\n"))
}

fn describe(one: &Verified) -> String {
    let session = one.session.map(|session| session.short()).unwrap_or_default();
    let by = match (one.initiator, one.provider) {
        (Some(initiator), Some(provider)) => format!("\n  signed by {initiator}\n  countersigned by {provider}"),
        _ => String::new(),
    };
    format!("session {session}: {} accountings, signed, countersigned and chained{by}", one.accountings)
}

fn verify_file(path: &Path) -> Result<Verified> {
    let place = path.display().to_string();
    let bytes = file::read_limited(path, ledger::MAX_LEDGER)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|why| Error::new(Code::BrokenChain, format!("the ledger {place} is no text: {why}")))?;
    let lines = ledger::read_text(&place, text)?;
    let checked = proof::check_ledger(&lines, &place, &mut Signatures::new())?
        .ok_or_else(|| Error::new(Code::BrokenChain, format!("the ledger {place} is empty")))?;
    Ok(Verified {
        session: Some(checked.session),
        accountings: checked.accountings,
        initiator: Some(checked.initiator),
        provider: Some(checked.provider),
    })
}

fn verify_sessions(prefix: Option<&str>, shell: &Shell) -> Result<Vec<Verified>> {
    let node = shell.node()?;
    let parts = match prefix {
        Some(prefix) => vec![node.part_as(prefix, &[Party::Initiator, Party::Provider])?],
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
