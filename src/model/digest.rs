//! Digests: SHA-256 names whole files for everybody's tools, BLAKE3 checks pieces and chains quickly.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use super::error::{Error, Result};
use super::{Code, serde_as_text};

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// The first characters, for people.
            pub fn short(&self) -> String {
                self.to_string()[..12].to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
                    Error::new(Code::BadInput, format!("“{text}” is not {} (64 hexadecimal digits)", $what))
                })
            }
        }
        serde_as_text!($name);
    };
}

digest!(
    /// SHA-256 of a whole file or text; the one of a package names it.
    Digest, "a SHA-256 digest"
);
digest!(
    /// BLAKE3: of a piece, of a tree, of a record in a log.
    Hash, "a BLAKE3 hash"
);

impl Hash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }
}
