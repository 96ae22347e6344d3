//! What happens while a command works: calm lines for a person, bars for downloads on a terminal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Ui;
use super::escape::{escape_line, shorten};
use super::terminal;
use crate::model::event::{Direction, Sink};
use crate::model::{Digest, Event, Name, ParticipantState, RoleName, SessionId, SessionState};

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
        match (&self.0.bars, event) {
            (Some(bars), Event::Download { digest, done, total, .. }) => bars.advance(*digest, *done, *total),
            (Some(bars), Event::Participant { session, name, role, state, .. }) => {
                bars.place(*session, name, role, *state);
                return;
            }
            _ => {}
        }
        if !self.0.settings.quiet
            && let Some(line) = line_of(event, self.0.settings.verbose)
        {
            let line = if self.0.bars.is_some() { ticked(event, &line) } else { line };
            self.talk(&format!("  {}", escape_line(&line)));
        }
    }
    /// Takes what moves off the screen, and gives the terminal back as it was: the command is done.
    pub fn rest(&self) {
        if let Some(bars) = &self.0.bars {
            bars.clear();
        }
        terminal::restore();
    }
}

/// On a terminal, what was done is ticked off: a state says what goes on, a tick what is behind.
fn ticked(event: &Event, line: &str) -> String {
    let Event::Session { session, state, reason, .. } = event else { return format!("  {line}") };
    let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let done = match state {
        SessionState::Requested => "requested",
        SessionState::Registered => "registered",
        SessionState::Inviting => "registered, and the peers are invited",
        SessionState::Building => "answered, and the software is being built",
        SessionState::Delivering => "built, and on its way to everybody",
        SessionState::Starting => "installed, and about to start",
        SessionState::Running => "running",
        SessionState::Terminating => "told to end",
        SessionState::Closed => "ended, accounted for and closed",
        other => return format!("✗ {}: {other}{reason}", session.short()),
    };
    format!("✓ {}: {done}{reason}", session.short())
}

fn line_of(event: &Event, verbose: u8) -> Option<String> {
    match event {
        Event::Session { session, party, state, reason } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Some(format!("{} at {party}: {state}{reason}", session.short()))
        }
        // Who is seen for the first time has done nothing just now.
        Event::Participant { was: None, .. } => None,
        Event::Participant { session, party, name, role, state, .. } => {
            Some(format!("{} at {party}: {name} ({role}) {state}", session.short()))
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
/// Of a participant: who it is, how far it has come, and the word for that.
const PARTY_TEMPLATE: &str = "  {prefix} [{bar:20}] {msg}";
/// Participants that are drawn; of more, a screen would show little else.
const MAX_PARTIES: usize = 12;
/// Columns of a participant's name and role.
const WHO_COLUMNS: usize = 24;

/// One bar for each package that is coming in, and for each participant of what is waited for.
pub(super) struct Bars {
    all: MultiProgress,
    open: Mutex<BTreeMap<Digest, ProgressBar>>,
    parties: Mutex<BTreeMap<(SessionId, Name), ProgressBar>>,
}

impl Bars {
    pub(super) fn on_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }
    fn on(target: ProgressDrawTarget) -> Self {
        Self { all: MultiProgress::with_draw_target(target), open: Mutex::default(), parties: Mutex::default() }
    }
    /// A bar is as wide as the terminal, so that whatever is typed behind it would move it.
    fn add(&self, length: u64, template: &str) -> ProgressBar {
        if !self.all.is_hidden() {
            terminal::hush();
        }
        self.all.add(ProgressBar::new(length).with_style(style(template)))
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
            let bar = self.add(total, TEMPLATE);
            bar.with_prefix(digest.short())
        });
        bar.set_length(total);
        bar.set_position(done);
    }
    /// Shows where a participant stands; the order is that of names.
    fn place(&self, session: SessionId, name: &Name, role: &RoleName, state: ParticipantState) {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session, name.clone());
        if !parties.contains_key(&key) && parties.len() >= MAX_PARTIES {
            return;
        }
        let bar = parties.entry(key).or_insert_with(|| {
            let bar = self.add(HERE, PARTY_TEMPLATE);
            let who = shorten(&format!("{name} ({role})"), WHO_COLUMNS);
            bar.with_prefix(format!("{who:WHO_COLUMNS$}"))
        });
        bar.set_message(state.as_str());
        bar.set_position(way(state));
    }
    /// Runs `write` while no bar is on the screen.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }
    /// Takes away what is left of downloads that will not come to their end.
    pub(super) fn clear(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        let parties = std::mem::take(&mut *self.parties.lock().unwrap_or_else(PoisonError::into_inner));
        // Taking them away one by one would leave the last drawing of some.
        open.values().chain(parties.values()).for_each(ProgressBar::finish_and_clear);
        let _ = self.all.clear();
    }
}

/// Steps from being invited to being there.
const HERE: u64 = 4;

/// How far a participant has come of [`HERE`]; who is out of it has nothing more to come.
fn way(state: ParticipantState) -> u64 {
    match state {
        ParticipantState::Invited | ParticipantState::Declined | ParticipantState::Withdrawn => 0,
        ParticipantState::Failed | ParticipantState::Left | ParticipantState::Removed => 0,
        ParticipantState::Accepted => 1,
        ParticipantState::Delivered => 2,
        ParticipantState::Installed | ParticipantState::Stopped => 3,
        ParticipantState::Confirmed => HERE,
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{AT_TERMINAL, captured};
    use super::super::{Format, Settings};
    use super::*;
    use crate::model::{MessageId, Party};

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
            participant(Some(ParticipantState::Accepted)),
            participant(None),
            Event::Message { session, party, direction: Direction::Received, kind: "invitation", id, with },
            Event::Download { digest: Digest::of(b"x"), done: 1, total: 2, per_second: 1, remaining: Some(1) },
            Event::Notice { text: "the clock is 3 s off".to_owned() },
        ]
    }
    fn participant(was: Option<ParticipantState>) -> Event {
        let (name, role) = ("ben".parse().unwrap(), "guest".parse().unwrap());
        Event::Participant {
            session: session(),
            party: Party::Peer,
            name,
            role,
            state: ParticipantState::Installed,
            was,
        }
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
            "{at} installed watcher\\n\\u{{1b}}[2J\n{at} running\n{at} failed (it said “no”)\n\
             {at} ben (guest) installed\n  the clock is 3 s off\n"
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
        let place = |name: String, state| {
            bars.place(session(), &name.parse().unwrap(), &"guest".parse().unwrap(), state);
        };
        for n in 0..2 * MAX_PARTIES {
            place(format!("peer-{n:02}"), ParticipantState::Invited);
        }
        place("peer-01".to_owned(), ParticipantState::Confirmed);
        let bar = bars.parties.lock().unwrap()[&(session(), "peer-01".parse().unwrap())].clone();
        assert_eq!((bar.position(), bar.message()), (HERE, "confirmed".to_owned()));
        assert_eq!(bars.parties.lock().unwrap().len(), MAX_PARTIES);
        bars.clear();
        assert_eq!((open(), bars.parties.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn the_bars_templates_are_understood() {
        for template in [TEMPLATE, PARTY_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
