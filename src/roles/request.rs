//! The Initiator's way to a session (rows A1–A6): ask for the interface, fill it in, sign a notification to each peer,
//! request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::desk::Described;
use super::drive::ByHand;
use super::node::Node;
use super::poll::Cursor;
use super::serve;
use crate::message::body::{Presentation, options_digest};
use crate::message::{
    Body, Head, Interface, InterfaceRequest, Invitee, Message, Notification, OnFailure, Person, Quorum, Secret,
    ServiceRequest, ServiceWanted, Verified,
};
use crate::model::{Address, Code, Error, Name, Party, Result, RoleName, SessionId, Span};
use crate::node::{PostAnswer, Posted};
use crate::service::definition::Side;
use crate::service::option::Resolved;
use crate::service::platform::Platform;
use crate::session::{Decision, Machine, What, deadline};
use crate::store::config::Consent;
use crate::store::secrets::Secrets as SecretStore;

use super::sitting::Projection;

/// How often a waiting command looks whether something has changed.
const LOOK: Duration = Duration::from_millis(25);
/// How long a command that failed goes on to clear away what it did.
const CLEAR_AWAY: Span = Span::from_secs(20);
/// How long one poll of the provider waits there.
const POLL_WAIT: Duration = Duration::from_secs(10);

/// One peer to be invited.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: Name,
    pub address: Address,
    pub role: Option<RoleName>,
}

/// What the Initiator wants of the session, beside the service and its options.
#[derive(Clone, Debug)]
pub struct Wish {
    pub peers: Vec<Wanted>,
    pub role: Option<RoleName>,
    pub note: Option<String>,
    pub quorum: Quorum,
    pub on_failure: OnFailure,
    pub answer_within: Span,
    pub lasts: Span,
    pub hold: bool,
}

/// A session whose interface is there, and that is not requested yet. When it is dropped before that, however that comes,
/// it is forgotten: nobody was promised anything.
pub struct Draft<'a> {
    pub session: SessionId,
    pub interface: Interface,
    _unrequested: Unrequested<'a>,
}

struct Unrequested<'a> {
    node: &'a Node,
    session: SessionId,
}

impl Drop for Unrequested<'_> {
    fn drop(&mut self) {
        // What cannot be forgotten now expires.
        let _ = self.node.drop_unrequested(self.session);
    }
}

