//! A socket that does not wait for ever: it cuts who sends a header too slowly, and who takes too slowly what is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::limits::{HEADER, WRITE_FLOOR_BYTES, WRITE_WINDOW};

/// Where a connection stands, as far as its reader needs to know. Shared with whoever serves the requests.
pub(super) struct Phase(AtomicU8);

/// A request or a handshake is being served: it has its own limits.
const SERVING: u8 = 0;
/// Between requests: the next byte begins a header.
const IDLE: u8 = 1;
/// Within a header.
const IN_HEADER: u8 = 2;

impl Phase {
    /// As a connection begins: with the handshake.
    pub(super) fn handshake() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(SERVING)))
    }
    /// The handshake is done: the first header is due.
    pub(super) fn first_header(&self) {
        self.0.store(IN_HEADER, Ordering::Relaxed);
    }
    pub(super) fn serving(&self) {
        self.0.store(SERVING, Ordering::Relaxed);
    }
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
    /// Bytes came: between requests, they begin a header. Whether they did.
    fn header_begins(&self) -> bool {
        self.0.compare_exchange(IDLE, IN_HEADER, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A timer that is set when somebody begins to wait, and cleared by progress.
struct Patience {
    span: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    fn new(span: Duration) -> Self {
        Self { span, timer: None, waiting: false }
    }
    fn progress(&mut self) {
        self.waiting = false;
    }
    fn start(&mut self) -> &mut Pin<Box<Sleep>> {
        let (fresh, span) = (!self.waiting, self.span);
        self.waiting = true;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(span)));
        if fresh {
            timer.as_mut().reset(Instant::now() + span);
        }
        timer
    }
    /// Pending until the patience is used up, then an error.
    fn poll<T>(&mut self, cx: &mut Context<'_>, what: &'static str) -> Poll<io::Result<T>> {
        ready!(self.start().as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

/// The floor under a reader's rate: of the time that is spent waiting for it, each `window` must bring `least`
/// bytes. Time in which there is nothing to send, or the socket has room, is not counted.
struct Floor {
    least: usize,
    window: Duration,
    /// Bytes taken since the window began.
    taken: usize,
    /// Waited in this window, before the present wait.
    waited: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Floor {
    fn new(least: usize, window: Duration) -> Self {
        Self { least, window, taken: 0, waited: Duration::ZERO, since: None, timer: None }
    }
    fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        if self.taken >= self.least {
            (self.taken, self.waited) = (0, Duration::ZERO);
        }
    }
    /// Pending until the window is over, then an error.
    fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let left = self.window.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            timer.as_mut().reset(now + left);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes too little")))
    }
}

/// The raw socket, below TLS, where progress is exact.
pub(super) struct Watched<S> {
    inner: S,
    phase: Arc<Phase>,
    header: Patience,
    floor: Floor,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, phase: Arc<Phase>) -> Self {
        Self { inner, phase, header: Patience::new(HEADER), floor: Floor::new(WRITE_FLOOR_BYTES, WRITE_WINDOW) }
    }
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(taken)) => {
                self.floor.took(taken);
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Pending => self.floor.poll(cx),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() && self.phase.header_begins() {
            self.header.progress();
        }
        if self.phase.now() != IN_HEADER {
            self.header.progress();
            return polled;
        }
        if polled.is_ready() {
            self.header.start();
            return polled;
        }
        self.header.poll(cx, "the header takes too long")
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(cx, polled)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.written(cx, polled)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    // A TCP socket holds nothing back: these two never wait, and say nothing about progress.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LEAST: usize = 4096;
    const WINDOW: Duration = Duration::from_millis(400);

    /// What becomes of `total` bytes for a reader that takes `part` of them every 20 ms.
    async fn write_to_reader(total: usize, part: usize) -> io::Result<()> {
        let (ours, mut theirs) = duplex(512);
        let mut ours = Watched::new(ours, Phase::handshake());
        ours.floor = Floor::new(LEAST, WINDOW);
        let slow = async {
            let mut bytes = vec![0; part];
            loop {
                sleep(Duration::from_millis(20)).await;
                let _ = theirs.read_exact(&mut bytes).await;
            }
        };
        let bytes = vec![1; total];
        tokio::select! { written = ours.write_all(&bytes) => written, () = slow => Ok(()) }
    }

    #[tokio::test]
    async fn a_reader_that_trickles_is_cut_like_one_that_takes_nothing_and_a_slow_one_is_not() {
        write_to_reader(4 * LEAST, 2048).await.unwrap();
        for trickle in [0, 1, 50] {
            let cut = write_to_reader(4 * LEAST, trickle).await.unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::TimedOut, "{trickle}");
        }
    }

    #[tokio::test]
    async fn time_in_which_there_is_nothing_to_send_does_not_count() {
        let (ours, mut theirs) = duplex(512);
        let mut ours = Watched::new(ours, Phase::handshake());
        ours.floor = Floor::new(LEAST, WINDOW);
        for _ in 0..5 {
            let answer = async {
                sleep(Duration::from_millis(20)).await;
                theirs.read_exact(&mut [0; 600]).await.unwrap();
            };
            let (written, _) = tokio::join!(ours.write_all(&[1; 600]), answer);
            written.unwrap();
            sleep(WINDOW).await;
        }
    }

    #[tokio::test]
    async fn a_header_has_its_time_and_a_pause_between_requests_is_none_of_it() {
        let (ours, mut theirs) = duplex(10);
        let phase = Phase::handshake();
        let mut ours = Watched::new(ours, Arc::clone(&phase));
        ours.header = Patience::new(Duration::from_millis(50));
        let mut byte = [0; 1];
        for _ in 0..2 {
            phase.idle();
            let late = async {
                sleep(Duration::from_millis(100)).await;
                theirs.write_all(b"G").await.unwrap();
            };
            let (read, ()) = tokio::join!(ours.read(&mut byte), late);
            assert_eq!(read.unwrap(), 1);
            assert_eq!(ours.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }
}
