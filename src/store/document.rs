//! Whole files of JSON and TOML. One that does not read as what it should be is set aside under another name and named
//! in the error, so that the next run is not stopped by it and nothing is lost.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file;
use crate::model::{Code, Error, Result};

/// The longest document, in bytes: far more than any of ours, far less than memory.
pub const MAX_DOCUMENT: u64 = 16 << 20;

/// Reads a JSON file; `None` where there is none.
///
/// # Errors
/// `damaged`, naming where the file is now; `io`, `too-large`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = file::read_optional(path, MAX_DOCUMENT)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|why| set_aside(path, &why.to_string()))
}

/// Writes a JSON file, atomic and durable; see [`file::write_atomic`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<()> {
    file::write_atomic(path, &to_json(path, value)?, mode)
}

/// Writes a JSON file if nothing is there; says whether it did. See [`file::write_new`].
pub fn write_new_json<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<bool> {
    file::write_new(path, &to_json(path, value)?, mode)
}

/// Writes a JSON file that can be made again, unless it is there just so; see [`file::write_atomic_unsynced`].
pub fn write_json_unsynced<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<()> {
    let bytes = to_json(path, value)?;
    // Taking a file's place costs more than reading it.
    if file::read_optional(path, MAX_DOCUMENT).ok().flatten().as_ref() == Some(&bytes) {
        return Ok(());
    }
    file::write_atomic_unsynced(path, &bytes, mode)
}

/// Reads a TOML file; `None` where there is none.
///
/// # Errors
/// As [`read_json`].
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = file::read_optional(path, MAX_DOCUMENT)? else { return Ok(None) };
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => toml::from_str(text).map_err(|why| toml_reason(text, &why)),
        Err(why) => Err(why.to_string()),
    };
    parsed.map(Some).map_err(|why| set_aside(path, &why))
}

/// Writes a TOML file, atomic and durable.
pub fn write_toml<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<()> {
    let text = toml::to_string(value)
        .map_err(|why| Error::new(Code::Internal, format!("writing {}: {why}", path.display())))?;
    file::write_atomic(path, text.as_bytes(), mode)
}

/// What a JSON file holds just now, for whom it would only be convenient: one that is missing or does not read is `None`
/// and stays as it is.
pub fn glance_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&file::read_optional(path, MAX_DOCUMENT).ok()??).ok()
}

/// What a TOML file holds just now; as [`glance_json`].
pub fn glance_toml<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = file::read_optional(path, MAX_DOCUMENT).ok()??;
    toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Renames a damaged file to `NAME.damaged-N` and returns the error that says so. Where even that fails, the error says
/// why and the file stays.
pub fn set_aside(path: &Path, why: &str) -> Error {
    let damaged = |rest: String| Error::new(Code::Damaged, format!("reading {}: {why}; {rest}", path.display()));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = (1..).map(|n| path.with_file_name(format!("{name}.damaged-{n}"))).find(|aside| !aside.exists());
    let aside: PathBuf = free.unwrap_or_else(|| path.with_file_name(format!("{name}.damaged")));
    match file::rename(path, &aside) {
        Ok(()) => damaged(format!("it is now {}", aside.display()))
            .hint("look at it, mend it and rename it back, or go on without it"),
        Err(failed) => damaged(format!("it could not be set aside: {failed}")),
    }
}

/// What is wrong with a TOML text, and in which line (from 1).
pub(super) fn toml_reason(text: &str, why: &toml::de::Error) -> String {
    let line = why.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", why.message()),
        None => why.message().to_owned(),
    }
}

fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|why| Error::new(Code::Internal, format!("writing {}: {why}", path.display())))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests;
