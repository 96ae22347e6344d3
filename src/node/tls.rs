//! TLS 1.3 in which the key is the identity: no names and no dates are judged, as in SSH, unless the node has authorities
//! to which certificates must chain as well. What is always checked is the handshake's signature, that is, that the other
//! side holds the private key of its certificate.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as TlsError,
    OtherError, PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme,
};

use super::authorities::{Authorities, Side};
use super::identity::{NodeIdentity, public_key_of_certificate};
use crate::model::{Code, Error, Key, Result};

/// What both sides speak (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The one source of cryptography: given explicitly everywhere, so that none depends on the process's default.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        // AES-128 first: as safe against anything known, and the fastest on machines with AES instructions.
        provider.cipher_suites = vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        Arc::new(provider)
    });
    &PROVIDER
}

/// The server's side: a client certificate is required, and any Ed25519 key is taken; what that key may do is asked
/// for each request. No tickets and no resumption, so that every connection proves its key.
pub(super) fn server_config(identity: &NodeIdentity) -> Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| internal(&why))?
        .with_client_cert_verifier(Arc::new(AnyKey(identity.authorities())))
        .with_cert_resolver(Arc::new(single(&identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// The client's side of a connection to the node with this very key, or to see which it has.
pub(super) fn client_config(identity: &NodeIdentity, expected: Option<Key>) -> Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| internal(&why))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ThisKey { expected, authorities: identity.authorities() }))
        .with_client_cert_resolver(Arc::new(single(&identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Where systems keep the certificates that they trust: Debian, Fedora, SUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The client's side of a connection to a web server, by the rules of the web: names, dates, and the authorities that
/// this system trusts, or those of the file that `SSL_CERT_FILE` names. This node's own certificate is not shown.
pub(super) fn web_config() -> Result<Arc<ClientConfig>> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let places = named.map_or_else(|| SYSTEM_ROOTS.map(PathBuf::from).to_vec(), |named| vec![named]);
    let mut roots = RootCertStore::empty();
    if let Some(found) = places.iter().find_map(|place| CertificateDer::pem_file_iter(place).ok()) {
        roots.add_parsable_certificates(found.filter_map(Result::ok));
    }
    if roots.is_empty() {
        let why = format!("no certificates of authorities were found in {}", places[0].display());
        return Err(Error::new(Code::Io, why).hint("install the package ca-certificates, or set SSL_CERT_FILE"));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| internal(&why))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// What a client calls the server: the key says who it is, so no name is sent or compared.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// The key of the other side once the handshake is done.
pub(super) fn peer_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<Key> {
    certificates?.first().and_then(|certificate| public_key_of_certificate(certificate).ok())
}

/// The server showed another key than the address names.
#[derive(Debug)]
pub(super) struct OtherKey {
    pub(super) expected: Key,
    pub(super) seen: Key,
}
impl fmt::Display for OtherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected the key {}, saw {}", self.expected, self.seen)
    }
}
impl std::error::Error for OtherKey {}

/// Finds [`OtherKey`] in a failed handshake.
pub(super) fn other_key(why: &std::io::Error) -> Option<&OtherKey> {
    match why.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// Why a handshake failed for a certificate: the other side's, or as that one said, ours.
pub(super) fn about_certificate(why: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(why);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<TlsError>().or_else(|| inner.and_then(|inner| inner.downcast_ref::<TlsError>()));
        match tls {
            Some(TlsError::InvalidCertificate(why)) => return Some(format!("its certificate was refused: {why}")),
            Some(TlsError::AlertReceived(
                alert @ (AlertDescription::UnknownCA
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::DecryptError),
            )) => return Some(format!("it refused this node's certificate: {alert:?}")),
            _ => next = error.source(),
        }
    }
    None
}

/// Takes a server with this key only, or with any where none is expected.
#[derive(Debug)]
struct ThisKey {
    expected: Option<Key>,
    authorities: Option<Arc<Authorities>>,
}

impl ServerCertVerifier for ThisKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let seen = ed25519_key(end_entity)?;
        if let Some(expected) = self.expected.filter(|expected| *expected != seen) {
            let other = OtherError(Arc::new(OtherKey { expected, seen }));
            return Err(TlsError::InvalidCertificate(CertificateError::Other(other)));
        }
        if let Some(authorities) = &self.authorities {
            authorities.check(end_entity, intermediates, Side::Server, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        holds_the_key(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Takes a client with any Ed25519 key.
#[derive(Debug)]
struct AnyKey(Option<Arc<Authorities>>);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        ed25519_key(end_entity)?;
        if let Some(authorities) = &self.0 {
            authorities.check(end_entity, intermediates, Side::Client, now)?;
        }
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        holds_the_key(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn ed25519_key(certificate: &CertificateDer<'_>) -> Result<Key, TlsError> {
    public_key_of_certificate(certificate).map_err(|_| TlsError::InvalidCertificate(CertificateError::BadEncoding))
}

/// Checks the handshake's signature: the proof that the other side holds the private key.
fn holds_the_key(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    verify_tls13_signature(message, certificate, dss, &provider().signature_verification_algorithms)
}

fn single(certified: &Arc<CertifiedKey>) -> SingleCertAndKey {
    SingleCertAndKey::from(Arc::clone(certified))
}

fn internal(why: &TlsError) -> Error {
    Error::new(Code::Internal, format!("setting up TLS: {why}"))
}
