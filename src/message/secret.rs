//! Secrets travel beside the envelope, never inside: the signed payload carries a commitment, the value and its salt go
//! next to it over TLS and are kept apart, so that logs and transcripts can be shown to a third party.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use serde::{Deserialize, Serialize};

use super::base64;
use crate::model::{Code, Digest, Error, MessageId, Result, serde_as_text};

/// The longest value of a secret, in bytes: an option's text or a key.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// HMAC-SHA-256 of a secret's value under its salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commitment(Digest);

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl std::str::FromStr for Commitment {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}
serde_as_text!(Commitment);

/// The name of the secret that is a generation's random value of the roster.
pub fn roster_secret(generation: u32) -> String {
    match generation {
        1 => "roster".to_owned(),
        later => format!("roster.{later}"),
    }
}

/// A value that only those may know to whom it is handed, with the salt of its commitment. Cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    #[serde(with = "base64")]
    value: Vec<u8>,
    #[serde(with = "base64")]
    salt: Vec<u8>,
}

/// Secrets by name: `key`, `roster`, `option.NAME`.
pub type Secrets = BTreeMap<String, Secret>;

impl Secret {
    /// # Errors
    /// `too-large` beyond 64 KiB.
    pub fn new(value: Vec<u8>, salt: [u8; 32]) -> Result<Self> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::new(
                Code::TooLarge,
                format!("a secret of {} bytes is longer than {MAX_VALUE_BYTES}", value.len()),
            ));
        }
        Ok(Self { value, salt: salt.to_vec() })
    }
    pub fn value(&self) -> &[u8] {
        &self.value
    }
    pub fn commitment(&self) -> Commitment {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, &self.salt);
        Commitment(to_digest(hmac::sign(&salt, &self.value).as_ref()))
    }
    /// # Errors
    /// `bad-proof` where this is not the secret that was committed to.
    pub fn open(&self, commitment: &Commitment, name: &str) -> Result<()> {
        if self.commitment() == *commitment {
            return Ok(());
        }
        Err(Error::new(
            Code::BadProof,
            format!("the secret {name:?} beside the message is not the one that the message commits to"),
        ))
    }
    /// Proves knowledge of this secret to others who know it, for one message (`key_proof`).
    pub fn prove(&self, id: MessageId) -> Digest {
        self.tag(id.as_bytes())
    }
    /// # Errors
    /// `bad-proof` where the proof was made without knowing this secret.
    pub fn check_proof(&self, id: MessageId, proof: &Digest) -> Result<()> {
        self.check_tag(id.as_bytes(), proof)
            .map_err(|()| Error::new(Code::BadProof, "the key proof was made without the session's key"))
    }
    /// HMAC-SHA-256 of `bytes` under this secret.
    pub(super) fn tag(&self, bytes: &[u8]) -> Digest {
        to_digest(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.value), bytes).as_ref())
    }
    pub(super) fn check_tag(&self, bytes: &[u8], tag: &Digest) -> Result<(), ()> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.value);
        hmac::verify(&key, bytes, tag.as_bytes()).map_err(|_| ())
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The service's own shared secret: HKDF-SHA-256 (RFC 5869) of the interface's key and the roster's random value, which
/// only participants get. 32 bytes.
pub fn service_secret(key: &Secret, roster: &Secret) -> [u8; 32] {
    struct Len;
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            32
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &roster.value).extract(&key.value);
    let mut out = [0; 32];
    prk.expand(&[b"deployctl service secret v1"], Len)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes are within the limit of HKDF-SHA-256");
    out
}

fn to_digest(tag: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag);
    Digest::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_binds_the_value_and_shows_nothing() {
        let secret = Secret::new(b"hunter2".to_vec(), [1; 32]).unwrap();
        let other = Secret::new(b"hunter3".to_vec(), [1; 32]).unwrap();
        secret.open(&secret.commitment(), "key").unwrap();
        assert_eq!(other.open(&secret.commitment(), "key").unwrap_err().code, Code::BadProof);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_proof_holds_for_one_message_and_one_key() {
        let secret = Secret::new(vec![7; 32], [1; 32]).unwrap();
        let other = Secret::new(vec![8; 32], [1; 32]).unwrap();
        let (id, next) = (MessageId::from_bytes([1; 16]), MessageId::from_bytes([2; 16]));
        secret.check_proof(id, &secret.prove(id)).unwrap();
        assert!(secret.check_proof(next, &secret.prove(id)).is_err());
        assert!(other.check_proof(id, &secret.prove(id)).is_err());
    }

    #[test]
    fn who_lacks_the_rosters_value_cannot_derive_the_services_secret() {
        let key = Secret::new(vec![7; 32], [1; 32]).unwrap();
        let roster = Secret::new(vec![9; 32], [2; 32]).unwrap();
        let guess = Secret::new(vec![0; 32], [2; 32]).unwrap();
        assert_eq!(service_secret(&key, &roster), service_secret(&key, &roster));
        assert_ne!(service_secret(&key, &roster), service_secret(&key, &guess));
    }
}
