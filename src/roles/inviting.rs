//! While the answers come in: the Initiator invites one more or waits no longer, it or the provider takes an invitation
//! back (row A8).

use super::node::Node;
use super::request::{Wanted, pick_role};
use crate::message::Secret;
use crate::model::{Code, Error, Key, Party, Result, SessionId};
use crate::service::definition::Side;
use crate::session::{Decision, Machine, What};
use crate::store::secrets::Secrets as SecretStore;

impl Node {
    /// Asks the provider to invite these, too: each gets a notification of its own, signed here.
    ///
    /// # Errors
    /// `bad-input` for roles that do not fit and peers that are there; `too-late`; as [`Node::tell_provider`].
    pub async fn add_peers(&self, session: SessionId, wanted: &[Wanted], note: Option<&str>) -> Result<()> {
        let replayed = self.read(session, Party::Initiator)?;
        let active = match &replayed.machine {
            Machine::Initiator(initiator) => initiator.active(),
            _ => None,
        };
        let active = active.ok_or_else(|| Error::new(Code::WrongState, "nothing was requested yet").about(session))?;
        let key = SecretStore::of(&self.state, session).find_json::<Secret>("key")?;
        let key = key.ok_or_else(|| Error::new(Code::TooLate, "the session is over").about(session))?;
        let mut peers = Vec::new();
        for one in wanted {
            let role = pick_role(&active.interface, one.role.as_ref(), Side::Peer, "--peer NAME=ROLE")?;
            peers.push(self.notify(session, &active.request, one, role, note, &key)?);
        }
        self.tell_provider(session, Decision::AddPeers { peers }).await
    }
    /// No more answers are waited for.
    ///
    /// # Errors
    /// `too-late`; as [`Node::tell_provider`].
    pub async fn close_answers(&self, session: SessionId) -> Result<()> {
        self.tell_provider(session, Decision::CloseAnswers).await
    }
    /// Takes the invitation of `peer` back. Says whether the next one along the way knows: the provider, or the peer.
    ///
    /// # Errors
    /// `not-found`, `already-answered`, `too-late`; where the Initiator asks for it, as [`Node::tell_provider`].
    pub async fn withdraw(&self, session: SessionId, party: Party, peer: Key, reason: String) -> Result<bool> {
        let decision = Decision::Withdraw { peer, reason };
        if party == Party::Initiator {
            return self.tell_provider(session, decision).await.map(|()| true);
        }
        self.step(session, party, What::Decided(decision))?;
        // It is withdrawn in any case; a peer that cannot be reached now is told later.
        Ok(self.send_to(session, party, peer).await.is_ok())
    }

    /// Decides as the Initiator, and tells the provider at once.
    ///
    /// # Errors
    /// What this side or the provider refuses; `unreachable` and its like where it is kept and will be sent.
    async fn tell_provider(&self, session: SessionId, decision: Decision) -> Result<()> {
        let replayed = self.step(session, Party::Initiator, What::Decided(decision))?;
        let provider = replayed.machine.summary().provider.key;
        self.send_to(session, Party::Initiator, provider).await
    }
}
