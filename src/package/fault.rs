//! Points between the operations that change something on disk, at which a test lets the process die or the operation
//! fail. Outside tests they are nothing.

/// Comes before every operation that changes something.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "fails in tests")]
pub(crate) fn step(_path: &std::path::Path) -> crate::model::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use armed::{Fault, arm, disarm, step};

#[cfg(test)]
mod armed {
    use std::cell::Cell;
    use std::io::ErrorKind;
    use std::path::Path;

    use crate::model::{Error, Result};

    /// What happens at the chosen step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// The process is killed: no later step happens either.
        Dies,
        /// EIO, once.
        Fails,
        /// ENOSPC, once.
        IsFull,
    }

    thread_local! {
        /// Steps until the fault.
        static ARMED: Cell<Option<(u32, Fault)>> = const { Cell::new(None) };
        static HAPPENED: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn arm(steps: u32, fault: Fault) {
        HAPPENED.set(false);
        ARMED.set(Some((steps, fault)));
    }
    /// Returns whether the fault happened.
    pub(crate) fn disarm() -> bool {
        ARMED.set(None);
        HAPPENED.get()
    }
    pub(crate) fn step(path: &Path) -> Result<()> {
        match ARMED.get() {
            Some((0, fault)) => {
                HAPPENED.set(true);
                ARMED.set((fault == Fault::Dies).then_some((0, fault)));
                let why = if fault == Fault::IsFull { ErrorKind::StorageFull } else { ErrorKind::Other };
                Err(Error::io("changing", path, &why.into()))
            }
            Some((left, fault)) => {
                ARMED.set(Some((left - 1, fault)));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
