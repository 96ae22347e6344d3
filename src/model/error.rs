//! The one shape of an error: what was being done, to what, why it failed, and what to do next.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Code, SessionId};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that a person, a script or another node gets to see. Text from outside is escaped where it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    pub code: Code,
    /// What was being done, to what, and why it failed: one sentence without a full stop.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, session: None }
    }
    /// Says what to do next; a hint given nearer to the cause stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
    /// Names the session that it concerns.
    #[must_use]
    pub fn about(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }
    /// Puts what was being done before the message.
    #[must_use]
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
    /// A failed call of the operating system on `path`.
    pub fn io(doing: &str, path: &Path, why: &std::io::Error) -> Self {
        let (code, hint) = match why.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                (Code::DiskFull, Some("free some space, then run the same command again; nothing was left half done"))
            }
            std::io::ErrorKind::PermissionDenied => (Code::Io, Some("check who owns it and its permissions")),
            std::io::ErrorKind::NotFound => (Code::Io, Some("check the path")),
            std::io::ErrorKind::ReadOnlyFilesystem => {
                (Code::Io, Some("the file system is mounted read-only; choose another --state directory"))
            }
            _ => (Code::Io, None),
        };
        let mut error = Self::new(code, format!("{doing} {}: {why}", path.display()));
        error.hint = hint.map(str::to_owned);
        error
    }
}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Error {}

/// Gives results of the standard library's I/O the shape above.
pub trait IoContext<T> {
    /// `doing` is a participle: “reading”, “writing”.
    fn doing(self, doing: &str, path: &Path) -> Result<T>;
}
impl<T> IoContext<T> for std::io::Result<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T> {
        self.map_err(|why| Error::io(doing, path, &why))
    }
}
impl<T> IoContext<T> for std::result::Result<T, rustix::io::Errno> {
    fn doing(self, doing: &str, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::io(doing, path, &errno.into()))
    }
}
