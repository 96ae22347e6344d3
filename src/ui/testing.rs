//! Streams that tests write to and read back.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Settings, Streams, Terminals, Ui};

/// A person at a terminal on every stream.
pub(crate) const AT_TERMINAL: Terminals = Terminals { stdin: true, stdout: true, stderr: true };
/// A script: no terminal anywhere.
pub(crate) const IN_SCRIPT: Terminals = Terminals { stdin: false, stdout: false, stderr: false };

/// What was written to one stream.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stdout that fails in one way.
pub(crate) struct Failing(pub(crate) io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A `Ui` with what it wrote to stdout and to stderr; stdin gives `answers`, then ends.
pub(crate) fn captured(settings: Settings, terminals: Terminals, answers: &[&str]) -> (Ui, Captured, Captured) {
    let (out, talk) = (Captured::default(), Captured::default());
    let mut answers: VecDeque<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
    let stdin = move |line: &mut String| {
        let answer = answers.pop_front().unwrap_or_default();
        line.push_str(&answer);
        Ok(answer.len())
    };
    let ui = Ui::with_streams(settings, Streams::new(terminals, stdin, out.clone(), talk.clone()));
    (ui, out, talk)
}
