//! One participant, as the provider sees it: what it was sent, and what it said of itself.

use std::sync::Arc;

use crate::message::{Envelope, Failure, ReportState};
use crate::model::{Address, Error, Hash, Key, MessageId, Name, ParticipantState, RoleName, Time};
use crate::service::platform::Platform;
use crate::session::summary::ParticipantSummary;

#[derive(Clone, Debug, PartialEq)]
pub struct Participant {
    pub name: Name,
    pub address: Address,
    /// The host that its messages came from, where its address names none.
    pub seen_from: Option<String>,
    pub role: RoleName,
    pub platform: Option<Platform>,
    pub(super) state: ParticipantState,
    pub(super) is_initiator: bool,
    /// The invitation's id and envelope hash; the Initiator has none.
    pub(super) invitation: Option<(MessageId, Hash)>,
    pub(super) answer: Option<Arc<Envelope>>,
    pub(super) reason: Option<String>,
    pub(super) delivered: bool,
    /// The delivery's id, until it is known to be taken or refused.
    pub(super) delivery: Option<MessageId>,
    /// It would not take the delivery, so it has nothing.
    pub(super) refused_delivery: bool,
    pub(super) start_sent: bool,
    pub(super) confirmed: bool,
    pub(super) left: bool,
    pub(super) failure: Option<Failure>,
    /// When its latest report was issued: what is true is what that one says.
    pub(super) reported: Time,
}

impl Participant {
    pub(super) fn new(name: Name, address: Address, role: RoleName) -> Self {
        Self {
            name,
            address,
            seen_from: None,
            role,
            platform: None,
            state: ParticipantState::Invited,
            is_initiator: false,
            invitation: None,
            answer: None,
            reason: None,
            delivered: false,
            delivery: None,
            refused_delivery: false,
            start_sent: false,
            confirmed: false,
            left: false,
            failure: None,
            reported: Time::from_unix_ms(0),
        }
    }
    /// The invitation that was sent to this peer; the Initiator has none.
    pub fn invitation_id(&self) -> Option<MessageId> {
        self.invitation.map(|(id, _)| id)
    }
    pub fn key(&self) -> Key {
        self.address.key
    }
    pub(super) fn is_peer(&self) -> bool {
        !self.is_initiator
    }
    /// Has not answered yet.
    pub(super) fn may_answer(&self) -> bool {
        self.state == ParticipantState::Invited && !self.left
    }
    pub(super) fn accepted(&self) -> bool {
        let never = [ParticipantState::Invited, ParticipantState::Declined, ParticipantState::Withdrawn];
        !never.contains(&self.state) && !self.left
    }
    /// On the roster and still with us.
    pub fn takes_part(&self) -> bool {
        self.accepted() && self.failure.is_none()
    }
    pub(super) fn has_installed(&self) -> bool {
        let installed = [ParticipantState::Installed, ParticipantState::Confirmed, ParticipantState::Stopped];
        self.takes_part() && installed.contains(&self.state)
    }
    pub(super) fn has_confirmed(&self) -> bool {
        self.takes_part() && self.confirmed
    }
    /// Whether it can still do its part, or has done it.
    pub(super) fn is_with_us(&self) -> bool {
        self.takes_part() && self.state != ParticipantState::Removed
    }
    /// Has removed the software though nothing failed.
    pub(super) fn has_gone(&self) -> bool {
        self.failure.is_none() && self.state == ParticipantState::Removed
    }
    pub(super) fn may_hold_software(&self) -> bool {
        self.delivered && !self.refused_delivery && self.state != ParticipantState::Removed
    }
    /// Whether it has to hear of the end: the Initiator always does, since it accounts.
    pub(super) fn awaits_terminate(&self) -> bool {
        self.delivered && (self.is_initiator || self.state != ParticipantState::Removed)
    }
    /// Its node will not take a message of ours, however often it is sent.
    pub(super) fn refuses(&mut self, message: MessageId, error: &Error) {
        if self.may_answer() && self.invitation.is_some_and(|(id, _)| id == message) {
            self.state = ParticipantState::Declined;
            self.reason = Some(format!("its node refused the invitation: {}", error.message));
        }
        if self.delivery == Some(message) && self.state == ParticipantState::Delivered {
            let text = format!("its node refused the delivery: {}", error.message);
            self.failure = Some(Failure { code: error.code, text, tail: None });
            self.state = ParticipantState::Failed;
            self.refused_delivery = true;
        }
    }
    /// Takes a report, unless a later one came before it.
    pub(super) fn report(&mut self, state: ReportState, failure: Option<&Failure>, issued: Time) {
        if let Some(failure) = failure {
            self.failure.get_or_insert_with(|| failure.clone());
        }
        self.confirmed |= state == ReportState::Confirmed;
        if issued <= self.reported {
            return;
        }
        self.reported = issued;
        self.state = match state {
            ReportState::Installed => ParticipantState::Installed,
            ReportState::Confirmed => ParticipantState::Confirmed,
            ReportState::Stopped => ParticipantState::Stopped,
            ReportState::Removed => ParticipantState::Removed,
            ReportState::Failed => ParticipantState::Failed,
        };
    }
    pub(super) fn summary(&self) -> ParticipantSummary {
        let left = self.left && self.state != ParticipantState::Removed;
        ParticipantSummary {
            name: self.name.clone(),
            key: self.key(),
            role: self.role.clone(),
            platform: self.platform.clone(),
            state: if left { ParticipantState::Left } else { self.state },
            reason: self.failure.as_ref().map(|failure| failure.text.clone()).or_else(|| self.reason.clone()),
            failed: self.failure.is_some(),
        }
    }
}
