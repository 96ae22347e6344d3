//! `deployctl invite`

use clap::Subcommand;
use serde::Serialize;

use super::shell::Shell;
use crate::model::{Code, Error, MessageId, Party, Result, SessionId};
use crate::roles::Node;
use crate::session::Machine;
use crate::session::record::id_of;
use crate::ui::table::table;

/// Look at the invitations of a session
///
/// Shows who is invited and what they answered. The provider's `serve` sends the invitations by itself, again
/// and again until they arrive or expire.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:
  deployctl invite                the invitations of all sessions
  deployctl invite 7k3q           of one session
  deployctl invite show 4m2p
  deployctl invite resend 4m2p    now, instead of after the pause"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A session; without, all
    session: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// List invitations
    List {
        /// A session; without, all
        session: Option<String>,
    },
    /// Show one invitation
    Show { invitation: String },
    /// Send an invitation that has not arrived yet now (provider)
    Resend { invitation: String },
}

#[derive(Clone, Serialize)]
struct Row {
    invitation: MessageId,
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
        Some(Command::Show { invitation }) => {
            let row = find(&rows(&node, None)?, invitation)?;
            shell.ui.data(&row, || describe(&row))
        }
        Some(Command::Resend { invitation }) => resend(&node, invitation, shell),
        Some(Command::List { session }) => list(&node, session.as_deref(), shell),
        None => list(&node, args.session.as_deref(), shell),
    }
}

fn list(node: &Node, session: Option<&str>, shell: &Shell) -> Result<()> {
    let list = List { invitations: rows(node, session)? };
    if list.invitations.is_empty() {
        shell.ui.note("no invitations");
    }
    shell.ui.data(&list, || {
        let row = |one: &Row| {
            vec![
                one.invitation.short(),
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
        row.invitation,
        row.session,
        row.service,
        row.name,
        row.key,
        row.role,
        row.state,
        arrived(row)
    )
}

/// The provider knows the invitations that it sent, a peer its own.
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
                    let waiting = replayed.outbox.iter().any(|sent| id_of(sent) == Some(invitation));
                    rows.push(row(invitation, who, Some(!waiting)));
                }
            }
            Machine::Peer(peer) => {
                rows.extend(summary.participants.iter().map(|who| row(peer.invitation_id, who, None)));
            }
            Machine::Initiator(_) => {}
        }
    }
    Ok(rows)
}

fn find(rows: &[Row], prefix: &str) -> Result<Row> {
    let matching: Vec<_> = rows.iter().filter(|row| row.invitation.to_string().starts_with(prefix)).collect();
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::new(Code::NotFound, format!("there is no invitation {prefix} here"))
            .hint("`deployctl invite` lists them")),
        _ => Err(Error::new(Code::Ambiguous, format!("{prefix} is the beginning of several invitations"))),
    }
}

fn resend(node: &Node, prefix: &str, shell: &Shell) -> Result<()> {
    let row = find(&rows(node, None)?, prefix)?;
    match row.arrived {
        None => Err(Error::new(Code::WrongState, "only the provider sends invitations").about(row.session)),
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
