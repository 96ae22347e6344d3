//! `deployctl accept`

use std::time::Duration;

use serde::Serialize;

use super::acquaint::contact;
use super::consent::Consent;
use super::shell::{self, Shell, WILL_BE_SENT};
use super::status;
use crate::message::Verdict;
use crate::model::{Code, Error, MessageId, Party, Result, SessionId, Time};
use crate::roles::Node;
use crate::roles::invitations::Acquaintance;
use crate::roles::poll::Cursor;
use crate::session::{Machine, Peer, Summary};
use crate::store::state::resolve_prefix;
use crate::ui::escape::escape_line;
use crate::ui::table::table;
use crate::ui::time::relative;

/// Look at invitations and answer them
///
/// Accepting is the consent to install and run what the invitation
/// shows; nothing more than that may be delivered.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl accept --list
  deployctl accept --from shop --list       asks that provider first
  deployctl accept 7k3q                     shows what it is about, and asks
  deployctl accept 7k3q --yes
  deployctl accept 7k3q --decline --reason 'not today'

To undo: deployctl stop SESSION (you leave, and the software is removed)")]
pub(super) struct Args {
    /// An invitation or its session, by any unambiguous beginning of the id; without, the only open one
    invitation: Option<String>,
    /// List the invitations
    #[arg(long, conflicts_with_all = ["invitation", "decline"])]
    list: bool,
    /// Decline it
    #[arg(long)]
    decline: bool,
    /// Why, for the Initiator to read
    #[arg(long, value_name = "TEXT", value_parser = shell::text, requires = "decline")]
    reason: Option<String>,
    /// Ask this provider for invitations first: a contact, or its address, which is asked about
    #[arg(long, value_name = "CONTACT|ADDRESS")]
    from: Option<String>,
}

/// An invitation, as it is listed.
#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) invitation: MessageId,
    pub(super) session: SessionId,
    service: String,
    version: String,
    role: String,
    pub(super) state: String,
    initiator: String,
    known: bool,
    about: String,
    answer_by: Time,
}

#[derive(Serialize)]
struct List {
    invitations: Vec<Listed>,
}

/// A session, with what was agreed to.
#[derive(Serialize)]
struct Answered<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<Consent>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    shell.run(async {
        if let Some(from) = &args.from {
            let provider = contact(from, "provide", &node, shell)?.address;
            let mut cursor = Cursor::default();
            // The second poll acknowledges what the first one brought.
            if node.poll(&provider, &mut cursor, Duration::ZERO).await? > 0 {
                node.poll(&provider, &mut cursor, Duration::ZERO).await?;
            }
        }
        if args.list {
            return list(&node, shell);
        }
        let (session, peer, acquaintance) = find(&node, args.invitation.as_deref(), shell)?;
        if args.decline {
            return answer(&node, session, Verdict::Decline, args.reason.clone(), shell).await;
        }
        if peer.is_open() {
            consent(&node, &peer, &acquaintance, shell)?;
        }
        answer(&node, session, Verdict::Accept, None, shell).await
    })
}

/// All invitations that this node got, the open ones first.
pub(super) fn invitations(node: &Node) -> Result<Vec<(Listed, bool)>> {
    let mut all = Vec::new();
    for part in node.parts()?.into_iter().filter(|part| part.summary.party == Party::Peer) {
        let (peer, acquaintance) = node.invitation(part.summary.session)?;
        let open = peer.is_open() && peer.invitation.answer_by >= node.system.now();
        all.push((listed(&peer, &acquaintance, &part.summary), open));
    }
    all.sort_by_key(|(listed, open)| (!open, listed.answer_by));
    Ok(all)
}

fn listed(peer: &Peer, acquaintance: &Acquaintance, summary: &Summary) -> Listed {
    let invitation = &peer.invitation;
    Listed {
        invitation: peer.invitation_id,
        session: invitation.session,
        service: invitation.service.name.to_string(),
        version: invitation.service.version.to_string(),
        role: invitation.role.to_string(),
        state: if peer.is_open() { "open".to_owned() } else { summary.state.to_string() },
        initiator: invitation.initiator.name.to_string(),
        known: acquaintance.both_known(),
        about: invitation.about.clone(),
        answer_by: invitation.answer_by,
    }
}

