//! Being asked to end, by Ctrl-C or SIGTERM: a command comes to rest, says what was done and what was not, and exits with
//! 130 or 143.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::model::{Code, Error, Result};
use crate::ui::Ui;

/// How long a command that was asked to end may take to come to rest. What it is at then is left as a power cut would.
const PATIENCE: Duration = Duration::from_secs(10);

/// By what a command was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGINT
    Interrupted,
    /// SIGTERM
    Terminated,
}

impl Asked {
    /// The end of a command that was asked to; `what` was done and what was not.
    pub(super) fn error(self, what: impl fmt::Display) -> Error {
        let (code, word) = match self {
            Asked::Interrupted => (Code::Interrupted, "interrupted"),
            Asked::Terminated => (Code::Terminated, "terminated"),
        };
        Error::new(code, format!("{word}; {what}"))
    }
    /// The same of a command that only looks.
    pub(super) fn watched(self) -> Error {
        self.error("it only looked, and changed nothing")
    }
}

/// Hears both signals from the time on that it is made.
pub(super) struct Signals {
    int: Signal,
    term: Signal,
}

impl Signals {
    /// # Errors
    /// `internal` where the system gives none.
    pub(super) fn listen() -> Result<Self> {
        let hear =
            |kind| signal(kind).map_err(|why| Error::new(Code::Internal, format!("listening for signals: {why}")));
        Ok(Self { int: hear(SignalKind::interrupt())?, term: hear(SignalKind::terminate())? })
    }
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.int.recv() => Asked::Interrupted,
            _ = self.term.recv() => Asked::Terminated,
        }
    }
}

/// Done when this process is asked to end: how a service is told to stop.
pub(super) async fn asked_to_stop() -> Asked {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// Watches for signals on a thread of its own, so that one is heard also while the command blocks. The first sets
/// `leaving` and is told; who sends a second, or has waited for long enough, sees the process end.
pub(super) fn watch(leaving: Arc<AtomicBool>, ui: Ui) -> Result<watch::Receiver<Option<Asked>>> {
    let (telling, told) = watch::channel(None);
    // The command's own runtime would have to be woken for this, by a write that may fail like any other.
    let runtime = super::shell::runtime(&mut Builder::new_current_thread())?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen()?
    };
    let watching = async move {
        let asked = signals.next().await;
        leaving.store(true, Ordering::Relaxed);
        telling.send_replace(Some(asked));
        let _again = tokio::time::timeout(PATIENCE, signals.next()).await;
        leave(&ui, asked);
    };
    let thread = std::thread::Builder::new().name("signals".into());
    let began = thread.spawn(move || runtime.block_on(watching));
    began.map_err(|why| Error::new(Code::Internal, format!("starting a thread: {why}")))?;
    Ok(told)
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the thread that would return is held up")]
fn leave(ui: &Ui, asked: Asked) {
    let error = asked.error("it was left in the midst of a step, which the next command finishes or undoes");
    ui.error(&error);
    process::exit(error.code.exit().into());
}

/// Done when the terminal is closed.
pub(super) async fn hung_up() {
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => drop(hangup.recv().await),
        Err(_) => std::future::pending().await,
    }
}
