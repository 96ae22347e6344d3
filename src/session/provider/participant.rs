//! One participant, as the provider sees it: what it was sent, and what it said of itself.

use std::sync::Arc;

use crate::message::{Envelope, Failure, Report, ReportState};
use crate::model::{Address, Error, Hash, Key, MessageId, Name, ParticipantState, RoleName, Time};
use crate::service::platform::Platform;
use crate::session::summary::{ParticipantSummary, went_back};

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
    /// The latest generation that was delivered, and when.
    pub(super) generation: u32,
    pub(super) delivered_at: Time,
    /// The one that it reported last to have taken over.
    runs: Option<u32>,
    /// The latest one that it confirmed.
    pub(super) confirmed_generation: u32,
    /// The latest one that it did not keep, and why.
    pub(super) update_failed: Option<(u32, Failure)>,
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
            generation: 0,
            delivered_at: Time::from_unix_ms(0),
            runs: None,
            confirmed_generation: 0,
            update_failed: None,
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
        let text = format!("its node refused the delivery: {}", error.message);
        let failure = Failure { code: error.code, text, tail: None };
        if self.delivery == Some(message) && self.generation > 1 {
            self.update_failed = Some((self.generation, failure));
        } else if self.delivery == Some(message) && self.state == ParticipantState::Delivered {
            self.failure = Some(failure);
            self.state = ParticipantState::Failed;
            self.refused_delivery = true;
        }
    }
    /// Takes a report, unless a later one came before it.
    pub(super) fn report(&mut self, report: &Report, issued: Time) {
        match (&report.failure, report.back_to) {
            (Some(failure), Some(_)) => self.update_failed = Some((report.generation, failure.clone())),
            (Some(failure), None) => drop(self.failure.get_or_insert_with(|| failure.clone())),
            (None, _) => {}
        }
        if report.state == ReportState::Confirmed {
            self.confirmed = true;
            self.confirmed_generation = self.confirmed_generation.max(report.generation);
        }
        if issued <= self.reported {
            return;
        }
        self.reported = issued;
        // Which one took over again, its next report says.
        if report.back_to.is_some() {
            return;
        }
        self.runs = Some(report.generation);
        self.state = match report.state {
            ReportState::Installed => ParticipantState::Installed,
            ReportState::Confirmed => ParticipantState::Confirmed,
            ReportState::Stopped => ParticipantState::Stopped,
            ReportState::Removed => ParticipantState::Removed,
            ReportState::Failed => ParticipantState::Failed,
        };
    }
    fn why(&self) -> Option<String> {
        let failed = self.failure.as_ref().map(|failure| failure.text.clone());
        let update = self.update_failed.as_ref().filter(|(generation, _)| *generation > self.confirmed_generation);
        let back = update.map(|(generation, failure)| went_back(*generation, self.confirmed_generation, failure));
        failed.or(back).or_else(|| self.reason.clone())
    }
    pub(super) fn summary(&self) -> ParticipantSummary {
        let left = self.left && self.state != ParticipantState::Removed;
        ParticipantSummary {
            name: self.name.clone(),
            key: self.key(),
            role: self.role.clone(),
            platform: self.platform.clone(),
            state: if left { ParticipantState::Left } else { self.state },
            generation: self.runs,
            reason: self.why(),
            failed: self.failure.is_some(),
        }
    }
}
