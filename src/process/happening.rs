//! What a supervisor tells of its program.

use serde::{Deserialize, Serialize};

use super::sandbox::Level;
use crate::model::Span;
use crate::service::counted::Counted;

/// What happened to the program. Texts hold foreign text raw; `ui` escapes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "happening", rename_all = "kebab-case")]
pub enum Happening {
    /// `level` is how far it is held.
    Started { pid: u32, level: Level },
    /// So long after its start at the latest. Comes again after each restart, and when another supervisor adopts it.
    Ready { after: Span },
    /// It did not become ready within `ready.within`, or cannot any more. What runs of it is stopped; it is not started
    /// again.
    NotReady { why: String, tail: String },
    /// The program itself ended; what it left running is killed.
    Exited { status: String, ok: bool },
    /// It will be started again. `attempt` counts from 1 after each run of a minute.
    Restarting { r#in: Span, attempt: u32 },
    /// It was ready once, and is not started again.
    GaveUp { why: String, tail: String },
    /// It was stopped, by [`Supervisor::begin_stop`] or for not being ready. `killed`: not by its signal alone.
    /// `survivors`: what even SIGKILL did not end (name and pid).
    Stopped { killed: bool, survivors: Vec<String> },
}

/// How long a program ran, and how often it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Milliseconds; pauses between two runs do not count.
    pub running_ms: u64,
    pub starts: u32,
    /// By the kernel, as of the last [`Supervisor::count`](super::Supervisor::count) or the program's end.
    #[serde(default)]
    pub counted: Counted,
}
