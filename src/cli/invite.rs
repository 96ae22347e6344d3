//! `deployctl invite`

mod change;

use std::collections::BTreeSet;

use clap::Subcommand;
use serde::Serialize;

use super::consent::Consent;
use super::request::Peer;
use super::shell::{self, Shell};
use crate::model::{Code, Error, MessageId, Party, Result, SessionId};
use crate::roles::Node;
use crate::session::Machine;
use crate::store::state::resolve_prefix;
use crate::ui::table::table;

/// Look at the invitations of a session, and change them
///
/// Shows who is invited and what they answered. The provider's `serve` sends the invitations by itself, again
/// and again until they arrive or expire. Until all have answered, or the time for it is up, the Initiator may invite
/// one more, and it or the provider may take an invitation back.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_long_help = "Examples:
  deployctl invite                          the invitations of all sessions
  deployctl invite 7k3q                     of one session
  deployctl invite 7k3q --peer cleo=guest   the Initiator invites one more
  deployctl invite 7k3q --close             the Initiator waits for no more answers
  deployctl invite show 4m2p
  deployctl invite resend 4m2p              now, instead of after the pause
  deployctl invite withdraw 4m2p            the provider takes it back
  deployctl invite withdraw 7k3q --peer ben the Initiator does, through the provider

To undo `--peer`: deployctl invite withdraw SESSION --peer NAME. A withdrawn invitation cannot be made again."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A session; without, all
    session: Option<String>,
    /// Invite this contact, too (Initiator, before the answers are in)
    #[arg(long = "peer", value_name = "CONTACT[=ROLE]", requires = "session")]
    peers: Vec<Peer>,
    /// A line to those
    #[arg(long, value_name = "TEXT", value_parser = shell::text, requires = "peers", hide_short_help = true)]
    note: Option<String>,
    /// Wait for no more answers; the rest is withdrawn (Initiator)
    #[arg(long, requires = "session", conflicts_with = "peers")]
    close: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List invitations
    #[command(after_long_help = "Examples:
  deployctl invite list
  deployctl invite list 7k3q")]
    List {
        /// A session; without, all
        session: Option<String>,
    },
    /// Show one invitation; your own with all that a yes means
    #[command(after_long_help = "Example:
  deployctl invite show 4m2p")]
    Show {
        /// An invitation, by any unambiguous beginning of its id
        invitation: String,
    },
    /// Send an invitation that has not arrived yet now (provider)
    #[command(after_long_help = "Example:
  deployctl invite resend 4m2p

To undo: deployctl invite withdraw INVITATION")]
    Resend {
        /// An invitation, by any unambiguous beginning of its id
        invitation: String,
    },
    /// Take an invitation back before the answers are in
    ///
    /// By the provider, who names the invitation; or by the Initiator through it, who names session and peer.
    #[command(after_long_help = "Examples:
  deployctl invite withdraw 4m2p                the provider
  deployctl invite withdraw 7k3q --peer ben     the Initiator

It cannot be undone: a withdrawn invitation is not made again.")]
    Withdraw {
        /// The invitation (provider); or its session, with --peer
        invitation: String,
        /// Whose invitation, by the name that the Initiator gave
        #[arg(long, value_name = "INVITED")]
        peer: Option<String>,
        /// Why, for the peer to read
        #[arg(long, value_name = "TEXT", value_parser = shell::text, default_value = "the invitation was taken back")]
        reason: String,
    },
}

#[derive(Clone, Serialize)]
struct Row {
    /// Absent at the Initiator, who does not get to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<MessageId>,
    session: SessionId,
    party: Party,
    service: String,
    name: String,
    key: crate::model::Key,
    role: String,
    state: String,
    /// The invitation has reached the peer; absent where this node did not send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct List {
    invitations: Vec<Row>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    match &args.command {
        Some(Command::Show { invitation }) => show(&node, &find(&rows(&node, None)?, invitation)?, shell),
        Some(Command::Resend { invitation }) => resend(&node, invitation, shell),
        Some(Command::Withdraw { invitation, peer, reason }) => {
            let row = change::meant(&node, invitation, peer.as_deref())?;
            shell.run(change::withdraw(&node, &row, reason, shell))
        }
        Some(Command::List { session }) => list(&node, session.as_deref(), shell),
        None => match &args.session {
            Some(session) if !args.peers.is_empty() => shell.run(change::add(&node, session, args, shell)),
            Some(session) if args.close => shell.run(change::close(&node, session, shell)),
            session => list(&node, session.as_deref(), shell),
        },
    }
}

/// With what a yes means, where it is an invitation to this node.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<Consent>,
}

