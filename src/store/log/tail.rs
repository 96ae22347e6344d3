//! The end of a log, read from its end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::super::file;
use super::{Head, MAX_LOG, chain};
use crate::model::Result;
use crate::model::error::IoContext;

/// Bytes read at first; most steps are shorter.
const WINDOW: u64 = 64 << 10;

/// The head of the log at `path`, if it ends in a whole step whose records follow one another. `None` says only that
/// the log has to be read as a whole to tell.
pub(super) fn head(path: &Path) -> Result<Option<Head>> {
    let Some(mut log) = file::open_optional(path)? else { return Ok(None) };
    let length = file::length(&log, path)?;
    if length > MAX_LOG {
        return Ok(None);
    }
    let mut window = WINDOW.min(length);
    loop {
        let bytes = read_range(&mut log, path, length - window, window)?;
        match last_step(&bytes, window == length) {
            Last::At(start) => return Ok(follow(path, &bytes[start..], length)),
            Last::NotHere if window < length => window = (window * 2).min(length),
            Last::NotHere | Last::Damaged => return Ok(None),
        }
    }
}

/// The bytes of a log from `offset` on; `None` where there is no file or it is shorter.
pub(super) fn read_from(path: &Path, offset: u64) -> Result<Option<Vec<u8>>> {
    let Some(mut log) = file::open_optional(path)? else { return Ok(None) };
    if file::length(&log, path)? < offset {
        return Ok(None);
    }
    log.seek(SeekFrom::Start(offset)).doing("reading", path)?;
    file::read_all(log, path, MAX_LOG).map(Some)
}

enum Last {
    /// Where the last step begins in the window.
    At(usize),
    /// It begins before the window.
    NotHere,
    Damaged,
}

/// Finds the last step in the last bytes of a log; `whole` if they are all of it.
fn last_step(bytes: &[u8], whole: bool) -> Last {
    let Some((b'\n', mut rest)) = bytes.split_last() else { return Last::Damaged };
    let mut lines_left = None;
    loop {
        let start = match rest.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if whole => 0,
            None => return Last::NotHere,
        };
        let left = match lines_left {
            Some(left) => left,
            None => match chain::record(&rest[start..]) {
                Ok(last) if last.part.0 == last.part.1 => last.part.1,
                _ => return Last::Damaged,
            },
        };
        if left == 1 {
            return Last::At(start);
        }
        if start == 0 {
            return Last::Damaged;
        }
        lines_left = Some(left - 1);
        rest = &rest[..start - 1];
    }
}

/// The head after one whole step, taking its first record's word for what came before; a log's first step is left to
/// who knows what has to come before it.
fn follow(path: &Path, step: &[u8], length: u64) -> Option<Head> {
    if step.len() as u64 == length {
        return None;
    }
    let first = step.split(|byte| *byte == b'\n').next()?;
    let first = chain::record(first).ok()?;
    let before = Head { length: length - step.len() as u64, seq: first.seq - 1, hash: first.prev };
    let scan = chain::scan(path, step, before).ok()?;
    (scan.torn.is_none() && scan.head.length == length).then_some(scan.head)
}

fn read_range(log: &mut File, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    log.seek(SeekFrom::Start(offset)).doing("reading", path)?;
    log.take(length).read_to_end(&mut bytes).doing("reading", path)?;
    Ok(bytes)
}
