//! DSSE, the Dead Simple Signing Envelope (secure-systems-lab/dsse v1.0.2), with Ed25519 (RFC 8032).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::base64;
use crate::model::{Code, Error, Hash, Key, Result};

/// More signatures than any message of ours has; more are refused unread.
const MAX_SIGNATURES: usize = 8;

/// A signed payload, as it is sent and stored: `{"payloadType", "payload", "signatures": [{"keyid", "sig"}]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    #[serde(with = "base64")]
    pub payload: Vec<u8>,
    pub signatures: Vec<Signature>,
}

/// One signature over the pre-authentication encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signer's key: 52 characters of base32.
    pub keyid: String,
    #[serde(with = "base64")]
    pub sig: Vec<u8>,
}

/// An Ed25519 private key. Cannot be printed, copied or serialized.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    key: Key,
}

impl SigningKey {
    /// From PKCS#8 DER (RFC 8410), version 1 or 2.
    ///
    /// # Errors
    /// `damaged` where it is no such key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| Error::new(Code::Damaged, "the private key is not an Ed25519 key in PKCS#8"))?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { pair, key: Key::from_bytes(key) })
    }
    /// From the 32 bytes of an RFC 8032 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::new(Code::Damaged, "not an Ed25519 seed"))?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { pair, key: Key::from_bytes(key) })
    }
    /// The public half: who signs.
    pub fn key(&self) -> Key {
        self.key
    }
}

impl Envelope {
    /// Signs `payload` as `payload_type`. The same input gives the same bytes (Ed25519 is deterministic).
    pub fn seal(payload_type: &str, payload: Vec<u8>, signer: &SigningKey) -> Self {
        let sig = signer.pair.sign(&pae(payload_type, &payload)).as_ref().to_vec();
        let signatures = vec![Signature { keyid: signer.key.to_string(), sig }];
        Self { payload_type: payload_type.to_owned(), payload, signatures }
    }
    /// Checks that `signer` signed these very bytes as this very type. Says nothing about what is in them.
    ///
    /// # Errors
    /// `bad-signature`.
    pub fn verify(&self, signer: &Key) -> Result<()> {
        let refuse = |why: &str| {
            Error::new(
                Code::BadSignature,
                format!("an envelope of type {} is not signed by {}: {why}", self.payload_type, signer.short()),
            )
        };
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(refuse("it carries more signatures than allowed"));
        }
        let keyid = signer.to_string();
        let signature = self
            .signatures
            .iter()
            .find(|signature| signature.keyid == keyid)
            .ok_or_else(|| refuse("no signature of that key"))?;
        UnparsedPublicKey::new(&ED25519, signer.as_bytes())
            .verify(&pae(&self.payload_type, &self.payload), &signature.sig)
            .map_err(|_| refuse("the signature does not match the bytes"))
    }
    /// Names these bytes of this type: for repeats, chains and what one envelope says of another.
    pub fn hash(&self) -> Hash {
        Hash::of(&pae(&self.payload_type, &self.payload))
    }
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and lists serialize")
    }
    /// # Errors
    /// `bad-message`.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|why| Error::new(Code::BadMessage, format!("not a DSSE envelope: {why}")))
    }
}

/// The pre-authentication encoding (DSSE protocol.md): what is signed, so that type and payload cannot be traded.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // The example of the DSSE specification's protocol.md.
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_changed_byte_a_changed_type_or_another_key_is_refused() {
        let signer = SigningKey::from_seed(&[1; 32]).unwrap();
        let other = SigningKey::from_seed(&[2; 32]).unwrap();
        let envelope = Envelope::seal("text/plain", b"hello".to_vec(), &signer);
        envelope.verify(&signer.key()).unwrap();
        assert_eq!(envelope.verify(&other.key()).unwrap_err().code, Code::BadSignature);
        let mut changed = envelope.clone();
        changed.payload[0] ^= 1;
        assert_eq!(changed.verify(&signer.key()).unwrap_err().code, Code::BadSignature);
        let mut changed = envelope.clone();
        changed.payload_type = "text/html".into();
        assert_eq!(changed.verify(&signer.key()).unwrap_err().code, Code::BadSignature);
        assert_eq!(Envelope::from_json(&envelope.to_json()).unwrap(), envelope);
    }
}
