//! Housekeeping: what has served its purpose goes, rule by rule; found first, so that it can be shown. A rule takes
//! nothing that a live session or a repeat of a message may still need. The audit stays; so do logs, manifests and
//! ledgers, which are what a third party checks, unless the owner says for how long.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::node::{Node, blocking};
use crate::model::{Code, Digest, Error, Key, MessageId, Party, Result, SessionId, Span, Time};
use crate::store::lock::Lock;
use crate::store::packages::Packages;
use crate::store::programs::Programs;
use crate::store::seen::SeenStore;
use crate::store::tokens::Tokens;
use crate::store::{document, file, space, tree};

/// A lock file that nobody took for so long is of a thing that nobody works on.
const LOCK_AGE: Span = Span::from_hours(1);
/// Somebody else is just tidying up.
const WAIT: Span = Span::from_secs(10);

/// Something that may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The rule's name.
    pub rule: &'static str,
    pub path: PathBuf,
    pub bytes: u64,
    pub why: String,
}

/// Paths of what may go, and why.
type Paths = Vec<(PathBuf, String)>;

/// What one rule finds, and how it goes. What is in use after all is left where it is.
struct Rule {
    name: &'static str,
    find: fn(&Node, &View) -> Result<Paths>,
    remove: fn(&Node, &Path) -> Result<()>,
}

/// Every rule there is. Whatever else grows gets a line here.
const RULES: [Rule; 10] = [
    Rule { name: "interface", find: interfaces, remove: remove_interface },
    Rule { name: "nonce", find: nonces, remove: remove_file },
    Rule { name: "token", find: tokens, remove: remove_file },
    Rule { name: "shown", find: shown, remove: remove_tree },
    Rule { name: "package", find: packages, remove: remove_package },
    Rule { name: "secrets", find: secrets, remove: remove_tree },
    Rule { name: "run", find: runs, remove: remove_tree },
    Rule { name: "record", find: records, remove: remove_record },
    Rule { name: "leftover", find: leftovers, remove: remove_tree },
    Rule { name: "lock", find: locks, remove: remove_lock },
];

/// What the rules look at.
struct View {
    now: Time,
    /// For how long a session has to be over until nobody needs what goes with it.
    ended: Span,
    sessions: Vec<Known>,
    /// There is a session that cannot be read: what it needs is not known.
    is_dark: bool,
}

/// One part of this node in a session.
struct Known {
    session: SessionId,
    party: Party,
    /// For how long it has been over, with nothing to be done or sent.
    over_for: Option<Span>,
    packages: Vec<Digest>,
    provider: Option<Key>,
}

impl Node {
    /// What may go, by all rules, in their order.
    ///
    /// # Errors
    /// `io`; `damaged` for a document, which is set aside.
    pub fn expired(&self) -> Result<Vec<Found>> {
        let view = self.view()?;
        let mut all = Vec::new();
        for rule in &RULES {
            for (path, why) in (rule.find)(self, &view)? {
                let (bytes, _) = space::size_of(&path)?;
                all.push(Found { rule: rule.name, path, bytes, why });
            }
        }
        Ok(all)
    }

    /// Lets what may go, go; says what it was.
    ///
    /// # Errors
    /// As [`Node::expired`]; `locked` where somebody else is at it.
    pub fn keep_house(&self) -> Result<Vec<Found>> {
        let _lock = Lock::acquire(&self.state.lock("housekeeping"), "tidying up", WAIT)?;
        let found = self.expired()?;
        for one in &found {
            if let Some(rule) = RULES.iter().find(|rule| rule.name == one.rule) {
                (rule.remove)(self, &one.path)?;
            }
        }
        Ok(found)
    }

