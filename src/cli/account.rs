//! `deployctl account`

use std::sync::Arc;

use super::shell::{Shell, WILL_BE_SENT};
use super::{ledgers, stop};
use crate::message::AccountingKind;
use crate::model::count::counted;
use crate::model::{Code, Error, Party, Result, SessionId};
use crate::roles::Node;
use crate::roles::books::{self, Account};
use crate::roles::drive::ByHand;
use crate::service::usage::{Usage, parse_usage};
use crate::session::{Decision, Outcome, What};

/// See what was used and what it costs, and account for it
///
/// The Initiator's node accounts by itself, by interval while the service
/// runs and finally when it has stopped; here it can be done by hand.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_long_help = "Examples:
  deployctl account 7k3q
  deployctl account 7k3q --interim --usage readings=120
  deployctl account 7k3q --final              ends the session first if it runs
  deployctl account --since 2026-01-01 --until 2026-02-01     January's statement for each Initiator
  deployctl account verify 7k3q
  deployctl account verify ours.jsonl theirs.jsonl            ledgers from anywhere, compared where they are of one session
  deployctl account export --csv --by session --since 2026-01-01 --output january.csv

An accounting cannot be undone: the provider countersigns it. A later one adds to it."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A session; without one, a statement of all for each Initiator
    session: Option<String>,
    #[command(flatten)]
    period: ledgers::Period,
    /// Account now for what was used so far (Initiator)
    #[arg(long, group = "interim_or_final", requires = "session")]
    interim: bool,
    /// Account finally (Initiator); ends the session if it still runs
    #[arg(long, group = "interim_or_final", requires = "session")]
    r#final: bool,
    /// Something else that was used
    #[arg(long, value_name = "METER=AMOUNT", requires = "interim_or_final")]
    usage: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write the accountings of this node for others, meter by meter or put together
    #[command(after_long_help = "Examples:
  deployctl account export --csv --since 2026-01-01 --until 2026-02-01 --output january.csv
  deployctl account export --by session
  deployctl --format json account export | jq '.accountings[] | select(.kind == \"final\")'")]
    Export(ledgers::Export),
    /// Check ledgers: signatures, receipts, chain, forks
    ///
    /// Of a session, of files from anywhere alone, or, without either, of all sessions.
    #[command(after_long_help = "Examples:
  deployctl account verify
  deployctl account verify 7k3q
  deployctl account verify ours.jsonl theirs.jsonl     compared where they are of one session")]
    Verify {
        /// A session, by any unambiguous beginning of its id; or the file of a ledger
        #[arg(value_name = "SESSION|FILE")]
        what: Vec<String>,
    },
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    match &args.command {
        Some(Command::Export(args)) => return ledgers::export(args, shell),
        Some(Command::Verify { what }) => return ledgers::verify(what, shell),
        None => {}
    }
    let Some(prefix) = args.session.as_deref() else { return ledgers::statement(&args.period, shell) };
    let node = shell.node()?;
    let part = node.part_as(prefix, &[Party::Initiator, Party::Provider])?;
    let session = part.summary.session;
    if !args.period.is_always() {
        return Err(Error::new(Code::Usage, "--since, --until and --initiator are for statements of all sessions")
            .hint("leave the session out, or use `deployctl account export`"));
    }
    if args.interim || args.r#final {
        if part.summary.party != Party::Initiator {
            return Err(Error::new(Code::NotPermitted, "only the Initiator accounts; the provider countersigns")
                .hint("without --interim and --final, the statement is shown")
                .about(session));
        }
        let usage = usage(&args.usage)?;
        if !shell.ui.settings().yes {
            books::check_meters(&node, session, &usage)?;
        }
        shell.concern(session, Party::Initiator);
        shell.run(account(&node, session, args.r#final, usage, shell))?;
    }
    let account = books::account(&node, session)?;
    shell.ui.data(&account, || table(&account))
}

fn table(account: &Account) -> String {
    let state = if account.closed { "closed" } else { "open" };
    format!(
        "session {}, {}, {state}\n{}",
        account.session.short(),
        counted(account.accountings, "accounting"),
        account.statement.table()
    )
}

fn usage(texts: &[String]) -> Result<Usage> {
    let mut usage = Usage::default();
    for text in texts {
        let (meter, amount) = parse_usage(text)?;
        usage.add(meter, amount)?;
    }
    Ok(usage)
}

/// Accounts by hand. What the provider cannot be told yet is kept and sent later.
async fn account(node: &Arc<Node>, session: SessionId, last: bool, usage: Usage, shell: &Shell) -> Result<()> {
    if books::account(node, session)?.closed {
        if last && usage.is_empty() {
            shell.ui.note("the final accounting was made already");
            return Ok(());
        }
        return Err(Error::new(Code::WrongState, "the final accounting was made already").about(session));
    }
    if let Some(meter) = node.metered(session, Party::Initiator)? {
        node.step(session, Party::Initiator, What::Result(Outcome::Metered { meter, account: false }))?;
    }
    if !last || !usage.is_empty() {
        node.step(
            session,
            Party::Initiator,
            What::Decided(Decision::Account { kind: AccountingKind::Interim, usage }),
        )?;
    }
    if last {
        return finally(node, session, shell).await;
    }
    send(node, session).await
}

async fn send(node: &Arc<Node>, session: SessionId) -> Result<()> {
    let provider = node.projection(session, Party::Initiator)?.summary.provider;
    node.send_to(session, Party::Initiator, provider.key).await.map_err(|error| match error.code.may_pass_later() {
        true => error.while_doing(format!("accounted, and the provider does not know it yet; {WILL_BE_SENT}")),
        false => error,
    })
}

/// Ends the session where it still runs; the final accounting follows when the program has come to rest.
async fn finally(node: &Arc<Node>, session: SessionId, shell: &Shell) -> Result<()> {
    let projection = node.projection(session, Party::Initiator)?;
    if !projection.ending && !projection.summary.over {
        shell.ui.note("the service is ended first");
        match stop::say(node, session, Party::Initiator, None).await {
            Err(error) if error.code.may_pass_later() => {}
            other => other?,
        }
    }
    node.wait_for(session, Party::Initiator, ByHand::default(), shell.timeout, |projection| {
        (projection.at_rest || projection.summary.over).then_some(Ok(()))
    })
    .await?;
    send(node, session).await
}
