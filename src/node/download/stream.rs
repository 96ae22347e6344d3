//! The bytes of an answer, cut into pieces as they come, and fast enough.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::model::{Code, Error, Result};
use crate::node::body::cut;
use crate::node::limits::FLOOR_BYTES;

pub(super) struct Stream<'a> {
    body: Incoming,
    rest: Bytes,
    /// The source, in the words of an error.
    from: &'a str,
    window: Duration,
    window_ends: Instant,
    /// Bytes that came in this window.
    came: u64,
}

impl<'a> Stream<'a> {
    /// In each `window` [`FLOOR_BYTES`] must come.
    pub(super) fn new(body: Incoming, from: &'a str, window: Duration) -> Self {
        Self { body, rest: Bytes::new(), from, window, window_ends: Instant::now() + window, came: 0 }
    }
    /// Reads the next `length` bytes into `piece`, which loses what it had.
    pub(super) async fn take(&mut self, length: u64, piece: &mut Vec<u8>) -> Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        piece.clear();
        piece.reserve_exact(length);
        while piece.len() < length {
            let part = self.part(length - piece.len()).await?;
            piece.extend_from_slice(&part);
        }
        Ok(())
    }
    /// Reads the next `length` bytes and forgets them.
    pub(super) async fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            length -= self.part(usize::try_from(length).unwrap_or(usize::MAX)).await?.len() as u64;
        }
        Ok(())
    }
    /// Whether nothing follows, so that the connection can be used again.
    pub(super) async fn ended(mut self) -> bool {
        self.rest.is_empty() && matches!(self.next().await, Ok(None))
    }
    /// Some of the next bytes, at most so many and at least one.
    async fn part(&mut self, most: usize) -> Result<Bytes> {
        while self.rest.is_empty() {
            self.rest = self
                .next()
                .await?
                .ok_or_else(|| Error::new(Code::Unreachable, format!("{} ended the download too early", self.from)))?;
        }
        Ok(self.rest.split_to(self.rest.len().min(most)))
    }
    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Ok(frame) = timeout_at(self.window_ends, self.body.frame()).await else {
                let window = self.window.as_secs_f32();
                let slow = format!("{} sends less than {FLOOR_BYTES} bytes in {window} s", self.from);
                return Err(Error::new(Code::TimedOut, slow));
            };
            let Some(frame) = frame else { return Ok(None) };
            let Ok(bytes) = frame.map_err(|why| cut(&why).while_doing(self.from))?.into_data() else { continue };
            self.came += bytes.len() as u64;
            if self.came >= FLOOR_BYTES {
                self.came = 0;
                self.window_ends = Instant::now() + self.window;
            }
            return Ok(Some(bytes));
        }
    }
}
