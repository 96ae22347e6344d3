//! What a running program says that it used: `$DEPLOYCTL_USAGE_FILE`, to which it appends lines.
//!
//! The sums and how far the file was read are kept in one document, `meter.json`. As the file is only ever appended to,
//! both are what its beginning says: whoever goes on from an older document comes to the same sums, and nothing is counted
//! twice or lost, whichever process dies when.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{Code, Error, Result};
use crate::service::counted::KERNEL_METERS;
use crate::service::usage::{Usage, parse_usage_line};
use crate::session::Meter;
use crate::session::metering::{OWN_METERS, PROGRAM_METERS};
use crate::store::{document, file};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that one look takes in at most, so that a program that writes without end does not keep its supervisor.
const CHUNKS_OF_A_LOOK: usize = 16;
/// Bytes of a line; a longer one is skipped.
const LINE_BYTES: usize = 4 << 10;

/// What `meter.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub meter: Meter,
    /// How far the usage file was taken in; it is counted in the meter up to there and no further.
    #[serde(default)]
    pub read: Place,
    /// What the supervisor counted before this run of it: one that adopts the program counts that run from its beginning.
    #[serde(default)]
    pub base: Meter,
}

/// A place in the usage file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Bytes.
    offset: u64,
    /// Inside of a line that is too long: the rest of it is skipped.
    #[serde(default)]
    skipping: bool,
}

impl Kept {
    /// What is kept at `path`; nothing yet where there is none.
    ///
    /// # Errors
    /// `damaged`; `io`.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(document::read_json(path)?.unwrap_or_default())
    }
    /// Begins a run: what was counted so far came before it.
    pub fn begin(&mut self) {
        self.base = Meter { usage: Usage::default(), ..self.meter.clone() };
    }
    /// # Errors
    /// `io`, `disk-full`.
    pub fn save(&self, path: &Path) -> Result<()> {
        document::write_json(path, self, file::PRIVATE)
    }
}

/// A usage file that is being read.
#[derive(Debug)]
pub struct UsageFile {
    path: PathBuf,
    pub usage: Usage,
    pub read: Place,
}

impl UsageFile {
    pub fn open(path: PathBuf, kept: &Kept) -> Self {
        Self { path, usage: kept.meter.usage.clone(), read: kept.read }
    }
    /// Takes in what is new; returns what was wrong with the first line that was skipped.
    ///
    /// # Errors
    /// `io`.
    pub fn look(&mut self) -> Result<Option<Error>> {
        let mut wrong = None;
        for _ in 0..CHUNKS_OF_A_LOOK {
            let Some((length, bytes)) = file::read_part(&self.path, self.read.offset, CHUNK_BYTES)? else { break };
            if length < self.read.offset {
                // The program, or who cleans up after a crash, began the file anew.
                self.read = Place::default();
                continue;
            }
            let before = self.read;
            let complaint = self.take(&bytes);
            wrong = wrong.or(complaint);
            if self.read == before {
                break;
            }
        }
        Ok(wrong)
    }
    /// Takes in all that is there, of a program that has ended.
    ///
    /// # Errors
    /// `io`.
    pub fn look_to_the_end(&mut self) -> Result<Option<Error>> {
        let mut wrong = None;
        loop {
            let before = self.read;
            let complaint = self.look()?;
            wrong = wrong.or(complaint);
            if self.read == before {
                return Ok(wrong);
            }
        }
    }
    /// Takes in the whole lines that `bytes`, which stand at the place, begin with.
    fn take(&mut self, bytes: &[u8]) -> Option<Error> {
        let mut wrong = None;
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.read.offset += line.len() as u64 + 1;
            if !std::mem::take(&mut self.read.skipping) {
                wrong = self.line(line).err().or(wrong);
            }
        }
        // What has no end may still get one, unless it is too long already.
        if rest.len() > LINE_BYTES || (self.read.skipping && !rest.is_empty()) {
            self.read.offset += rest.len() as u64;
            if !std::mem::replace(&mut self.read.skipping, true) {
                wrong = Some(too_long());
            }
        }
        wrong
    }
    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.len() > LINE_BYTES {
            return Err(too_long());
        }
        let text = std::str::from_utf8(line)
            .map_err(|why| Error::new(Code::BadInput, format!("a line of usage is no text: {why}")))?;
        if text.trim().is_empty() {
            return Ok(());
        }
        let (meter, amount) = parse_usage_line(text)?;
        if OWN_METERS.contains(&&*meter) || KERNEL_METERS.iter().any(|(name, _)| **name == *meter) {
            return Err(Error::new(Code::BadInput, format!("the meter {meter} is counted by deployctl itself")));
        }
        if !self.usage.contains_key(&*meter) && self.usage.len() >= PROGRAM_METERS {
            return Err(Error::new(Code::TooLarge, format!("a program has at most {PROGRAM_METERS} meters")));
        }
        self.usage.add(meter, amount)
    }
}

