//! What a yes to an invitation means (row A9): who invites, what will run, what it may touch, what it costs, how to undo
//! it. The same facts for people and for programs.

use serde::Serialize;

use super::acquaint::in_groups;
use crate::message::{Body, Invitation, Verified};
use crate::model::{Key, Name, Result, RoleName, SessionId, Time};
use crate::roles::Node;
use crate::roles::invitations::Acquaintance;
use crate::service::consent::terms_text;
use crate::service::definition::Tariff;
use crate::service::option::Options;
use crate::service::platform::Platform;
use crate::service::template::{Context, preview_permissions, preview_run};
use crate::session::Peer;
use crate::store::contacts::Contact;
use crate::ui::escape::escape_line;
use crate::ui::time::relative;

#[derive(Serialize)]
pub(super) struct Consent {
    session: SessionId,
    about: String,
    /// The Initiator's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    initiator: Who,
    provider: Who,
    role: RoleName,
    options: Options,
    /// What runs and what it may touch, a sentence for each.
    terms: Vec<String>,
    /// What this machine lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<String>,
    costs: Costs,
    answer_by: Time,
    ends_at: Time,
    undo: String,
}

#[derive(Serialize)]
struct Who {
    /// What it calls itself; only Initiators do.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Name>,
    key: Key,
    /// As a contact of this node; absent where it is none.
    known_as: Option<Name>,
    known_since: Option<Time>,
}

#[derive(Serialize)]
struct Costs {
    tariff: Option<Tariff>,
    paid_by: &'static str,
}

impl Consent {
    pub(super) fn to(node: &Node, peer: &Peer, acquaintance: &Acquaintance) -> Result<Self> {
        let invitation = &peer.invitation;
        let initiator = Who::of(invitation.initiator.address.key, acquaintance.initiator.as_ref());
        Ok(Self {
            session: invitation.session,
            about: invitation.about.clone(),
            note: note_of(invitation).filter(|text| !text.is_empty()),
            initiator: Who { name: Some(invitation.initiator.name.clone()), ..initiator },
            provider: Who::of(peer.provider.key, acquaintance.provider.as_ref()),
            role: invitation.role.clone(),
            options: invitation.options.clone(),
            terms: terms_of(invitation)?,
            lacking: node.unsuited(invitation),
            costs: Costs { tariff: invitation.tariff.clone(), paid_by: "initiator" },
            answer_by: invitation.answer_by,
            ends_at: invitation.ends_at,
            undo: format!("deployctl stop {}", invitation.session.short()),
        })
    }
    /// For people; what others wrote is escaped.
    pub(super) fn lines(&self, now: Time) -> Vec<String> {
        let mut lines = vec![escape_line(&self.about).into_owned()];
        lines.extend(self.note.as_ref().map(|text| format!("  “{}”", escape_line(text))));
        // What it calls itself is worth a word where it is not what it is called here.
        let own = self.initiator.name.as_ref().filter(|own| self.initiator.known_as.as_ref() != Some(*own));
        let name = own.map(|own| format!("{own} — ")).unwrap_or_default();
        lines.push(format!("  Initiator: {name}{}", self.initiator.in_words(now)));
        lines.push(format!("  Provider:  {}", self.provider.in_words(now)));
        lines.extend(self.terms.iter().map(|line| format!("  {}", escape_line(line))));
        lines.extend(
            self.options.iter().map(|(name, value)| format!("  option {name} = {}", escape_line(&value.to_string()))),
        );
        lines.extend(self.lacking.iter().map(|lacking| format!("  Missing here: {}", escape_line(lacking))));
        lines.push(format!("  {}", self.costs.in_words()));
        lines.push(format!("  It ends by itself at {}. To undo: {}", self.ends_at, self.undo));
        lines
    }
}

impl Who {
    fn of(key: Key, contact: Option<&Contact>) -> Self {
        let known_as = contact.map(|contact| contact.name.clone());
        Self { name: None, key, known_as, known_since: contact.map(|contact| contact.since) }
    }
    fn in_words(&self, now: Time) -> String {
        match (&self.known_as, self.known_since) {
            (Some(name), Some(since)) => format!("{name}, known here since {since} ({})", relative(since, now)),
            _ => format!("NOT KNOWN here, key {}", in_groups(&self.key)),
        }
    }
}

impl Costs {
    fn in_words(&self) -> String {
        let Some(tariff) = self.tariff.as_ref().filter(|tariff| !tariff.per.is_empty()) else {
            return "It costs nothing.".to_owned();
        };
        let price = |(meter, price): (&_, &_)| format!("{price} {} per {meter}", tariff.currency);
        let prices: Vec<_> = tariff.per.iter().map(price).collect();
        format!("It costs {}. The Initiator pays; you pay nothing.", prices.join(", "))
    }
}

fn terms_of(invitation: &Invitation) -> Result<Vec<String>> {
    let here = Platform::here();
    let context = Context {
        options: &invitation.options,
        session: invitation.session,
        role: &invitation.role,
        platform: &here,
        service_name: &invitation.service.name,
        service_version: &invitation.service.version,
        roster: None,
    };
    let mut terms = invitation.interface.clone();
    terms.permissions = preview_permissions(&terms.permissions, &context)?;
    terms.run = terms.run.as_ref().map(|run| preview_run(run, &context)).transpose()?;
    Ok(terms_text(&terms))
}

fn note_of(invitation: &Invitation) -> Option<String> {
    let message = Verified::from_own_log(invitation.notification.clone()).ok()?;
    match &message.body {
        Body::Notification(notification) => Some(notification.text.clone()),
        _ => None,
    }
}
