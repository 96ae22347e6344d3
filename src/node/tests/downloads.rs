use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::support::{Recorder, Running, client};
use crate::model::{Code, Digest, Hash, Result};
use crate::node::{Part, PieceRef, download};

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

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[tokio::test]
async fn a_package_comes_as_it_is_and_only_what_is_missing_comes_again() {
    let bytes = package(1_234_567);
    let (recorder, digest) = Recorder::with_package(&bytes);
    let server = Running::start(recorder).await;
    let (client, mut file, size) = (client(), tempfile::tempfile().unwrap(), bytes.len() as u64);
    let told = Mutex::new(Vec::new());
    let note = |done| told.lock().unwrap().push(done);
    download(&client, &server.address(), digest, size, &pieces(&bytes), &mut file, &note).await.unwrap();
    assert_eq!(content(&file), bytes);
    assert_eq!(told.lock().unwrap().first(), Some(&0));
    assert_eq!(told.lock().unwrap().len(), 14);

    // Two damaged pieces, and something behind the end.
    file.write_all_at(b"damage", 3 * PIECE as u64).unwrap();
    file.write_all_at(b"damage", 7 * PIECE as u64 + 5).unwrap();
    file.write_all_at(b"more", size).unwrap();
    told.lock().unwrap().clear();
    download(&client, &server.address(), digest, size, &pieces(&bytes), &mut file, &note).await.unwrap();
    assert_eq!(content(&file), bytes);
    let piece = PIECE as u64;
    assert_eq!(*told.lock().unwrap(), [size - 2 * piece, size - piece, size]);

    // Nothing is missing: nobody needs to be asked.
    drop(server);
    let nowhere = format!("deploy://{}", crate::model::Key::from_bytes([1; 32])).parse().unwrap();
    let list = pieces(&bytes);
    let again: Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> =
        Box::pin(download(&client, &nowhere, digest, size, &list, &mut file, &note));
    again.await.unwrap();
}

#[tokio::test]
async fn a_download_goes_on_after_the_server_was_killed() {
    let bytes = package(32 * 1024 * 1024);
    let (recorder, digest) = Recorder::with_package(&bytes);
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
    let mut file = tempfile::tempfile().unwrap();
    let client = client();
    let list = pieces(&bytes);
    let fetch = download(&client, &address, digest, bytes.len() as u64, &list, &mut file, &note);
    let restart = async {
        while !killer.is_finished() {
            tokio::task::yield_now().await;
        }
        let before = done.load(Ordering::SeqCst);
        (Running::start_at(&at, identity, recorder).await, before)
    };
    let (fetched, (_server, before)) = tokio::join!(fetch, restart);
    fetched.unwrap();
    assert!(before > 0 && before < bytes.len() as u64, "killed at {before}");
    assert!(content(&file) == bytes);
}

#[tokio::test]
async fn a_corrupted_piece_is_refused_and_the_good_ones_before_it_stay() {
    let bytes = package(5 * PIECE);
    let (recorder, digest) = Recorder::with_package(&bytes);
    recorder.files.lock().unwrap().get_mut(&(digest, Part::Package)).unwrap()[2 * PIECE + 9] ^= 1;
    let server = Running::start(recorder).await;
    let mut file = tempfile::tempfile().unwrap();
    let size = bytes.len() as u64;
    let fetched = download(&client(), &server.address(), digest, size, &pieces(&bytes), &mut file, &|_| {}).await;
    let error = fetched.unwrap_err();
    assert_eq!(error.code, Code::BadDigest);
    assert!(error.message.contains("piece 3 of 5"), "{error}");
    assert_eq!(content(&file), bytes[..2 * PIECE]);
}

#[tokio::test]
async fn a_refusal_ends_a_download_at_once() {
    let bytes = package(PIECE);
    let (recorder, digest) = Recorder::with_package(&bytes);
    let server = Running::start(recorder).await;
    let mut file = tempfile::tempfile().unwrap();
    let list = pieces(&bytes);
    let other = Digest::of(b"other");
    let size = PIECE as u64;
    let fetched = download(&client(), &server.address(), other, size, &list, &mut file, &|_| {}).await;
    assert_eq!(fetched.unwrap_err().code, Code::NotFound);
    // Pieces with a gap, and pieces of a package of another size.
    let mut gap = list.clone();
    gap[0].offset = 1;
    for (list, size) in [(&gap, size), (&list, size + 1)] {
        let fetched = download(&client(), &server.address(), digest, size, list, &mut file, &|_| {}).await;
        assert_eq!(fetched.unwrap_err().code, Code::BadArchive);
    }
    // The server's package is larger than the manifest says.
    let shorter = PieceRef { length: 10, ..list[0] };
    let fetched = download(&client(), &server.address(), digest, 10, &[shorter], &mut file, &|_| {}).await;
    assert_eq!(fetched.unwrap_err().code, Code::BadDigest);
}
