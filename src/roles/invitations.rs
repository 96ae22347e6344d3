//! The peer's door: which invitations are looked at, what consent binds, who answers (rows A8–A10).

use std::sync::Arc;

use super::intake::repeat;
use super::node::Node;
use crate::message::verified::open_notification;
use crate::message::{Body, Invitation, Message, Secrets, Verdict, Verified, body::options_digest};
use crate::model::{Code, Error, Party, Result, SessionId};
use crate::process::host;
use crate::service::platform::Platform;
use crate::session::input::{DecidedBy, Rule};
use crate::session::record::Replayed;
use crate::session::{Decision, Machine, Peer, What};
use crate::store::contacts::Contact;
use crate::store::rights::Right;

/// Whom this node knows of those who invite.
#[derive(Debug)]
pub struct Acquaintance {
    pub provider: Option<Contact>,
    pub initiator: Option<Contact>,
}

impl Acquaintance {
    fn of(node: &Node, invitation: &Invitation, provider: crate::model::Key) -> Result<Self> {
        let now = node.system.now();
        Ok(Self {
            provider: node.contacts.by_key(&provider, now)?,
            initiator: node.contacts.by_key(&invitation.initiator.address.key, now)?,
        })
    }
    fn may(contact: Option<&Contact>, right: Right) -> bool {
        contact.is_some_and(|contact| contact.may.may(right))
    }
    pub fn provider_may(&self, right: Right) -> bool {
        Self::may(self.provider.as_ref(), right)
    }
    pub fn initiator_may(&self, right: Right) -> bool {
        Self::may(self.initiator.as_ref(), right)
    }
    /// Both are trusted for their parts: no person's yes to strangers is needed.
    pub fn both_known(&self) -> bool {
        self.provider_may(Right::Provide) && self.initiator_may(Right::Invite)
    }
    /// Both are known, and one of them is trusted with an answer by policy (A9).
    pub fn auto_accept(&self) -> bool {
        self.both_known() && (self.provider_may(Right::AutoAccept) || self.initiator_may(Right::AutoAccept))
    }
}

/// Keeps an invitation for a person's consent if its provider has `provide` or its Initiator `invite`; else refuses it.
pub(super) fn take(node: &Node, message: &Verified<Message>, secrets: &Secrets) -> Result<()> {
    let Body::Invitation(invitation) = &message.body else {
        return Err(Error::new(Code::Internal, "not an invitation"));
    };
    let session = invitation.session;
    let mut sitting = node.sit(session, Party::Peer)?;
    if let Some(replayed) = &sitting.replayed {
        return match repeat(replayed, message)? {
            Some(_) => Ok(()),
            None => {
                Err(Error::new(Code::Replay, "this node was invited to this session before, by another invitation")
                    .about(session))
            }
        };
    }
    message.check_fresh(&node.key(), node.system.now())?;
    let acquaintance = Acquaintance::of(node, invitation, message.head.from)?;
    if !acquaintance.provider_may(Right::Provide) && !acquaintance.initiator_may(Right::Invite) {
        let (provider, initiator) = (message.head.from, &invitation.initiator);
        return Err(Error::new(
            Code::NotPermitted,
            format!("invited by {} through {}, who are both not known here", initiator.address.key.short(), provider.short()),
        )
        .hint(format!("on the peer: deployctl trust add NAME deploy://{provider} --may provide, and the Initiator with --may invite")));
    }
    check_notification(node, message, invitation, secrets)?;
    node.keep_secrets(session, &[("key".to_owned(), invitation.key)], secrets)?;
    sitting.step(What::Received { message: message.clone(), seen_from: None })?;
    Ok(())
}

/// The Initiator's own signature, made for this node and this very request: a provider cannot forge, alter or re-aim it.
fn check_notification(node: &Node, message: &Message, invitation: &Invitation, secrets: &Secrets) -> Result<()> {
    let initiator = invitation.initiator.address.key;
    let (inner, notification) = open_notification(&invitation.notification, &initiator, &node.key())?;
    let digest = options_digest(&invitation.options, &invitation.secret_options);
    let fields = [
        ("service_request", SessionId::of_request(notification.service_request) == invitation.session),
        ("role", notification.role == invitation.role),
        ("service", notification.service == invitation.service),
        ("options", notification.options == digest),
        ("initiator", notification.initiator == invitation.initiator),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, same)| !same) {
        let why = format!(
            "the invitation of {} differs in its “{field}” from what the Initiator signed",
            message.head.from.short()
        );
        return Err(Error::new(Code::BadProof, why).about(invitation.session));
    }
    let key = secrets
        .get("key")
        .ok_or_else(|| Error::new(Code::BadProof, "the session's key is missing beside the invitation"))?;
    key.open(&invitation.key, "key")?;
    key.check_proof(inner.head.id, &notification.key_proof)
}

impl Node {
    /// The peer's machine of a session, with what is known of those who invite.
    pub fn invitation(&self, session: SessionId) -> Result<(Box<Peer>, Acquaintance)> {
        match self.read(session, Party::Peer)?.machine.clone() {
            Machine::Peer(peer) => {
                let acquaintance = Acquaintance::of(self, &peer.invitation, peer.provider.key)?;
                Ok((peer, acquaintance))
            }
            _ => Err(Error::new(Code::Internal, "a peer's log makes another machine")),
        }
    }
    /// What this machine lacks for the role that it is invited to, in sentences.
    pub fn unsuited(&self, invitation: &Invitation) -> Vec<String> {
        let here = Platform::here();
        let mut lacking = Vec::new();
        if !invitation.interface.platforms.accepts(&here) {
            lacking.push(format!("the role {} is not made for {here}", invitation.role));
        }
        lacking.extend(host::unmet(&invitation.interface.requires, self.state.root(), &self.display));
        lacking
    }
    /// Answers an invitation, by a person or by a rule of policy. What is accepted is all that may be delivered.
    ///
    /// # Errors
    /// `unsuitable` where this machine lacks what the role requires; what the machine of the session refuses.
    pub fn answer(
        &self,
        session: SessionId,
        answer: Verdict,
        reason: Option<String>,
        rule: Option<Rule>,
    ) -> Result<Arc<Replayed>> {
        if answer == Verdict::Accept {
            let (peer, _) = self.invitation(session)?;
            let lacking = self.unsuited(&peer.invitation);
            if peer.is_open() && !lacking.is_empty() {
                return Err(Error::new(
                    Code::Unsuitable,
                    format!("this machine cannot take the role {}: {}", peer.invitation.role, lacking.join("; ")),
                )
                .hint("install what is missing and accept again, or decline")
                .about(session));
            }
        }
        let (platform, address) = (Platform::here(), self.address());
        let (by, rule) = match rule {
            Some(rule) => (DecidedBy::Policy, Some(rule)),
            None => (DecidedBy::Person, None),
        };
        let decision = Decision::Answer { answer, reason, platform, address, by, rule };
        self.step(session, Party::Peer, What::Decided(decision))
    }
}