impl Node {
    /// A1: what a provider offers this node.
    pub async fn list_services(&self, provider: &Address) -> Result<Described> {
        self.announce(Some(provider.key)).await?;
        let provider = &self.reach(provider);
        let described = self.or_follow(provider, self.client.node(provider).await).await?;
        let described: Described = serde_json::from_value(described)
            .map_err(|why| Error::new(Code::BadMessage, format!("the provider's description does not read: {why}")))?;
        self.keep_list(&provider.key, &described);
        Ok(described)
    }
    /// The interface of a service, to look at: no session begins.
    pub async fn look_at(&self, provider: &Address, service: ServiceWanted) -> Result<Interface> {
        let now = self.system.now();
        let nonce = self.system.nonce();
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: provider.key,
            issued: now,
            in_reply_to: None,
            expires: Some(now + deadline::INTERFACE_REQUEST_VALID),
        };
        let body =
            InterfaceRequest { initiator: self.address(), service, presentation: Presentation::default(), nonce };
        let id = head.id;
        let posted = Posted::open(Message { head, body: body.into() }.seal(&self.identity.signing()));
        self.announce(Some(provider.key)).await?;
        let provider = &self.reach(provider);
        let answer = self.or_follow(provider, self.client.post(provider, &posted).await).await?;
        let PostAnswer::Reply(reply) = answer else {
            return Err(Error::new(Code::BadMessage, "the provider took the request and answered nothing"));
        };
        let message = Verified::open(reply.envelope)?;
        message.check_fresh(&self.key(), self.system.now())?;
        match &message.body {
            Body::Interface(interface)
                if message.head.from == provider.key
                    && interface.interface_request == id
                    && interface.request_nonce == nonce =>
            {
                self.keep_interface(&provider.key, interface);
                Ok(Interface::clone(interface))
            }
            _ => Err(Error::new(Code::Replay, "the provider's answer is not to this request")),
        }
    }
    /// A2–A4: begins a session by asking for the interface. Where the provider cannot be reached, nothing was requested.
    /// What comes back is to be requested, or it is forgotten.
    pub async fn ask(&self, provider: &Address, service: ServiceWanted) -> Result<Draft<'_>> {
        let session = self.system.session_id();
        let decision = Decision::Ask {
            provider: provider.clone(),
            initiator: self.address(),
            service,
            locale: None,
            form: false,
            nonce: self.system.nonce(),
        };
        let unrequested = Unrequested { node: self, session };
        self.sit(session, Party::Initiator)?.step(What::Decided(decision))?;
        if let Err(error) = self.send_to(session, Party::Initiator, provider.key).await {
            let again = "run the same command again when the provider can be reached";
            let passing = error.code.may_pass_later();
            let error = error.while_doing("nothing was requested");
            return Err(if passing { error.hint(again) } else { error });
        }
        let machine = self.read(session, Party::Initiator)?.machine.clone();
        let Machine::Initiator(initiator) = &machine else {
            return Err(Error::new(Code::Internal, "an Initiator's log makes another machine"));
        };
        let interface = initiator.interface().cloned();
        let interface = interface.ok_or_else(|| {
            Error::new(Code::Refused, "the provider gave no interface")
                .hint("nothing was requested; `deployctl request --provider P --list` shows what it offers")
        })?;
        self.keep_interface(&provider.key, &interface);
        Ok(Draft { session, interface, _unrequested: unrequested })
    }
    fn drop_unrequested(&self, session: SessionId) -> Result<()> {
        let sitting = self.sit(session, Party::Initiator)?;
        match sitting.replayed.as_ref().map(|replayed| &replayed.machine) {
            Some(Machine::Initiator(initiator)) if initiator.active().is_none() => self.state.forget_session(session),
            _ => Ok(()),
        }
    }
    /// A6: requests the service with what was filled in.
    ///
    /// # Errors
    /// `bad-input`, `usage` for roles that do not fit; what the provider refuses with; `unreachable` where the request
    /// could not be sent yet: it will be.
    pub async fn request(&self, draft: &Draft<'_>, wish: &Wish, options: &Resolved) -> Result<()> {
        let (session, interface) = (draft.session, &draft.interface);
        let provider = match &self.read(session, Party::Initiator)?.machine {
            Machine::Initiator(initiator) => initiator.provider.clone(),
            _ => return Err(Error::new(Code::Internal, "an Initiator's log makes another machine")),
        };
        let request = self.service_request(session, interface, wish, options)?;
        self.step(session, Party::Initiator, What::Decided(Decision::Request { request: Box::new(request) }))?;
        self.send_to(session, Party::Initiator, provider.key).await.map_err(|error| match error.code.may_pass_later() {
            true => error.while_doing(
                "the request is kept and will be sent again while `deployctl serve` or a waiting command runs",
            ),
            false => error,
        })
    }

    fn service_request(
        &self,
        session: SessionId,
        interface: &Interface,
        wish: &Wish,
        options: &Resolved,
    ) -> Result<ServiceRequest> {
        let now = self.system.now();
        // The whole of it, answers included, lasts so long at the most.
        let ends_at = now + wish.lasts;
        let mut secret_options = BTreeMap::new();
        let store = SecretStore::of(&self.state, session);
        for (name, text) in &options.secrets {
            let secret = Secret::new(text.reveal().as_bytes().to_vec(), self.system.random())?;
            secret_options.insert(name.clone(), secret.commitment());
            store.put_json(&format!("option.{name}"), &secret)?;
        }
        let mut request = ServiceRequest {
            interface_request: interface.interface_request,
            interface_nonce: interface.nonce,
            service: interface.service.clone(),
            options: options.options.clone(),
            secret_options,
            initiator: Person { name: self.name(), address: self.address() },
            role: pick_role(interface, wish.role.as_ref(), Side::Initiator, "--role ROLE")?,
            platform: Platform::here(),
            quorum: wish.quorum,
            on_failure: wish.on_failure,
            answer_by: (now + wish.answer_within).min(ends_at - Span::from_ms(1)),
            ends_at,
            hold: wish.hold,
            peers: Vec::new(),
        };
        let key = store
            .find_json::<Secret>("key")?
            .ok_or_else(|| Error::new(Code::Damaged, "the interface's key is missing").about(session))?;
        let mut peers = Vec::new();
        for wanted in &wish.peers {
            let role = pick_role(interface, wanted.role.as_ref(), Side::Peer, "--peer NAME=ROLE")?;
            peers.push(self.notify(session, &request, wanted, role, wish.note.as_deref(), &key)?);
        }
        request.peers = peers;
        Ok(request)
    }

    /// A signature that authenticates the Initiator to this very peer, for this very request.
    pub(super) fn notify(
        &self,
        session: SessionId,
        request: &ServiceRequest,
        wanted: &Wanted,
        role: RoleName,
        note: Option<&str>,
        key: &Secret,
    ) -> Result<Invitee> {
        let id = self.system.message_id();
        let head = Head {
            id,
            from: self.key(),
            to: wanted.address.key,
            issued: self.system.now(),
            in_reply_to: None,
            expires: Some(request.answer_by),
        };
        let body = Notification {
            service_request: session.request(),
            address: wanted.address.clone(),
            role: role.clone(),
            text: note.unwrap_or_default().to_owned(),
            initiator: request.initiator.clone(),
            service: request.service.clone(),
            options: options_digest(&request.options, &request.secret_options),
            key_proof: key.prove(id),
        };
        let notification = Message { head, body: body.into() }.seal(&self.identity.signing());
        Ok(Invitee { name: wanted.name.clone(), address: wanted.address.clone(), role, notification })
    }

    /// Waits until `done` says so, doing this node's work meanwhile where no `serve` does, or may not without a person.
    ///
    /// # Errors
    /// What `done` says; `timed-out` after `limit`.
    pub async fn wait_for<T>(
        self: &Arc<Self>,
        session: SessionId,
        party: Party,
        by_hand: ByHand,
        limit: Option<Span>,
        mut done: impl FnMut(&Projection) -> Option<Result<T>>,
    ) -> Result<T> {
        let begun = self.system.now();
        let mut poller: Option<tokio::task::JoinHandle<()>> = None;
        let mut next = None;
        let mut head = None;
        let result = loop {
            let projection = self.projection(session, party)?;
            self.tell_waiting(&projection.summary);
            if let Some(result) = done(&projection) {
                break result;
            }
            let now = self.system.now();
            if let Some(limit) = limit.filter(|limit| now.since(begun) >= *limit) {
                let state = projection.summary.state;
                break Err(Error::new(Code::TimedOut, format!("the session is {state} after {limit}"))
                    .hint("it goes on; `deployctl status` shows how")
                    .about(session));
            }
            let is_served = serve::running(&self.state)?.is_some();
            if !is_served || self.waits_for_word(session, party, by_hand)? {
                if !is_served && poller.is_none() && party != Party::Provider {
                    poller = Some(tokio::spawn(keep_polling(Arc::clone(self), projection.summary.provider.clone())));
                }
                if head != Some(projection.head) || next.is_some_and(|next| next <= now) {
                    head = Some(projection.head);
                    next = self.drive(session, party, by_hand).await?;
                }
            }
            tokio::time::sleep(LOOK).await;
        };
        if let Some(poller) = poller {
            poller.abort();
        }
        if result.is_err() {
            self.clear_away(session, party, ByHand { remove: true, ..ByHand::default() }).await?;
        }
        result
    }

    /// Whether policy has a `serve` wait for just what a person said yes to: only the process that was told so can do it.
    fn waits_for_word(&self, session: SessionId, party: Party, by_hand: ByHand) -> Result<bool> {
        let wanted = self.consents(session, party)?;
        Ok((by_hand.install && wanted.install == Consent::Ask) || (by_hand.remove && wanted.remove == Consent::Ask))
    }

    /// What is over is stopped, removed and reported by this very command where no `serve` does: nobody else may come by.
    /// What cannot be said yet is kept.
    pub async fn clear_away(self: &Arc<Self>, session: SessionId, party: Party, by_hand: ByHand) -> Result<()> {
        if serve::running(&self.state)?.is_some() {
            return Ok(());
        }
        let limit = self.system.now() + CLEAR_AWAY;
        let may_remove = by_hand.remove || self.consents(session, party)?.remove == Consent::Auto;
        loop {
            let projection = self.projection(session, party)?;
            if !projection.ending || projection.removed || !may_remove || self.system.now() >= limit {
                break;
            }
            self.drive(session, party, by_hand).await?;
            tokio::time::sleep(LOOK).await;
        }
        for recipient in self.projection(session, party)?.recipients {
            // Where it does not get through now, it is sent later.
            drop(self.send_to(session, party, recipient).await);
        }
        Ok(())
    }
}

async fn keep_polling(node: Arc<Node>, provider: Address) {
    let mut cursor = Cursor::default();
    loop {
        if node.poll(&provider, &mut cursor, POLL_WAIT).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The role that was named, or the only one of that side.
pub(super) fn pick_role(interface: &Interface, named: Option<&RoleName>, side: Side, flag: &str) -> Result<RoleName> {
    let of_side: Vec<_> =
        interface.roles.iter().filter(|(_, terms)| terms.side == side).map(|(name, _)| name).collect();
    let list = of_side.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (named, of_side.as_slice()) {
        (Some(named), _) if of_side.contains(&named) => Ok(named.clone()),
        (Some(named), _) => {
            Err(Error::new(Code::BadInput, format!("{} has no such role here: {named}", interface.service.name))
                .hint(format!("there is: {list}")))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(Error::new(
            Code::BadInput,
            format!(
                "{} has no role for {}",
                interface.service.name,
                if side == Side::Peer { "a peer" } else { "the Initiator" }
            ),
        )),
        (None, _) => {
            Err(Error::new(Code::Usage, format!("{} has several roles to choose from: {list}", interface.service.name))
                .hint(format!("say which: {flag}")))
        }
    }
}
