//! The order of things in one party's log, for a third party that was not there: nothing before what it builds on, and
//! every answer to exactly what was asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::verified::open_notification;
use crate::message::{
    AddPeers, Answer, Body, Delivery, Interface, Invitation, Message, Receipt, Registration, Report, ServiceRequest,
    Verdict, Verified, Withdraw, body::options_digest,
};
use crate::model::{Code, Digest, Error, Hash, Key, MessageId, Party, Result, SessionId, Time};
use crate::package::VerifiedManifest;
use crate::service::RoleTerms;
use crate::session::{Decision, Entry, Input, Outcome, What};

/// What a log is and whose.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub session: SessionId,
    pub party: Party,
    pub me: Key,
}

/// The signed manifests of a session's packages.
pub type Manifests = BTreeMap<Digest, VerifiedManifest>;

/// What was seen so far.
struct Order<'a> {
    of: Subject,
    manifests: &'a Manifests,
    initiator: Option<Key>,
    provider: Option<Key>,
    interface: Option<Interface>,
    request: Option<ServiceRequest>,
    is_registered: bool,
    invitations: BTreeMap<MessageId, (Key, Hash, Invitation)>,
    accepted: BTreeSet<Key>,
    /// Each one's generations, in the order in which they were delivered.
    deliveries: BTreeMap<Key, Vec<Delivery>>,
    accountings: BTreeMap<MessageId, Hash>,
    issued: Option<Time>,
}

/// Checks the order of a log's entries.
///
/// # Errors
/// Of exit code 4, naming the record.
pub fn check(of: Subject, entries: &[Entry], manifests: &Manifests) -> Result<()> {
    let mut order = Order {
        of,
        manifests,
        initiator: (of.party == Party::Initiator).then_some(of.me),
        provider: (of.party == Party::Provider).then_some(of.me),
        interface: None,
        request: None,
        is_registered: false,
        invitations: BTreeMap::new(),
        accepted: BTreeSet::new(),
        deliveries: BTreeMap::new(),
        accountings: BTreeMap::new(),
        issued: None,
    };
    for (number, entry) in (1..).zip(entries) {
        order.entry(entry).map_err(|error| error.while_doing(format!("record {number}")).about(of.session))?;
    }
    Ok(())
}

/// Refuses with the first rule that does not hold.
fn hold<const N: usize>(rules: [(bool, &str); N]) -> Result<()> {
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, why)) => Err(Error::new(Code::BrokenChain, *why)),
    }
}

fn missing(why: &str) -> Error {
    Error::new(Code::BrokenChain, why)
}

