//! `deployctl stop`

use std::sync::Arc;

use super::shell::{self, Shell, WILL_BE_SENT};
use super::status::{self, program};
use crate::model::{Party, Result, SessionId, SessionState, Span};
use crate::roles::drive::ByHand;
use crate::roles::sitting::Projection;
use crate::roles::{Node, serve};
use crate::session::{Decision, Summary, What};

/// How long to wait until this node's own program has come to rest.
const REST: Span = Span::from_secs(60);

/// End a session (Initiator, provider), leave it (peer), or stop a program
///
/// As its Initiator or provider, for all: every participant stops and removes the software, and the final
/// accounting follows. As a peer: you leave, and the others go on.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl stop 7k3q
  deployctl stop 7k3q --reason 'the afternoon is over'

A session that has ended cannot be undone: request it again. A program is started again by deployctl start PROGRAM.")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; or an installed program
    #[arg(value_name = "SESSION|PROGRAM")]
    session: String,
    /// Why, for the others to read
    #[arg(long, value_name = "TEXT", value_parser = shell::text)]
    reason: Option<String>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    if let Some(found) = program::named(&node, &args.session)? {
        let stopped = shell.run(async {
            let stopped = node.stop_program(&found.id, shell.timeout).await?;
            node.send_mail().await?;
            node.summarize(&stopped)
        })?;
        shell.ui.note(&format!("stopped {}", stopped.program));
        return shell.ui.data(&stopped, || program::describe(&stopped));
    }
    let part = node
        .part_as(&args.session, &[Party::Initiator, Party::Provider, Party::Peer])
        .map_err(|why| program::unknown(&args.session, why))?;
    shell.concern(part.summary.session, part.summary.party);
    let summary = shell.run(end(&node, &part, args.reason.clone(), shell))?;
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Says that it ends, and waits until nothing of this node runs any more. What cannot be said yet is kept, and is an error
/// once all else is done.
async fn end(node: &Arc<Node>, part: &Projection, reason: Option<String>, shell: &Shell) -> Result<Summary> {
    let (session, party) = (part.summary.session, part.summary.party);
    let said = say(node, session, party, reason).await;
    let limit = shell.timeout.unwrap_or(REST);
    node.wait_for(session, party, ByHand::default(), Some(limit), |projection| at_rest(projection).map(Ok)).await?;
    if party != Party::Provider {
        node.clear_away(session, party, ByHand::default()).await?;
    }
    match said {
        Err(error) if error.code.may_pass_later() => {
            Err(error.while_doing(format!("stopped here, and the other side does not know it yet; {WILL_BE_SENT}")))
        }
        Err(error) => Err(error),
        Ok(()) => {
            let word = if party == Party::Peer { "left" } else { "ended" };
            shell.ui.note(&format!("{word} session {}", session.short()));
            Ok(node.projection(session, party)?.summary)
        }
    }
}

/// Decides to end or leave, and sends it.
pub(super) async fn say(node: &Arc<Node>, session: SessionId, party: Party, reason: Option<String>) -> Result<()> {
    let reason = reason.unwrap_or_else(|| match party {
        Party::Initiator => format!("ended by {}", node.name()),
        Party::Provider => "ended by the provider".to_owned(),
        Party::Peer => format!("{} left", node.name()),
    });
    let replayed = node.step(session, party, What::Decided(Decision::Stop { reason }))?;
    let recipients: std::collections::BTreeSet<_> = replayed.outbox.iter().map(|sent| sent.to.key).collect();
    let mut failed = Ok(());
    for recipient in recipients {
        let sent = node.send_to(session, party, recipient).await;
        // A provider's `serve` goes on sending; a participant speaks to its provider alone.
        if party != Party::Provider || serve::running(&node.state)?.is_none() {
            failed = failed.and(sent);
        }
    }
    failed
}

/// Nothing of this party runs any more.
fn at_rest(projection: &Projection) -> Option<Summary> {
    let summary = &projection.summary;
    let resting = match summary.party {
        Party::Provider => summary.state >= SessionState::Terminating,
        _ => projection.at_rest,
    };
    (resting || summary.over).then(|| summary.clone())
}
