//! Work on several cores whose results come back in the order that it was given in, with a bounded number in flight.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use crate::model::{Code, Error, Result};

/// More threads than this find nothing to do beside one disk.
const MAX_THREADS: usize = 8;

/// Threads that turn each `Job` into an `Out`. They end when this is dropped.
pub(super) struct Ordered<Job, Out> {
    jobs: Sender<(Job, SyncSender<Out>)>,
    waiting: VecDeque<Receiver<Out>>,
    threads: usize,
}

impl<Job: Send, Out: Send> Ordered<Job, Out> {
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        work: impl Fn(Job) -> Out + Send + Sync + 'scope,
    ) -> Self
    where
        Job: 'scope,
        Out: 'scope,
    {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let (jobs, queue) = channel::<(Job, SyncSender<Out>)>();
        let shared = Arc::new((Mutex::new(queue), work));
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            scope.spawn(move || {
                loop {
                    let next = shared.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, answer)) = next else { return };
                    // Nobody waits for it any more where the other side gave up.
                    let _ = answer.send((shared.1)(job));
                }
            });
        }
        Self { jobs, waiting: VecDeque::new(), threads }
    }
    /// Whether enough is in flight: two for each thread keep all of them busy.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= 2 * self.threads
    }
    pub(super) fn push(&mut self, job: Job) {
        let (answer, result) = sync_channel(1);
        // Fails only where every thread has panicked; then `pop` says so.
        let _ = self.jobs.send((job, answer));
        self.waiting.push_back(result);
    }
    /// Waits for the oldest result; `None` where nothing is in flight.
    ///
    /// # Errors
    /// `internal` where the work panicked.
    pub(super) fn pop(&mut self) -> Option<Result<Out>> {
        let result = self.waiting.pop_front()?;
        Some(result.recv().map_err(|_| Error::new(Code::Internal, "a thread that works on pieces ended early")))
    }
}
