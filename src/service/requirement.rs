//! What a machine must have for a role: `python>=3.9`, `memory>=512MiB`, `display`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::model::error::{Error, Result};
use crate::model::{Code, serde_as_text};

/// The longest name of a program, as of file names that are portable.
const PROGRAM_CHARS: usize = 63;
/// More parts than versions have.
const VERSION_PARTS: usize = 6;
/// Sizes by their units, largest first, in bytes.
const SIZES: [(&str, u64); 6] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    // Decimal units are read, and written as the largest binary unit that divides them.
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
];

/// Something that a machine must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// An executable on the search path, or a runtime known by name (`python`, `jvm`), of a version or a later one.
    Program { name: String, at_least: Option<ProgramVersion> },
    /// Bytes of main memory.
    Memory(u64),
    /// Free bytes where the software is to be installed.
    Disk(u64),
    /// Clock rate of the fastest processor, in MHz.
    CpuMhz(u64),
    /// Number of processors.
    Cpus(u64),
    /// A screen to draw on.
    Display,
}

impl FromStr for Requirement {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (name, bound) = match text.split_once(">=") {
            Some((name, bound)) => (name.trim(), Some(bound.trim())),
            None => (text.trim(), None),
        };
        let bounded = || bound.ok_or_else(|| refuse(text, "it needs “>=” and how much"));
        match name {
            "memory" => Ok(Self::Memory(parse_size(text, bounded()?)?)),
            "disk" => Ok(Self::Disk(parse_size(text, bounded()?)?)),
            "cpu-mhz" => Ok(Self::CpuMhz(parse_count(text, bounded()?)?)),
            "cpus" => Ok(Self::Cpus(parse_count(text, bounded()?)?)),
            "display" if bound.is_none() => Ok(Self::Display),
            "display" => Err(refuse(text, "a display is there or not")),
            _ if is_program_name(name) => {
                let at_least = bound.map(|version| parse_version(text, version)).transpose()?;
                Ok(Self::Program { name: name.to_owned(), at_least })
            }
            _ => Err(refuse(text, "it does not begin with the name of a program or of a capacity")),
        }
    }
}
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, at_least: Some(version) } => write!(f, "{name}>={version}"),
            Self::Program { name, at_least: None } => f.write_str(name),
            Self::Memory(bytes) => write!(f, "memory>={}", size_text(*bytes)),
            Self::Disk(bytes) => write!(f, "disk>={}", size_text(*bytes)),
            Self::CpuMhz(mhz) => write!(f, "cpu-mhz>={mhz}"),
            Self::Cpus(count) => write!(f, "cpus>={count}"),
            Self::Display => f.write_str("display"),
        }
    }
}
serde_as_text!(Requirement);

impl Requirement {
    /// In words, for the consent screen: `python 3.9 or later`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Program { name, at_least: Some(version) } => format!("{name} {version} or later"),
            Self::Program { name, at_least: None } => name.clone(),
            Self::Memory(bytes) => format!("{} of memory", size_text(*bytes)),
            Self::Disk(bytes) => format!("{} of free disk space", size_text(*bytes)),
            Self::CpuMhz(mhz) => format!("a processor of {mhz} MHz"),
            Self::Cpus(1) => "a processor".to_owned(),
            Self::Cpus(count) => format!("{count} processors"),
            Self::Display => "a display".to_owned(),
        }
    }
}

/// A version of other people's programs: numbers between dots. Missing numbers count as 0, so 3 = 3.0.
#[derive(Clone, Debug)]
pub struct ProgramVersion(Vec<u32>);

impl FromStr for ProgramVersion {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        parse_version(text, text)
    }
}
impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if n == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}
impl Ord for ProgramVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let part = |version: &Self, n: usize| version.0.get(n).copied().unwrap_or(0);
        let parts = self.0.len().max(other.0.len());
        (0..parts).map(|n| part(self, n).cmp(&part(other, n))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}
impl PartialOrd for ProgramVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for ProgramVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for ProgramVersion {}

fn refuse(text: &str, why: &str) -> Error {
    Error::new(Code::BadInput, format!("“{text}” is not a requirement: {why}"))
        .hint("write a program like “python>=3.9”, or memory>=512MiB, disk>=1GiB, cpus>=2, cpu-mhz>=1000, display")
}

fn is_program_name(name: &str) -> bool {
    name.len() <= PROGRAM_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-'))
}

fn parse_version(text: &str, version: &str) -> Result<ProgramVersion> {
    let parts: Option<Vec<u32>> = version.split('.').take(VERSION_PARTS + 1).map(parse_digits).collect();
    parts
        .filter(|parts| parts.len() <= VERSION_PARTS)
        .map(ProgramVersion)
        .ok_or_else(|| refuse(text, "a version is numbers between dots, like 3.9"))
}

fn parse_count(text: &str, count: &str) -> Result<u64> {
    parse_digits(count).ok_or_else(|| refuse(text, "a whole number belongs after “>=”"))
}

fn parse_size(text: &str, size: &str) -> Result<u64> {
    let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    let unit = SIZES.iter().find(|(unit, _)| *unit == size[digits..].trim());
    parse_digits::<u64>(&size[..digits])
        .zip(unit)
        .and_then(|(number, (_, bytes))| number.checked_mul(*bytes))
        .ok_or_else(|| refuse(text, "a size is a whole number with KiB, MiB, GiB or TiB"))
}

/// Digits alone: `u64::from_str` would take a sign too.
fn parse_digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number of bytes, written as `10MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        parse_size(text, text).map(Self).map_err(|_| {
            Error::new(Code::BadInput, format!("“{text}” is not a size: a whole number with KiB, MiB, GiB or TiB"))
        })
    }
}
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&size_text(self.0))
    }
}
serde_as_text!(Size);

fn size_text(bytes: u64) -> String {
    let unit = SIZES[..4].iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    // Each size was a multiple of a unit when it was read; a megabyte is a multiple of no KiB but of MB.
    match unit.or_else(|| SIZES[4..].iter().find(|(_, size)| bytes.is_multiple_of(*size))) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{}KiB", bytes.div_ceil(1 << 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_back_as_they_were_written() {
        for text in [
            "python>=3.9",
            "jvm>=17",
            "ffmpeg",
            "g++>=12.2.0",
            "memory>=512MiB",
            "disk>=1GiB",
            "disk>=3MB",
            "cpu-mhz>=1000",
            "cpus>=2",
            "display",
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), text);
            assert_eq!(serde_json::from_value::<Requirement>(serde_json::json!(text)).unwrap(), requirement);
        }
        assert_eq!("python >= 3.9".parse::<Requirement>().unwrap().to_string(), "python>=3.9");
        assert_eq!("memory>=2048MiB".parse::<Requirement>().unwrap().in_words(), "2GiB of memory");
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for text in [
            "",
            ">=3",
            "python>=",
            "python>=3.x",
            "python>=-3",
            "python>=1.2.3.4.5.6.7",
            "python==3",
            "memory",
            "memory>=512",
            "memory>=+5MiB",
            "memory>=99999999999999TiB",
            "disk>=5 bananas",
            "display>=1",
            "../sh",
            "a b",
            "cpus>=two",
            "cpus>=99999999999999999999",
        ] {
            assert_eq!(text.parse::<Requirement>().unwrap_err().code, Code::BadInput, "{text}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<ProgramVersion>().unwrap();
        assert!(version("3.11") > version("3.9"));
        assert_eq!(version("3"), version("3.0.0"));
        assert!(version("3.9.1") > version("3.9"));
    }
}
