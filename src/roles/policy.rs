//! What this node's owner decided in advance: which invitations are answered without asking, and what waits for a word.

use super::invitations::Acquaintance;
use super::node::Node;
use crate::message::{Invitation, Verdict};
use crate::model::{Party, Result, SessionId};
use crate::service::definition::Permissions;
use crate::session::input::Rule;
use crate::store::audit;
use crate::store::config::{AcceptRule, Consent, NetworkWanted, RuleAnswer, WriteWanted};

/// What the right `auto-accept` is called where it decides as a rule does.
const BY_RIGHT: &str = "the right auto-accept";

/// Whether a session's software is installed and removed without a person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consents {
    pub install: Consent,
    pub remove: Consent,
}

impl Node {
    /// Answers an invitation by policy, where it may; says whether it did. Accepting takes a provider and an Initiator that
    /// are both known for their parts, whatever a rule says (A9). A machine that does not suit declines, so that nobody
    /// waits for it.
    pub(super) fn answer_by_policy(&self, session: SessionId) -> Result<bool> {
        let (peer, acquaintance) = self.invitation(session)?;
        let invitation = &peer.invitation;
        if !peer.is_open() || self.system.now() > invitation.answer_by {
            return Ok(false);
        }
        let (answer, rule) = match self.rule_for(invitation, &acquaintance) {
            Some((rule, name)) => (rule.answer, Rule { name, max_size: rule.max_size.map(|size| size.0) }),
            None if acquaintance.auto_accept() => {
                (RuleAnswer::Auto, Rule { name: BY_RIGHT.to_owned(), max_size: None })
            }
            None => return Ok(false),
        };
        let (verdict, reason) = match answer {
            RuleAnswer::Decline => (Verdict::Decline, Some("declined by policy".to_owned())),
            RuleAnswer::Auto if acquaintance.both_known() => {
                let lacking = self.unsuited(invitation);
                if lacking.is_empty() { (Verdict::Accept, None) } else { (Verdict::Decline, Some(lacking.join("; "))) }
            }
            RuleAnswer::Auto | RuleAnswer::Ask => return Ok(false),
        };
        let verb = if verdict == Verdict::Accept { "accepted" } else { "declined" };
        let what = format!(
            "{verb} the invitation {} to {} by policy: {}",
            peer.invitation_id.short(),
            invitation.service.name,
            rule.name
        );
        self.answer(session, verdict, reason, Some(rule))?;
        let entry = audit::Entry { key: Some(peer.provider.key), ip: None, what, code: None };
        // An audit that cannot be written must not change the answer.
        let _ = self.audit.record(self.system.now(), entry);
        Ok(true)
    }

    /// How the owner of this node wants a part of a session handled.
    pub(super) fn consents(&self, session: SessionId, party: Party) -> Result<Consents> {
        let policy = &self.config.policy;
        let mut consents = Consents { install: policy.install, remove: policy.remove };
        if party == Party::Peer && !policy.accept.is_empty() {
            let (peer, acquaintance) = self.invitation(session)?;
            if let Some((rule, _)) = self.rule_for(&peer.invitation, &acquaintance) {
                consents.install = rule.install.unwrap_or(consents.install);
                consents.remove = rule.remove.unwrap_or(consents.remove);
            }
        }
        Ok(consents)
    }

    /// The first rule that fits, and what it is called.
    fn rule_for(&self, invitation: &Invitation, acquaintance: &Acquaintance) -> Option<(&AcceptRule, String)> {
        let mut rules = (1..).zip(&self.config.policy.accept);
        let (number, rule) = rules.find(|(_, rule)| fits(rule, invitation, acquaintance))?;
        Some((rule, rule.name.as_ref().map_or_else(|| format!("rule {number}"), ToString::to_string)))
    }
}

/// Whether every condition of a rule holds.
fn fits(rule: &AcceptRule, invitation: &Invitation, acquaintance: &Acquaintance) -> bool {
    let is = |name: &Option<_>, contact: &Option<crate::store::contacts::Contact>| {
        name.as_ref().is_none_or(|name| contact.as_ref().is_some_and(|contact| contact.name == *name))
    };
    let permissions = &invitation.interface.permissions;
    is(&rule.provider, &acquaintance.provider)
        && is(&rule.initiator, &acquaintance.initiator)
        && rule.service.as_ref().is_none_or(|service| *service == invitation.service.name)
        && rule.role.as_ref().is_none_or(|role| *role == invitation.role)
        && rule.network.is_none_or(|most| wants_no_more_network(most, permissions))
        && rule.write.is_none_or(|most| writes_no_further(most, permissions))
}

/// Permissions travel unrendered: a text counts as listed where it begins so, whatever an expression in it makes.
fn wants_no_more_network(most: NetworkWanted, permissions: &Permissions) -> bool {
    let is_listed = |text: &String| text.starts_with("listen:") || text.starts_with("connect:");
    match most {
        NetworkWanted::None => permissions.network.is_empty(),
        NetworkWanted::Listed => permissions.network.iter().all(is_listed),
    }
}

/// An expression could lead anywhere, and so could `..`.
fn writes_no_further(most: WriteWanted, permissions: &Permissions) -> bool {
    let is_data = |text: &String| {
        let mut parts = text.split('/');
        parts.next() == Some("data") && parts.all(|part| part != "..") && !text.contains("{{")
    };
    match most {
        WriteWanted::None => permissions.write.is_empty(),
        WriteWanted::Data => permissions.write.iter().all(is_data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(network: &[&str], write: &[&str]) -> Permissions {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Permissions { network: texts(network), write: texts(write) }
    }

    #[test]
    fn no_permission_slips_through_a_limit() {
        for (network, none, listed) in [
            (&[][..], true, true),
            (&["listen:8080", "connect:a.example:1"], false, true),
            (&["listen:{{ options.port }}"], false, true),
            (&["listen:1", "any"], false, false),
            (&["{{ options.network }}"], false, false),
        ] {
            let wanted = permissions(network, &[]);
            assert_eq!(wants_no_more_network(NetworkWanted::None, &wanted), none, "{network:?}");
            assert_eq!(wants_no_more_network(NetworkWanted::Listed, &wanted), listed, "{network:?}");
        }
        for (write, none, data) in [
            (&[][..], true, true),
            (&["data/", "data/logs"], false, true),
            (&["data", "cache/"], false, false),
            (&["data/../cache"], false, false),
            (&["database/"], false, false),
            (&["data/{{ options.folder }}"], false, false),
        ] {
            let wanted = permissions(&[], write);
            assert_eq!(writes_no_further(WriteWanted::None, &wanted), none, "{write:?}");
            assert_eq!(writes_no_further(WriteWanted::Data, &wanted), data, "{write:?}");
        }
    }
}
