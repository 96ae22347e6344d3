//! Ids and nonces of messages until they expire: a repeat gets the stored answer, anything else under the same number
//! is a replay.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::state::StateDir;
use super::{document, file};
use crate::model::{Code, Error, Hash, MessageId, Nonce, Result, Time};

const SUFFIX: &str = ".json";

/// A number that may be used for one thing only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenId {
    Message(MessageId),
    Nonce(Nonce),
}

/// What is known about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was unknown, and is remembered now.
    New,
    /// It came with the same bytes before. Without an answer, nothing promised that they were worked through: do it
    /// (again).
    Same(Option<Vec<u8>>),
    /// It came with other bytes before: a replay.
    Other,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    hash: Hash,
    expires: Time,
    /// In base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// The numbers seen by one node, a file each.
#[derive(Clone, Debug)]
pub struct SeenStore {
    folder: PathBuf,
}

impl SeenStore {
    pub fn of(state: &StateDir) -> Self {
        Self { folder: state.seen() }
    }

    /// Remembers, durably, that `id` was used for the bytes of this hash, or tells what it was used for before. Of
    /// several at once, one is new.
    ///
    /// # Errors
    /// `io`; `damaged` for an entry that cannot be read: it is set aside.
    pub fn remember(&self, id: SeenId, hash: Hash, expires: Time) -> Result<Seen> {
        let path = self.path(id);
        if let Some(seen) = self.look_up(id, hash)? {
            return Ok(seen);
        }
        let entry = to_json(&Entry { hash, expires, answer: None })?;
        file::create_dir_private(file::parent(&path))?;
        if file::write_new(&path, &entry, file::PRIVATE)? {
            return Ok(Seen::New);
        }
        // Another thread was quicker; if its entry has gone again, nothing is known about it.
        Ok(self.look_up(id, hash)?.unwrap_or(Seen::Same(None)))
    }

    /// What `id` was used for before, without remembering anything.
    pub fn look_up(&self, id: SeenId, hash: Hash) -> Result<Option<Seen>> {
        let path = self.path(id);
        let Some(entry) = document::read_json::<Entry>(&path)? else { return Ok(None) };
        if entry.hash != hash {
            return Ok(Some(Seen::Other));
        }
        let answer = entry.answer.map(|text| BASE64.decode(text.as_bytes())).transpose();
        let answer = answer.map_err(|why| document::set_aside(&path, &format!("the answer: {why}")))?;
        Ok(Some(Seen::Same(answer)))
    }

    /// Keeps the answer that repeats of `id` get, durably.
    pub fn answer(&self, id: SeenId, hash: Hash, expires: Time, answer: &[u8]) -> Result<()> {
        let path = self.path(id);
        file::create_dir_private(file::parent(&path))?;
        let entry = Entry { hash, expires, answer: Some(BASE64.encode(answer)) };
        file::write_atomic(&path, &to_json(&entry)?, file::PRIVATE)
    }

    /// The files of what has expired, which may be forgotten. Entries that cannot be read are set aside.
    pub fn expired(&self, now: Time) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for folder in ["message", "nonce"].map(|kind| self.folder.join(kind)) {
            for name in file::list(&folder)? {
                if !name.ends_with(SUFFIX) {
                    continue;
                }
                let path = folder.join(name);
                match document::read_json::<Entry>(&path) {
                    Ok(Some(entry)) if entry.expires < now => found.push(path),
                    Err(error) if error.code != Code::Damaged => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn path(&self, id: SeenId) -> PathBuf {
        let (kind, id) = match id {
            SeenId::Message(id) => ("message", id.to_string()),
            SeenId::Nonce(nonce) => ("nonce", nonce.to_string()),
        };
        self.folder.join(kind).join(id + SUFFIX)
    }
}

fn to_json(entry: &Entry) -> Result<Vec<u8>> {
    serde_json::to_vec(entry).map_err(|why| Error::new(Code::Internal, format!("writing a seen message: {why}")))
}

#[cfg(test)]
mod tests;
