//! What happens while a command works: calm lines for a person, bars for downloads on a terminal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Ui;
use super::escape::escape_line;
use crate::model::event::{Direction, Sink};
use crate::model::{Digest, Event};

impl Ui {
    /// Shows events on stderr: for a person as lines, messages among them only with `-v`, nothing with `--quiet`; in
    /// JSON one line each and only with `-v`.
    pub fn event_sink(&self) -> Sink {
        let ui = self.clone();
        Arc::new(move |event| ui.show(&event))
    }
    fn show(&self, event: &Event) {
        if self.is_json() {
            self.talk_json(event);
            return;
        }
        if let (Some(bars), Event::Download { digest, done, total, .. }) = (&self.0.bars, event) {
            bars.advance(*digest, *done, *total);
        }
        if !self.0.settings.quiet
            && let Some(line) = line_of(event, self.0.settings.verbose)
        {
            self.talk(&format!("  {}", escape_line(&line)));
        }
    }
}

fn line_of(event: &Event, verbose: u8) -> Option<String> {
    match event {
        Event::Session { session, party, state, reason } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Some(format!("{} at {party}: {state}{reason}", session.short()))
        }
        Event::Step { session, party, text } => Some(format!("{} at {party}: {text}", session.short())),
        Event::Message { session, party, direction, kind, with, .. } if verbose > 0 => {
            let how = match direction {
                Direction::Sent => format!("sent {kind} to {with}"),
                Direction::Received => format!("received {kind} from {with}"),
            };
            Some(format!("{} at {party}: {how}", session.short()))
        }
        Event::Message { .. } | Event::Download { .. } => None,
        Event::Notice { text } => Some(text.clone()),
    }
}

/// Without colours: `NO_COLOR` needs no second look.
const TEMPLATE: &str = "  {prefix} [{bar:20}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// One bar for each package that is coming in.
pub(super) struct Bars {
    all: MultiProgress,
    open: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Bars {
    pub(super) fn on_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }
    fn on(target: ProgressDrawTarget) -> Self {
        Self { all: MultiProgress::with_draw_target(target), open: Mutex::default() }
    }
    fn advance(&self, digest: Digest, done: u64, total: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if done >= total {
            if let Some(bar) = open.remove(&digest) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
            return;
        }
        let bar = open.entry(digest).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(total).with_style(style()));
            bar.with_prefix(digest.short())
        });
        bar.set_length(total);
        bar.set_position(done);
    }
    /// Runs `write` while no bar is on the screen.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }
    /// Takes away what is left of downloads that will not come to their end.
    pub(super) fn clear(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for bar in open.values() {
            bar.finish_and_clear();
            self.all.remove(bar);
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{AT_TERMINAL, captured};
    use super::super::{Format, Settings};
    use super::*;
    use crate::model::{MessageId, Party, SessionId, SessionState};

    fn session() -> SessionId {
        SessionId::from_bytes([7; 16])
    }
    fn events() -> Vec<Event> {
        let (session, party, id) = (session(), Party::Peer, MessageId::from_bytes([1; 16]));
        let text = "installed watcher\n\u{1b}[2J".to_owned();
        let with = "ada".to_owned();
        let reason = Some("it said “no”".to_owned());
        vec![
            Event::Step { session, party, text },
            Event::Session { session, party, state: SessionState::Running, reason: None },
            Event::Session { session, party, state: SessionState::Failed, reason },
            Event::Message { session, party, direction: Direction::Received, kind: "invitation", id, with },
            Event::Download { digest: Digest::of(b"x"), done: 1, total: 2, per_second: 1, remaining: Some(1) },
            Event::Notice { text: "the clock is 3 s off".to_owned() },
        ]
    }
    fn shown(settings: Settings) -> String {
        let (ui, out, talk) = captured(settings, AT_TERMINAL, &[]);
        let sink = ui.event_sink();
        events().into_iter().for_each(|event| sink(event));
        assert_eq!(out.text(), "");
        talk.text()
    }

    #[test]
    fn a_person_sees_calm_lines() {
        let at = format!("  {} at peer:", session().short());
        let plain = format!(
            "{at} installed watcher\\n\\u{{1b}}[2J\n{at} running\n{at} failed (it said “no”)\n  the clock is 3 s off\n"
        );
        assert_eq!(shown(Settings::default()), plain);
        assert_eq!(shown(Settings { quiet: true, ..Settings::default() }), "");
        let verbose = shown(Settings { verbose: 1, ..Settings::default() });
        assert!(verbose.contains(&format!("{at} received invitation from ada\n")), "{verbose}");
    }

    #[test]
    fn a_script_sees_events_only_if_it_asks() {
        let json = Settings { format: Format::Json, ..Settings::default() };
        assert_eq!(shown(json), "");
        let verbose = shown(Settings { verbose: 1, ..json });
        let read: Vec<serde_json::Value> = verbose.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read.len(), events().len());
        assert!(read.iter().all(|event| event["event"].is_string()));
    }

    #[test]
    fn a_bar_lives_as_long_as_its_download() {
        let bars = Bars::on(ProgressDrawTarget::hidden());
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let open = || bars.open.lock().unwrap().len();
        bars.advance(a, 1, 10);
        bars.advance(b, 1, 10);
        bars.advance(a, 5, 10);
        assert_eq!(open(), 2);
        bars.advance(a, 10, 10);
        bars.advance(a, 10, 10);
        assert_eq!(open(), 1);
        assert_eq!(bars.suspend(|| 3), 3);
        bars.clear();
        assert_eq!(open(), 0);
    }

    #[test]
    fn the_bars_template_is_understood() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
