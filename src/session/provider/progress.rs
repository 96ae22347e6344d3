//! What the provider sends: invitations, deliveries, starts, the end, and how it goes.

use super::{Built, Ending, Participant, Phase, Provider};
use crate::message::secret::roster_secret;
use crate::message::{Delivery, Envelope, Progress, Start, Terminate, Withdrawn};
use crate::model::{Address, MessageId, ParticipantState, SessionState};
use crate::service::{Member, Roster};
use crate::session::context::Context;

/// What the Initiator has not been told yet: envelopes of participants, and whose invitations were taken back.
#[derive(Default)]
pub(super) struct News {
    pub(super) answers: Vec<Envelope>,
    pub(super) reports: Vec<Envelope>,
    pub(super) withdrawn: Vec<Withdrawn>,
    /// A generation will not be delivered any further.
    pub(super) rollout_stopped: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.reports.is_empty() && self.withdrawn.is_empty() && !self.rollout_stopped
    }
}

impl Provider {
    /// The participants of the latest generation, as everyone gets to see them.
    pub fn roster(&self) -> Roster {
        match &self.rollout {
            Some(rollout) => rollout.roster.clone(),
            None => self.roster_of(Participant::accepted),
        }
    }
    pub(super) fn roster_of(&self, counts: impl Fn(&Participant) -> bool) -> Roster {
        let mut members = self.participants.iter().filter(|one| counts(one)).filter_map(member);
        let initiator = members.next().expect("the Initiator is always a participant, with its platform");
        Roster { initiator, peers: members.collect() }
    }

    /// A12: tells each participant what is there for it.
    pub(super) fn deliver(&mut self, context: &mut Context<'_>) {
        for index in 0..self.participants.len() {
            if self.participants[index].takes_part() && self.deliver_to(index, context) {
                self.participants[index].delivered = true;
                self.participants[index].state = ParticipantState::Delivered;
            }
        }
        self.phase = Phase::Delivering { since: context.now };
    }

    /// The latest generation for one participant; says whether there is a package for it.
    pub(super) fn deliver_to(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        let (generation, roster, ends_at) = (self.generation(), self.roster(), self.asked().ends_at);
        let roster_value = self.rollout.as_ref().map_or(self.roster_value, |rollout| rollout.roster_value);
        let participant = &mut self.participants[index];
        let is_its =
            |built: &&Built| built.role == participant.role && Some(&built.platform) == participant.platform.as_ref();
        let built = self.built.iter().filter(is_its).find(|built| built.generation == generation);
        let (Some(built), Some(roster_value)) = (built, roster_value) else { return false };
        let delivery = Delivery {
            session: context.session(),
            generation,
            role: participant.role.clone(),
            package: built.package,
            manifest: built.manifest,
            roster,
            roster_value,
            configuration: serde_json::json!({ "name": participant.name, "address": participant.address, "role": participant.role }),
            ends_at,
        };
        let outgoing = context.send(&participant.address, delivery);
        outgoing.secrets = vec![roster_secret(generation), format!("options.{}", participant.role)];
        participant.delivery = Some(outgoing.message.head.id);
        participant.generation = generation;
        participant.delivered_at = context.now;
        true
    }

    /// A15: everyone that has installed gets `start`, the late ones as they come.
    pub(super) fn start_the_installed(&mut self, context: &mut Context<'_>) {
        let session = context.session();
        for participant in self.participants.iter_mut().filter(|one| one.has_installed() && !one.start_sent) {
            context.send(&participant.address, Start { session });
            participant.start_sent = true;
        }
    }

    pub(super) fn send_terminate(&self, ending: &Ending, asked_by: Option<MessageId>, context: &mut Context<'_>) {
        for participant in self.participants.iter().filter(|one| one.awaits_terminate()) {
            let terminate = Terminate {
                session: context.session(),
                reason: ending.reason.clone(),
                outcome: ending.outcome,
                asked_by,
                failure: ending.failure.clone(),
            };
            context.send(&participant.address, terminate);
        }
    }

    /// Tells the Initiator everything, and the peers what concerns them. Whoever gets `terminate` needs no more.
    pub(super) fn tell(&self, before: SessionState, news: News, context: &mut Context<'_>) {
        if self.phase == Phase::Opened {
            return;
        }
        let state = self.state();
        let changed = state != before && before != SessionState::Registered;
        if changed || !news.is_empty() {
            self.send_progress(&self.initiator().clone(), news, context);
        }
        let concerns_peers = matches!(state, SessionState::Building | SessionState::Running) || state.is_end();
        if changed && concerns_peers && before < SessionState::Terminating {
            for participant in self.participants.iter().filter(|one| one.is_peer() && concerned(one)) {
                self.send_progress(&participant.address, News::default(), context);
            }
        }
    }

    fn send_progress(&self, to: &Address, news: News, context: &mut Context<'_>) {
        let failure = self.ending().and_then(|ending| {
            ending.failure.clone().or_else(|| {
                let code = if ending.outcome == SessionState::Withdrawn {
                    crate::model::Code::Withdrawn
                } else {
                    crate::model::Code::SessionFailed
                };
                (ending.outcome != SessionState::Closed).then(|| crate::message::Failure {
                    code,
                    text: self.end_reason(ending),
                    tail: None,
                })
            })
        });
        let failure = failure.or_else(|| self.rollout_failure().filter(|_| self.phase == Phase::Running).cloned());
        let progress = Progress {
            session: context.session(),
            state: self.state(),
            answers: news.answers,
            reports: news.reports,
            withdrawn: news.withdrawn,
            failure,
        };
        context.send(to, progress);
    }
}

/// Declined or gone peers are left alone; those that never answered only hear that it ended.
fn concerned(participant: &Participant) -> bool {
    participant.accepted() || participant.may_answer()
}

fn member(participant: &Participant) -> Option<Member> {
    let host = participant.address.host.as_ref();
    Some(Member {
        name: participant.name.clone(),
        key: participant.key(),
        address: participant.address.clone(),
        host: host.map(|host| host.name.clone()).or_else(|| participant.seen_from.clone()),
        port: host.map(|host| host.port),
        role: participant.role.clone(),
        platform: participant.platform.clone()?,
    })
}
