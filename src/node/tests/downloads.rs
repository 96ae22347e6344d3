use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::{Recorder, Running, client};
use crate::model::{Address, Code, Digest, Hash, Result, Source};
use crate::node::{Fetched, Here, Manners, Part, PieceRef, Wanted, download};

const PIECE: usize = 100_000;

/// Bytes that do not repeat.
fn package(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn pieces(bytes: &[u8]) -> Vec<PieceRef> {
    let piece = |(n, piece): (usize, &[u8])| PieceRef {
        offset: (n * PIECE) as u64,
        length: piece.len() as u64,
        hash: Hash::of(piece),
    };
    bytes.chunks(PIECE).enumerate().map(piece).collect()
}

/// A package that one source has.
struct Offer {
    digest: Digest,
    pieces: Vec<PieceRef>,
    size: u64,
}

impl Offer {
    fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), pieces: pieces(bytes), size: bytes.len() as u64 }
    }
    fn from(&self, sources: Vec<Source>) -> Wanted<'_> {
        let Self { digest, pieces, size } = self;
        Wanted { digest: *digest, size: *size, pieces, sources, otherwise: Vec::new(), here: Vec::new() }
    }
    async fn fetch(&self, from: Address, into: &File, note: &(dyn Fn(u64) + Sync)) -> Result<Fetched> {
        download(&client(), self.from(vec![Source::Node(from)]), into, Manners::default(), note).await
    }
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[tokio::test]
async fn a_package_comes_as_it_is_and_only_what_is_missing_comes_again() {
    let bytes = package(1_234_567);
    let server = Running::start(Recorder::with_package(&bytes).0).await;
    let (offer, file) = (Offer::of(&bytes), tempfile::tempfile().unwrap());
    let told = Mutex::new(Vec::new());
    let note = |done| told.lock().unwrap().push(done);
    let fetched = offer.fetch(server.address(), &file, &note).await.unwrap();
    assert_eq!(fetched, Fetched { fetched: offer.size, ..Fetched::default() });
    assert!(content(&file) == bytes);
    let told_first = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!((told_first.first(), told_first.last()), (Some(&0), Some(&offer.size)));
    assert!(told_first.is_sorted());

    // Two damaged pieces, and something behind the end.
    file.write_all_at(b"damage", 3 * PIECE as u64).unwrap();
    file.write_all_at(b"damage", 7 * PIECE as u64 + 5).unwrap();
    file.write_all_at(b"more", offer.size).unwrap();
    let fetched = offer.fetch(server.address(), &file, &note).await.unwrap();
    assert!(content(&file) == bytes);
    assert_eq!(fetched.fetched, 2 * PIECE as u64);

    // Nothing is missing: nobody needs to be asked.
    drop(server);
    let nowhere = format!("deploy://{}", crate::model::Key::from_bytes([1; 32])).parse().unwrap();
    let fetched = offer.fetch(nowhere, &file, &note).await.unwrap();
    assert_eq!(fetched, Fetched { resumed: offer.size, ..Fetched::default() });
}

#[tokio::test]
async fn a_download_goes_on_after_the_server_was_killed() {
    let bytes = package(32 * 1024 * 1024);
    let (recorder, _) = Recorder::with_package(&bytes);
    let server = Running::start(Arc::clone(&recorder)).await;
    let (at, address, identity) = (server.at.to_string(), server.address(), Arc::clone(&server.identity));
    let done = AtomicU64::new(0);
    let killer = server.task;
    let note = |so_far| {
        assert!(so_far >= done.swap(so_far, Ordering::SeqCst), "verified pieces stay");
        if so_far > 0 {
            killer.abort();
        }
    };
    let (offer, file) = (Offer::of(&bytes), tempfile::tempfile().unwrap());
    let fetch = offer.fetch(address, &file, &note);
    let restart = async {
        while !killer.is_finished() {
            tokio::task::yield_now().await;
        }
        let before = done.load(Ordering::SeqCst);
        (Running::start_at(&at, identity, recorder).await, before)
    };
    let (fetched, (_server, before)) = tokio::join!(fetch, restart);
    assert_eq!(fetched.unwrap().fetched, offer.size);
    assert!(before > 0 && before < bytes.len() as u64, "killed at {before}");
    assert!(content(&file) == bytes);
}

/// A server whose copy of a package has a flaw in this piece.
async fn flawed(bytes: &[u8], at: usize) -> Running {
    let (recorder, digest) = Recorder::with_package(bytes);
    recorder.files.lock().unwrap().get_mut(&(digest, Part::Package)).unwrap()[at * PIECE + 9] ^= 1;
    Running::start(recorder).await
}