impl Order<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Sent(sent) => {
                let message = Verified::from_own_log(sent.envelope.clone())?;
                let is_later = self.issued.is_none_or(|before| message.head.issued > before);
                self.issued = Some(message.head.issued);
                hold([
                    (message.head.from == self.of.me, "it was sent, and is from another"),
                    (message.head.to == sent.to.key, "it was sent to another than it is for"),
                    (is_later, "it was not issued after the message before"),
                ])?;
                self.message(&message)
            }
            Entry::Input(Input { what, .. }) => match what {
                What::Received { message, .. } => {
                    hold([(message.head.to == self.of.me, "it came, and is for another")])?;
                    self.message(message)
                }
                What::Decided(Decision::Open { interface, .. }) => {
                    let message = Verified::from_own_log(interface.clone())?;
                    self.initiator = Some(message.head.to);
                    self.message(&message)
                }
                What::Decided(Decision::Ask { provider, .. }) => {
                    self.provider = Some(provider.key);
                    Ok(())
                }
                What::Result(Outcome::Installed) => self.installed(),
                What::Result(Outcome::Built { package, manifest, .. }) => {
                    let kept = self.manifests.get(manifest);
                    hold([
                        (kept.is_some(), "the manifest of what was built is missing"),
                        (
                            kept.is_none_or(|kept| kept.package.digest == package.digest),
                            "the manifest is not that of what was built",
                        ),
                    ])
                }
                _ => Ok(()),
            },
        }
    }

    fn message(&mut self, message: &Verified<Message>) -> Result<()> {
        let (head, body) = (&message.head, &message.body);
        let is_ours = body.session().is_none_or(|session| session == self.of.session);
        hold([(is_ours, "it is of another session")])?;
        match body {
            Body::InterfaceRequest(_) | Body::Notification(_) | Body::Start(_) | Body::Terminate(_) => Ok(()),
            Body::Interface(interface) => {
                self.interface = Some(Interface::clone(interface));
                self.said_by_provider(head.from)
            }
            Body::ServiceRequest(request) => self.requested(message, request),
            Body::Registration(registration) => self.registered(head.from, registration),
            Body::AddPeers(add) => self.added(head.from, add),
            Body::CloseAnswers(_) => {
                hold([(self.initiator == Some(head.from), "only the Initiator closes the answers")])
            }
            Body::Withdraw(withdraw) => self.withdrawn(message, withdraw),
            Body::Invitation(invitation) => self.invited(message, invitation),
            Body::Answer(answer) => self.answered(head.from, answer),
            Body::Delivery(delivery) => self.delivered(message, delivery),
            Body::Report(report) => self.reported(head.from, report),
            Body::Progress(progress) => {
                self.said_by_provider(head.from)?;
                for envelope in progress.answers.iter().chain(&progress.reports) {
                    self.shown(&Verified::from_own_log(envelope.clone())?)?;
                }
                Ok(())
            }
            Body::Leave(_) => hold([(self.accepted.contains(&head.from), "who leaves had not accepted")]),
            Body::Accounting(_) => {
                self.accountings.insert(head.id, message.envelope().hash());
                hold([
                    (self.initiator == Some(head.from), "the accounting is not the Initiator's"),
                    (!self.deliveries.is_empty(), "something is accounted for before anything was delivered"),
                ])
            }
            Body::Receipt(receipt) => self.receipted(message, receipt),
            Body::Enrol(_)
            | Body::Enrolled(_)
            | Body::Rotate(_)
            | Body::Rotated(_)
            | Body::ProgramRequest(_)
            | Body::ProgramDelivery(_)
            | Body::ProgramReport(_) => Err(missing("it belongs to no session")),
        }
    }
    fn said_by_provider(&self, key: Key) -> Result<()> {
        hold([(self.provider == Some(key), "it is the provider's to say, and another said it")])
    }

    fn requested(&mut self, message: &Message, request: &ServiceRequest) -> Result<()> {
        hold([
            (message.head.id == self.of.session.request(), "it is the request of another session"),
            (self.initiator == Some(message.head.from), "the interface was given to another"),
            (self.request.is_none(), "there was a request before"),
            (
                self.interface.as_ref().is_some_and(|interface| interface.nonce == request.interface_nonce),
                "it was not made with this interface",
            ),
        ])?;
        for peer in &request.peers {
            let key = peer.address.key;
            let (_, notification) = open_notification(&peer.notification, &message.head.from, &key)?;
            notification.check_matches(request, self.of.session, peer)?;
        }
        self.request = Some(request.clone());
        Ok(())
    }
    fn registered(&mut self, from: Key, registration: &Registration) -> Result<()> {
        self.said_by_provider(from)?;
        let request = self.request.as_ref().ok_or_else(|| missing("it registers what was not requested"))?;
        let keys = request.peers.iter().map(|peer| peer.address.key);
        self.is_registered = true;
        hold([(registration.invited.iter().copied().eq(keys), "it names others than were to be invited")])
    }
    fn added(&mut self, from: Key, add: &AddPeers) -> Result<()> {
        hold([(self.initiator == Some(from), "only the Initiator invites more peers")])?;
        let request = self.request.as_mut().ok_or_else(|| missing("it adds peers before anything was requested"))?;
        for peer in &add.peers {
            let (_, notification) = open_notification(&peer.notification, &from, &peer.address.key)?;
            notification.check_matches(request, self.of.session, peer)?;
        }
        request.peers.extend_from_slice(&add.peers);
        Ok(())
    }
    /// By the Initiator to the provider, or by the provider to the peer itself.
    fn withdrawn(&mut self, message: &Message, withdraw: &Withdraw) -> Result<()> {
        let (from, to) = (message.head.from, message.head.to);
        if self.initiator == Some(from) && self.provider != Some(from) {
            return hold([(withdraw.asked_by.is_none(), "the Initiator passes nothing on")]);
        }
        self.said_by_provider(from)?;
        self.accepted.remove(&to);
        hold([
            (withdraw.peer == to, "the invitation of another is taken back"),
            (!self.deliveries.contains_key(&to), "it is taken back after it was delivered"),
        ])
    }
    fn invited(&mut self, message: &Verified<Message>, invitation: &Invitation) -> Result<()> {
        let (to, initiator) = (message.head.to, invitation.initiator.address.key);
        if self.of.party == Party::Provider {
            let request = self.request.as_ref().ok_or_else(|| missing("it invites before anything was requested"))?;
            let mut invitees = request.peers.iter();
            let invitee = invitees.find(|peer| peer.address.key == to && peer.role == invitation.role);
            hold([
                (self.is_registered, "it invites before the registration"),
                (invitee.is_some(), "it invites whom the Initiator did not name"),
                (
                    invitee.is_none_or(|peer| peer.notification == invitation.notification),
                    "it does not carry what the Initiator signed",
                ),
            ])?;
        }
        let (_, notification) = open_notification(&invitation.notification, &initiator, &to)?;
        notification.check_invitation(invitation, &to)?;
        self.initiator.get_or_insert(initiator);
        self.provider.get_or_insert(message.head.from);
        let kept = (to, message.envelope().hash(), invitation.clone());
        self.invitations.insert(message.head.id, kept);
        self.said_by_provider(message.head.from)
    }
    fn answered(&mut self, from: Key, answer: &Answer) -> Result<()> {
        let (invited, hash, _) = self
            .invitations
            .get(&answer.invitation)
            .ok_or_else(|| missing("it answers an invitation that was not made"))?;
        hold([
            (*invited == from, "it answers an invitation of another"),
            (*hash == answer.invitation_hash, "it answers an invitation with other words"),
        ])?;
        if answer.answer == Verdict::Accept {
            self.accepted.insert(from);
        }
        Ok(())
    }
    /// What the participants signed to the provider, as it showed it to this party.
    fn shown(&mut self, message: &Verified<Message>) -> Result<()> {
        let is_known = |key: Key| {
            let named = self.request.iter().flat_map(|request| &request.peers).any(|peer| peer.address.key == key);
            named || self.initiator == Some(key) || self.of.me == key
        };
        // A peer is shown what concerns it, and does not know who else was invited.
        let is_participant = self.of.party == Party::Peer || is_known(message.head.from);
        hold([
            (
                matches!(message.body, Body::Answer(_) | Body::Report(_) | Body::Leave(_)),
                "it shows what is neither answer nor report, nor the word of one who leaves",
            ),
            (message.body.session() == Some(self.of.session), "it shows what is of another session"),
            (self.provider == Some(message.head.to), "it shows what was not for the provider"),
            (is_participant, "it shows what somebody else said"),
        ])
    }

    fn delivered(&mut self, message: &Message, delivery: &Delivery) -> Result<()> {
        let to = message.head.to;
        self.said_by_provider(message.head.from)?;
        let is_initiator = self.initiator == Some(to);
        hold([(is_initiator || self.accepted.contains(&to), "it was delivered before it was accepted")])?;
        self.is_of_session(to, delivery)?;
        let manifest = self.manifests.get(&delivery.manifest);
        if self.of.party == Party::Provider || manifest.is_some() {
            let manifest = manifest.ok_or_else(|| missing("the manifest of what was delivered is missing"))?;
            self.is_as_accepted(to, delivery, manifest)?;
        }
        let before = self.deliveries.entry(to).or_default();
        let is_later = before.last().is_none_or(|before| before.generation < delivery.generation);
        before.push(delivery.clone());
        hold([(is_later, "it was delivered after a later generation")])
    }
    fn is_of_session(&self, to: Key, delivery: &Delivery) -> Result<()> {
        let is_member = delivery.roster.members().any(|member| member.key == to && member.role == delivery.role);
        hold([(is_member, "it was delivered to one who is not in its roster with that role")])
    }
    /// The terms that `to` agreed to for the delivered role, and the digest of the options.
    fn agreed(&self, to: Key, delivery: &Delivery) -> Option<(&RoleTerms, Digest, Digest)> {
        let invitations = || self.invitations.values().filter(|(key, ..)| *key == to).map(|(_, _, said)| said);
        if let Some(invitation) = invitations().find(|invitation| invitation.role == delivery.role) {
            let options = options_digest(&invitation.options, &invitation.secret_options);
            return Some((&invitation.interface, invitation.service.definition, options));
        }
        let request = self.request.as_ref().filter(|request| request.role == delivery.role)?;
        let options = options_digest(&request.options, &request.secret_options);
        Some((self.interface.as_ref()?.roles.get(&delivery.role)?, request.service.definition, options))
    }
    fn is_as_accepted(&self, to: Key, delivery: &Delivery, manifest: &VerifiedManifest) -> Result<()> {
        let agreed = self.agreed(to, delivery);
        let (terms, definition, options) = agreed.ok_or_else(|| missing("nobody agreed to the delivered role"))?;
        hold([
            (manifest.digest() == delivery.manifest, "the manifest is not the one that was delivered"),
            (self.provider == Some(manifest.signer()), "the manifest is signed by another than the provider"),
            (manifest.package.digest == delivery.package.digest, "the manifest is of another package"),
            (manifest.package.size == delivery.package.size, "the manifest is of a package of another size"),
            (manifest.session == Some(self.of.session), "the manifest is of another session"),
            (manifest.generation == delivery.generation, "the manifest is of another generation"),
            (manifest.role == delivery.role, "the manifest is for another role"),
            (manifest.definition == definition, "the manifest is of another definition than was accepted"),
            (manifest.options == options, "the manifest has other options than were accepted"),
            (manifest.terms == *terms, "the manifest has other terms than were accepted"),
        ])
    }
    fn installed(&self) -> Result<()> {
        let mine = self.deliveries.get(&self.of.me).ok_or_else(|| missing("what was not delivered was installed"))?;
        let is_there = mine.iter().any(|delivery| self.manifests.contains_key(&delivery.manifest));
        hold([(is_there, "the manifest of what was installed is missing")])
    }

    fn reported(&self, from: Key, report: &Report) -> Result<()> {
        let its = self.deliveries.get(&from).ok_or_else(|| missing("who reports got nothing delivered"))?;
        let delivery = its.iter().find(|delivery| delivery.generation == report.generation);
        let delivery = delivery.ok_or_else(|| missing("it reports of another generation"))?;
        let is_kept = |back_to| its.iter().any(|one| one.generation == back_to && back_to < report.generation);
        hold([
            (report.package.is_none_or(|one| one == delivery.package.digest), "it reports of another package"),
            (report.back_to.is_none_or(is_kept), "it goes back to what it was not delivered before"),
        ])
    }
    fn receipted(&self, message: &Message, receipt: &Receipt) -> Result<()> {
        self.said_by_provider(message.head.from)?;
        let accounting = self.accountings.get(&receipt.accounting);
        hold([
            (message.head.in_reply_to == Some(receipt.accounting), "the receipt answers another message"),
            (accounting == Some(&receipt.hash), "the receipt is for another accounting"),
        ])
    }
}
