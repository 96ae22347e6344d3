//! The headers of a tar (POSIX.1-2017 pax interchange format): one way to write an entry, and only that way is read.
//!
//! A name or target that is longer than 100 bytes or not ASCII goes into a pax record; the ustar prefix, GNU long names,
//! times, owners and every other field stay empty.

use super::entry::{Entry, Kind};

/// Tar's unit, in bytes.
pub(super) const BLOCK: usize = 512;
/// Zero bytes at the end of every tar: two blocks.
pub(super) const END_BYTES: usize = 2 * BLOCK;
/// The largest pax record area, in bytes: a path and a target of 1,024 bytes each, and their keys.
pub(super) const MAX_PAX_BYTES: u64 = 4096;

/// What a name field holds, in bytes.
const NAME_BYTES: usize = 100;
/// What pax headers themselves are called.
const PAX_NAME: &str = "PaxHeaders/entry";

/// Everything that stands before the entry's content.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let (kind, target) = match &entry.kind {
        Kind::Folder => (b'5', ""),
        Kind::File { .. } => (b'0', ""),
        Kind::Link { target } => (b'2', target.as_str()),
    };
    let mut name = entry.path.clone();
    if entry.kind == Kind::Folder {
        name.push('/');
    }
    let mut records = Vec::new();
    for (keyword, value) in [("path", name.as_str()), ("linkpath", target)] {
        if !fits(value) {
            records.extend_from_slice(pax_record(keyword, value).as_bytes());
        }
    }
    let mut out = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        out.extend_from_slice(&block(PAX_NAME, 0o644, records.len() as u64, b'x', ""));
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.extend_from_slice(&block(&name, entry.mode(), entry.size(), kind, target));
    out
}

/// Whether a header's own field can hold it.
fn fits(value: &str) -> bool {
    value.len() <= NAME_BYTES && value.is_ascii()
}

/// `LENGTH keyword=value\n`, where LENGTH counts itself.
fn pax_record(keyword: &str, value: &str) -> String {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {keyword}={value}\n")
}

fn block(name: &str, mode: u32, size: u64, kind: u8, target: &str) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    put_text(&mut out[0..100], name);
    put(&mut out[100..108], format!("{mode:07o}").as_bytes());
    put(&mut out[108..116], b"0000000");
    put(&mut out[116..124], b"0000000");
    put(&mut out[124..136], format!("{size:011o}").as_bytes());
    put(&mut out[136..148], b"00000000000");
    out[156] = kind;
    put_text(&mut out[157..257], target);
    put(&mut out[257..265], b"ustar\x0000");
    put(&mut out[329..337], b"0000000");
    put(&mut out[337..345], b"0000000");
    let sum = checksum(&out);
    put(&mut out[148..156], format!("{sum:06o}\0 ").as_bytes());
    out
}

fn put(field: &mut [u8], bytes: &[u8]) {
    field[..bytes.len()].copy_from_slice(bytes);
}

/// What does not fit stands in a pax record; the field keeps a likeness of it for tools that know no pax.
fn put_text(field: &mut [u8], text: &str) {
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = if from.is_ascii() { from } else { b'_' };
    }
}

/// The sum of all bytes, those of the checksum field itself counted as blanks.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let all: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let own: u32 = block[148..156].iter().map(|&byte| u32::from(byte)).sum();
    all - own + 8 * u32::from(b' ')
}

/// One header as it was read; says nothing about whether it may stand in a package.
pub(super) struct RawHeader<'a> {
    pub(super) name: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) mode: u64,
    pub(super) size: u64,
    pub(super) kind: u8,
}

impl<'a> RawHeader<'a> {
    /// # Errors
    /// What is wrong with it, to be put after its name.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, String> {
        if octal(&block[148..156]) != Some(u64::from(checksum(block))) {
            return Err("has a header with a wrong checksum".into());
        }
        if &block[257..265] != b"ustar\x0000" {
            return Err("has a header that is not ustar".into());
        }
        let size = octal(&block[124..136]).ok_or("has a size that is not an octal number")?;
        let mode = octal(&block[100..108]).ok_or("has a mode that is not an octal number")?;
        Ok(Self { name: name(block), target: text(&block[157..257]), mode, size, kind: block[156] })
    }
}

/// The name of a header that may be refused, to name it.
pub(super) fn name(block: &[u8; BLOCK]) -> &[u8] {
    text(&block[..100])
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Digits up to the first zero byte or blank. No base-256, no sign.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.split(|&byte| byte == 0 || byte == b' ').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(text, 8).ok())?
}

/// What a pax record area may say of the next entry.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pax {
    pub(super) path: Option<String>,
    pub(super) target: Option<String>,
}

impl Pax {
    /// # Errors
    /// What is wrong with it, to be put after the entry's name.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut out = Self::default();
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).ok_or("has a pax record that cannot be read")?;
            bytes = rest;
            let (keyword, value) = record.split_once('=').ok_or("has a pax record without a value")?;
            let place = match keyword {
                "path" => &mut out.path,
                "linkpath" => &mut out.target,
                other => return Err(format!("has the pax record {other:?}, and only path and linkpath are taken")),
            };
            if place.replace(value.to_owned()).is_some() {
                return Err(format!("has the pax record {keyword:?} twice"));
            }
        }
        Ok(out)
    }
}

/// The first record without its length and line end, and what follows.
fn split_record(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let blank = bytes.iter().take(8).position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    Some((std::str::from_utf8(record).ok()?, &bytes[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_records_length_counts_itself() {
        for length in [1, 90, 91, 92, 93, 94, 990, 991, 992, 993] {
            let record = pax_record("path", &"x".repeat(length));
            assert!(record.starts_with(&format!("{} path=", record.len())), "{record}");
            assert_eq!(Pax::parse(record.as_bytes()).unwrap().path.unwrap().len(), length);
        }
    }
}