    /// The same for a running node, which tells what it did and goes on in any case.
    pub(super) fn keep_house_quietly(&self) {
        match blocking(|| self.keep_house()) {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                let bytes: u64 = found.iter().map(|one| one.bytes).sum();
                self.notice(format!("tidied up: {} things that nobody needs any more, {bytes} bytes", found.len()));
            }
            Err(error) => self.notice(format!("not everything could be tidied up: {error}")),
        }
    }

    /// Removes what tells of a session: logs, manifests, accountings. Its packages go by rule, as those of others do. Says
    /// how many bytes it was.
    ///
    /// # Errors
    /// `wrong-state` while software of it is installed, or something is to be done or sent; `not-found`; `io`.
    pub fn forget(&self, session: SessionId) -> Result<u64> {
        // Nobody makes a step in it meanwhile.
        let mut locks = Vec::new();
        for party in self.state.parties_of(session) {
            locks.push(Lock::acquire(&self.state.session_lock(session, party), "a session", WAIT)?);
            let projection = self.projection(session, party)?;
            if projection.live || !projection.removed {
                let waits = match projection.recipients.len() {
                    0 => "it is not over".to_owned(),
                    some => format!("messages wait for {some} of its parties"),
                };
                return Err(Error::new(Code::WrongState, format!("the session cannot be forgotten yet: {waits}"))
                    .hint(format!("deployctl status {} shows how it stands", session.short()))
                    .about(session));
            }
        }
        let (bytes, _) = space::size_of(&self.state.session(session))?;
        self.state.forget_session(session)?;
        Ok(bytes)
    }

    fn view(&self) -> Result<View> {
        let now = self.system.now();
        let (mut sessions, mut is_dark) = (Vec::new(), false);
        for (session, parties) in self.state.find_sessions()? {
            for party in parties {
                let Ok(projection) = self.projection(session, party) else {
                    is_dark = true;
                    let packages = Vec::new();
                    sessions.push(Known { session, party, over_for: None, packages, provider: None });
                    continue;
                };
                let changed = file::changed_at(&self.state.session_log(session, party))?.unwrap_or(now);
                let over_for = (!projection.live && projection.removed).then(|| now.since(changed));
                let packages = projection.summary.packages.iter().map(|package| package.digest).collect();
                let provider = Some(projection.summary.provider.key);
                sessions.push(Known { session, party, over_for, packages, provider });
            }
        }
        Ok(View { now, ended: self.config.keep.ended, sessions, is_dark })
    }
}

impl Known {
    fn is_over_for(&self, span: Span) -> bool {
        self.over_for.is_some_and(|over_for| over_for >= span)
    }
}

impl View {
    /// Whether no part of this node in a session needs anything any more; so is a session that is not known.
    fn is_past(&self, session: SessionId) -> bool {
        self.is_over_for(session, self.ended)
    }
    fn is_over_for(&self, session: SessionId, span: Span) -> bool {
        self.sessions.iter().all(|known| known.session != session || known.is_over_for(span))
    }
}

/// Interfaces that were given out and have expired long ago. Until they expire, a repeat of the request gets the same one;
/// after that both it and a service request made with it are refused.
fn interfaces(node: &Node, view: &View) -> Result<Paths> {
    let mut found = Vec::new();
    for name in file::list(&node.state.interfaces())? {
        let Some(Ok(id)) = name.strip_suffix(".json").map(str::parse::<MessageId>) else { continue };
        let path = node.state.interface(id);
        let Some(given) = document::read_json::<Expiring>(&path)? else { continue };
        if given.expires + node.config.keep.expired < view.now {
            found.push((path, format!("an interface that expired at {}", given.expires)));
        }
    }
    Ok(found)
}

/// What is read of a document that expires.
#[derive(Deserialize)]
struct Expiring {
    expires: Time,
}

/// Ids and nonces of messages that would be refused as expired by now.
fn nonces(node: &Node, view: &View) -> Result<Paths> {
    let expired = SeenStore::of(&node.state).expired(view.now)?;
    Ok(expired
        .into_iter()
        .map(|path| (path, "a number that was used by a message that has expired".to_owned()))
        .collect())
}

/// Tokens that nobody can use any more, nor ask with again.
fn tokens(node: &Node, view: &View) -> Result<Paths> {
    let expired = Tokens::of(&node.state).expired(view.now)?;
    Ok(expired.into_iter().map(|path| (path, "a token that expired".to_owned())).collect())
}

/// What others offered, kept to complete words by: of those that are neither contacts nor providers of a session that goes
/// on.
fn shown(node: &Node, view: &View) -> Result<Paths> {
    if view.is_dark {
        return Ok(Vec::new());
    }
    let mut known: BTreeSet<Key> = node.contacts.list()?.into_iter().map(|contact| contact.address.key).collect();
    known.extend(view.sessions.iter().filter(|one| !one.is_over_for(view.ended)).filter_map(|one| one.provider));
    let folder = node.state.shown();
    let mut found = Vec::new();
    for name in file::list(&folder)? {
        let Some(Ok(key)) = name.split('.').next().map(str::parse::<Key>) else { continue };
        if !known.contains(&key) {
            found.push((folder.join(name), "what a node offered that is no contact".to_owned()));
        }
    }
    Ok(found)
}

