//! Packages on their way: over links that fail, from web servers and files, and after kills (rows N6, P8, B10).

#![expect(clippy::disallowed_methods, reason = "runs servers of other people, and lays out what they serve")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/noise.rs"]
mod noise;
#[path = "support/parties.rs"]
mod parties;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "support/services.rs"]
mod services;
#[path = "support/shelf.rs"]
mod shelf;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deployctl::model::{Code, Key, Source};
use deployctl::node::limits::REQUEST_BYTES_MOST;
use deployctl::node::{Fetched, Manners, download};
use noise::noise;
use parties::Parties;
use proxy::{Fault, Proxy, numbers};
use rustix::process::Signal;
use sandbox::{Sandbox, free_port, until};
use services::{Role, STAYS};
use shelf::{PIECE, Pieces, client, serve};

/// How often a link fails.
const FAULTS: usize = 100;

/// A file with these bytes and a node that hands it out.
async fn offered(folder: &Path, bytes: &[u8]) -> (Key, String) {
    let path = folder.join("offered");
    fs::write(&path, bytes).expect("a file");
    serve("127.0.0.1:0", path).await
}

fn node(key: Key, at: &str) -> Source {
    format!("deploy://{key}@{at}").parse().expect("an address")
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().expect("a file").len()).expect("a size")];
    file.read_exact_at(&mut bytes, 0).expect("its bytes");
    bytes
}

/// Impatient, so that a link that stalls holds nothing up for long.
fn manners() -> Manners {
    let window = Duration::from_millis(700);
    Manners { window, window_with_others: window, ..Manners::default() }
}

/// Bytes of what comes over it.
const SIZE: usize = 64 << 20;

/// Downloads over a link that fails a hundred times in these ways; gives what came over it beyond the package itself.
async fn waste(faults: &'static [Fault], seed: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = noise(SIZE, seed);
    let (key, at) = offered(folder.path(), &bytes).await;
    let mut random = numbers(seed);
    let proxy = Proxy::to(&at, move |number| {
        // Beyond the handshake and the first header, which have times of their own.
        let plan = (4096 + random(3 * PIECE as u64), faults[number % faults.len()]);
        (number < FAULTS).then_some(plan)
    });
    let (pieces, file) = (Pieces::of(&bytes), tempfile::tempfile().expect("a file"));
    let wanted = pieces.from(vec![node(key, &proxy.at.to_string())]);
    let fetched = download(&client(), wanted, &file, manners(), &|_| {}).await.expect("it is fetched");
    assert!(content(&file) == bytes);
    assert_eq!(fetched, Fetched { fetched: pieces.size, ..Fetched::default() });
    assert!(proxy.connections() > FAULTS, "only {} connections", proxy.connections());
    proxy.came().saturating_sub(pieces.size)
}

/// What TLS and HTTP add, and what a connection that breaks begins with: generously.
const AROUND: u64 = SIZE as u64 / 50 + FAULTS as u64 * 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_link_that_ends_or_stalls_a_hundred_times_each_time_at_most_one_piece_comes_twice() {
    let waste = waste(&[Fault::End, Fault::Stall], 1).await;
    assert!(waste <= AROUND + FAULTS as u64 * PIECE as u64, "{waste} bytes too many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_link_that_is_reset_or_flips_a_bit_a_hundred_times_at_most_one_request_comes_twice() {
    let waste = waste(&[Fault::Reset, Fault::Flip], 2).await;
    assert!(waste <= AROUND + FAULTS as u64 * REQUEST_BYTES_MOST, "{waste} bytes too many");
    // Requests shrink on such a link, so that it is far less.
    assert!(waste <= AROUND + FAULTS as u64 * 4 * PIECE as u64, "{waste} bytes too many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_goes_silent_is_left_for_another_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = noise(20 << 20, 3);
    let (key, at) = offered(folder.path(), &bytes).await;
    let silent = Proxy::to(&at, |_| Some((100_000, Fault::Stall)));
    let pieces = Pieces::of(&bytes);
    let file = tempfile::tempfile().expect("a file");
    let wanted = pieces.from(vec![node(key, &silent.at.to_string()), node(key, &at)]);
    download(&client(), wanted, &file, manners(), &|_| {}).await.expect("it is fetched");
    assert!(content(&file) == bytes);
    assert!(silent.came() < 20 * 101_000, "{}", silent.came());
}

/// A program of somebody else's that serves files. Ended when it is dropped.
struct Web(Child);

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Web {
    fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let web = Self(child.expect("it runs"));
        until("the web server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        web
    }
    /// Python's own, which knows no ranges.
    fn python(folder: &Path, port: u16) -> Self {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(folder).arg(port.to_string());
        Self::start(&mut command, port)
    }
    /// nginx, over TLS where it has a certificate.
    fn nginx(work: &Path, folder: &Path, port: u16, certificate: Option<(&Path, &Path)>) -> Self {
        let tls = certificate.map(|(certificate, key)| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;")
        });
        let kind = if tls.is_some() { " ssl" } else { "" };
        let (here, tls) = (work.display(), tls.unwrap_or_default());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {here}/{what};"))
            .concat();
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {here}/nginx.pid; error_log stderr;\n\
             events {{}} http {{ access_log off; {temporary}\n\
             server {{ listen 127.0.0.1:{port}{kind}; {tls} root {}; }} }}",
            folder.display()
        );
        fs::write(work.join("nginx.conf"), text).expect("a configuration");
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(work).arg("-c").arg(work.join("nginx.conf"));
        Self::start(&mut command, port)
    }
}

