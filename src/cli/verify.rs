//! `deployctl verify`

use serde::Serialize;

use super::shell::Shell;
use crate::model::Result;
use crate::roles::verify::{Verification, verify_session};

/// Check a session from its files alone
///
/// Checks that the log is whole and chained, that every message in it and inside of
/// it is signed by whom it says, that it replays to what was sent, that the ledger agrees, and that what is installed is what
/// was signed.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id
    session: String,
}

#[derive(Serialize)]
struct Verified {
    verified: Vec<Verification>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let session = node.state.resolve_session(&args.session)?;
    let mut verified = Vec::new();
    for (found, parties) in node.state.find_sessions()? {
        for party in parties.into_iter().filter(|_| found == session) {
            verified.push(verify_session(&node, session, party)?);
        }
    }
    let all = Verified { verified };
    shell.ui.data(&all, || all.verified.iter().map(describe).collect::<Vec<_>>().join("\n"))
}

fn describe(one: &Verification) -> String {
    let installed =
        one.installed.map_or(String::new(), |digest| format!("; what is installed is package {}", digest.short()));
    format!(
        "session {} as {}: {} records chained, {} signatures right, {} accountings agree{installed}",
        one.session.short(),
        one.party,
        one.records,
        one.signatures,
        one.accountings
    )
}
