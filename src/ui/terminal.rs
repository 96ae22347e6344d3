//! Lines from a person at a terminal. At a question, Ctrl-C is an answer: it ends the question, not the process, so that
//! the terminal is left as it was and the command can say what was done.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

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
        let before = tcgetattr(stdin)?;
        let mut asking = before.clone();
        let ends = [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT].map(|code| before.special_codes[code]);
        asking.special_codes[SpecialCodeIndex::VEOL] = ends[0];
        asking.special_codes[SpecialCodeIndex::VEOL2] = ends[1];
        asking.local_modes.remove(LocalModes::ISIG);
        asking.local_modes.insert(LocalModes::ICANON);
        if hidden {
            asking.local_modes.remove(LocalModes::ECHO);
            asking.local_modes.insert(LocalModes::ECHONL);
        }
        tcsetattr(stdin, OptionalActions::Drain, &asking)?;
        Ok(Self { stdin, before, ends })
    }
}

impl Drop for Mode<'_> {
    fn drop(&mut self) {
        // A terminal that has gone has no settings.
        let _ = tcsetattr(self.stdin, OptionalActions::Drain, &self.before);
    }
}