#[tokio::test]
async fn a_corrupted_piece_is_refused_and_all_the_good_ones_stay() {
    let bytes = package(5 * PIECE);
    let server = flawed(&bytes, 2).await;
    let (offer, file) = (Offer::of(&bytes), tempfile::tempfile().unwrap());
    let error = offer.fetch(server.address(), &file, &|_| {}).await.unwrap_err();
    assert_eq!(error.code, Code::BadDigest);
    assert!(error.message.contains("piece 3 of 5"), "{error}");
    let kept = content(&file);
    assert!(kept[..2 * PIECE] == bytes[..2 * PIECE] && kept[3 * PIECE..] == bytes[3 * PIECE..]);
    assert!(kept[2 * PIECE..3 * PIECE].iter().all(|byte| *byte == 0), "what is not verified is not written");
}

#[tokio::test]
async fn what_one_source_sends_wrong_another_sends_right() {
    let bytes = package(20 * PIECE);
    let (one, two) = (flawed(&bytes, 2).await, flawed(&bytes, 17).await);
    let (offer, file) = (Offer::of(&bytes), tempfile::tempfile().unwrap());
    let sources = [&one, &two].map(|server| Source::Node(server.address())).to_vec();
    let fetched = download(&client(), offer.from(sources), &file, Manners::default(), &|_| {}).await.unwrap();
    assert!(content(&file) == bytes);
    assert_eq!(fetched.fetched, offer.size);
}

#[tokio::test]
async fn a_source_that_is_away_slow_or_refuses_is_left_for_the_next_and_the_last_resort_is_asked_last() {
    let bytes = package(10 * PIECE);
    let empty = Running::start(Recorder::new()).await;
    let away = Running::start(Recorder::new()).await;
    let away_at = away.address();
    away.stop().await;
    // It takes a connection and never says a word; its handshake has its time, so it is not waited for in vain.
    let (good, offer) = (Running::start(Recorder::with_package(&bytes).0).await, Offer::of(&bytes));
    let file = tempfile::tempfile().unwrap();
    let mut wanted = offer.from(vec![Source::Node(empty.address()), Source::Node(away_at)]);
    wanted.otherwise = vec![Source::Node(good.address())];
    let manners = Manners { reconnect: Duration::from_secs(20), ..Manners::default() };
    download(&client(), wanted, &file, manners, &|_| {}).await.unwrap();
    assert!(content(&file) == bytes);
}

#[tokio::test]
async fn pieces_of_other_files_here_are_copied_and_only_the_rest_is_fetched() {
    let (old, mut new) = (package(20 * PIECE), package(20 * PIECE));
    new[4 * PIECE] ^= 1;
    new[13 * PIECE] ^= 1;
    let (offer, was) = (Offer::of(&new), pieces(&old));
    let (file, earlier) = (tempfile::tempfile().unwrap(), Arc::new(tempfile::tempfile().unwrap()));
    earlier.write_all_at(&old, 0).unwrap();
    // The hint for one more is wrong, and that for another one leads beyond the end.
    earlier.write_all_at(b"damage", 7 * PIECE as u64).unwrap();
    let same = (0..20).filter(|piece| was[*piece].hash == offer.pieces[*piece].hash);
    let here = |piece: usize| Here { piece, file: Arc::clone(&earlier), offset: was[piece].offset };
    let mut wanted = offer.from(Vec::new());
    wanted.here = same.map(here).collect();
    wanted.here[0].offset = u64::MAX / 2;
    assert_eq!(wanted.here.len(), 18);
    let server = Running::start(Recorder::with_package(&new).0).await;
    wanted.sources = vec![Source::Node(server.address())];
    let fetched = download(&client(), wanted, &file, Manners::default(), &|_| {}).await.unwrap();
    assert!(content(&file) == new);
    let piece = PIECE as u64;
    assert_eq!(fetched, Fetched { resumed: 0, reused: 16 * piece, fetched: 4 * piece });
}

#[tokio::test]
async fn a_refusal_ends_a_download_at_once() {
    let bytes = package(PIECE);
    let server = Running::start(Recorder::with_package(&bytes).0).await;
    let file = tempfile::tempfile().unwrap();
    let offer = Offer::of(&bytes);
    let (list, digest, size) = (offer.pieces.clone(), offer.digest, offer.size);
    // Pieces with a gap, pieces of a package of another size, and a server whose package is larger than the manifest says.
    let mut gap = list.clone();
    gap[0].offset = 1;
    let shorter = PieceRef { length: 10, ..list[0] };
    for (offer, code) in [
        (Offer { digest: Digest::of(b"other"), pieces: list.clone(), size }, Code::NotFound),
        (Offer { digest, pieces: gap, size }, Code::BadArchive),
        (Offer { digest, pieces: list, size: size + 1 }, Code::BadArchive),
        (Offer { digest, pieces: vec![shorter], size: 10 }, Code::BadDigest),
    ] {
        let fetched = offer.fetch(server.address(), &file, &|_| {}).await;
        assert_eq!(fetched.unwrap_err().code, code);
    }
}
