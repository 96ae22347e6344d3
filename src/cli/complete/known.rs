//! What the state directory knows by name, each with a word about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::line::Line;
use super::values::Word;
use crate::model::id::SHORT_CHARS;
use crate::model::{
    Address, Key, MessageId, Name, ParticipantState, Party, ServiceName, SessionId, SessionState, Time,
};
use crate::roles::offers;
use crate::service::option::{Kind, OptionSpec};
use crate::service::platform::{Platform, Platforms};
use crate::store::rights::Rights;
use crate::store::state::StateDir;
use crate::store::{document, file};
use crate::ui::time::relative;

/// Sessions of which a word is said, too. A person does not read through more, and each costs a file.
const DESCRIBED: usize = 200;

/// A contact's file, as far as it is of use here.
#[derive(Deserialize)]
struct Contact {
    address: Address,
    #[serde(default)]
    may: Rights,
}

/// A `status.json`, as far as it is of use here.
#[derive(Deserialize)]
struct Status {
    summary: Summary,
    #[serde(default)]
    invitations: BTreeMap<MessageId, Name>,
}

#[derive(Deserialize)]
struct Summary {
    state: SessionState,
    service: ServiceName,
    over: bool,
}

pub(super) fn key_of(state: &StateDir, contact: &str) -> Option<Key> {
    let name: Name = contact.parse().ok()?;
    Some(document::glance_toml::<Contact>(&state.contact(&name))?.address.key)
}

pub(super) fn contacts(line: &Line, typed: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let names = file::list(&state.contacts()).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.strip_suffix(".toml")?.parse::<Name>().ok());
    names
        .filter(|name| name.starts_with(typed))
        .filter_map(|name| {
            let Contact { may, address } = document::glance_toml(&state.contact(&name))?;
            let may = if may.is_empty() { "nothing".to_owned() } else { may.to_string() };
            let at = address.host.map(|host| format!(" at {host}")).unwrap_or_default();
            Some(Word::new(&*name, format!("may {may}{at}")))
        })
        .collect()
}

/// Sessions by their short ids, those that go on first, the newest of each first.
pub(super) fn sessions(line: &Line, typed: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let all: Vec<String> = file::list(&state.sessions()).unwrap_or_default();
    let all: Vec<&String> = all.iter().filter(|name| name.parse::<SessionId>().is_ok()).collect();
    let matching = all.iter().enumerate().filter(|(_, id)| id.starts_with(typed));
    let mut found: Vec<_> =
        matching.map(|(at, id)| (began(&state.sessions().join(id)), shortest(&all, at, typed), *id)).collect();
    found.sort_by(|a, b| b.cmp(a));
    let mut words: Vec<_> = found
        .into_iter()
        .enumerate()
        .filter_map(|(nth, (began, word, id))| {
            if nth >= DESCRIBED {
                return Some((false, Word::plain(word)));
            }
            let (party, status) = status(state, id.parse().ok()?)?;
            let Summary { state, service, over } = status.summary;
            let age = began.map(|began| format!(", {}", relative(began, line.now))).unwrap_or_default();
            Some((!over, Word::new(word, format!("{service} {state}{age}, as {party}"))))
        })
        .collect();
    words.sort_by_key(|(goes_on, _)| !goes_on);
    words.into_iter().map(|(_, word)| word).collect()
}

/// This node's part in a session; where it plays several, the first.
fn status(state: &StateDir, session: SessionId) -> Option<(Party, Status)> {
    Party::ALL
        .iter()
        .find_map(|party| Some((*party, document::glance_json(&state.projection(session, *party, "status"))?)))
}

/// When the folder of a session was made, as far as the file system knows.
fn began(folder: &Path) -> Option<Time> {
    let meta = std::fs::metadata(folder).ok()?;
    let since = meta.created().or_else(|_| meta.modified()).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Time::from_unix_ms(i64::try_from(since.as_millis()).ok()?))
}

/// An id as `status` shows it, if no other of the sorted ones begins like that and no more of it was typed.
fn shortest(sorted: &[&String], at: usize, typed: &str) -> String {
    let id = sorted[at];
    let short = &id[..SHORT_CHARS.max(typed.len()).min(id.len())];
    let is_like = |other: Option<&&String>| other.is_some_and(|other| other.starts_with(short));
    let ambiguous = is_like(sorted.get(at + 1)) || at.checked_sub(1).is_some_and(|before| is_like(sorted.get(before)));
    if ambiguous || typed.len() > SHORT_CHARS { id.clone() } else { short.to_owned() }
}

/// Invitations to this node that are open for `accept`, else all that it sent or got.
pub(super) fn invitations(line: &Line, typed: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let answers = line.commands() == ["accept"];
    let sessions = file::list(&state.sessions()).unwrap_or_default();
    let sessions = sessions.iter().filter_map(|name| name.parse::<SessionId>().ok());
    let parties = sessions.flat_map(|session| [(session, Party::Peer), (session, Party::Provider)]);
    let mut words = Vec::new();
    for (session, party) in parties.filter(|(_, party)| !answers || *party == Party::Peer) {
        let Some(status) = document::glance_json::<Status>(&state.projection(session, party, "status")) else {
            continue;
        };
        if answers && status.summary.state != SessionState::Inviting {
            continue;
        }
        for (id, name) in status.invitations {
            let who = if party == Party::Peer { "from" } else { "to" };
            let id = id.to_string();
            let shown = if typed.len() > SHORT_CHARS { &id } else { &id[..SHORT_CHARS] };
            words.push(Word::new(shown, format!("{} {who} {name}, {}", status.summary.service, status.summary.state)));
        }
    }
    words
}

