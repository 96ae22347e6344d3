//! The one way to a person or a script: data on stdout, talk on stderr, JSON as a contract, questions on a terminal.
//! Everything that came from outside is escaped on its way out.

pub mod escape;
mod event;
mod print;
mod prompt;
mod streams;
pub mod table;
mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event::Bars;
pub use streams::{Streams, Terminals};

/// What the command line and the environment say about showing and asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    pub format: Format,
    pub color: ColorChoice,
    /// The environment has `NO_COLOR`, or a terminal that knows no colours; `--color always` is stronger.
    pub no_color: bool,
    pub quiet: bool,
    pub verbose: u8,
    pub no_input: bool,
    pub yes: bool,
}

/// What stdout and errors look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// When stderr is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Shows and asks. Cheap to clone; clones share their streams.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    settings: Settings,
    terminals: Terminals,
    streams: Streams,
    /// There where downloads are drawn: a person watches stderr on a terminal.
    bars: Option<Bars>,
    reader_left: AtomicBool,
}

impl Ui {
    /// On the process's own streams.
    pub fn new(settings: Settings) -> Self {
        let streams = Streams::real();
        let watched = streams.terminals.stderr && settings.format == Format::Human && !settings.quiet;
        Self::build(settings, streams, watched.then(Bars::on_stderr))
    }
    /// On other streams, for tests; draws no bars.
    pub fn with_streams(settings: Settings, streams: Streams) -> Self {
        Self::build(settings, streams, None)
    }
    fn build(settings: Settings, streams: Streams, bars: Option<Bars>) -> Self {
        let terminals = streams.terminals;
        Self(Arc::new(Inner { settings, terminals, streams, bars, reader_left: AtomicBool::new(false) }))
    }
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }
    pub fn is_json(&self) -> bool {
        self.0.settings.format == Format::Json
    }
    /// Which of the streams a person sits at.
    pub fn terminals(&self) -> Terminals {
        self.0.terminals
    }
    /// Whether whoever read stdout has gone (`… | head`): a command that watches ends then, quietly and with success.
    pub fn reader_left(&self) -> bool {
        self.0.reader_left.load(Ordering::Relaxed)
    }
    /// Asks the system whether whoever read stdout has gone, for a command that watches and has nothing to write.
    pub fn has_reader_left(&self) -> bool {
        if self.0.streams.is_out_closed() {
            self.0.reader_left.store(true, Ordering::Relaxed);
        }
        self.reader_left()
    }
    /// The columns of the terminal that stdout is; none where it is none.
    pub fn columns(&self) -> Option<usize> {
        let size = self.0.terminals.stdout.then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok()).flatten();
        size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }
    fn is_coloured(&self) -> bool {
        match self.0.settings.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => self.0.terminals.stderr && !self.0.settings.no_color,
        }
    }
}