fn list(node: &Node, shell: &Shell) -> Result<()> {
    let list = List { invitations: invitations(node)?.into_iter().map(|(listed, _)| listed).collect() };
    if list.invitations.is_empty() {
        shell.ui.note("no invitations; a node that listens nowhere asks its provider with --from");
    }
    let now = shell.system.now();
    shell.ui.data(&list, || {
        if list.invitations.is_empty() {
            return String::new();
        }
        let rows: Vec<_> = list
            .invitations
            .iter()
            .map(|one| vec![one.invitation.short(), one.state.clone(), relative(one.answer_by, now), one.about.clone()])
            .collect();
        table(&["INVITATION", "STATE", "ANSWER BY", "ABOUT"], &rows)
    })
}

/// The invitation that is meant: named by its id or its session's, or the only open one.
pub(super) fn find(node: &Node, named: Option<&str>, shell: &Shell) -> Result<(SessionId, Box<Peer>, Acquaintance)> {
    let all = invitations(node)?;
    let session = match named {
        Some(prefix) => by_prefix(&all, prefix)?,
        None => only_open(&all, shell)?,
    };
    let (peer, acquaintance) = node.invitation(session)?;
    Ok((session, peer, acquaintance))
}

fn by_prefix(all: &[(Listed, bool)], prefix: &str) -> Result<SessionId> {
    let ids: Vec<_> = all.iter().map(|(one, _)| [one.invitation.to_string(), one.session.to_string()]).collect();
    let named = resolve_prefix("invitation", prefix, ids.iter().flatten().map(String::as_str))
        .map_err(|why| why.hint("`deployctl accept --list` lists them; --from PROVIDER asks a provider first"))?;
    let meant = all.iter().zip(&ids).find(|(_, ids)| ids.iter().any(|id| id == named));
    meant.map(|((one, _), _)| one.session).ok_or_else(|| Error::new(Code::Internal, "an id that is there is gone"))
}

fn only_open(all: &[(Listed, bool)], shell: &Shell) -> Result<SessionId> {
    let open: Vec<_> = all.iter().filter(|(_, open)| *open).map(|(one, _)| one).collect();
    match open.as_slice() {
        [one] => Ok(one.session),
        [] => Err(Error::new(Code::NotFound, "there is no open invitation")
            .hint("`deployctl accept --list` shows all; --from PROVIDER asks a provider first")),
        many => {
            let items: Vec<_> =
                many.iter().map(|one| format!("{}  {}", one.invitation.short(), escape_line(&one.about))).collect();
            let chosen = shell.ui.choose("Which invitation?", &items, "INVITATION")?;
            Ok(many[chosen].session)
        }
    }
}

/// Shows what a yes means, and asks for it (A9). Strangers need a person's yes, too.
fn consent(node: &Node, peer: &Peer, acquaintance: &Acquaintance, shell: &Shell) -> Result<()> {
    for line in Consent::to(node, peer, acquaintance)?.lines(shell.system.now()) {
        shell.ui.note(&line);
    }
    if shell.ui.confirm("Accept, install and run this?", "--yes")? {
        return Ok(());
    }
    Err(Error::new(Code::PromptNeeded, "not accepted: the answer was no; the invitation stays open")
        .hint(format!("to decline it: deployctl accept {} --decline", peer.invitation_id.short())))
}

async fn answer(
    node: &Node,
    session: SessionId,
    verdict: Verdict,
    reason: Option<String>,
    shell: &Shell,
) -> Result<()> {
    let replayed = node.answer(session, verdict, reason, None)?;
    shell.concern(session, Party::Peer);
    let Machine::Peer(peer) = &replayed.machine else {
        return Err(Error::new(Code::Internal, "a peer's log makes another machine"));
    };
    let provider = peer.provider.key;
    let word = if verdict == Verdict::Accept { "accepted" } else { "declined" };
    match node.send_to(session, Party::Peer, provider).await {
        Err(error) if error.code.may_pass_later() => {
            return Err(error.while_doing(format!("{word}, and the provider does not know it yet; {WILL_BE_SENT}")));
        }
        other => other?,
    }
    let (_, acquaintance) = node.invitation(session)?;
    let consent = (verdict == Verdict::Accept).then(|| Consent::to(node, peer, &acquaintance)).transpose()?;
    let summary = node.projection(session, Party::Peer)?.summary;
    shell.ui.note(&format!("{word} {} as {}", summary.service, peer.invitation.role));
    if verdict == Verdict::Accept && crate::roles::serve::running(&node.state)?.is_none() {
        shell.ui.note(&format!("next: deployctl install {}", session.short()));
    }
    shell.ui.data(&Answered { summary: &summary, consent }, || status::describe(&summary, shell.system.now()))
}