/// What is completed of the one session that is named.
#[derive(Deserialize)]
struct Named {
    summary: NamedSummary,
}

#[derive(Deserialize)]
struct NamedSummary {
    service: ServiceName,
    provider: Address,
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    name: Name,
    state: ParticipantState,
}

fn named(line: &Line, argument: &str) -> Option<NamedSummary> {
    let state = line.state.as_ref()?;
    let typed = line.said(argument)?.to_str()?;
    let all = file::list(&state.sessions()).ok()?;
    let mut matching = all.iter().filter(|id| id.starts_with(typed)).filter_map(|id| id.parse::<SessionId>().ok());
    let session = matching.next().filter(|_| matching.next().is_none())?;
    let parties = [Party::Initiator, Party::Provider].into_iter();
    let found = parties.map(|party| document::glance_json::<Named>(&state.projection(session, party, "status")));
    found.flatten().next().map(|named| named.summary)
}

/// Those who are invited to the session that is named.
pub(super) fn invited(line: &Line, _: &str) -> Vec<Word> {
    let participants = named(line, "invitation").map(|summary| summary.participants).unwrap_or_default();
    // The first one is the Initiator, whom nobody invites.
    participants.into_iter().skip(1).map(|one| Word::new(&*one.name, one.state.as_str())).collect()
}

/// The meters that the service of the named session has a price for, as `METER=`.
pub(super) fn meters(line: &Line, typed: &str) -> Vec<Word> {
    let Some(summary) = named(line, "session").filter(|_| !typed.contains('=')) else { return Vec::new() };
    let interface =
        line.state.as_ref().and_then(|state| offers::interface(state, &summary.provider.key, &summary.service));
    let Some(tariff) = interface.and_then(|interface| interface.tariff) else { return Vec::new() };
    let word = |(meter, price)| Word::new(format!("{meter}="), format!("{price} {} each", tariff.currency));
    tariff.per.iter().map(word).collect()
}

/// Programs that are installed, by the name that is enough: with the signer where two offer the same.
pub(super) fn programs(line: &Line, _: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let folder = state.programs();
    let mut signers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for signer in file::list(&folder).unwrap_or_default().into_iter().filter(|name| name.parse::<Key>().is_ok()) {
        for name in file::list(&folder.join(&signer)).unwrap_or_default() {
            signers.entry(name).or_default().push(signer.clone());
        }
    }
    let named = |(name, signers): (String, Vec<String>)| match signers.as_slice() {
        [_] => vec![Word::new(name, "a program that is installed here")],
        many => many.iter().map(|signer| Word::plain(format!("{name}@{signer}"))).collect(),
    };
    signers.into_iter().flat_map(named).collect()
}

/// Tokens that this node made.
pub(super) fn tokens(line: &Line, _: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let names = file::list(&state.tokens()).unwrap_or_default();
    names.iter().filter_map(|name| name.strip_suffix(".json")).map(Word::plain).collect()
}

/// Services of the provider that is named, as it listed them last.
pub(super) fn services(line: &Line, _: &str) -> Vec<Word> {
    let Some(state) = &line.state else { return Vec::new() };
    let provider = line.provider();
    let listed = offers::listed(state, provider.as_ref());
    listed.into_iter().map(|one| Word::new(&*one.name, format!("{} {}", one.version, one.summary))).collect()
}

/// Roles of the service that is asked for or built.
pub(super) fn roles(line: &Line, _: &str) -> Vec<Word> {
    let Some(interface) = line.interface() else { return Vec::new() };
    interface.roles.keys().map(|role| Word::plain(&**role)).collect()
}

/// Platforms that the service which is built knows; this one, if it takes any.
pub(super) fn platforms(line: &Line, _: &str) -> Vec<Word> {
    let roles = line.interface().map(|interface| interface.roles).unwrap_or_default();
    let named = roles.values().flat_map(|terms| match &terms.platforms {
        Platforms::Any => vec![Platform::here()],
        Platforms::Only(named) => named.to_vec(),
    });
    let all: BTreeSet<String> = named.map(|platform| platform.to_string()).collect();
    all.into_iter().map(Word::plain).collect()
}

/// Options of the service as `NAME=`, then the values of the one that is named.
pub(super) fn options(line: &Line, typed: &str) -> Vec<Word> {
    let options = line.interface().and_then(|interface| interface.options().ok()).unwrap_or_default();
    match typed.split_once('=') {
        Some((name, _)) => options.iter().find(|one| *one.name == *name).map(values_of).unwrap_or_default(),
        // A secret has no place in a line that other users of the machine can read.
        None => options
            .iter()
            .filter(|one| !one.secret)
            .map(|one| Word::new(format!("{}=", one.name), format!("{}: {}", one.label(), one.allowed())))
            .collect(),
    }
}

fn values_of(option: &OptionSpec) -> Vec<Word> {
    let default = option.default.as_ref().map(ToString::to_string);
    let values = match &option.kind {
        Kind::Enum(choices) => choices.clone(),
        Kind::Boolean => vec!["true".to_owned(), "false".to_owned()],
        Kind::String | Kind::Integer | Kind::Number => default.clone().into_iter().collect(),
    };
    let word = |value: String| {
        let text = format!("{}={value}", option.name);
        if Some(&value) == default.as_ref() { Word::new(text, "the default") } else { Word::plain(text) }
    };
    values.into_iter().map(word).collect()
}

/// Network interfaces of this machine (sysfs).
pub(super) fn network_interfaces(_: &Line, _: &str) -> Vec<Word> {
    file::list(Path::new("/sys/class/net")).unwrap_or_default().into_iter().map(Word::plain).collect()
}
