//! A lane: one request at a time, from whichever source the board names; each piece verified, then written at its place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::header::CONTENT_RANGE;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::board::{Board, Grip, Next};
use super::stream::Stream;
use super::{Manners, PieceRef};
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Hash, Result, Source};
use crate::node::client::{Begun, Client};
use crate::node::limits::PIECE_TRIES;
use crate::node::pool::Link;
use crate::node::range::ByteRange;
use crate::node::web;

/// What all lanes of a download share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) pieces: Arc<[PieceRef]>,
    pub(super) sources: Vec<Source>,
    pub(super) into: File,
    pub(super) manners: Manners,
    pub(super) board: Mutex<Board>,
    /// Told whenever a lane is through with something.
    pub(super) changed: Notify,
    /// Bytes that are there.
    pub(super) done: watch::Sender<u64>,
}

/// Why a request did not bring all that it was to.
enum Stop {
    /// The source's fault, or the way's.
    Theirs(Error),
    /// This machine's: another source would not help.
    Ours(Error),
}

/// What a lane keeps from one request to the next.
#[derive(Default)]
struct Kept {
    /// The connection to a web server, and which source that is.
    link: Option<(usize, Link)>,
    /// Room for a piece.
    piece: Vec<u8>,
}

impl Shared {
    /// Fetches until all is there.
    ///
    /// # Errors
    /// Where no source is left; `io`, `disk-full`.
    pub(super) async fn lane(self: Arc<Self>) -> Result<()> {
        let mut kept = Kept::default();
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = self.board().next(Instant::now());
            match next {
                Next::Done => return Ok(()),
                Next::Nobody(error) => return Err(error),
                Next::Wait(None) => changed.await,
                Next::Wait(Some(until)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
                Next::Fetch(mut grip) => {
                    let stop = self.draw(&mut grip, &mut kept).await.err();
                    let failed = match stop {
                        None => None,
                        Some(Stop::Theirs(error)) => Some(error),
                        Some(Stop::Ours(error)) => return Err(error),
                    };
                    self.board().leave(&grip, failed, Instant::now());
                    self.changed.notify_waiters();
                }
            }
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn draw(&self, grip: &mut Grip, kept: &mut Kept) -> Result<(), Stop> {
        match &self.sources[grip.source] {
            Source::File(path) => self.copy(grip, path, &mut kept.piece),
            _ => self.fetch(grip, kept).await,
        }
    }

    fn copy(&self, grip: &mut Grip, path: &Path, piece: &mut Vec<u8>) -> Result<(), Stop> {
        let theirs = |error| Stop::Theirs(error);
        let file = crate::store::file::open_optional(path).map_err(theirs)?;
        let absent = || Error::new(Code::NotFound, format!("there is no file {}", path.display()));
        let file = file.ok_or_else(absent).map_err(theirs)?;
        for index in grip.pieces.clone() {
            let PieceRef { offset, length, .. } = self.pieces[index];
            piece.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            file.read_exact_at(piece, offset).doing("reading", path).map_err(theirs)?;
            self.accept(grip, index, piece)?;
        }
        Ok(())
    }

    /// Fetches adjacent pieces in one answer.
    async fn fetch(&self, grip: &mut Grip, kept: &mut Kept) -> Result<(), Stop> {
        let (first, last) = (grip.pieces.start, grip.pieces.end - 1);
        let range = ByteRange { start: self.pieces[first].offset, end: self.pieces[last].end() };
        let name = self.sources[grip.source].named();
        let others = self.board().has_others(grip);
        let window = if others { self.manners.window_with_others } else { self.manners.window };
        let late = |_| Error::new(Code::TimedOut, format!("{name} did not answer within {} s", window.as_secs_f32()));
        let begun = timeout(window, self.begin(grip.source, range, kept)).await.map_err(late);
        let begun = begun.and_then(|begun| begun).map_err(Stop::Theirs)?;
        let whole = self.is_whole(&begun, range, grip.source).map_err(Stop::Theirs)?;
        if whole {
            self.board().is_whole(grip);
        }
        let mut stream = Stream::new(begun.response.into_body(), &name, window);
        let coming = if whole { 0..self.pieces.len() } else { grip.pieces.clone() };
        for index in coming {
            if whole && self.board().is_rest_idle(grip, index) {
                return Ok(());
            }
            let length = self.pieces[index].length;
            if self.board().take_along(grip, index) {
                stream.take(length, &mut kept.piece).await.map_err(Stop::Theirs)?;
                self.accept(grip, index, &kept.piece)?;
            } else {
                stream.skip(length).await.map_err(Stop::Theirs)?;
            }
        }
        if stream.ended().await {
            self.keep(grip.source, begun.link, kept);
        }
        Ok(())
    }

    async fn begin(&self, source: usize, range: ByteRange, kept: &mut Kept) -> Result<Begun> {
        match &self.sources[source] {
            Source::Node(address) => self.client.package(address, self.digest, range).await,
            Source::Web(url) => {
                let link = kept.link.take().filter(|(of, _)| *of == source).map(|(_, link)| link);
                web::begin(link, url, range).await
            }
            Source::File(_) => Err(Error::new(Code::Internal, "a file is not asked")),
        }
    }

    fn keep(&self, source: usize, link: Link, kept: &mut Kept) {
        match &self.sources[source] {
            Source::Node(address) => self.client.keep(address, link),
            _ => kept.link = Some((source, link)),
        }
    }

    /// Whether the whole package comes instead of the range that was asked for.
    fn is_whole(&self, begun: &Begun, range: ByteRange, source: usize) -> Result<bool> {
        if begun.response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(true);
        }
        let told = begun.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        if told.is_some_and(|told| told == range.told(self.size) || told == range.told("*")) {
            return Ok(false);
        }
        let why = format!("{} sent another range than asked for, or of another package", self.sources[source].named());
        Err(Error::new(Code::BadDigest, why))
    }

    /// Verifies a piece, then writes it. From the network to the page cache is no long way, so it is not handed to another
    /// thread; meanwhile the other lane receives.
    fn accept(&self, grip: &mut Grip, index: usize, bytes: &[u8]) -> Result<(), Stop> {
        let piece = self.pieces[index];
        if Hash::of(bytes) != piece.hash {
            let times = self.board().wrong(grip, index);
            return if times >= PIECE_TRIES { Err(Stop::Theirs(self.wrong_piece(grip, index))) } else { Ok(()) };
        }
        let name = Path::new("the package");
        self.into.write_all_at(bytes, piece.offset).doing("writing", name).map_err(Stop::Ours)?;
        let mut board = self.board();
        board.there(grip, index);
        self.done.send_replace(board.done());
        Ok(())
    }

    fn wrong_piece(&self, grip: &Grip, piece: usize) -> Error {
        let message = format!(
            "{PIECE_TRIES} times a piece of the package {} came from {} with other bytes than its hash says, last piece {} of {}",
            self.digest.short(),
            self.sources[grip.source].named(),
            piece + 1,
            self.pieces.len(),
        );
        Error::new(Code::BadDigest, message)
            .hint("the sender's copy or the way to it is damaged: fetch it from another source, or have it built again")
    }
}
