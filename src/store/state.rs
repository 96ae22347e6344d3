//! The state directory: where everything is, and what it may look like before anything is read from it.

mod migrate;

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{file, tree};
use crate::model::error::IoContext;
use crate::model::id::SHORT_CHARS;
use crate::model::suggest::nearest;
use crate::model::{Code, Digest, Error, Key, MessageId, Name, Party, Result, RoleName, ServiceName, SessionId, Time};

/// The format that this version reads and writes.
const VERSION: u32 = 2;
/// Bytes of a `VERSION` file: a number and a newline.
const MAX_VERSION: u64 = 64;
/// Bits of a mode that let group or others in.
pub(super) const OTHERS: u32 = 0o077;
/// Candidates that an “ambiguous” error lists.
const CANDIDATES: usize = 5;
/// Letters of an id from which on a slip of the finger can be told from another id.
const MISTYPED: usize = 4;
/// What may lie in a folder that becomes a state directory: what people prepare before the first `init`.
const PREPARED: [&str; 3] = ["config.toml", "services", "run"];

/// An opened state directory. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Opens the state directory at `path`; with `create`, makes one where there is none or an empty folder.
    ///
    /// # Errors
    /// `no-identity` where there is none and none is to be made; `key-exposed` where group or others may enter it;
    /// `newer-state`, `damaged` for its format number; `bad-input` for a folder of something else; `io`.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let state = Self { root: std::path::absolute(path).doing("finding", path)? };
        match std::fs::metadata(&state.root) {
            Ok(meta) if !meta.is_dir() => Err(not_a_state_directory(&state.root, "it is not a folder")),
            Ok(meta) if state.has_version()? => state.admit(&meta).map(|()| state),
            Ok(_) if create => state.adopt().map(|()| state),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound && create => {
                file::create_dir_private(&state.root)?;
                state.adopt().map(|()| state)
            }
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::io("opening", &state.root, &why)),
            _ => Err(Error::new(Code::NoIdentity, format!("there is no node in {}", state.root.display()))
                .hint("run `deployctl init` first, or name another directory with --state")),
        }
    }

    fn has_version(&self) -> Result<bool> {
        self.root.join("VERSION").try_exists().doing("reading", &self.root)
    }

    /// Makes a folder without a format number a state directory.
    fn adopt(&self) -> Result<()> {
        if let Some(other) = file::list(&self.root)?.iter().find(|name| !PREPARED.contains(&name.as_str())) {
            return Err(not_a_state_directory(&self.root, &format!("it holds “{other}” but no VERSION file")));
        }
        let private = std::fs::Permissions::from_mode(file::PRIVATE_DIR);
        std::fs::set_permissions(&self.root, private).doing("making private", &self.root)?;
        self.write_version(VERSION)
    }

    fn write_version(&self, number: u32) -> Result<()> {
        file::write_atomic(&self.root.join("VERSION"), format!("{number}\n").as_bytes(), file::PLAIN)
    }

    /// Reads the format number and the mode of a folder that has one.
    fn admit(&self, meta: &std::fs::Metadata) -> Result<()> {
        let mode = meta.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(Error::new(
                Code::KeyExposed,
                format!("other users may enter the state directory {} (mode {mode:03o})", self.root.display()),
            )
            .hint(format!("chmod 700 {}", self.root.display())));
        }
        match self.version()? {
            VERSION => Ok(()),
            newer if newer > VERSION => Err(Error::new(
                Code::NewerState,
                format!("{} was written by a newer deployctl (format {newer}, known {VERSION})", self.root.display()),
            )
            .hint("update deployctl, or name another directory with --state")),
            _ => migrate::migrate(self),
        }
    }

    /// The format number: one that this version or a newer one knows.
    fn version(&self) -> Result<u32> {
        let path = self.root.join("VERSION");
        let text = file::read_limited(&path, MAX_VERSION)?;
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
        number.filter(|number| *number >= migrate::OLDEST).ok_or_else(|| {
            Error::new(Code::Damaged, format!("{} holds no format number that ever was", path.display()))
                .hint(format!("if nothing else is damaged: echo {VERSION} > {}", path.display()))
        })
    }

    /// What interrupted writes left, wherever this program alone writes: not among what is installed or offered, which is
    /// looked after by those who change it.
    pub fn abandoned(&self, now: Time) -> Result<Vec<PathBuf>> {
        const OF_OTHERS: [&str; 3] = ["installs", "services", "run"];
        file::abandoned_below(&self.root, &OF_OTHERS, now)
    }

    /// Every session with a log here, and the parties that this node plays in it, sorted.
    pub fn find_sessions(&self) -> Result<Vec<(SessionId, Vec<Party>)>> {
        let mut found = Vec::new();
        for name in file::list(&self.sessions())? {
            let Ok(session) = name.parse::<SessionId>() else { continue };
            let parties = self.parties_of(session);
            if !parties.is_empty() {
                found.push((session, parties));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The parties that this node plays in a session; none where it has no log of it.
    pub fn parties_of(&self, session: SessionId) -> Vec<Party> {
        Party::ALL.iter().copied().filter(|party| self.session_log(session, *party).exists()).collect()
    }

    /// Removes what tells of a session: its logs, manifests, secrets and accountings. The folder goes last and at once, so
    /// that a repeat goes on after an interruption; what is left of it then is [`StateDir::abandoned`].
    ///
    /// # Errors
    /// `io`.
    pub fn forget_session(&self, id: SessionId) -> Result<()> {
        let folder = self.session(id);
        for path in [self.ledger(id), self.forks(id)] {
            file::remove_unsynced(&path)?;
        }
        if file::exists(&folder)? {
            let aside = file::temporary_name(&folder);
            file::rename_durable(&folder, &aside)?;
            tree::remove(&aside)?;
        }
        Ok(())
    }

    /// The session whose id begins with `prefix`.
    ///
    /// # Errors
    /// `not-found`; `ambiguous`, listing the candidates.
    pub fn resolve_session(&self, prefix: &str) -> Result<SessionId> {
        let sessions = self.find_sessions()?;
        resolve_prefix("session", prefix, sessions.iter().map(|(session, _)| *session))
            .map_err(|error| error.hint("`deployctl status` lists the sessions"))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }
    /// Where another identity is made ready.
    pub fn next_identity(&self) -> PathBuf {
        self.root.join("identity.next")
    }
    pub fn contacts(&self) -> PathBuf {
        self.root.join("contacts")
    }
    pub fn contact(&self, name: &Name) -> PathBuf {
        self.contacts().join(format!("{name}.toml"))
    }
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }
    pub fn interfaces(&self) -> PathBuf {
        self.root.join("interfaces")
    }
    pub fn interface(&self, id: MessageId) -> PathBuf {
        self.interfaces().join(format!("{id}.json"))
    }
    pub fn seen(&self) -> PathBuf {
        self.root.join("seen")
    }
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }
    pub fn session(&self, id: SessionId) -> PathBuf {
        self.sessions().join(id.to_string())
    }
    pub fn party(&self, id: SessionId, party: Party) -> PathBuf {
        self.session(id).join(party.as_str())
    }
    pub fn session_log(&self, id: SessionId, party: Party) -> PathBuf {
        self.party(id, party).join("log.jsonl")
    }
    /// What can be made again from the log: `outbox`, `inbox`, `status`.
    pub fn projection(&self, id: SessionId, party: Party, name: &str) -> PathBuf {
        self.party(id, party).join(format!("{name}.json"))
    }
    pub fn secrets(&self, id: SessionId) -> PathBuf {
        self.session(id).join("secrets")
    }
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }
    pub fn package(&self, digest: &Digest) -> PathBuf {
        self.packages().join(format!("{digest}.tar.gz"))
    }
    pub fn installs(&self) -> PathBuf {
        self.root.join("installs")
    }
    /// Where a session's role is installed.
    pub fn install_root(&self, id: SessionId, role: &RoleName) -> PathBuf {
        self.installs().join("sessions").join(id.to_string()).join(&**role)
    }
    /// Where a program of a signer is installed.
    pub fn program_root(&self, signer: &Key, name: &ServiceName) -> PathBuf {
        self.installs().join("programs").join(signer.to_string()).join(&**name)
    }
    /// What providers showed when they were asked last.
    pub fn shown(&self) -> PathBuf {
        self.root.join("shown")
    }
    /// The last list that a provider gave.
    pub fn shown_list(&self, provider: &Key) -> PathBuf {
        self.shown().join(format!("{provider}.json"))
    }
    /// The last interface that a provider gave of a service.
    pub fn shown_interface(&self, provider: &Key, service: &ServiceName) -> PathBuf {
        self.shown().join(provider.to_string()).join(format!("{service}.json"))
    }
    pub fn ledgers(&self) -> PathBuf {
        self.root.join("ledger")
    }
    pub fn ledger(&self, id: SessionId) -> PathBuf {
        self.ledgers().join(format!("{id}.jsonl"))
    }
    /// Evidence that two accountings or two receipts were signed where there can be one.
    pub fn forks(&self, id: SessionId) -> PathBuf {
        self.ledgers().join(format!("{id}.fork.jsonl"))
    }
    /// What is known of the programs that are installed.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }
    pub fn program(&self, signer: &Key, name: &ServiceName) -> PathBuf {
        self.programs().join(signer.to_string()).join(&**name)
    }
    /// What is known of the programs that are offered.
    pub fn offers(&self) -> PathBuf {
        self.root.join("offers")
    }
    pub fn offer(&self, name: &ServiceName) -> PathBuf {
        self.offers().join(&**name)
    }
    /// Messages of no session that wait.
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }
    pub fn floors(&self) -> PathBuf {
        self.root.join("floors.json")
    }
    pub fn grants(&self) -> PathBuf {
        self.root.join("grants")
    }
    pub fn subscriptions(&self) -> PathBuf {
        self.root.join("subscriptions")
    }
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
    /// The lock of one thing; `name` is ours, made of letters, digits and `-`.
    pub fn lock(&self, name: &str) -> PathBuf {
        self.run().join("locks").join(name)
    }
    pub fn session_lock(&self, id: SessionId, party: Party) -> PathBuf {
        self.lock(&format!("session-{id}-{party}"))
    }
    /// Where a running `serve` is poked.
    pub fn serve_socket(&self) -> PathBuf {
        self.run().join("serve.sock")
    }
}

