//! stdin, stdout and stderr: the process's own, or a test's.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::terminal::{self, Line};

/// Reads one line with its end into the text; nothing where input has ended.
type ReadLine = Box<dyn FnMut(&mut String) -> io::Result<usize> + Send>;
type Sink = Box<dyn Write + Send>;

/// Which streams are terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Terminals {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Where answers come from, and where data and talk go.
pub struct Streams {
    pub terminals: Terminals,
    are_real: bool,
    stdin: Mutex<ReadLine>,
    stdout: Mutex<Sink>,
    stderr: Mutex<Sink>,
}

impl Streams {
    pub fn real() -> Self {
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        let streams = Self::new(terminals, |line: &mut String| io::stdin().read_line(line), io::stdout(), io::stderr());
        Self { are_real: true, ..streams }
    }
    pub fn new(
        terminals: Terminals,
        stdin: impl FnMut(&mut String) -> io::Result<usize> + Send + 'static,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> Self {
        Self {
            terminals,
            are_real: false,
            stdin: Mutex::new(Box::new(stdin)),
            stdout: Mutex::new(Box::new(stdout)),
            stderr: Mutex::new(Box::new(stderr)),
        }
    }
    /// Whether nobody reads the process's own stdout any more.
    pub(super) fn is_out_closed(&self) -> bool {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.are_real && poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
    }
    pub(super) fn write_out(&self, text: &str) -> io::Result<()> {
        write_all(&self.stdout, text)
    }
    /// Talk that cannot be written is lost: there is nowhere else to say so.
    pub(super) fn write_talk(&self, text: &str) {
        let _ = write_all(&self.stderr, text);
    }
    /// The next line without its end, or nothing where input has ended.
    pub(super) fn read_line(&self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = (*held(&self.stdin))(&mut line)?;
        Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
    }
    /// What a person answers; at a real terminal unseen, if it is to be hidden.
    pub(super) fn read_answer(&self, hidden: bool) -> io::Result<Line> {
        if self.are_real && self.terminals.stdin {
            return terminal::read_line(hidden);
        }
        Ok(self.read_line()?.map_or(Line::Ended, Line::Text))
    }
}

fn write_all(sink: &Mutex<Sink>, text: &str) -> io::Result<()> {
    let mut sink = held(sink);
    sink.write_all(text.as_bytes())?;
    sink.flush()
}

/// A thread that panicked while it printed leaves half a line, not a broken stream.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
