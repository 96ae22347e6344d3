use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::support::{Recorder, Running, client, host, identity, posted, read_to_end};
use crate::model::{Address, Code};
use crate::node::{Client, NodeIdentity, PostAnswer, Server, generate, tls};
use crate::system::System;

#[tokio::test]
async fn each_side_knows_the_others_key() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let me = identity();
    let client = Client::new(Arc::clone(&me));
    assert_eq!(client.post(&server.address(), &posted(&me, "take")).await.unwrap(), PostAnswer::Accepted);
    assert_eq!(recorder.callers.lock().unwrap()[0].key, me.key());
    assert_eq!(client.node(&server.address()).await.unwrap()["you"], me.key().to_string());
}

#[tokio::test]
async fn a_server_with_another_key_is_refused_by_both_names() {
    let server = Running::start(Recorder::new()).await;
    let expected = identity().key();
    let address = Address { key: expected, host: Some(host(server.at)) };
    let error = client().node(&address).await.unwrap_err();
    assert_eq!((error.code, error.code.exit()), (Code::WrongKey, 4));
    assert!(error.message.contains(&expected.to_string()), "{error}");
    assert!(error.message.contains(&server.identity.key().to_string()), "{error}");
}

#[tokio::test]
async fn a_client_without_a_certificate_gets_no_answer() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let mut config = tls::client_config(&identity(), Some(server.identity.key())).unwrap();
    Arc::get_mut(&mut config).unwrap().client_auth_cert_resolver = Arc::new(NoCertificate);
    let tcp = TcpStream::connect(server.at).await.unwrap();
    let mut stream = TlsConnector::from(config).connect(ServerName::try_from("x.example").unwrap(), tcp).await.unwrap();
    let _ = stream.write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, "");
    assert_eq!(recorder.refusal("handshake failed").await.0, None);
}

#[derive(Debug)]
struct NoCertificate;
impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_that_shows_a_certificate_of_another_kind_of_key_is_refused() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let (pair, other) = (rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(), identity());
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let signer = tls::provider().key_provider.load_private_key(key).unwrap();
    let certified = Arc::new(rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], signer));
    let mut config = tls::client_config(&other, Some(server.identity.key())).unwrap();
    Arc::get_mut(&mut config).unwrap().client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let tcp = TcpStream::connect(server.at).await.unwrap();
    let mut stream = TlsConnector::from(config).connect(tls::server_name(), tcp).await.unwrap();
    let _ = stream.write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, "");
    recorder.refusal("handshake failed").await;
}

#[tokio::test]
async fn a_certificate_shown_without_its_private_key_is_refused() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let (victim, thief) = (identity(), identity());
    let stolen = rustls::sign::CertifiedKey::new(victim.certified().cert.clone(), Arc::clone(&thief.certified().key));
    let mut config = tls::client_config(&thief, Some(server.identity.key())).unwrap();
    Arc::get_mut(&mut config).unwrap().client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    let tcp = TcpStream::connect(server.at).await.unwrap();
    let mut stream = TlsConnector::from(config).connect(tls::server_name(), tcp).await.unwrap();
    let _ = stream.write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, "");
    recorder.refusal("handshake failed").await;
}

#[tokio::test]
async fn plain_http_gets_no_http_answer() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let mut tcp = TcpStream::connect(server.at).await.unwrap();
    tcp.write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(!read_to_end(&mut tcp).await.contains("HTTP"));
    recorder.refusal("handshake failed").await;
}

#[tokio::test]
async fn who_is_silent_or_slow_is_cut_within_its_limit() {
    let server = Running::start(Recorder::new()).await;
    let begun = Instant::now();
    let silent = async {
        let mut tcp = TcpStream::connect(server.at).await.unwrap();
        read_to_end(&mut tcp).await
    };
    let silent_after_handshake = async {
        let mut stream = server.connect(&identity()).await;
        read_to_end(&mut stream).await
    };
    let drips = async {
        let (mut read, mut write) = tokio::io::split(server.connect(&identity()).await);
        let drip = async {
            for byte in b"GET /v1/node HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".chunks(1) {
                if write.write_all(byte).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::join!(drip, read_to_end(&mut read)).1
    };
    let good = async {
        let mut stream = server.connect(&identity()).await;
        // Between two requests a connection may lie longer than a header may take.
        for _ in 0..2 {
            stream.write_all(b"GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            tokio::time::sleep(Duration::from_millis(5500)).await;
            let mut rest = vec![0; 4096];
            assert!(stream.read(&mut rest).await.unwrap() > 0);
        }
    };
    let cut = async {
        let answers = tokio::join!(silent, silent_after_handshake, drips);
        assert!((4..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(!format!("{answers:?}").contains("HTTP/1.1 200"), "{answers:?}");
    };
    tokio::join!(cut, good);
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let me = client();
    let nowhere = Address { key: identity().key(), host: None };
    let error = me.node(&nowhere).await.unwrap_err();
    assert_eq!((error.code, error.code.exit()), (Code::Unreachable, 5));
    assert!(error.hint.unwrap().contains("no HOST:PORT"));
    let free = Server::bind("127.0.0.1:0").await.unwrap().local_addr();
    let error = me.node(&Address { key: nowhere.key, host: Some(host(free)) }).await.unwrap_err();
    assert_eq!(error.code, Code::Unreachable);
    assert!(error.message.contains(&free.to_string()) && error.hint.unwrap().contains("nothing listens"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = Server::bind("127.0.0.1:0").await.unwrap();
    let error = Server::bind(&taken.local_addr().to_string()).await.unwrap_err();
    assert_eq!(error.code, Code::Io);
    assert!(error.message.contains(&taken.local_addr().to_string()) && error.hint.unwrap().contains("another program"));
}

#[tokio::test]
async fn openssl_and_curl_see_tls_1_3_with_a_certificate_and_nothing_else() {
    let server = Running::start(Recorder::new()).await;
    let (key, certificate) = generate(&System::real()).unwrap();
    let me = NodeIdentity::from_pem(&key, &certificate).unwrap();
    let (key, certificate) = (file(&key), file(&certificate));
    let (key, certificate) = (key.path().to_str().unwrap(), certificate.path().to_str().unwrap());
    let at = server.at.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["s_client", "-connect", &at, version, "-cert", certificate, "-key", key, "-brief"];
        let Some((success, text)) = run("openssl", &arguments).await else { return };
        assert_eq!(success, version == "-tls1_3", "{version}: {text}");
    }
    let url = format!("https://{at}/v1/node");
    let Some((_, text)) = run("curl", &["-sk", "--cert", certificate, "--key", key, &url]).await else { return };
    assert!(text.contains(&me.key().to_string()), "{text}");
    let (success, text) = run("curl", &["-sk", &url]).await.unwrap();
    assert!(!success && text.is_empty(), "{text}");
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Whether a program succeeded, and its output; `None` where this machine does not have it.
async fn run(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let Ok(output) = output else {
        println!("skipped: no {program} on this machine");
        return None;
    };
    Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}
