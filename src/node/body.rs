//! Bodies: read with a limit and a floor rate, written from memory or from a file a little at a time.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use rustix::buffer::spare_capacity;
use tokio::time::{Instant, timeout_at};

use super::gate::RequestSlot;
use super::limits::{BODY_FLOOR_BYTES_PER_SEC, BODY_GRACE, DISCARD, DISCARD_BYTES, FILE_READ_BYTES};
use super::range::ByteRange;
use super::watched::Phase;
use crate::model::{Code, Error, Result};

/// Reads a whole request body of at most `limit` bytes, which must keep coming: its time grows with what came.
///
/// # Errors
/// `too-large`, `timed-out` where it comes too slowly, `unreachable` where the connection broke.
pub(super) async fn read_request<B>(mut body: B, limit: usize) -> Result<Vec<u8>>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut whole = Vec::new();
    let mut until = Instant::now() + BODY_GRACE;
    loop {
        let frame = timeout_at(until, body.frame()).await.map_err(|_| {
            Error::new(Code::TimedOut, format!("the body came slower than {BODY_FLOOR_BYTES_PER_SEC} bytes a second"))
        })?;
        let Some(frame) = frame else { return Ok(whole) };
        let Ok(bytes) = frame.map_err(|why| cut(&why))?.into_data() else { continue };
        append(&mut whole, &bytes, limit)?;
        until += BODY_GRACE.mul_f64(rate_share(bytes.len()));
    }
}

/// Reads a whole answer of at most `limit` bytes; the time is the caller's to bound.
///
/// # Errors
/// `too-large`, `unreachable` where the connection broke.
pub(super) async fn read_answer<B>(mut body: B, limit: usize) -> Result<Vec<u8>>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(|why| cut(&why))?.into_data() {
            append(&mut whole, &bytes, limit)?;
        }
    }
    Ok(whole)
}

/// The whole of what came as gzip; never more than `limit` bytes.
///
/// # Errors
/// `too-large`, `bad-message`.
pub(super) fn inflate(gzip: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    GzDecoder::new(gzip)
        .take(limit as u64 + 1)
        .read_to_end(&mut whole)
        .map_err(|why| Error::new(Code::BadMessage, format!("it cannot be inflated: {why}")))?;
    if whole.len() > limit { Err(too_large(limit)) } else { Ok(whole) }
}

/// Reads and forgets what still comes, within bounds: whoever is still sending does not read the answer.
pub(super) async fn discard<B>(mut body: B)
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let until = Instant::now() + DISCARD;
    let mut left = DISCARD_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// How much of [`BODY_GRACE`] so many bytes earn at the floor rate.
fn rate_share(bytes: usize) -> f64 {
    let earned_secs = bytes as f64 / BODY_FLOOR_BYTES_PER_SEC as f64;
    earned_secs / BODY_GRACE.as_secs_f64()
}

fn append(whole: &mut Vec<u8>, bytes: &Bytes, limit: usize) -> Result<()> {
    if whole.len() + bytes.len() > limit {
        return Err(too_large(limit));
    }
    whole.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn too_large(limit: usize) -> Error {
    Error::new(Code::TooLarge, format!("the body has more than the {limit} bytes allowed"))
}

/// A connection that broke within a body.
pub(super) fn cut(why: &hyper::Error) -> Error {
    Error::new(Code::Unreachable, format!("the connection broke while the body came: {why}"))
}

/// The body of an answer, with what is to happen when it has been sent or given up.
pub(super) struct Outgoing {
    content: Content,
    _served: Served,
}

/// What an answer consists of.
pub(super) enum Content {
    /// In memory; `None` once it has been handed over.
    Text(Option<Bytes>),
    /// Read as it is sent. From the page cache a read takes microseconds, so it is done in place: a hop to another
    /// thread would cost more.
    File { file: File, left: ByteRange },
}

/// Dropped when an answer has been sent: gives back the room for the request, and tells the socket to expect another.
pub(super) struct Served {
    pub(super) slot: Option<RequestSlot>,
    pub(super) phase: Arc<Phase>,
}
impl Drop for Served {
    fn drop(&mut self) {
        self.slot = None;
        self.phase.idle();
    }
}

impl Content {
    pub(super) fn empty() -> Self {
        Self::Text(None)
    }
    pub(super) fn text(bytes: impl Into<Bytes>) -> Self {
        Self::Text(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
    pub(super) fn until_served(self, served: Served) -> Outgoing {
        Outgoing { content: self, _served: served }
    }
    fn left(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File { left, .. } => left.length(),
        }
    }
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self {
            Self::Text(bytes) => bytes.take().map(Ok),
            Self::File { left, .. } if left.length() == 0 => None,
            Self::File { file, left } => {
                let read = read_at(file, *left);
                left.start = match &read {
                    Ok(bytes) => left.start + bytes.len() as u64,
                    Err(_) => left.end,
                };
                Some(read)
            }
        }
    }
}

/// The next bytes of `range`, at most [`FILE_READ_BYTES`] and at least one.
fn read_at(file: &File, range: ByteRange) -> io::Result<Bytes> {
    let most = usize::try_from(range.length()).unwrap_or(FILE_READ_BYTES).min(FILE_READ_BYTES);
    let mut bytes = Vec::with_capacity(most);
    rustix::io::retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), range.start))?;
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was said to be"));
    }
    bytes.truncate(most);
    Ok(bytes.into())
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.content.next().map(|read| read.map(Frame::data)))
    }
    fn is_end_stream(&self) -> bool {
        self.content.left() == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.left())
    }
}
