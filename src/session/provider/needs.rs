//! Who is required: the Initiator, the quorum of peers, and each role's `min`.

use super::{Participant, Phase, Provider};
use crate::message::{Failure, OnFailure};
use crate::model::{Code, ParticipantState};

impl Provider {
    /// What is missing, in words, if only those count for whom `counts` holds. The Initiator takes part from the start
    /// and counts for its role.
    pub(super) fn missing(&self, with_quorum: bool, counts: impl Fn(&Participant) -> bool) -> Option<String> {
        let request = self.asked();
        let initiator_missing = self.participants.iter().any(|one| one.is_initiator && !counts(one));
        if initiator_missing {
            return Some("the Initiator is required".to_owned());
        }
        let peers = self.participants.iter().filter(|one| one.is_peer() && counts(one)).count();
        // An invitation that was taken back is as if it had not been made.
        let asked =
            self.participants.iter().filter(|one| one.is_peer() && one.state != ParticipantState::Withdrawn).count();
        let needed = request.quorum.needed(asked);
        if with_quorum && peers < needed {
            return Some(format!(
                "{needed} of {asked} peers are required (quorum {}), {peers} can be had",
                request.quorum
            ));
        }
        self.interface.roles.iter().find_map(|(role, terms)| {
            let have = self.participants.iter().filter(|one| one.role == *role && counts(one)).count();
            let min = usize::try_from(terms.min).unwrap_or(usize::MAX);
            (have < min).then(|| format!("the role {role} needs at least {min}, {have} can be had"))
        })
    }

    /// Why the session cannot or must not go on. A peer that leaves a running service alone is no such reason while each
    /// role's `min` holds (A17).
    pub(super) fn reason_to_end(&self) -> Option<(String, Failure)> {
        let with_us = self.participants.iter().filter(|one| !one.left);
        let failed = with_us.filter_map(|one| one.failure.as_ref().map(|failure| (one, failure))).next();
        if let Some((one, failure)) = failed
            && (self.asked().on_failure == OnFailure::Abort || one.is_initiator)
        {
            let text = format!("{} failed: {}", one.name, failure.text);
            return Some((text.clone(), Failure { text, ..failure.clone() }));
        }
        let with_quorum = self.phase != Phase::Running;
        let missing = self.missing(with_quorum, Participant::is_with_us)?;
        let cause = failed.map(|(one, failure)| format!("; {} failed: {}", one.name, failure.text)).unwrap_or_default();
        let text = format!("{missing}{cause}");
        let code = failed.map_or(Code::QuorumMissed, |(_, failure)| failure.code);
        let tail = failed.and_then(|(_, failure)| failure.tail.clone());
        Some((text.clone(), Failure { code, text, tail }))
    }
}
