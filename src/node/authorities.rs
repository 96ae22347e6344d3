//! Certificate authorities that a node's owner configured: with them, a certificate must chain to one, be valid now, and be
//! for what it is used for. The key is looked at beside, as always.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error as TlsError, OtherError};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::tls;
use crate::model::{Code, Error, Result};

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// The certificates of `[tls] ca`.
pub struct Authorities(Vec<TrustAnchor<'static>>);

impl Authorities {
    /// From X.509 certificates in PEM.
    ///
    /// # Errors
    /// `bad-input` where there is none, or one that does not parse.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let refuse = |why: String| Error::new(Code::BadInput, format!("the certificate authorities: {why}"));
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate.map_err(|why| refuse(why.to_string()))?;
            let anchor = anchor_from_trusted_cert(&certificate).map_err(|why| refuse(why.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(refuse("there is no certificate in the file".to_owned()));
        }
        Ok(Self(anchors))
    }

    /// Whether a certificate chains to one of these, at this time and for this side.
    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let usage = match side {
            Side::Server => KeyUsage::server_auth(),
            Side::Client => KeyUsage::client_auth(),
        };
        let algorithms = tls::provider().signature_verification_algorithms.all;
        let certificate = EndEntityCert::try_from(certificate).map_err(refusal)?;
        let chain = certificate.verify_for_usage(algorithms, &self.0, intermediates, now, usage, None, None);
        chain.map(drop).map_err(refusal)
    }
}
impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

/// What the other side is told by TLS's alert for it.
fn refusal(why: webpki::Error) -> TlsError {
    TlsError::InvalidCertificate(match why {
        webpki::Error::CertExpired { .. } | webpki::Error::InvalidCertValidity => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}
