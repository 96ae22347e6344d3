//! What the demo tells: numbered steps, and under each what went from whom to whom and what it proved.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::model::{Key, Span, Time};
use crate::system::System;
use crate::ui::Ui;

/// One numbered step.
#[derive(Serialize)]
pub(super) struct Step {
    number: usize,
    what: String,
    seconds: f64,
    saw: Vec<String>,
}

pub(super) struct Story {
    ui: Ui,
    system: System,
    begun: Time,
    step_begun: Time,
    steps: Vec<Step>,
    names: Vec<(Key, String)>,
    /// Messages that were told of: each is sent by one node and received by another.
    told: BTreeSet<String>,
}

impl Story {
    pub(super) fn begin(ui: &Ui, system: &System) -> Self {
        let now = system.now();
        Self {
            ui: ui.clone(),
            system: system.clone(),
            begun: now,
            step_begun: now,
            steps: Vec::new(),
            names: Vec::new(),
            told: BTreeSet::new(),
        }
    }
    /// Ends the step before and begins the next.
    pub(super) fn step(&mut self, what: impl Into<String>) {
        self.close();
        let (number, what) = (self.steps.len() + 1, what.into());
        self.ui.note(&format!("{number:>2}. {what}"));
        self.steps.push(Step { number, what, seconds: 0.0, saw: Vec::new() });
    }
    fn close(&mut self) {
        let now = self.system.now();
        if let Some(step) = self.steps.last_mut() {
            step.seconds = seconds(now.since(self.step_begun));
            self.ui.note(&format!("      ({} s)", step.seconds));
        }
        self.step_begun = now;
    }
    /// One line of the step.
    pub(super) fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.ui.note(&format!("      {line}"));
        if let Some(step) = self.steps.last_mut() {
            step.saw.push(line);
        }
    }
    /// A table or another text of several lines, which belongs to the step and is no event of it.
    pub(super) fn show(&self, text: &str) {
        for line in text.lines() {
            self.ui.note(&format!("      {line}"));
        }
    }
    /// Where the demo is: for errors.
    pub(super) fn at(&self) -> String {
        self.steps.last().map_or_else(|| "preparing".to_owned(), |step| format!("step {}, {}", step.number, step.what))
    }
    /// All steps, and the seconds that everything took.
    pub(super) fn end(&mut self) -> (Vec<Step>, f64) {
        self.close();
        (std::mem::take(&mut self.steps), seconds(self.system.now().since(self.begun)))
    }
    pub(super) fn meet(&mut self, key: Key, name: &str) {
        self.names.push((key, name.to_owned()));
    }

    /// Tells an event of the node called `name`, if it is worth telling.
    pub(super) fn event(&mut self, name: &str, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        match text("event") {
            "session" => {
                let reason = event["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
                self.say(format!("{name}: {}{reason}", text("state")));
            }
            "step" => {
                // Where exactly it lies matters to nobody here.
                let said = text("text").split(" in /").next().unwrap_or_default();
                self.say(format!("{name}: {said}"));
            }
            "message" => self.message(name, event),
            _ => {}
        }
    }
    fn message(&mut self, name: &str, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let (kind, id) = (text("kind"), text("id"));
        let Some(proved) = proved_by(kind) else { return };
        let Some((_, with)) = self.names.iter().find(|(key, _)| key.short() == text("with")) else { return };
        if !self.told.insert(id.to_owned()) {
            return;
        }
        let (from, to) = if text("direction") == "sent" { (name, with.as_str()) } else { (with.as_str(), name) };
        self.say(format!("{from} → {to}: {kind}: {proved}"));
    }
}

/// What a message of a kind is good for; nothing for those that only keep others informed.
fn proved_by(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "interface-request" => "asks for the options and roles; the signed answer repeats its nonce",
        "service-request" => "what is wanted, with a notification to each peer that only its Initiator could sign",
        "invitation" => "the provider's signature, and inside of it the Initiator's notification to this peer",
        "answer" => "a signed answer to exactly this invitation",
        "delivery" => "the signed digest of the package; more than was accepted would be refused",
        "report" => "signed word of how far it is",
        "start" => "everybody has what was agreed: begin",
        "terminate" => "signed by who may end it: stop, and remove everything",
        "accounting" => "signed by one, countersigned by the other: neither can deny or change it",
        _ => return None,
    })
}

/// To hundredths.
fn seconds(span: Span) -> f64 {
    f64::from(u32::try_from(span.as_ms() / 10).unwrap_or(u32::MAX)) / 100.0
}