/// A folder in which a package lies as a web server would have it.
fn published(bytes: &[u8]) -> (tempfile::TempDir, Pieces) {
    let (folder, pieces) = (tempfile::tempdir().expect("a folder"), Pieces::of(bytes));
    fs::write(folder.path().join(format!("{}.tar.gz", pieces.digest)), bytes).expect("a package");
    (folder, pieces)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_without_ranges_is_a_source_and_its_stream_is_verified_on_the_way() {
    if !needs::has(&["python3"]) {
        return;
    }
    let bytes = noise(9 << 20, 4);
    let (folder, pieces) = published(&bytes);
    let port = free_port();
    let _web = Web::python(folder.path(), port);
    let counted = Proxy::to(&format!("127.0.0.1:{port}"), |number| (number == 0).then_some((3 << 20, Fault::End)));
    let source: Source = format!("http://{}/", counted.at).parse().expect("a source");
    let file = tempfile::tempfile().expect("a file");
    let wanted = || pieces.from(vec![source.clone()]);
    let fetched = download(&client(), wanted(), &file, manners(), &|_| {}).await.expect("it is fetched");
    assert!(content(&file) == bytes);
    assert_eq!(fetched.fetched, pieces.size);
    // Another request may be on its way when the first answer shows that ranges are not known there: it is broken off.
    assert!(counted.came() < 2 * pieces.size, "one cut, one stream from the beginning: {}", counted.came());

    // Of another file of that name nothing is kept.
    fs::write(folder.path().join(format!("{}.tar.gz", pieces.digest)), noise(9 << 20, 5)).expect("a package");
    let other = tempfile::tempfile().expect("a file");
    let error = download(&client(), wanted(), &other, manners(), &|_| {}).await.expect_err("it is another file");
    assert_eq!(error.code, Code::BadDigest);
    assert_eq!(other.metadata().expect("a file").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_a_source_over_plain_http_with_ranges_and_a_file_is_one_too() {
    if !needs::has(&["nginx"]) {
        return;
    }
    let bytes = noise(30 << 20, 6);
    let (folder, pieces) = published(&bytes);
    let (work, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let _web = Web::nginx(work.path(), folder.path(), port, None);
    let mut random = numbers(6);
    let cut = Proxy::to(&format!("127.0.0.1:{port}"), move |number| {
        (number < 20).then(|| (random(4 * PIECE as u64), [Fault::Flip, Fault::Reset, Fault::End][number % 3]))
    });
    // A flipped bit is a wrong piece here, and three of those are too many for one source: so there are several names.
    let sources: Vec<Source> =
        (0..9).map(|n| format!("http://{}/{}.tar.gz?{n}", cut.at, pieces.digest).parse().expect("a source")).collect();
    let file = tempfile::tempfile().expect("a file");
    download(&client(), pieces.from(sources), &file, manners(), &|_| {}).await.expect("it is fetched");
    assert!(content(&file) == bytes);

    let here = Source::File(folder.path().join(format!("{}.tar.gz", pieces.digest)));
    let copy = tempfile::tempfile().expect("a file");
    download(&client(), pieces.from(vec![here]), &copy, manners(), &|_| {}).await.expect("it is copied");
    assert!(content(&copy) == bytes);
    let nowhere: Source = format!("http://127.0.0.1:{port}/nothing").parse().expect("a source");
    let nothing = tempfile::tempfile().expect("a file");
    let fetched = download(&client(), pieces.from(vec![nowhere]), &nothing, manners(), &|_| {}).await;
    assert_eq!(fetched.expect_err("it is not there").code, Code::NotFound);
}

/// A provider and an Initiator that serve, and a peer `n` that listens nowhere and reaches the provider over a proxy.
struct Scene {
    parties: Parties,
    proxy: Proxy,
    stalls: Arc<AtomicBool>,
    _serving: Vec<sandbox::Serving>,
}

/// Bytes of what the peer gets, which do not compress.
const LOAD: usize = 12 << 20;

impl Scene {
    fn new() -> Self {
        let parties = Parties::new();
        let folder = parties.offer("heavy", &Role::new(STAYS), &Role::new(STAYS));
        fs::write(folder.join("guest/load"), noise(LOAD, 7)).expect("a load");
        let serving = ["p", "i"].map(|node| parties.serve(node)).into();
        let sandbox = &parties.sandbox;
        let address =
            |node: &str| sandbox.run(node, &["init"]).ok()["address"].as_str().expect("an address").to_owned();
        let (p, i) = (address("p"), address("i"));
        let (key, host) = p.split_once('@').expect("it listens");
        let stalls = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stalls);
        let proxy = Proxy::to(host, move |_| told.load(Ordering::SeqCst).then_some((3 << 20, Fault::Stall)));
        let own = sandbox.init_nowhere("n");
        sandbox.trust("n", "p", &format!("{key}@{}", proxy.at), "provide");
        sandbox.trust("n", "i", &i, "invite");
        sandbox.trust("i", "n", &own, "");
        sandbox.trust("p", "n", &own, "request");
        Self { parties, proxy, stalls, _serving: serving }
    }
    fn sandbox(&self) -> &Sandbox {
        &self.parties.sandbox
    }
    /// A session that `n` takes part in, as far as that its package is delivered.
    fn delivered(&self) -> (String, PathBuf) {
        let session = self.parties.request("heavy", &["--peer", "n"]);
        let accepted = self.sandbox().run("n", &["accept", "--from", "p", "--yes"]);
        assert_eq!(accepted.code, 0, "{accepted:#?}");
        let status = self.sandbox().wait("p", &session, "delivering", |status| status["state"] == "delivering");
        let packages = status["packages"].as_array().expect("packages");
        let guest = packages.iter().find(|package| package["role"] == "guest").expect("a package for it");
        let digest = guest["digest"].as_str().expect("a digest");
        (session, self.sandbox().state("p").join(format!("packages/{digest}.tar.gz")))
    }
    /// From now on the service is another one, by a few bytes.
    fn change(&self) {
        let script = self.parties.services().join("heavy/guest/run.sh");
        fs::write(script, format!("# changed\n{STAYS}")).expect("a change");
    }
    fn installed(&self, session: &str) -> bool {
        let load = self.sandbox().installed("n", session, "guest").join("current/load");
        fs::read(load).is_ok_and(|bytes| bytes == noise(LOAD, 7))
    }
}

#[test]
fn after_a_kill_in_the_midst_only_what_was_not_verified_is_fetched_and_an_update_fetches_what_changed() {
    let scene = Scene::new();
    let (session, package) = scene.delivered();
    let size = fs::metadata(&package).expect("a package").len();
    scene.stalls.store(true, Ordering::SeqCst);
    let before = scene.proxy.came();
    let mut installing = scene.sandbox().begin("n", &["install", &session]);
    until("some of it came", || scene.proxy.came() - before > 4 << 20);
    assert!(!installing.has_ended());
    installing.signal(Signal::KILL);
    installing.finish();
    scene.stalls.store(false, Ordering::SeqCst);
    scene.sandbox().run("n", &["install", &session]).ok();
    assert!(scene.installed(&session));
    let came = scene.proxy.came() - before;
    // Two requests were under way, and each had brought most of a piece.
    assert!(came < size + size / 50 + 2 * REQUEST_BYTES_MOST && came > size, "{came} for {size}");
    assert!(came < size + (4 << 20), "{came} for {size}");

    // Another session of the same software: another package, and nearly all pieces are here.
    scene.change();
    let (again, other) = scene.delivered();
    assert_ne!(package, other);
    let before = scene.proxy.came();
    scene.sandbox().run("n", &["install", &again]).ok();
    assert!(scene.installed(&again));
    let came = scene.proxy.came() - before;
    assert!(came < 2 << 20, "{came} bytes for a change of ten");
}

#[test]
fn a_package_is_installed_from_a_web_server_over_tls_and_the_provider_hands_out_the_manifest_alone() {
    if !needs::has(&["nginx", "openssl"]) {
        return;
    }
    let scene = Scene::new();
    let (session, package) = scene.delivered();
    let (work, port) = (scene.sandbox().path().join("web"), free_port());
    fs::create_dir_all(&work).expect("a folder");
    let (certificate, key) = (work.join("web.crt"), work.join("web.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let web = Web::nginx(&work, package.parent().expect("a folder"), port, Some((&certificate, &key)));
    let url = format!("https://localhost:{port}/");
    let before = scene.proxy.came();
    let install = ["--format", "json", "--timeout", "60s", "install", &session, "--source", &url];
    let command = || scene.sandbox().command("n", &install);
    let done = command().env("SSL_CERT_FILE", &certificate).output().expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(scene.installed(&session));
    let came = scene.proxy.came() - before;
    assert!(came < 1 << 20, "{came} bytes came from the provider");

    // A server that nobody vouches for is not asked, and the provider is, after all.
    drop(web);
    scene.change();
    let (other, package) = scene.delivered();
    let _web = Web::nginx(&work, package.parent().expect("a folder"), port, Some((&certificate, &key)));
    let packages = scene.sandbox().state("n").join("packages");
    for entry in fs::read_dir(packages).expect("packages").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "pieces") {
            fs::remove_file(entry.path()).expect("what is remembered of a package");
        }
    }
    let before = scene.proxy.came();
    let install = ["--format", "json", "install", &other, "--source", &url];
    let done = scene.sandbox().command("n", &install).output().expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(scene.installed(&other));
    assert!(scene.proxy.came() - before > LOAD as u64);
}
