//! The file that a program's output goes to. The program writes to it by itself, so that its output is kept when the
//! supervisor dies.

#![expect(clippy::disallowed_methods, reason = "the log of a running program is this file's subject")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::error::{IoContext, Result};

/// At this size, in bytes, what is in the log moves to `NAME.1`.
const ROTATE_AT: u64 = 8 * 1024 * 1024;
/// The same, of what the supervisor says itself: a week of a program that ends again and again.
const SHORTEN_AT: u64 = 1024 * 1024;
/// A tail has at most so many lines …
const TAIL_LINES: usize = 20;
/// … and bytes.
const TAIL_BYTES: u64 = 4 * 1024;
/// The most that one look for a text reads, in bytes, so that a chatty program does not hold up the loop.
const LOOK_BYTES: u64 = 1024 * 1024;

/// Keeps a log short that a process of deployctl writes, in the same way as a program's. Where that cannot be, it is
/// tried again by the next call.
pub fn shorten(log: &Path) {
    if let Ok(output) = Output::open(log) {
        output.rotate_at(SHORTEN_AT);
    }
}

/// A log that a program writes.
pub(super) struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    /// Opens the log for appending; made with mode 0600 if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        Ok(Self { path: path.to_owned(), file: file.doing("opening the log", path)? })
    }
    /// A handle for the program to write to.
    pub(super) fn writer(&self) -> Result<File> {
        self.file.try_clone().doing("opening the log", &self.path)
    }
    /// Bytes in it.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |about| about.len())
    }
    /// Moves the content to `NAME.1` if there is too much of it. The program keeps writing to the same file, so its
    /// content is copied and then cut off; what it writes in between those two is lost.
    pub(super) fn rotate(&self) {
        self.rotate_at(ROTATE_AT);
    }
    fn rotate_at(&self, most: u64) {
        if self.size() < most {
            return;
        }
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        // Best effort: where this fails (a full disk), the log is cut off all the same, before it fills more.
        let _ = std::fs::copy(&self.path, old);
        let _ = self.file.set_len(0);
    }
    /// The last lines since the offset `since`, lossily decoded: at most 20 lines and 4 KiB.
    pub(super) fn tail(&self, since: u64) -> String {
        let size = self.size();
        // A log that is shorter than it was has been rotated since.
        let since = if size < since { 0 } else { since };
        let from = since.max(size.saturating_sub(TAIL_BYTES));
        let text = String::from_utf8_lossy(&self.read(from, TAIL_BYTES)).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let mut lines = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if from > since && lines.len() > 1 && lines.len() < TAIL_LINES {
            // The first line was cut somewhere in the middle.
            lines = &lines[1..];
        }
        lines.join("\n")
    }
    fn read(&self, from: u64, most: u64) -> Vec<u8> {
        let most = most.min(self.size().saturating_sub(from));
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(0)];
        // Read at a place: the program's handle shares its position with this one. A log that was cut off meanwhile, or
        // that does not read, gives what it gives.
        let read = self.file.read_at(&mut bytes, from).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }
}

/// Looks for a text in what is added to a log.
pub(super) struct Search {
    text: Vec<u8>,
    /// Up to where the log has been read.
    offset: u64,
    /// The end of what was read, which may hold the text's beginning.
    carry: Vec<u8>,
}

impl Search {
    /// `text` must not be empty.
    pub(super) fn new(text: &str, offset: u64) -> Self {
        Self { text: text.as_bytes().to_vec(), offset, carry: Vec::new() }
    }
    /// Whether the text has come by now.
    pub(super) fn found(&mut self, output: &Output) -> bool {
        if output.size() < self.offset {
            self.offset = 0;
        }
        let new = output.read(self.offset, LOOK_BYTES);
        self.offset += new.len() as u64;
        self.carry.extend(new);
        if self.carry.windows(self.text.len().max(1)).any(|window| window == self.text) {
            return true;
        }
        let keep = self.text.len().saturating_sub(1).min(self.carry.len());
        self.carry.drain(..self.carry.len() - keep);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn output() -> (tempfile::TempDir, Output) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::open(&folder.path().join("log")).unwrap();
        (folder, output)
    }

    #[test]
    fn a_tail_is_bounded_in_lines_and_bytes() {
        let (_folder, output) = output();
        let mut writer = output.writer().unwrap();
        for n in 0..100 {
            writeln!(writer, "line {n}").unwrap();
        }
        let tail = output.tail(0);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.starts_with("line 80\n") && tail.ends_with("line 99"));
        writer.write_all(&[b'x'; 20_000]).unwrap();
        writer.write_all(b"\xff\nend").unwrap();
        assert_eq!(output.tail(0), "end");
        let here = output.size();
        assert_eq!(output.tail(here), "");
        writer.write_all(&[b'y'; 20_000]).unwrap();
        assert!(output.tail(0).len() <= usize::try_from(TAIL_BYTES).unwrap());
    }

    #[test]
    fn what_a_supervisor_says_is_cut_at_a_mebibyte_and_what_was_said_before_is_kept_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (log, old) = (folder.path().join("supervisor.log"), folder.path().join("supervisor.log.1"));
        let line = vec![b'a'; SHORTEN_AT as usize - 1];
        std::fs::write(&log, &line).unwrap();
        shorten(&log);
        assert!(std::fs::metadata(&log).unwrap().len() == SHORTEN_AT - 1 && !old.exists());
        // The process that writes goes on with the same file.
        let mut writer = OpenOptions::new().append(true).open(&log).unwrap();
        writer.write_all(b"b").unwrap();
        shorten(&log);
        assert_eq!((std::fs::metadata(&log).unwrap().len(), std::fs::metadata(&old).unwrap().len()), (0, SHORTEN_AT));
        writer.write_all(b"c").unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"c");
        for _ in 0..2 {
            std::fs::write(&log, &line).unwrap();
            writer.write_all(b"dd").unwrap();
            shorten(&log);
        }
        assert_eq!(std::fs::metadata(&old).unwrap().len(), SHORTEN_AT + 1, "there is one older file, and no more");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_full_log_moves_away_and_a_search_goes_on() {
        let (folder, output) = output();
        let mut writer = output.writer().unwrap();
        writer.write_all(&vec![b'x'; usize::try_from(ROTATE_AT).unwrap()]).unwrap();
        let mut search = Search::new("ready now", output.size());
        writer.write_all(b"ready ").unwrap();
        assert!(!search.found(&output));
        output.rotate();
        assert_eq!(output.size(), 0);
        assert!(std::fs::metadata(folder.path().join("log.1")).unwrap().len() >= ROTATE_AT);
        writer.write_all(b"now\n").unwrap();
        assert!(search.found(&output), "the text came in two parts, with a rotation in between");
    }
}
