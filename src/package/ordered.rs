//! Work on several cores whose results come back in the order that it was given in, with a bounded number in flight.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use crate::model::{Code, Error, Result};

/// More threads than this find nothing to do beside one disk.
const MAX_THREADS: usize = 8;

/// Where jobs go in.
pub(super) struct Giver<Job, Out> {
    jobs: Sender<(Job, SyncSender<Out>)>,
    promised: SyncSender<Receiver<Out>>,
}

/// Where results come out. Once it is dropped, nothing more is taken in.
pub(super) struct Taker<Out>(Receiver<Receiver<Out>>);

/// As many threads as this machine has cores.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Starts `threads` threads, each with a worker of its own that turns a `Job` into an `Out`. They end when the giver is
/// dropped.
pub(super) fn start<'scope, Job, Out, Work>(
    scope: &'scope Scope<'scope, '_>,
    threads: usize,
    worker: impl Fn() -> Work,
) -> (Giver<Job, Out>, Taker<Out>)
where
    Job: Send + 'scope,
    Out: Send + 'scope,
    Work: FnMut(Job) -> Out + Send + 'scope,
{
    let (jobs, queue) = channel::<(Job, SyncSender<Out>)>();
    // Two for each thread keep all of them busy.
    let (promised, results) = sync_channel(2 * threads);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..threads {
        let (queue, mut work) = (Arc::clone(&queue), worker());
        scope.spawn(move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((job, answer)) = next else { return };
                // Nobody waits for it any more where the other side gave up.
                let _ = answer.send(work(job));
            }
        });
    }
    (Giver { jobs, promised }, Taker(results))
}

impl<Job, Out> Giver<Job, Out> {
    /// Waits while too much is in flight. False where nobody takes results any more.
    pub(super) fn push(&self, job: Job) -> bool {
        let (answer, result) = sync_channel(1);
        // Sending the job fails only where every thread has panicked; then the taker says so.
        self.promised.send(result).is_ok() && self.jobs.send((job, answer)).is_ok()
    }
}

impl<Out> Taker<Out> {
    /// Waits for the next result; `None` after the last.
    ///
    /// # Errors
    /// `internal` where the work panicked.
    pub(super) fn pop(&self) -> Option<Result<Out>> {
        let result = self.0.recv().ok()?;
        Some(result.recv().map_err(|_| Error::new(Code::Internal, "a thread that works on pieces ended early")))
    }
}
