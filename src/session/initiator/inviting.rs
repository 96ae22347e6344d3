//! While the answers come in, the Initiator may invite one more, take an invitation back, or wait for no more answers (A8).

use super::{Active, Initiator, Phase};
use crate::message::{AddPeers, CloseAnswers, Invitee, Withdraw};
use crate::model::{Code, Key, MessageId, ParticipantState, Result, SessionState};
use crate::session::context::Context;

impl Initiator {
    pub(super) fn add_peers(&mut self, peers: &[Invitee], context: &mut Context<'_>) -> Result<()> {
        let active = self.inviting(context)?;
        let twice =
            peers.iter().find(|one| active.request.peers.iter().any(|peer| peer.address.key == one.address.key));
        if let Some(twice) = twice {
            let state = active.mirror.state_of(&twice.address.key).unwrap_or(ParticipantState::Invited);
            let text = format!("{} takes part in this session already: {state}", twice.name);
            return Err(context.refuse(Code::BadInput, text));
        }
        active.mirror.invite(peers);
        active.request.peers.extend_from_slice(peers);
        let body = AddPeers { session: context.session(), peers: peers.to_vec() };
        let message = context.send(&self.provider, body).message.head.id;
        let keys = peers.iter().map(|peer| peer.address.key).collect();
        self.active_mut(context)?.adding.push((message, keys));
        Ok(())
    }

    pub(super) fn close_answers(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.inviting(context)?;
        context.send(&self.provider, CloseAnswers { session: context.session() });
        Ok(())
    }

    pub(super) fn withdraw(&mut self, peer: Key, reason: &str, context: &mut Context<'_>) -> Result<()> {
        let state = self.inviting(context)?.mirror.state_of(&peer);
        match state {
            None => return Err(context.refuse(Code::NotFound, format!("{} is no peer of this session", peer.short()))),
            Some(ParticipantState::Invited | ParticipantState::Accepted) => {}
            Some(state) => {
                let text = format!("there is nothing to withdraw: the peer has {state} already");
                return Err(context.refuse(Code::AlreadyAnswered, text));
            }
        }
        let session = context.session();
        context.send(&self.provider, Withdraw { session, peer, reason: reason.to_owned(), asked_by: None });
        Ok(())
    }

    /// What was added is taken.
    pub(super) fn added(&mut self, message: MessageId) {
        if let Phase::Requested(active) = &mut self.phase {
            active.adding.retain(|(sent, _)| *sent != message);
        }
    }

    fn active_mut(&mut self, context: &Context<'_>) -> Result<&mut Active> {
        let why = || context.refuse(Code::WrongState, "nothing was requested yet");
        match &mut self.phase {
            Phase::Requested(active) => Ok(active),
            _ => Err(why()),
        }
    }

    /// Before the roster is fixed, as far as is known here.
    fn inviting(&mut self, context: &Context<'_>) -> Result<&mut Active> {
        let active = self.active_mut(context)?;
        if active.ended.is_some() || active.participation.ending.is_some() {
            return Err(context.refuse(Code::TooLate, "the session is over"));
        }
        if active.mirror.state > SessionState::Inviting || context.now > active.request.answer_by {
            return Err(context.refuse(Code::TooLate, "the answers are in and the roster is fixed"));
        }
        Ok(active)
    }
}

impl Active {
    /// The provider will not invite them.
    pub(super) fn not_added(&mut self, message: MessageId) {
        let Some(at) = self.adding.iter().position(|(sent, _)| *sent == message) else { return };
        let (_, keys) = self.adding.remove(at);
        self.request.peers.retain(|peer| !keys.contains(&peer.address.key));
        self.mirror.forget(&keys);
    }
}
