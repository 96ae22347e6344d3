//! A node's identity: one Ed25519 key, and a self-signed certificate of that key for TLS to carry it in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use super::authorities::{Authorities, Side};
use super::tls;
use crate::message::SigningKey;
use crate::model::{Code, Error, Key, Result, Time};
use crate::system::System;

/// The PKCS#8 version 1 wrapping of an Ed25519 seed (RFC 8410 §7). Version 2, which aws-lc-rs writes, carries the
/// public key too and is refused by OpenSSL 3.
const PKCS8_V1: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// A `SubjectPublicKeyInfo` of Ed25519 up to the 32 bytes of the key (RFC 8410 §4), without the outer SEQUENCE.
const SPKI: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// The subject of every certificate: names are local, so it says nothing of its node.
const COMMON_NAME: &str = "deployctl node";

/// Who this node is. The private key stays inside: it can sign and shake hands, and cannot be printed.
#[derive(Clone)]
pub struct NodeIdentity {
    signing: Arc<SigningKey>,
    certified: Arc<CertifiedKey>,
    /// To which the others' certificates must chain; none: no matter to which.
    authorities: Option<Arc<Authorities>>,
}

impl NodeIdentity {
    /// From the texts of `node.key` (PKCS#8 PEM) and `node.crt` (X.509 PEM, with the authorities in between, if any).
    ///
    /// # Errors
    /// `damaged` where one does not read, or the certificate is of another key.
    pub fn from_pem(key_pem: &str, certificate_pem: &str) -> Result<Self> {
        let damaged = |what: &str| {
            Error::new(Code::Damaged, what).hint("put back the two identity files as `deployctl init` made them")
        };
        let private = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| damaged("the private key is not PKCS#8 in PEM"))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect();
        let chain = chain.map_err(|_| damaged("the certificate is not X.509 in PEM"))?;
        let certificate = chain.first().ok_or_else(|| damaged("the certificate is not X.509 in PEM"))?;
        let signing = SigningKey::from_pkcs8(private.secret_pkcs8_der())?;
        if public_key_of_certificate(certificate).ok() != Some(signing.key()) {
            return Err(damaged("the certificate is not one of the private key"));
        }
        let signer = tls::provider()
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(private))
            .map_err(|_| damaged("the private key does not fit TLS"))?;
        let certified = CertifiedKey::new(chain, signer);
        Ok(Self { signing: Arc::new(signing), certified: Arc::new(certified), authorities: None })
    }
    /// Takes only those whose certificates chain to one of these.
    #[must_use]
    pub fn with_authorities(self, authorities: Authorities) -> Self {
        Self { authorities: Some(Arc::new(authorities)), ..self }
    }
    pub(super) fn authorities(&self) -> Option<Arc<Authorities>> {
        self.authorities.clone()
    }
    /// Why others with the same authorities would refuse this node, if so.
    pub fn objection(&self, now: Time) -> Option<String> {
        let (certificate, intermediates) = self.certified.cert.split_first()?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.unix_ms()).unwrap_or(0)));
        let authorities = self.authorities.as_ref()?;
        let check = |side| authorities.check(certificate, intermediates, side, now);
        check(Side::Server).and(check(Side::Client)).err().map(|why| why.to_string())
    }
    /// The public key: who this node is to the others.
    pub fn key(&self) -> Key {
        self.signing.key()
    }
    /// What signs this node's envelopes.
    pub fn signing(&self) -> Arc<SigningKey> {
        Arc::clone(&self.signing)
    }
    /// The certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], AsRef::as_ref)
    }
    /// Certificate and key, as TLS takes them.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeIdentity({})", self.key())
    }
}

/// Draws a new key and makes its certificate: (PKCS#8 PEM, X.509 PEM). The certificate is valid from 1975 to 4096,
/// because it is the key that is trusted, until somebody removes the contact.
///
/// # Errors
/// `internal` where the certificate cannot be made.
pub fn generate(system: &System) -> Result<(String, String)> {
    let internal = |why: rcgen::Error| Error::new(Code::Internal, format!("making a certificate: {why}"));
    let mut der = PKCS8_V1.to_vec();
    der.extend_from_slice(&system.random::<32>());
    let pair =
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519).map_err(internal)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    let certificate = params.self_signed(&pair).map_err(internal)?;
    Ok((pair.serialize_pem(), certificate.pem()))
}

/// A request (PKCS#10, PEM) for a certificate of this key, for an authority to sign.
///
/// # Errors
/// `damaged` where the key does not read, `internal`.
pub fn signing_request(key_pem: &str, name: Option<&str>) -> Result<String> {
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(key_pem, &PKCS_ED25519)
        .map_err(|why| Error::new(Code::Damaged, format!("the private key does not read: {why}")))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.unwrap_or(COMMON_NAME));
    let request = params.serialize_request(&pair).and_then(|request| request.pem());
    request.map_err(|why| Error::new(Code::Internal, format!("making a certificate request: {why}")))
}

/// The Ed25519 key that a certificate (DER) carries. Neither its names, its dates nor its signature are judged.
///
/// # Errors
/// `bad-input` where it does not parse or carries a key of another kind.
pub fn public_key_of_certificate(der: &[u8]) -> Result<Key> {
    let refuse = |why: &str| Error::new(Code::BadInput, format!("the certificate {why}"));
    let der = CertificateDer::from(der);
    let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| refuse("does not parse"))?;
    let info = certificate.subject_public_key_info();
    // The outer SEQUENCE's tag and length are two bytes: the content is 42 bytes long.
    let key = info.as_ref().get(2..).and_then(|content| content.strip_prefix(&SPKI)).map(<[u8; 32]>::try_from);
    match key {
        Some(Ok(key)) => Ok(Key::from_bytes(key)),
        _ => Err(refuse("is not of an Ed25519 key")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "asks the openssl program for a second opinion")]

    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_generated_is_one_identity() {
        let (key, certificate) = generate(&System::real()).unwrap();
        let identity = NodeIdentity::from_pem(&key, &certificate).unwrap();
        assert_eq!(public_key_of_certificate(identity.certificate()).unwrap(), identity.key());
        assert_eq!(format!("{identity:?}"), format!("NodeIdentity({})", identity.key()));
    }

    #[test]
    fn a_key_and_the_certificate_of_another_are_refused() {
        let (key, certificate) = generate(&System::real()).unwrap();
        let (_, other) = generate(&System::real()).unwrap();
        for (key, certificate) in [(&*key, &*other), ("", &*certificate), (&*key, "no PEM")] {
            assert_eq!(NodeIdentity::from_pem(key, certificate).unwrap_err().code, Code::Damaged);
        }
    }

    #[test]
    fn a_certificate_of_another_kind_of_key_is_refused() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        assert_eq!(public_key_of_certificate(certificate.der()).unwrap_err().code, Code::BadInput);
        assert_eq!(public_key_of_certificate(b"0").unwrap_err().code, Code::BadInput);
    }

    #[test]
    fn openssl_reads_the_key_and_the_certificate() {
        let (key, certificate) = generate(&System::real()).unwrap();
        for (text, arguments) in [(key, ["pkey", "-noout", "-check"]), (certificate, ["x509", "-noout", "-subject"])] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let Ok(output) = Command::new("openssl").args(arguments).arg("-in").arg(file.path()).output() else {
                println!("skipped: no openssl on this machine");
                return;
            };
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