fn too_long() -> Error {
    Error::new(Code::TooLarge, format!("a line of usage is longer than {LINE_BYTES} bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader() -> UsageFile {
        UsageFile::open(PathBuf::new(), &Kept::default())
    }
    fn sums(file: &UsageFile) -> String {
        serde_json::to_string(&file.usage).unwrap()
    }

    #[test]
    fn what_is_no_usage_is_told_and_skipped() {
        let mut file = reader();
        let text = "{\"meter\":\"a\",\"amount\":\"1\"}\nnonsense\n\n{\"meter\":\"minute\",\"amount\":\"5\"}\n{\"meter\":\"a\",\"amount\":\"0.5\",\"unit\":\"page\"}\n{\"meter\":\"a\"";
        let wrong = file.take(text.as_bytes()).unwrap();
        assert!(wrong.message.contains("minute") || wrong.message.contains("does not read"), "{wrong}");
        assert_eq!(sums(&file), r#"{"a":{"amount":"1.5","unit":"page"}}"#);
        assert_eq!(file.read.offset as usize, text.rfind('\n').unwrap() + 1, "what has no end yet waits");
        assert!(file.take(b"{\"meter\":\"a\",\"amount\":\"2\"}\n").is_none());
        assert_eq!(file.usage["a"].amount.to_string(), "3.5");
    }

    #[test]
    fn a_line_without_end_is_skipped_to_its_end() {
        let mut file = reader();
        let long = [b'x'; LINE_BYTES + 1];
        assert!(file.take(&long).is_some());
        assert!(file.take(&long).is_none(), "told once");
        assert!(file.take(b"{\"meter\":\"a\",\"amount\":\"9\"}\n{\"meter\":\"a\",\"amount\":\"1\"}\n").is_none());
        assert_eq!(file.usage["a"].amount.to_string(), "1");
    }

    #[test]
    fn no_more_meters_than_there_is_room_for() {
        let mut file = reader();
        let lines: String = (0..300).map(|n| format!("{{\"meter\":\"m{n}\",\"amount\":\"1\"}}\n")).collect();
        assert_eq!(file.take(lines.as_bytes()).unwrap().code, Code::TooLarge);
        assert_eq!(file.usage.len(), PROGRAM_METERS);
    }

    #[test]
    fn a_kept_meter_of_an_earlier_version_reads() {
        let kept: Kept = serde_json::from_str(r#"{"running_ms":5,"starts":1}"#).unwrap();
        assert_eq!(kept, Kept { meter: Meter { running_ms: 5, starts: 1, ..Meter::default() }, ..Kept::default() });
        assert_eq!(serde_json::from_str::<Kept>(&serde_json::to_string(&kept).unwrap()).unwrap(), kept);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// However the file grows while it is read, and wherever a reader dies and the next goes on from what was kept.
        #[test]
        fn every_line_counts_once(
            lines in proptest::collection::vec((0..4_usize, 0..50_u32), 0..40),
            steps in proptest::collection::vec((0..200_usize, any::<bool>()), 0..40),
        ) {
            let text: String = lines.iter().map(|(meter, amount)| match meter {
                3 => format!("broken {amount}\n"),
                meter => format!("{{\"meter\":\"m{meter}\",\"amount\":\"{amount}\"}}\n"),
            }).collect();
            let mut whole = reader();
            whole.take(text.as_bytes());
            let mut file = reader();
            let mut kept = Kept::default();
            let mut written = 0;
            for (more, dies) in steps.into_iter().chain([(text.len(), false)]) {
                written = (written + more).min(text.len());
                let from = usize::try_from(file.read.offset).unwrap();
                file.take(&text.as_bytes()[from..written]);
                if dies {
                    file = UsageFile::open(PathBuf::new(), &kept);
                } else {
                    kept = Kept { meter: Meter { usage: file.usage.clone(), ..Meter::default() }, read: file.read, ..Kept::default() };
                }
            }
            prop_assert_eq!(sums(&file), sums(&whole));
        }
    }
}
