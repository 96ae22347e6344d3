//! Downloads of packages: by ranges, each piece verified before it is written, resumed from what is already there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_RANGE;
use tokio::time::{Instant, sleep, timeout_at};

use super::body::cut;
use super::client::{Begun, Client};
use super::limits::{BACK_OFF, BACK_OFF_MOST, FLOOR_BYTES, FLOOR_WINDOW, PIECE_BYTES, PIECE_TRIES, RECONNECT};
use super::problem::named;
use super::range::ByteRange;
use crate::model::error::IoContext;
use crate::model::{Address, Code, Digest, Error, Hash, Result};

/// One piece of a package, as its manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRef {
    /// Where it begins in the package, in bytes.
    pub offset: u64,
    /// Bytes, from 1 to 16 MiB.
    pub length: u64,
    /// BLAKE3 of them.
    pub hash: Hash,
}

/// Fetches a package of `size` bytes, made of `pieces` without gaps, into `into`. Pieces that are there already and
/// verify are not fetched again; at most one piece is held in memory; `progress` is told the verified bytes so far,
/// first of all those that were there. Making the file durable is the caller's.
///
/// # Errors
/// `bad-digest` where a piece comes wrong three times, `bad-archive` where the pieces do not make up the package, what
/// the node refused with, and `unreachable`, `timed-out` or another passing error where for two minutes nothing new
/// came. What was verified stays in the file for the next call.
pub async fn download(
    client: &Client,
    at: &Address,
    digest: Digest,
    size: u64,
    pieces: &[PieceRef],
    into: &mut File,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    cover(size, pieces)?;
    let missing = missing_pieces(into, size, pieces).await?;
    let done = pieces.iter().zip(&missing).filter(|(_, missing)| !**missing).map(|(piece, _)| piece.length).sum();
    progress(done);
    let mut download = Download { client, at, digest, pieces, into, progress, missing, done };
    download.run().await
}

/// A download in progress.
struct Download<'a> {
    client: &'a Client,
    at: &'a Address,
    digest: Digest,
    pieces: &'a [PieceRef],
    into: &'a mut File,
    progress: &'a (dyn Fn(u64) + Sync),
    /// For each piece, whether it is still to come.
    missing: Vec<bool>,
    /// Bytes of those that are not.
    done: u64,
}

/// Why a stream ended before its last piece.
enum Stop {
    /// This piece came with other bytes than its hash says.
    WrongPiece(usize),
    Failed(Error),
}
impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Download<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut wrong: Option<(usize, u32)> = None;
        let mut patience = Patience::new();
        while let Some((first, last)) = next_run(&self.missing) {
            let before = self.done;
            let stop = match self.fetch(first, last).await {
                Ok(()) => continue,
                Err(stop) => stop,
            };
            if self.done > before {
                patience = Patience::new();
            }
            match stop {
                Stop::WrongPiece(piece) => {
                    let times = 1 + wrong.filter(|(other, _)| *other == piece).map_or(0, |(_, times)| times);
                    if times >= PIECE_TRIES {
                        return Err(self.wrong_piece(piece));
                    }
                    wrong = Some((piece, times));
                }
                Stop::Failed(error) if passing(&error) => patience.wait(error).await?,
                Stop::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fetches the pieces `first..=last` in one stream.
    async fn fetch(&mut self, first: usize, last: usize) -> Result<(), Stop> {
        let range =
            ByteRange { start: self.pieces[first].offset, end: self.pieces[last].offset + self.pieces[last].length };
        let Begun { response, link } = self.client.package(self.at, self.digest, range).await?;
        let told = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let wanted = range.told(self.pieces.last().map_or(0, |piece| piece.offset + piece.length));
        if told != Some(wanted.as_str()) {
            let why = format!("{} sent another range than asked for, or of another package", named(self.at));
            return Err(Error::new(Code::BadDigest, why).into());
        }
        let mut stream = Stream::new(response.into_body(), self.at);
        for index in first..=last {
            let length = usize::try_from(self.pieces[index].length).unwrap_or(usize::MAX);
            let bytes = stream.take(length).await?;
            self.accept(index, &bytes)?;
        }
        if stream.ended().await {
            self.client.keep(self.at, link);
        }
        Ok(())
    }

    /// Verifies a piece, then writes it.
    fn accept(&mut self, index: usize, bytes: &[u8]) -> Result<(), Stop> {
        let piece = self.pieces[index];
        if Hash::of(bytes) != piece.hash {
            return Err(Stop::WrongPiece(index));
        }
        self.into.write_all_at(bytes, piece.offset).doing("writing", Path::new("the package"))?;
        self.missing[index] = false;
        self.done += piece.length;
        (self.progress)(self.done);
        Ok(())
    }

    fn wrong_piece(&self, piece: usize) -> Error {
        let message = format!(
            "piece {} of {} of the package {}, from {}, came {PIECE_TRIES} times with other bytes than its hash says",
            piece + 1,
            self.pieces.len(),
            self.digest.short(),
            named(self.at)
        );
        Error::new(Code::BadDigest, message)
            .hint("the sender's copy or the way to it is damaged: fetch it from another node, or have it built again")
    }
}

/// Whether waiting can help: the node is away or out of room, and has not said no.
fn passing(error: &Error) -> bool {
    matches!(error.code, Code::Unreachable | Code::TimedOut | Code::Busy | Code::Locked)
}

/// How long a download goes on without success.
struct Patience {
    until: Instant,
    next: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { until: Instant::now() + RECONNECT, next: BACK_OFF }
    }
    /// Waits before the next try.
    ///
    /// # Errors
    /// `error`, where the time is up.
    async fn wait(&mut self, error: Error) -> Result<()> {
        if Instant::now() + self.next > self.until {
            return Err(error.hint("run the same command again: it goes on where this stopped"));
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(BACK_OFF_MOST);
        Ok(())
    }
}

/// The bytes of an answer, cut into pieces as they come.
struct Stream<'a> {
    body: Incoming,
    rest: Bytes,
    from: &'a Address,
    window_ends: Instant,
    /// Bytes that came in this window.
    came: u64,
}

