//! Points at which a test makes the operating system fail. Outside tests they are nothing.

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Create,
    Write,
    Sync,
    Rename,
    SyncDir,
    Truncate,
}

/// Fails if a test armed this point on this thread.
#[cfg(not(test))]
pub(super) fn pass(_: Point) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use armed::{arm, disarm, pass};

#[cfg(test)]
mod armed {
    use std::cell::RefCell;
    use std::io;

    use super::Point;

    thread_local! {
        /// Points to fail at, and how often each passes before.
        static ARMED: RefCell<Vec<(Point, usize)>> = const { RefCell::new(Vec::new()) };
    }

    /// Lets `point` fail once, after it passed `after` times.
    pub(in super::super) fn arm(point: Point, after: usize) {
        ARMED.with_borrow_mut(|armed| armed.push((point, after)));
    }
    pub(in super::super) fn disarm() {
        ARMED.with_borrow_mut(Vec::clear);
    }
    pub(in super::super) fn pass(point: Point) -> io::Result<()> {
        ARMED.with_borrow_mut(|armed| {
            let Some(at) = armed.iter().position(|(armed, _)| *armed == point) else { return Ok(()) };
            if armed[at].1 > 0 {
                armed[at].1 -= 1;
                return Ok(());
            }
            armed.remove(at);
            Err(io::Error::other("a failure made by a test"))
        })
    }
}
