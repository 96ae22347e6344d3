//! A session's secret values: each in a file of its own that only this user reads, written once, never exported.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::file;
use super::programs::ProgramId;
use super::state::StateDir;
use crate::model::{Code, Error, Name, Result, SessionId};

/// The longest secret, in bytes: secret options may be whole files such as keys and certificates.
pub const MAX_SECRET: usize = 1 << 20;

/// Secret bytes. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// The secret itself.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret value and the salt of its commitment. Cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salted {
    pub value: serde_json::Value,
    pub salt: String,
}
impl fmt::Debug for Salted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salted(…)")
    }
}

/// The secrets of one session, or of one release of a program.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    pub fn of(state: &StateDir, session: SessionId) -> Self {
        Self { folder: state.secrets(session) }
    }
    /// Those of a release of a program.
    pub fn of_release(state: &StateDir, program: &ProgramId, generation: u32) -> Self {
        let folder = state.program(&program.signer, &program.name).join("secrets").join(generation.to_string());
        Self { folder }
    }

    /// Keeps a secret, durably. The same value again is no change.
    ///
    /// # Errors
    /// `wrong-state` if there is another value under this name; `bad-name`; `too-large`; `io`.
    pub fn put(&self, name: &str, secret: &Secret) -> Result<()> {
        if secret.0.len() > MAX_SECRET {
            return Err(Error::new(Code::TooLarge, format!("the secret {name} is longer than {MAX_SECRET} bytes")));
        }
        let path = self.path(name)?;
        file::create_dir_private(&self.folder)?;
        if file::write_new(&path, &secret.0, file::PRIVATE)? || read(&path)?.as_ref() == Some(secret) {
            return Ok(());
        }
        Err(Error::new(Code::WrongState, format!("the secret {} was another before", path.display())))
    }

    /// Removes all of them.
    pub fn forget(&self) -> Result<()> {
        super::tree::remove(&self.folder)
    }

    /// The secret of this name.
    pub fn find(&self, name: &str) -> Result<Option<Secret>> {
        read(&self.path(name)?)
    }

    /// As [`Self::put`], of a value as JSON, such as a [`Salted`] one.
    pub fn put_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|why| Error::new(Code::Internal, format!("writing the secret {name}: {why}")))?;
        self.put(name, &Secret(bytes))
    }

    /// As [`Self::find`], of a value as JSON.
    ///
    /// # Errors
    /// `damaged` if it is something else; the text of the error does not quote it.
    pub fn find_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(secret) = self.find(name)? else { return Ok(None) };
        serde_json::from_slice(&secret.0).map(Some).map_err(|why| {
            let path = self.folder.join(name);
            let message = format!("reading {}: not what it should be, at column {}", path.display(), why.column());
            Error::new(Code::Damaged, message)
        })
    }

    /// The names of all secrets, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        file::list(&self.folder)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.folder.join(&*name.parse::<Name>()?))
    }
}

fn read(path: &Path) -> Result<Option<Secret>> {
    Ok(file::read_optional(path, MAX_SECRET as u64)?.map(Secret))
}

#[cfg(test)]
mod tests;
