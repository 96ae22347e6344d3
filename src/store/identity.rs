//! The node's identity on disk: its private key, its certificate, its settings. Only text; what it means is `node`'s.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::state::{OTHERS, StateDir};
use super::{document, file, tree};
use crate::message::Envelope;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Host, Key, Name, Result, Span};

/// The longest PEM file, in bytes; an Ed25519 key has about 120, its certificate about 600.
const MAX_PEM: u64 = 64 << 10;
/// Another `init` is done in a moment.
const WAIT: Span = Span::from_secs(10);

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Where others reach it; absent for a node that listens nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// A private key's text. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivatePem(String);

impl PrivatePem {
    pub fn new(text: String) -> Self {
        Self(text)
    }
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for PrivatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivatePem(…)")
    }
}

/// An identity as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIdentity {
    pub key_pem: PrivatePem,
    pub cert_pem: String,
    pub settings: Settings,
}

impl StoredIdentity {
    /// Makes this the node's identity, or gives the same identity other settings. The key comes last: until it is
    /// there, there is no identity.
    ///
    /// # Errors
    /// `wrong-state` if the node has another key: an identity is never replaced; `io`.
    pub fn save(&self, state: &StateDir) -> Result<()> {
        let files = Files::of(&state.identity());
        file::create_dir_private(&state.identity())?;
        let _lock = Lock::acquire(&state.lock("identity"), "the identity", WAIT)?;
        clear_leftover(state)?;
        match read_key(&files.key)? {
            Some(key) if key != self.key_pem => {
                let message = format!("there is another identity in {} already", state.identity().display());
                Err(Error::new(Code::WrongState, message).hint("use it, or name another directory with --state"))
            }
            Some(_) => {
                if file::read_optional(&files.cert, MAX_PEM)?.as_deref() != Some(self.cert_pem.as_bytes()) {
                    file::write_atomic(&files.cert, self.cert_pem.as_bytes(), file::PLAIN)?;
                }
                document::write_toml(&files.settings, &self.settings, file::PRIVATE)
            }
            None => {
                file::write_atomic(&files.cert, self.cert_pem.as_bytes(), file::PLAIN)?;
                document::write_toml(&files.settings, &self.settings, file::PRIVATE)?;
                file::write_atomic(&files.key, self.key_pem.0.as_bytes(), file::PRIVATE)
            }
        }
    }

    /// Makes this the node's identity in place of the present one, which `rotate` hands over from and which is gone
    /// afterwards. The folder is exchanged as a whole, so that there is the one or the other.
    ///
    /// # Errors
    /// `io`, also where the file system cannot exchange folders; then nothing was changed.
    pub fn replace(
        &self,
        state: &StateDir,
        before: &[Envelope],
        rotate: &Envelope,
        untold: &BTreeSet<Key>,
    ) -> Result<()> {
        let _lock = Lock::acquire(&state.lock("identity"), "the identity", WAIT)?;
        clear_leftover(state)?;
        let (next, files) = (state.next_identity(), Files::of(&state.next_identity()));
        file::create_dir_private(&next)?;
        file::write_atomic(&files.cert, self.cert_pem.as_bytes(), file::PLAIN)?;
        document::write_toml(&files.settings, &self.settings, file::PRIVATE)?;
        let rotations: Vec<_> = before.iter().chain([rotate]).collect();
        document::write_json(&files.rotations, &rotations, file::PLAIN)?;
        document::write_json(&files.untold, untold, file::PRIVATE)?;
        file::write_atomic(&files.key, self.key_pem.0.as_bytes(), file::PRIVATE)?;
        file::exchange(&next, &state.identity())?;
        clear_leftover(state)
    }

    /// The node's identity; `None` before `init`.
    ///
    /// # Errors
    /// `key-exposed` if group or others may read the key; `damaged` if a part is missing or unreadable; `io`.
    pub fn find(state: &StateDir) -> Result<Option<Self>> {
        let files = Files::of(&state.identity());
        loop {
            let Some(key_pem) = read_key(&files.key)? else { return Ok(None) };
            let Some(cert) = file::read_optional(&files.cert, MAX_PEM)? else {
                return Err(Error::new(Code::Damaged, format!("{} is missing", files.cert.display()))
                    .hint("restore it from where the key was copied from"));
            };
            let settings = document::read_toml(&files.settings)?.unwrap_or_default();
            // Another process may have exchanged the folder in between.
            if read_key(&files.key)?.as_ref() == Some(&key_pem) {
                return Ok(Some(Self { key_pem, cert_pem: text(cert, &files.cert)?, settings }));
            }
        }
    }

    /// The node's identity.
    ///
    /// # Errors
    /// `no-identity` before `init`, else as [`Self::find`].
    pub fn load(state: &StateDir) -> Result<Self> {
        Self::find(state)?.ok_or_else(|| {
            Error::new(Code::NoIdentity, format!("there is no identity in {}", state.root().display()))
                .hint("run `deployctl init` first")
        })
    }
}

/// Where the parts lie.
struct Files {
    key: PathBuf,
    cert: PathBuf,
    settings: PathBuf,
    rotations: PathBuf,
    untold: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self {
            key: folder.join("node.key"),
            cert: folder.join("node.crt"),
            settings: folder.join("node.toml"),
            rotations: folder.join("rotations.json"),
            untold: folder.join("untold.json"),
        }
    }
}

/// What the node's former keys signed, oldest first.
pub fn rotations(state: &StateDir) -> Result<Vec<Envelope>> {
    Ok(document::read_json(&Files::of(&state.identity()).rotations)?.unwrap_or_default())
}

/// The contacts that were not told of the node's present key yet.
pub fn untold(state: &StateDir) -> Result<BTreeSet<Key>> {
    Ok(document::read_json(&Files::of(&state.identity()).untold)?.unwrap_or_default())
}

/// Notes that a contact was told.
pub fn told(state: &StateDir, key: Key) -> Result<()> {
    let _lock = Lock::acquire(&state.lock("identity"), "the identity", WAIT)?;
    let mut untold = untold(state)?;
    if untold.remove(&key) {
        document::write_json(&Files::of(&state.identity()).untold, &untold, file::PRIVATE)?;
    }
    Ok(())
}

/// Finishes what a rotation did not come to: nothing but the present identity stays.
pub fn recover(state: &StateDir) -> Result<()> {
    let _lock = Lock::acquire(&state.lock("identity"), "the identity", WAIT)?;
    clear_leftover(state)
}

/// Takes away what a rotation left behind that was cut off: a new identity that was not complete, or the former one.
fn clear_leftover(state: &StateDir) -> Result<()> {
    let leftover = state.next_identity();
    if file::exists(&leftover)? { tree::remove(&leftover) } else { Ok(()) }
}

/// Reads a private key after looking at the mode of the very file that is read.
fn read_key(path: &Path) -> Result<Option<PrivatePem>> {
    let Some(key) = file::open_optional(path)? else { return Ok(None) };
    let mode = key.metadata().doing("reading", path)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        let message = format!("other users may read the private key {} (mode {mode:03o})", path.display());
        return Err(Error::new(Code::KeyExposed, message).hint(format!("chmod 600 {}", path.display())));
    }
    let bytes = file::read_all(key, path, MAX_PEM)?;
    text(bytes, path).map(|text| Some(PrivatePem(text)))
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new(Code::Damaged, format!("{} is not text", path.display())))
}

#[cfg(test)]
mod tests;
