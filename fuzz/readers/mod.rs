//! What the fuzz targets drive, a function for each target: bytes come in as a stranger sends them, and whatever the reader
//! makes of them holds together. `tests/fuzzed.rs` drives the same functions with what `fixtures/fuzz/` keeps.

mod neighbours;
mod packages;
mod records;
mod services;
#[path = "../../tests/support/tars.rs"]
mod tars;

use std::fmt::{Debug, Display};
use std::str::FromStr;

/// A target's reader.
pub(crate) type Reader = fn(&[u8]);

/// Each target with its reader.
pub(crate) const READERS: &[(&str, Reader)] = &[
    ("archive", packages::archive),
    ("manifest", packages::manifest),
    ("patch", packages::patch),
    ("envelope", records::envelope),
    ("ledger", records::ledger),
    ("transcript", records::transcript),
    ("definition", services::definition),
    ("interface", services::interface),
    ("terms", services::terms),
    ("template", services::template),
    ("config", services::config),
    ("query", services::query),
    ("words", services::words),
    ("callback", neighbours::callback),
    ("criteria", neighbours::criteria),
    ("description", neighbours::description),
    ("mdns", neighbours::mdns),
    ("soap", neighbours::soap),
    ("ssdp", neighbours::ssdp),
    ("txt", neighbours::txt),
];

/// Drives the reader of the target that is called so.
pub(crate) fn drive(target: &str, input: &[u8]) {
    let (_, read) = READERS.iter().find(|(name, _)| *name == target).expect("it is in the list");
    read(input);
}

/// The texts of an input, which zeros part.
fn texts(input: &[u8]) -> impl Iterator<Item = &str> {
    input.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok())
}

/// What reads is written so that it reads again, as the same.
fn same_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let written = read.to_string();
        assert_eq!(written.parse::<T>().ok(), Some(read), "{text:?} is written as {written:?}");
    }
}
