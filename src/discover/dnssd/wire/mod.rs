//! DNS messages as multicast DNS uses them (RFC 1035 §4, RFC 6762 §18): bytes in, types out, and back. Whoever sends is a
//! stranger: everything has a limit, and what does not read as a whole is not there.

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::DomainName;
pub use write::{Section, Writer, responses};

/// The longest message that is read, in bytes (RFC 6762 §17).
pub const MAX_MESSAGE: usize = 9000;
/// Questions of a message that is read.
const MAX_QUESTIONS: usize = 256;
/// Records of a message that is read.
const MAX_RECORDS: usize = 1024;

/// The bit of a class by which a record says that it is the only one, and a question that one answer is enough
/// (RFC 6762 §18.12, §18.13).
const TOP_BIT: u16 = 0x8000;
/// The Internet, and any class.
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// QR and AA: an answer, from who has authority over it (RFC 6762 §18.2, §18.4).
pub const FLAGS_RESPONSE: u16 = 0x8400;
/// More known answers follow, or not all answers had room.
pub const FLAG_TRUNCATED: u16 = 0x0200;
/// Opcode and rcode: what has other values here is not for us (RFC 6762 §18.3, §18.11).
const FLAGS_FOREIGN: u16 = 0x780f;

pub const KIND_A: u16 = 1;
pub const KIND_PTR: u16 = 12;
pub const KIND_TXT: u16 = 16;
pub const KIND_AAAA: u16 = 28;
pub const KIND_SRV: u16 = 33;
pub const KIND_NSEC: u16 = 47;
pub const KIND_ANY: u16 = 255;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    pub flags: u16,
    pub questions: Vec<Question>,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Message {
    /// Reads a datagram; none where it is no message, or of another kind than multicast DNS has. Questions and records of
    /// other classes are left out.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        read::message(datagram)
    }
    pub fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }
    pub fn is_truncated(&self) -> bool {
        self.flags & FLAG_TRUNCATED != 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: DomainName,
    pub kind: u16,
    /// Whether one answer to the asker alone is enough (QU).
    pub unicast: bool,
}

impl Question {
    pub fn asks_for(&self, record: &Record) -> bool {
        (self.kind == record.data.kind() || self.kind == KIND_ANY) && self.name == record.name
    }
}

/// A record of the class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: DomainName,
    /// Seconds that it holds; 0 takes it back.
    pub ttl: u32,
    /// Whether it stands for all of its name and kind, and takes the place of what was known (cache-flush).
    pub flush: bool,
    pub data: Data,
}

impl Record {
    /// Whether both say the same, for however long.
    pub fn says_same(&self, other: &Self) -> bool {
        self.name == other.name && self.data == other.data
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ptr(DomainName),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: DomainName,
    },
    /// Texts, each behind its length.
    Txt(Vec<u8>),
    /// Which kinds there are of its own name, each below 256; the name before them is always that.
    Nsec(Vec<u16>),
    Other {
        kind: u16,
        bytes: Vec<u8>,
    },
}

impl Data {
    pub fn kind(&self) -> u16 {
        match self {
            Self::A(_) => KIND_A,
            Self::Aaaa(_) => KIND_AAAA,
            Self::Ptr(_) => KIND_PTR,
            Self::Srv { .. } => KIND_SRV,
            Self::Txt(_) => KIND_TXT,
            Self::Nsec(_) => KIND_NSEC,
            Self::Other { kind, .. } => *kind,
        }
    }
    /// As it travels, without compression: what rivals for a name compare (RFC 6762 §8.2).
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::A(ip) => ip.octets().to_vec(),
            Self::Aaaa(ip) => ip.octets().to_vec(),
            Self::Ptr(name) => name.wire().to_vec(),
            Self::Srv { priority, weight, port, target } => {
                let words = [priority, weight, port].into_iter().flat_map(|word| word.to_be_bytes());
                words.chain(target.wire().iter().copied()).collect()
            }
            Self::Txt(bytes) | Self::Other { bytes, .. } => bytes.clone(),
            Self::Nsec(kinds) => {
                let mut bits = [0_u8; 32];
                for kind in kinds.iter().filter(|kind| **kind < 256) {
                    bits[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
                }
                let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                [&[0, length.try_into().unwrap_or(32)], &bits[..length]].concat()
            }
        }
    }
}
