//! Messages of no session that wait to be acknowledged, `outbox/ID.json`: each a file of its own, there before the
//! message is sent for the first time and gone when it was taken.

use serde::{Deserialize, Serialize};

use super::state::StateDir;
use super::{document, file};
use crate::message::Envelope;
use crate::model::{Address, MessageId, Result, Time};

/// One message that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    pub id: MessageId,
    pub to: Address,
    pub envelope: Envelope,
    pub since: Time,
}

/// The outbox of one state directory.
#[derive(Clone, Debug)]
pub struct Outbox {
    state: StateDir,
}

impl Outbox {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }
    /// Keeps a message until it is taken, durably.
    pub fn put(&self, mail: &Mail) -> Result<()> {
        file::create_dir_private(&self.state.outbox())?;
        document::write_json(&self.path(mail.id), mail, file::PRIVATE)
    }
    /// Forgets one: it was taken, or refused for good.
    pub fn done(&self, id: MessageId) -> Result<()> {
        file::remove_durable(&self.path(id)).map(drop)
    }
    /// What waits, oldest first.
    pub fn waiting(&self) -> Result<Vec<Mail>> {
        let mut waiting = Vec::new();
        for name in file::list(&self.state.outbox())? {
            let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) else { continue };
            waiting.extend(document::read_json::<Mail>(&self.path(id))?);
        }
        waiting.sort_by_key(|mail| (mail.since, mail.id));
        Ok(waiting)
    }
    fn path(&self, id: MessageId) -> std::path::PathBuf {
        self.state.outbox().join(format!("{id}.json"))
    }
}