impl<'a> Stream<'a> {
    fn new(body: Incoming, from: &'a Address) -> Self {
        Self { body, rest: Bytes::new(), from, window_ends: Instant::now() + FLOOR_WINDOW, came: 0 }
    }
    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut piece = Vec::with_capacity(length);
        while piece.len() < length {
            if self.rest.is_empty() {
                self.rest = self.next().await?.ok_or_else(|| {
                    Error::new(Code::Unreachable, format!("{} ended the download too early", named(self.from)))
                })?;
            }
            let part = self.rest.split_to(self.rest.len().min(length - piece.len()));
            piece.extend_from_slice(&part);
        }
        Ok(piece)
    }
    /// Whether nothing follows, so that the connection can be used again.
    async fn ended(mut self) -> bool {
        self.rest.is_empty() && matches!(self.next().await, Ok(None))
    }
    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Ok(frame) = timeout_at(self.window_ends, self.body.frame()).await else {
                let slow =
                    format!("{} sends less than {FLOOR_BYTES} bytes in {} s", named(self.from), FLOOR_WINDOW.as_secs());
                return Err(Error::new(Code::TimedOut, slow));
            };
            let Some(frame) = frame else { return Ok(None) };
            let Ok(bytes) = frame.map_err(|why| cut(&why).while_doing(named(self.from)))?.into_data() else { continue };
            self.came += bytes.len() as u64;
            if self.came >= FLOOR_BYTES {
                self.came = 0;
                self.window_ends = Instant::now() + FLOOR_WINDOW;
            }
            return Ok(Some(bytes));
        }
    }
}

/// Sees that the pieces make up the package: in order, without gaps, none empty or too large to hold.
fn cover(size: u64, pieces: &[PieceRef]) -> Result<()> {
    let mut end = 0_u64;
    for piece in pieces {
        if piece.offset != end || !(1..=PIECE_BYTES).contains(&piece.length) {
            return Err(uncovered());
        }
        end = end.checked_add(piece.length).ok_or_else(uncovered)?;
    }
    if end == size { Ok(()) } else { Err(uncovered()) }
}

fn uncovered() -> Error {
    Error::new(Code::BadArchive, "the pieces of the manifest do not make up the package without gaps")
}

/// For each piece whether it is missing from the file, which is cut to `size` where it is longer.
async fn missing_pieces(file: &File, size: u64, pieces: &[PieceRef]) -> Result<Vec<bool>> {
    let name = Path::new("the part of the package that is there");
    let length = file.metadata().doing("reading", name)?.len();
    if length > size {
        file.set_len(size).doing("cutting", name)?;
    }
    let mut missing = vec![true; pieces.len()];
    for (piece, missing) in pieces.iter().zip(&mut missing) {
        if piece.offset + piece.length > length {
            break;
        }
        let mut bytes = vec![0; usize::try_from(piece.length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, piece.offset).doing("reading", name)?;
        *missing = Hash::of(&bytes) != piece.hash;
        // Reading back a large file must not hold up the others of this thread.
        tokio::task::yield_now().await;
    }
    Ok(missing)
}

/// The first run of missing pieces, with both its ends.
fn next_run(missing: &[bool]) -> Option<(usize, usize)> {
    let first = missing.iter().position(|missing| *missing)?;
    let length = missing[first..].iter().take_while(|missing| **missing).count();
    Some((first, first + length - 1))
}
