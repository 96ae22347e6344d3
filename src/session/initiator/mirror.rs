//! What the Initiator knows of the others: from the provider's progress, and proven by the participants' own envelopes.

use std::collections::BTreeMap;

use super::Active;
use crate::message::{
    Body, Failure, Invitee, Progress, Report, ReportState, ServiceRequest, Terminate, Verdict, Verified,
};
use crate::model::{Key, ParticipantState, Result, SessionState, Time};
use crate::service::Roster;
use crate::service::platform::Platform;
use crate::session::participation::{Participation, Stage};
use crate::session::summary::{PackageSummary, ParticipantSummary, Summary, went_back};

#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// What the provider said last, and when.
    pub(super) state: SessionState,
    told: Time,
    pub(super) failure: Option<Failure>,
    peers: BTreeMap<Key, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    state: ParticipantState,
    platform: Option<Platform>,
    reason: Option<String>,
    /// The one that it reported last to have taken over.
    generation: Option<u32>,
    /// The latest one that it did not keep: the reason is of it.
    went_back: Option<u32>,
    failed: bool,
    left: bool,
    reported: Time,
}

impl Mirror {
    pub(super) fn new(request: &ServiceRequest) -> Self {
        let mut mirror =
            Self { state: SessionState::Requested, told: Time::from_unix_ms(0), failure: None, peers: BTreeMap::new() };
        mirror.invite(&request.peers);
        mirror
    }
    pub(super) fn invite(&mut self, peers: &[Invitee]) {
        let invited = Seen {
            state: ParticipantState::Invited,
            platform: None,
            reason: None,
            generation: None,
            went_back: None,
            failed: false,
            left: false,
            reported: Time::from_unix_ms(0),
        };
        self.peers.extend(peers.iter().map(|peer| (peer.address.key, invited.clone())));
    }
    pub(super) fn forget(&mut self, peers: &[Key]) {
        self.peers.retain(|key, _| !peers.contains(key));
    }
    pub(super) fn state_of(&self, peer: &Key) -> Option<ParticipantState> {
        let seen = self.peers.get(peer)?;
        Some(if seen.left { ParticipantState::Left } else { seen.state })
    }
    pub(super) fn registered(&mut self) {
        if self.state == SessionState::Requested {
            self.state = SessionState::Inviting;
        }
    }
    pub(super) fn progress(&mut self, progress: &Progress, issued: Time) -> Result<()> {
        for envelope in progress.answers.iter().chain(&progress.reports) {
            let nested = Verified::from_own_log(envelope.clone())?;
            let Some(seen) = self.peers.get_mut(&nested.head.from) else { continue };
            match &nested.body {
                _ if seen.state == ParticipantState::Withdrawn => {}
                Body::Answer(answer) if seen.reported < nested.head.issued => {
                    seen.reported = nested.head.issued;
                    seen.platform = Some(answer.platform.clone());
                    seen.reason.clone_from(&answer.reason);
                    seen.state = if answer.answer == Verdict::Accept {
                        ParticipantState::Accepted
                    } else {
                        ParticipantState::Declined
                    };
                }
                Body::Report(report) => seen.report(report, nested.head.issued),
                Body::Leave(leave) => {
                    seen.left = true;
                    seen.reason = Some(leave.reason.clone());
                }
                _ => {}
            }
        }
        for one in &progress.withdrawn {
            if let Some(seen) = self.peers.get_mut(&one.peer) {
                seen.state = ParticipantState::Withdrawn;
                seen.reason = Some(one.reason.clone());
            }
        }
        if issued > self.told {
            self.told = issued;
            self.state = progress.state;
            // A generation that could not be rolled out is forgotten when a later one is.
            if progress.failure.is_some() || progress.state == SessionState::Running {
                self.failure.clone_from(&progress.failure);
            }
        }
        Ok(())
    }
    /// Who is on the roster has been delivered to.
    pub(super) fn roster(&mut self, roster: &Roster) {
        for member in &roster.peers {
            if let Some(seen) = self.peers.get_mut(&member.key)
                && matches!(seen.state, ParticipantState::Invited | ParticipantState::Accepted)
            {
                seen.state = ParticipantState::Delivered;
                seen.platform = Some(member.platform.clone());
            }
        }
        if self.state < SessionState::Delivering {
            self.state = SessionState::Delivering;
        }
    }
    pub(super) fn terminated(&mut self, terminate: &Terminate) {
        if terminate.failure.is_some() {
            self.failure.clone_from(&terminate.failure);
        }
    }
}

impl Seen {
    fn report(&mut self, report: &Report, issued: Time) {
        if let Some(failure) = &report.failure {
            self.failed |= report.back_to.is_none();
            self.reason = Some(match report.back_to {
                Some(back_to) => went_back(report.generation, back_to, failure),
                None => failure.text.clone(),
            });
        }
        if issued <= self.reported {
            return;
        }
        self.reported = issued;
        if report.back_to.is_some() {
            self.went_back = Some(report.generation);
            return;
        }
        if self.went_back.is_some_and(|failed| failed < report.generation && report.state == ReportState::Confirmed) {
            (self.went_back, self.reason) = (None, None);
        }
        self.generation = Some(report.generation);
        self.state = match report.state {
            ReportState::Installed => ParticipantState::Installed,
            ReportState::Confirmed => ParticipantState::Confirmed,
            ReportState::Stopped => ParticipantState::Stopped,
            ReportState::Removed => ParticipantState::Removed,
            ReportState::Failed => ParticipantState::Failed,
        };
    }
}

impl Active {
    pub(super) fn fill(&self, summary: &mut Summary, me: Key) {
        let request = &self.request;
        let own_failure = self.participation.failure.clone();
        summary.failure = own_failure.clone().or_else(|| self.mirror.failure.clone());
        summary.role = Some(request.role.clone());
        summary.initiator = Some(request.initiator.clone());
        summary.answer_by = Some(request.answer_by);
        summary.ends_at = Some(request.ends_at);
        summary.over = self.ended.is_some();
        summary.kept.clone_from(&self.participation.kept);
        summary.participants.push(ParticipantSummary {
            name: request.initiator.name.clone(),
            key: me,
            role: request.role.clone(),
            platform: Some(request.platform.clone()),
            state: own_state(&self.participation),
            generation: self.participation.generation(),
            reason: own_failure.map(|failure| failure.text),
            failed: self.participation.failure.is_some(),
        });
        for peer in &request.peers {
            let Some(seen) = self.mirror.peers.get(&peer.address.key) else { continue };
            let gone = seen.state == ParticipantState::Removed;
            summary.participants.push(ParticipantSummary {
                name: peer.name.clone(),
                key: peer.address.key,
                role: peer.role.clone(),
                platform: seen.platform.clone(),
                state: if seen.left && !gone { ParticipantState::Left } else { seen.state },
                generation: seen.generation,
                reason: seen.reason.clone(),
                failed: seen.failed,
            });
        }
        if let Some(delivery) = &self.participation.delivery {
            summary.packages.push(PackageSummary::new(delivery, &request.platform));
        }
    }
}

fn own_state(participation: &Participation) -> ParticipantState {
    match participation.stage {
        Stage::Removed if participation.delivery.is_some() => ParticipantState::Removed,
        _ if participation.failure.is_some() => ParticipantState::Failed,
        Stage::Waiting | Stage::Removed => ParticipantState::Accepted,
        Stage::Delivered => ParticipantState::Delivered,
        Stage::Installed | Stage::Running if participation.ready => ParticipantState::Confirmed,
        Stage::Installed | Stage::Running => ParticipantState::Installed,
        Stage::Stopped => ParticipantState::Stopped,
    }
}