/// The one id that begins with `prefix`; `what` names the kind of thing.
///
/// # Errors
/// `not-found`; `ambiguous`, listing the candidates.
pub fn resolve_prefix<T: Copy + ToString>(what: &str, prefix: &str, ids: impl Iterator<Item = T>) -> Result<T> {
    let wanted = prefix.to_ascii_lowercase();
    let ids: Vec<T> = ids.collect();
    let is_meant = |id: &T| !wanted.is_empty() && id.to_string().starts_with(&wanted);
    let found: Vec<T> = ids.iter().copied().filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let error = Error::new(Code::NotFound, format!("no {what} begins with “{prefix}”"));
            Err(match mistyped(&wanted, &ids) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            })
        }
        many => {
            let shown: Vec<String> = many.iter().take(CANDIDATES).map(ToString::to_string).collect();
            let more = if many.len() > CANDIDATES { ", …" } else { "" };
            let message = format!("“{prefix}” could be {} {what}s: {}{more}", many.len(), shown.join(", "));
            Err(Error::new(Code::Ambiguous, message).hint("give more of its letters"))
        }
    }
}

/// The id whose beginning is nearest to what was typed, if that is long enough to say.
fn mistyped<T: ToString>(wanted: &str, ids: &[T]) -> Option<String> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let as_long = |id: &String| id.get(..wanted.len()).map(str::to_owned);
    let beginnings: Vec<String> = ids.iter().filter_map(as_long).collect();
    let near = nearest(wanted, beginnings.iter().map(String::as_str)).filter(|_| wanted.len() >= MISTYPED)?;
    let found = ids.iter().find(|id| id.starts_with(near))?;
    Some(found.get(..SHORT_CHARS.max(wanted.len())).unwrap_or(found).to_owned())
}

/// Where the state lives if nobody says: `$XDG_STATE_HOME/deployctl`, else `~/.local/state/deployctl` (on macOS
/// `~/Library/Application Support/deployctl`). `lookup` reads an environment variable.
///
/// # Errors
/// `usage` without a home.
pub fn default_state_dir(lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let folder = |variable: &str| lookup(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = folder("XDG_STATE_HOME") {
        return Ok(state.join("deployctl"));
    }
    let home = folder("HOME").ok_or_else(|| {
        Error::new(Code::Usage, "there is no home directory to keep the state in ($HOME is not set)")
            .hint("name a directory with --state or DEPLOYCTL_STATE")
    })?;
    let below = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/state" };
    Ok(home.join(below).join("deployctl"))
}

fn not_a_state_directory(path: &Path, why: &str) -> Error {
    Error::new(Code::BadInput, format!("{} is no state directory: {why}", path.display()))
        .hint("name another directory with --state; a new one is made where there is none")
}

#[cfg(test)]
mod tests;
