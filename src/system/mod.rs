//! The clock and the dice: real ones, and fixed ones for tests. Nothing else in the program asks for the time or for
//! randomness.

#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system for the time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::model::{MessageId, Nonce, Seed, SessionId, Span, Time};

/// Tells the time and draws random bytes. Cheap to clone; clones of a fixed one share its clock and its numbers.
#[derive(Clone)]
pub struct System(Kind);

#[derive(Clone)]
enum Kind {
    Real,
    Fixed { now_ms: Arc<AtomicI64>, drawn: Arc<AtomicU64> },
}

impl System {
    pub fn real() -> Self {
        Self(Kind::Real)
    }
    /// A clock that stands at `now` until [`System::advance`], and numbers that follow from `seed`: for tests.
    pub fn fixed(now: Time, seed: u64) -> Self {
        let drawn = Arc::new(AtomicU64::new(seed << 32));
        Self(Kind::Fixed { now_ms: Arc::new(AtomicI64::new(now.unix_ms())), drawn })
    }
    /// Moves a fixed clock on; a real one moves by itself.
    pub fn advance(&self, span: Span) {
        if let Kind::Fixed { now_ms, .. } = &self.0 {
            now_ms.fetch_add(i64::try_from(span.as_ms()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Real => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Time::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Kind::Fixed { now_ms, .. } => Time::from_unix_ms(now_ms.load(Ordering::SeqCst)),
        }
    }
    /// Random bytes fit for keys.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: nothing safe can be done then.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Kind::Real => SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes"),
            Kind::Fixed { drawn, .. } => {
                let n = drawn.fetch_add(1, Ordering::SeqCst);
                blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
            }
        }
        bytes
    }
    pub fn message_id(&self) -> MessageId {
        MessageId::from_bytes(self.random())
    }
    pub fn session_id(&self) -> SessionId {
        SessionId::from_bytes(self.random())
    }
    pub fn nonce(&self) -> Nonce {
        Nonce::from_bytes(self.random())
    }
    pub fn seed(&self) -> Seed {
        Seed::from_bytes(self.random())
    }
}
