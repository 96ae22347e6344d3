//! One more, one less, no more answers: what changes the invitations before the roster is fixed.

use std::sync::Arc;

use super::super::shell::{Shell, WILL_BE_SENT};
use super::super::{request, status};
use super::{Args, Row, find, list, rows};
use crate::model::{Code, Error, ParticipantState, Party, Result, SessionId, SessionState, Span};
use crate::roles::Node;
use crate::roles::drive::ByHand;
use crate::roles::sitting::Projection;

/// How long a command waits for the provider's word about what it took.
const HEAR: Span = Span::from_secs(10);

/// The Initiator names one more.
pub(super) async fn add(node: &Arc<Node>, session: &str, args: &Args, shell: &Shell) -> Result<()> {
    let session = node.part_as(session, &[Party::Initiator])?.summary.session;
    shell.concern(session, Party::Initiator);
    let wanted = request::wanted(&args.peers, node, shell)?;
    node.add_peers(session, &wanted, args.note.as_deref()).await.map_err(kept)?;
    let names: Vec<_> = wanted.iter().map(|one| one.name.to_string()).collect();
    shell.ui.note(&format!("{} will be invited by the provider", names.join(", ")));
    list(node, Some(&session.to_string()), shell)
}

/// The Initiator waits for no more answers.
pub(super) async fn close(node: &Arc<Node>, session: &str, shell: &Shell) -> Result<()> {
    let session = node.part_as(session, &[Party::Initiator])?.summary.session;
    shell.concern(session, Party::Initiator);
    node.close_answers(session).await.map_err(kept)?;
    hear(node, session, shell, |projection| projection.summary.state > SessionState::Inviting).await?;
    let summary = node.projection(session, Party::Initiator)?.summary;
    if summary.state.is_end() {
        return Err(status::ended(&summary));
    }
    shell.ui.note("no more answers are waited for");
    list(node, Some(&session.to_string()), shell)
}

/// Takes an invitation back.
pub(super) async fn withdraw(node: &Arc<Node>, row: &Row, reason: &str, shell: &Shell) -> Result<()> {
    let told = node.withdraw(row.session, row.party, row.key, reason.to_owned()).await.map_err(kept)?;
    if row.party == Party::Initiator {
        let gone = |projection: &Projection| {
            let mut all = projection.summary.participants.iter();
            all.any(|one| one.key == row.key && one.state == ParticipantState::Withdrawn)
        };
        hear(node, row.session, shell, gone).await?;
    }
    shell.ui.note(&format!("the invitation of {} is withdrawn", row.name));
    if !told {
        shell.ui.note(&format!("{} does not know it yet; {WILL_BE_SENT}", row.name));
    }
    list(node, Some(&row.session.to_string()), shell)
}

/// The invitation that is meant: by its id, or by its session and peer.
pub(super) fn meant(node: &Node, named: &str, peer: Option<&str>) -> Result<Row> {
    let Some(peer) = peer else {
        let row = find(&rows(node, None)?, named).map_err(|error| match error.code {
            Code::NotFound => {
                error.hint("the Initiator names the session: deployctl invite withdraw SESSION --peer NAME")
            }
            _ => error,
        })?;
        return match row.party {
            Party::Peer => Err(Error::new(Code::WrongState, "an invitation to this node is declined, not withdrawn")
                .hint("deployctl accept ID --decline")
                .about(row.session)),
            Party::Initiator | Party::Provider => Ok(row),
        };
    };
    let part = node.part_as(named, &[Party::Initiator, Party::Provider])?.summary;
    let all = rows(node, Some(&part.session.to_string()))?;
    let mine: Vec<_> = all.into_iter().filter(|row| row.party == part.party).collect();
    let names: Vec<_> = mine.iter().map(|row| row.name.clone()).collect();
    mine.into_iter().find(|row| row.name == peer).ok_or_else(|| {
        Error::new(Code::NotFound, format!("{peer} is not invited to session {}", part.session.short()))
            .hint(format!("invited are: {}", names.join(", ")))
            .about(part.session)
    })
}

/// What could not be sent now is kept.
fn kept(error: Error) -> Error {
    match error.code.may_pass_later() {
        true => error.while_doing(format!("the provider does not know it yet; {WILL_BE_SENT}")),
        false => error,
    }
}

/// Waits a while for the provider to tell what has become of it; that it is taken is known already.
async fn hear(node: &Arc<Node>, session: SessionId, shell: &Shell, heard: impl Fn(&Projection) -> bool) -> Result<()> {
    let limit = shell.timeout.or(Some(HEAR));
    let waited = node.wait_for(session, Party::Initiator, ByHand::default(), limit, |projection| {
        (heard(projection) || projection.summary.state.is_end()).then_some(Ok(()))
    });
    match waited.await {
        Err(error) if error.code == Code::TimedOut => Ok(()),
        other => other,
    }
}
