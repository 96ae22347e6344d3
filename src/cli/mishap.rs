//! Our own defects, as an error like any other: one line on stderr, nothing on stdout, exit 1.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;

use crate::model::{Code, Error};
use crate::ui::Ui;

/// Runs `work`. Where it panics, on whatever thread, `ui` says so; on this one, that is its end.
pub(super) fn guarded(ui: Ui, work: impl FnOnce() -> ExitCode) -> ExitCode {
    panic::set_hook(Box::new(move |mishap| ui.error(&told(mishap))));
    // What it was working on is not looked at again: the process ends here.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| ExitCode::from(Code::Internal.exit()))
}

fn told(mishap: &PanicHookInfo<'_>) -> Error {
    let payload = mishap.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| Some(payload.downcast_ref::<String>()?.as_str()));
    let why = text.unwrap_or("for a reason that cannot be shown");
    let place = mishap.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let trace = Backtrace::capture();
    let trace = match trace.status() {
        BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    Error::new(Code::Internal, format!("a defect of deployctl{place}: {why}{trace}"))
        .hint("nothing is half done, and the same command can be tried again; please report it, with RUST_BACKTRACE=1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{IN_SCRIPT, captured};
    use crate::ui::{Format, Settings};

    /// The hook is the process's own, and tests share one: theirs is put back.
    fn guarded_here(format: Format) -> (ExitCode, String, String) {
        let (ui, out, talk) = captured(Settings { format, ..Settings::default() }, IN_SCRIPT, &[]);
        let before = panic::take_hook();
        let code = guarded(ui, || panic!("the oven is \u{1b}[31mcold"));
        panic::set_hook(before);
        (code, out.text(), talk.text())
    }

    #[test]
    fn a_panic_is_an_error_like_any_other() {
        let (code, out, talk) = guarded_here(Format::Json);
        assert_eq!((code, out.as_str()), (ExitCode::from(1), ""));
        assert_eq!(talk.lines().count(), 1, "{talk}");
        let line: serde_json::Value = serde_json::from_str(&talk).unwrap();
        assert_eq!(line["error"]["code"], "internal");
        assert!(line["error"]["message"].as_str().unwrap().contains("mishap.rs"), "{line}");

        let (code, out, talk) = guarded_here(Format::Human);
        assert_eq!((code, out.as_str()), (ExitCode::from(1), ""));
        assert!(talk.contains("error: ") && talk.contains("cold") && !talk.contains("\u{1b}[31mcold"), "{talk}");
    }
}