fn show(node: &Node, row: &Row, shell: &Shell) -> Result<()> {
    let consent = match row.party {
        Party::Peer => {
            let (peer, acquaintance) = node.invitation(row.session)?;
            Some(Consent::to(node, &peer, &acquaintance)?)
        }
        Party::Initiator | Party::Provider => None,
    };
    let lines = consent.as_ref().map(|consent| consent.lines(shell.system.now())).unwrap_or_default();
    shell.ui.data(&Shown { row, consent }, || [vec![describe(row)], lines].concat().join("\n"))
}

fn list(node: &Node, session: Option<&str>, shell: &Shell) -> Result<()> {
    let list = List { invitations: rows(node, session)? };
    if list.invitations.is_empty() {
        shell.ui.note("no invitations");
    }
    shell.ui.data(&list, || {
        let row = |one: &Row| {
            vec![
                one.invitation.as_ref().map(MessageId::short).unwrap_or_default(),
                one.session.short(),
                one.service.clone(),
                one.name.clone(),
                one.role.clone(),
                one.state.clone(),
                arrived(one).to_owned(),
                one.reason.clone().unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = list.invitations.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["INVITATION", "SESSION", "SERVICE", "PEER", "ROLE", "STATE", "", "REASON"], &rows)
        }
    })
}

fn arrived(row: &Row) -> &'static str {
    match row.arrived {
        Some(false) => "not delivered yet",
        _ => "",
    }
}

fn describe(row: &Row) -> String {
    let reason = row.reason.as_ref().map(|reason| format!("\nreason      {reason}")).unwrap_or_default();
    format!(
        "invitation  {}\nsession     {}\nservice     {}\npeer        {} ({})\nrole        {}\nstate       {} {}{reason}",
        row.invitation.map_or_else(|| "known to the provider".to_owned(), |id| id.to_string()),
        row.session,
        row.service,
        row.name,
        row.key,
        row.role,
        row.state,
        arrived(row)
    )
}

/// The provider knows the invitations that it sent, a peer its own; the Initiator knows whom it named.
fn rows(node: &Node, session: Option<&str>) -> Result<Vec<Row>> {
    let parts = match session {
        Some(prefix) => node.parts_of(prefix)?.1,
        None => node.parts()?,
    };
    let mut rows = Vec::new();
    for part in parts {
        let summary = part.summary;
        let replayed = node.read(summary.session, summary.party)?;
        let row = |invitation, who: &crate::session::ParticipantSummary, arrived| Row {
            invitation,
            session: summary.session,
            party: summary.party,
            service: summary.service.to_string(),
            name: who.name.to_string(),
            key: who.key,
            role: who.role.to_string(),
            state: who.state.to_string(),
            arrived,
            reason: who.reason.clone(),
        };
        match &replayed.machine {
            Machine::Provider(provider) => {
                for (who, participant) in summary.participants.iter().zip(&provider.participants) {
                    let Some(invitation) = participant.invitation_id() else { continue };
                    let waiting = replayed.outbox.iter().any(|sent| sent.id == invitation);
                    rows.push(row(Some(invitation), who, Some(!waiting)));
                }
            }
            Machine::Peer(peer) => {
                rows.extend(summary.participants.iter().map(|who| row(Some(peer.invitation_id), who, None)));
            }
            // The first one is the Initiator itself.
            Machine::Initiator(_) => rows.extend(summary.participants.iter().skip(1).map(|who| row(None, who, None))),
        }
    }
    Ok(rows)
}

fn find(rows: &[Row], prefix: &str) -> Result<Row> {
    let ids: BTreeSet<_> = rows.iter().filter_map(|row| row.invitation).collect();
    let id = resolve_prefix("invitation", prefix, ids.into_iter())
        .map_err(|why| why.hint("`deployctl invite` lists them"))?;
    // Where this node is provider and peer at once, the provider's is the one to act on.
    let mut meant: Vec<_> = rows.iter().filter(|row| row.invitation == Some(id)).collect();
    meant.sort_by_key(|row| row.arrived.is_none());
    meant.first().map(|row| (*row).clone()).ok_or_else(|| Error::new(Code::Internal, "an id that is there is gone"))
}

fn resend(node: &Node, prefix: &str, shell: &Shell) -> Result<()> {
    let row = find(&rows(node, None)?, prefix)?;
    match row.arrived {
        None => Err(Error::new(Code::WrongState, "only the provider sends invitations")
            .hint("the Initiator can invite one more: deployctl invite SESSION --peer CONTACT")
            .about(row.session)),
        Some(true) => {
            shell.ui.note(&format!("the invitation has reached {} already", row.name));
            shell.ui.data(&row, || describe(&row))
        }
        Some(false) => {
            shell.run(node.send_to(row.session, Party::Provider, row.key))?;
            let row = find(&rows(node, None)?, prefix)?;
            shell.ui.note(&format!("sent to {}", row.name));
            shell.ui.data(&row, || describe(&row))
        }
    }
}