/// Packages, and downloads that are not complete, that no session and no installed program needs.
fn packages(node: &Node, view: &View) -> Result<Paths> {
    if view.is_dark {
        return Ok(Vec::new());
    }
    let mut needed: BTreeSet<Digest> = view
        .sessions
        .iter()
        .filter(|known| !known.is_over_for(view.ended))
        .flat_map(|known| &known.packages)
        .copied()
        .collect();
    // What is installed may be offered on.
    for program in Programs::of(&node.state).list()? {
        needed.extend(program.releases.values().map(|release| release.package.digest));
    }
    let folder = node.state.packages();
    let mut found = Paths::new();
    let mut seen = BTreeSet::new();
    for name in file::list(&folder)? {
        let Some(Ok(digest)) = name.split('.').next().map(str::parse::<Digest>) else { continue };
        if needed.contains(&digest) || !seen.insert(digest) {
            continue;
        }
        let path = node.state.package(&digest);
        let changed = file::changed_at(&path)?.max(file::changed_at(&folder.join(&name))?);
        if changed.is_some_and(|changed| view.now.since(changed) >= node.config.keep.ended) {
            let path = if file::exists(&path)? { path } else { folder.join(&name) };
            found.push((path, "a package that nobody needs any more".to_owned()));
        }
    }
    Ok(found)
}

/// Secrets of sessions in which this node has nothing more to say, run or hand out.
fn secrets(node: &Node, view: &View) -> Result<Paths> {
    let mut found = Vec::new();
    let sessions: BTreeSet<_> = view.sessions.iter().map(|known| known.session).collect();
    for session in sessions.into_iter().filter(|session| view.is_past(*session)) {
        let path = node.state.secrets(session);
        if file::exists(&path)? {
            found.push((path, "secrets of a session that is over".to_owned()));
        }
    }
    Ok(found)
}

/// Output and records of programs whose session is over: what removing their software did not get to.
fn runs(node: &Node, view: &View) -> Result<Paths> {
    let mut found = Vec::new();
    for known in view.sessions.iter().filter(|known| known.is_over_for(view.ended)) {
        let path = node.places(known.session, known.party).folder;
        if file::exists(&path)? && Lock::is_free(&node.supervisor_lock(known.session, known.party))? {
            found.push((path, "what a program of a session that is over left".to_owned()));
        }
    }
    Ok(found)
}

/// What tells of sessions that have been over for as long as the owner says.
fn records(node: &Node, view: &View) -> Result<Paths> {
    let Some(keep) = node.config.keep.records else { return Ok(Paths::new()) };
    let all: BTreeSet<_> = view.sessions.iter().map(|known| known.session).collect();
    let old = all.into_iter().filter(|session| view.is_over_for(*session, keep.max(view.ended)));
    Ok(old.map(|session| (node.state.session(session), format!("records of a session, kept for {keep}"))).collect())
}

/// What writes and builds left that were interrupted.
fn leftovers(node: &Node, view: &View) -> Result<Paths> {
    let abandoned = node.state.abandoned(view.now)?;
    Ok(abandoned.into_iter().map(|path| (path, "what an interrupted write left".to_owned())).collect())
}

/// Lock files that nobody holds; who needs one makes it again.
fn locks(node: &Node, view: &View) -> Result<Paths> {
    let folder = node.state.lock("");
    let mut found = Vec::new();
    for name in file::list(&folder)? {
        let path = folder.join(name);
        let is_old = file::changed_at(&path)?.is_some_and(|changed| view.now.since(changed) >= LOCK_AGE);
        if is_old && Lock::is_free(&path)? {
            found.push((path, "a lock that nobody holds".to_owned()));
        }
    }
    Ok(found)
}

fn remove_file(_: &Node, path: &Path) -> Result<()> {
    file::remove_unsynced(path).map(drop)
}

fn remove_tree(_: &Node, path: &Path) -> Result<()> {
    tree::remove(path)
}

/// Under its lock, so that nobody is just using it; the lock goes, too.
fn remove_interface(node: &Node, path: &Path) -> Result<()> {
    let id = path.file_stem().unwrap_or_default().to_string_lossy();
    if let Some(lock) = Lock::try_acquire(&node.state.lock(&format!("interface-{id}")), "tidying up")? {
        file::remove_unsynced(path)?;
        lock.remove()?;
    }
    Ok(())
}

fn remove_package(node: &Node, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split('.').next().map(str::parse::<Digest>) {
        Some(Ok(digest)) => Packages::of(&node.state).remove(&digest).map(drop),
        _ => Ok(()),
    }
}

/// One that lives again after all stays.
fn remove_record(node: &Node, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Ok(session) = name.parse() else { return Ok(()) };
    match node.forget(session) {
        Err(error) if error.code == Code::WrongState => Ok(()),
        other => other.map(drop),
    }
}

fn remove_lock(_: &Node, path: &Path) -> Result<()> {
    match Lock::try_acquire(path, "tidying up")? {
        Some(lock) => lock.remove(),
        None => Ok(()),
    }
}
