//! What was handed over of the programs that this node offers, `offers/NAME/`: the deliveries, so that a request that is
//! repeated gets the same answer, and a log of what was delivered to whom and how it went there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file;
use super::state::StateDir;
use super::statements::Statements;
use super::{document, lock::Lock};
use crate::message::{Envelope, Secrets};
use crate::model::{Hash, MessageId, Result, ServiceName, Span, Time};

/// The longest log that is read, in bytes.
const MAX_LOG: u64 = 256 << 20;
/// A delivery whose request has expired so long ago cannot be asked for again.
const KEPT: Span = Span::from_hours(2);
/// A build may be under way.
const WAIT: Span = Span::from_secs(10);

/// A delivery that was made (0600: the device's secrets are in it).
#[derive(Serialize, Deserialize)]
pub struct Delivered {
    /// Of the request's envelope.
    pub request: Hash,
    pub envelope: Envelope,
    #[serde(default)]
    pub secrets: Secrets,
    pub time: Time,
}

/// A line of a program's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub time: Time,
    /// A delivery of this node's, or a report about one.
    pub envelope: Envelope,
}

/// What is kept about one program that is offered.
#[derive(Clone, Debug)]
pub struct Offers {
    state: StateDir,
    name: ServiceName,
    folder: PathBuf,
}

impl Offers {
    pub fn of(state: &StateDir, name: &ServiceName) -> Self {
        Self { folder: state.offer(name), state: state.clone(), name: name.clone() }
    }
    /// The programs about which something is kept.
    pub fn names(state: &StateDir) -> Result<Vec<ServiceName>> {
        Ok(file::list(&state.offers())?.iter().filter_map(|name| name.parse().ok()).collect())
    }
    /// Whether anything of it was ever handed over.
    pub fn exist(&self) -> Result<bool> {
        file::exists(&self.log_path())
    }
    /// The manifests of what was made of it here, with their provenances.
    pub fn statements(&self) -> Statements {
        Statements::at(self.folder.join("manifests"))
    }
    /// Where people write the options that devices get, by names with values.
    pub fn options(&self) -> PathBuf {
        self.folder.join("options.toml")
    }
    /// Held while a request for it is answered.
    ///
    /// # Errors
    /// `locked` where another one takes longer than 10 s, as when it is being built.
    pub fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.state.lock(&format!("offer-{}", self.name)), "a program that is offered", WAIT)
    }
    /// The answer that a request got.
    pub fn delivered(&self, request: MessageId) -> Result<Option<Delivered>> {
        document::read_json(&self.delivery(request))
    }
    /// Keeps the answer to a request and then its line in the log, durably. Forgets answers that nobody can ask for again.
    pub fn deliver(&self, request: MessageId, delivered: &Delivered) -> Result<()> {
        let folder = self.folder.join("deliveries");
        file::create_dir_private(&folder)?;
        for name in file::list(&folder)? {
            let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) else { continue };
            if self.delivered(id)?.is_some_and(|old| old.time + KEPT < delivered.time) {
                file::remove_unsynced(&self.delivery(id))?;
            }
        }
        document::write_json(&self.delivery(request), delivered, file::PRIVATE)?;
        self.log(&Line { time: delivered.time, envelope: delivered.envelope.clone() })
    }
    /// Adds a line to the log, durably.
    pub fn log(&self, line: &Line) -> Result<()> {
        file::create_dir_private(&self.folder)?;
        let mut text = serde_json::to_string(line).expect("texts and numbers serialize");
        text.push('\n');
        // An interrupted line before this one must not swallow it.
        let path = self.log_path();
        if file::last_byte(&path)?.is_some_and(|last| last != b'\n') {
            text.insert(0, '\n');
        }
        file::append_durable(&path, text.as_bytes(), file::PRIVATE)
    }
    /// The log; a line that was cut off while it was written, and that nobody was promised, is left out.
    pub fn lines(&self) -> Result<Vec<Line>> {
        let Some(bytes) = file::read_optional(&self.log_path(), MAX_LOG)? else { return Ok(Vec::new()) };
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
    fn log_path(&self) -> PathBuf {
        self.folder.join("log.jsonl")
    }
    fn delivery(&self, request: MessageId) -> PathBuf {
        self.folder.join("deliveries").join(format!("{request}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SigningKey;

    #[test]
    fn the_log_outlives_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state"), true).unwrap();
        let offers = Offers::of(&state, &"chat".parse().unwrap());
        let line = |n: u8| Line {
            time: Time::from_unix_ms(n.into()),
            envelope: Envelope::seal("x/y", vec![n], &SigningKey::from_seed(&[1; 32]).unwrap()),
        };
        offers.log(&line(1)).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(offers.log_path())
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\"time\":"))
            .unwrap();
        assert_eq!(offers.lines().unwrap(), [line(1)]);
        offers.log(&line(2)).unwrap();
        assert_eq!(offers.lines().unwrap(), [line(1), line(2)]);
        assert_eq!(Offers::names(&state).unwrap().len(), 1);
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_can_be_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state"), true).unwrap();
        let offers = Offers::of(&state, &"chat".parse().unwrap());
        let id = |n: u8| MessageId::from_bytes([n; 16]);
        let delivered = |hours: u64| Delivered {
            request: Hash::of(b"x"),
            envelope: Envelope::seal("x/y", vec![], &SigningKey::from_seed(&[1; 32]).unwrap()),
            secrets: Secrets::new(),
            time: Time::from_unix_ms(0) + Span::from_hours(hours),
        };
        offers.deliver(id(1), &delivered(0)).unwrap();
        offers.deliver(id(2), &delivered(1)).unwrap();
        assert!(offers.delivered(id(1)).unwrap().is_some());
        offers.deliver(id(3), &delivered(3)).unwrap();
        let kept = [1, 2, 3].map(|n| offers.delivered(id(n)).unwrap().is_some());
        assert_eq!(kept, [false, true, true]);
        assert_eq!(offers.lines().unwrap().len(), 3);
    }
}
