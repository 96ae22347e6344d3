//! Downloads of packages: from several sources by ranges, each piece verified before it is written at its place, resumed
//! from what is already there. What that is, is found by hashing it again, so there is no record that could be wrong.

mod board;
mod lane;
mod stream;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::board::Board;
use self::lane::Shared;
use super::client::Client;
use super::limits::{FLOOR_WINDOW, FLOOR_WINDOW_WITH_OTHERS, LANES, PIECE_BYTES, RECONNECT};
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Hash, Result, Source};

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

impl PieceRef {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What is to be fetched, and from where.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// In order, without gaps.
    pub pieces: &'a [PieceRef],
    /// Asked at once, the first ones first.
    pub sources: Vec<Source>,
    /// Asked while none of those can be.
    pub otherwise: Vec<Source>,
    /// Pieces that other files here seem to have.
    pub here: Vec<Here>,
}

/// A file that seems to have a piece of a package.
#[derive(Clone, Debug)]
pub struct Here {
    /// Which of the pieces.
    pub piece: usize,
    pub file: Arc<File>,
    /// Where in the file, in bytes.
    pub offset: u64,
}

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// In each such span [`super::limits::FLOOR_BYTES`] must come from a source.
    pub window: Duration,
    /// The same where another source can be asked.
    pub window_with_others: Duration,
    /// How long it goes on without a new verified piece.
    pub reconnect: Duration,
    /// Requests at once.
    pub lanes: usize,
}

impl Default for Manners {
    fn default() -> Self {
        let (window, window_with_others) = (FLOOR_WINDOW, FLOOR_WINDOW_WITH_OTHERS);
        Self { window, window_with_others, reconnect: RECONNECT, lanes: LANES }
    }
}

/// Where the bytes of a complete package came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// They were in the file already.
    pub resumed: u64,
    /// Copied from other files here.
    pub reused: u64,
    /// From the sources.
    pub fetched: u64,
}

/// Fetches a package into a file. Pieces that are there already and verify are not fetched again, nor are those that
/// other files here have; one piece a lane is held in memory. `progress` is told the verified bytes so far, first of all
/// those that were there. Making the file durable is the caller's.
///
/// # Errors
/// `bad-digest` where pieces come wrong three times, `bad-archive` where the pieces do not make up the package, what
/// the source refused with, and `unreachable`, `timed-out` or another passing error where for two minutes nothing new
/// came. What was verified stays in the file for the next call.
pub async fn download(
    client: &Client,
    wanted: Wanted<'_>,
    into: &File,
    manners: Manners,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Fetched> {
    cover(wanted.size, wanted.pieces)?;
    let size = wanted.size;
    let mut missing = missing_pieces(into, wanted.size, wanted.pieces).await?;
    let resumed = present(wanted.pieces, &missing);
    progress(resumed);
    copy(&wanted, &mut missing, into).await?;
    let here = present(wanted.pieces, &missing);
    if here < size {
        fetch(client, wanted, &missing, into, manners, progress).await?;
    } else if here > resumed {
        progress(here);
    }
    Ok(Fetched { resumed, reused: here - resumed, fetched: size - here })
}

/// Lets the lanes run until all is there, and tells how far they are.
async fn fetch(
    client: &Client,
    wanted: Wanted<'_>,
    missing: &[bool],
    into: &File,
    manners: Manners,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let pieces: Arc<[PieceRef]> = wanted.pieces.into();
    let tiers = wanted.sources.iter().map(|_| 0).chain(wanted.otherwise.iter().map(|_| 1));
    let board = Board::new(Arc::clone(&pieces), missing, tiers);
    let (done, mut told) = watch::channel(board.done());
    let of_package = |source: &Source| source.of_package(&wanted.digest);
    let shared = Arc::new(Shared {
        client: client.clone(),
        digest: wanted.digest,
        size: wanted.size,
        pieces,
        sources: wanted.sources.iter().chain(&wanted.otherwise).map(of_package).collect(),
        into: into.try_clone().doing("opening", Path::new("the package"))?,
        manners,
        board: Mutex::new(board),
        changed: Notify::new(),
        done,
    });
    let mut lanes = JoinSet::new();
    (0..manners.lanes.max(1)).for_each(|_| drop(lanes.spawn(Arc::clone(&shared).lane())));
    let mut until = Instant::now() + manners.reconnect;
    loop {
        let news = async {
            tokio::select! {
                biased;
                Ok(()) = told.changed() => None,
                ended = lanes.join_next() => ended,
            }
        };
        match timeout_at(until, news).await {
            Ok(None) if lanes.is_empty() => {
                progress(wanted.size);
                return Ok(());
            }
            Ok(None) => {
                until = Instant::now() + manners.reconnect;
                let done = *told.borrow_and_update();
                // The last word is for the end.
                if done < wanted.size {
                    progress(done);
                }
            }
            Ok(Some(Ok(ended))) => ended?,
            Ok(Some(Err(why))) => return Err(Error::new(Code::Internal, format!("downloading: {why}"))),
            Err(_) => {
                let error = shared.board().fault();
                return Err(error.hint("run the same command again: it goes on where this stopped"));
            }
        }
    }
}

/// Copies the pieces that other files here have. What is written is what was hashed, whatever happens to the files.
async fn copy(wanted: &Wanted<'_>, missing: &mut [bool], into: &File) -> Result<()> {
    let mut bytes = Vec::new();
    for here in &wanted.here {
        let Some(piece) = wanted.pieces.get(here.piece).filter(|_| missing[here.piece]) else { continue };
        bytes.resize(usize::try_from(piece.length).unwrap_or(0), 0);
        if here.file.read_exact_at(&mut bytes, here.offset).is_ok() && Hash::of(&bytes) == piece.hash {
            into.write_all_at(&bytes, piece.offset).doing("writing", Path::new("the package"))?;
            missing[here.piece] = false;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Bytes of the pieces that are not missing.
fn present(pieces: &[PieceRef], missing: &[bool]) -> u64 {
    pieces.iter().zip(missing).filter(|(_, missing)| !**missing).map(|(piece, _)| piece.length).sum()
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
    let mut bytes = Vec::new();
    for (piece, missing) in pieces.iter().zip(&mut missing) {
        if piece.end() > length {
            break;
        }
        bytes.resize(usize::try_from(piece.length).unwrap_or(0), 0);
        file.read_exact_at(&mut bytes, piece.offset).doing("reading", name)?;
        *missing = Hash::of(&bytes) != piece.hash;
        // Reading back a large file must not hold up the others of this thread.
        tokio::task::yield_now().await;
    }
    Ok(missing)
}
