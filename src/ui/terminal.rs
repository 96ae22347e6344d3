//! Lines from a person at a terminal. At a question, Ctrl-C is an answer: it ends the question, not the process, so that
//! the terminal is left as it was and the command can say what was done. While something is drawn, what is typed is not
//! shown: an echo of it would move what is drawn.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Bytes of one line: the kernel's own limit (N_TTY).
const LINE_BYTES: usize = 4096;

/// What came from a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    /// Ctrl-D, or the terminal has gone.
    Ended,
    /// Ctrl-C or Ctrl-\.
    Interrupted,
}

/// What the terminal's settings were before this process changed any; none while they are that. A process has one
/// terminal, and gives it back whatever ends it.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Does not show what is typed at the terminal that stderr is, until [`restore`].
pub(super) fn hush() {
    if is_ours(&io::stderr()) {
        // Without it, what is drawn may be moved by what is typed: no reason to fail.
        let _ = change(io::stderr(), |modes| modes.local_modes.remove(LocalModes::ECHO));
    }
}

/// Gives the terminal its settings back.
pub(super) fn restore() {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(found) = found.filter(|_| is_ours(&io::stderr())) {
        // A terminal that has gone has no settings.
        let _ = tcsetattr(io::stderr(), OptionalActions::Now, &found);
    }
}

/// Whether this process is the one in front. Of any other, the shell has the settings in hand, and the kernel would stop
/// it for changing them.
fn is_ours(terminal: &impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|front| front == getpgrp())
}

/// Changes the terminal's settings, and returns what they were.
fn change(terminal: impl AsFd, change: impl FnOnce(&mut Termios)) -> io::Result<Termios> {
    let before = tcgetattr(&terminal)?;
    let mut after = before.clone();
    change(&mut after);
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| before.clone());
    tcsetattr(&terminal, OptionalActions::Drain, &after)?;
    Ok(before)
}

/// Reads a line from the terminal that stdin is; a hidden one is not shown while it is typed.
pub(super) fn read_line(hidden: bool) -> io::Result<Line> {
    let stdin = io::stdin();
    let mode = Mode::asking(&stdin, hidden)?;
    let mut line = Vec::new();
    loop {
        let mut bytes = [0; LINE_BYTES];
        let read = match rustix::io::read(&stdin, &mut bytes) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(why) => return Err(why.into()),
        };
        line.extend_from_slice(&bytes[..read]);
        let last = line.last().copied();
        if last.is_some_and(|byte| mode.ends.contains(&byte)) {
            return Ok(Line::Interrupted);
        }
        if read == 0 && line.is_empty() {
            return Ok(Line::Ended);
        }
        if read == 0 || last == Some(b'\n') {
            return Ok(Line::Text(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned()));
        }
    }
}

/// The terminal's settings while a question is asked; what they were comes back afterwards, whatever happens.
struct Mode<'a> {
    stdin: &'a io::Stdin,
    before: Termios,
    /// The characters that would have sent a signal.
    ends: [u8; 2],
}

impl<'a> Mode<'a> {
    /// The kernel goes on editing the line; Ctrl-C and Ctrl-\ end it, instead of sending signals.
    fn asking(stdin: &'a io::Stdin, hidden: bool) -> io::Result<Self> {
        let before = change(stdin, |asking| {
            asking.special_codes[SpecialCodeIndex::VEOL] = asking.special_codes[SpecialCodeIndex::VINTR];
            asking.special_codes[SpecialCodeIndex::VEOL2] = asking.special_codes[SpecialCodeIndex::VQUIT];
            asking.local_modes.remove(LocalModes::ISIG);
            asking.local_modes.insert(LocalModes::ICANON);
            // What is drawn meanwhile may have hushed it.
            asking.local_modes.set(LocalModes::ECHO, !hidden);
            asking.local_modes.set(LocalModes::ECHONL, hidden);
        })?;
        let ends = [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT].map(|code| before.special_codes[code]);
        Ok(Self { stdin, before, ends })
    }
}

impl Drop for Mode<'_> {
    fn drop(&mut self) {
        // A terminal that has gone has no settings.
        let _ = tcsetattr(self.stdin, OptionalActions::Drain, &self.before);
    }
}
