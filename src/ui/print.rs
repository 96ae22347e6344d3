//! Data on stdout; notes, warnings and errors on stderr.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::escape::{escape_block, escape_json};
use super::{Format, Ui};
use crate::model::{Code, Error, Event, Result};

/// Of the second and further lines of a message, so that none of them can pass for a line of ours.
const CONTINUED: &str = "\n    ";

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const CYAN: &str = "36";

impl Ui {
    /// What the command is asked for: in JSON the value as one document on one line, else the text.
    ///
    /// # Errors
    /// `io` where stdout cannot be written; that nobody reads it any more is none, see [`Ui::reader_left`].
    pub fn data(&self, value: &impl Serialize, human: impl FnOnce() -> String) -> Result<()> {
        match self.0.settings.format {
            Format::Json => self.write_out(&json_of(value)?),
            Format::Human => self.write_out(&escape_block(&human())),
        }
    }
    /// One document of many, for commands that watch; nothing unless in JSON. Errors like [`Ui::data`].
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        if self.is_json() { self.write_out(&json_of(value)?) } else { Ok(()) }
    }
    /// A document that is JSON in either format. Errors like [`Ui::data`].
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        self.write_out(&json_of(value)?)
    }
    /// Our own text as it is, in either format: a completion script, a table for a spreadsheet. Never for text from
    /// outside. Errors like [`Ui::data`].
    pub fn verbatim(&self, text: &str) -> Result<()> {
        self.write_out(text)
    }
    /// Talk: not with `--quiet`, in JSON only with `-v` (as a notice event).
    pub fn note(&self, text: &str) {
        if self.is_json() {
            self.talk_json(&Event::Notice { text: text.to_owned() });
        } else if !self.0.settings.quiet {
            self.talk(&escape_block(text));
        }
    }
    /// Talk that `--quiet` does not silence; in JSON only with `-v` (as a notice event).
    pub fn warn(&self, text: &str) {
        if self.is_json() {
            self.talk_json(&Event::Notice { text: text.to_owned() });
        } else {
            self.talk(&format!("{} {}", self.painted("warning:", YELLOW), continued(text)));
        }
    }
    /// Why the command failed, and what to do next. In JSON one line, whatever else is silent.
    pub fn error(&self, error: &Error) {
        #[derive(Serialize)]
        struct Line<'a> {
            error: &'a Error,
        }
        self.rest();
        if self.is_json() {
            // Text and codes always serialize.
            self.talk(&json_of(&Line { error }).unwrap_or_default());
            return;
        }
        let mut text = format!("{} {}", self.painted("error:", RED), continued(&error.message));
        if let Some(hint) = &error.hint {
            text.push_str(&format!("\n  {} {}", self.painted("hint:", CYAN), continued(hint)));
        }
        self.talk(&text);
    }
    /// One line of JSON on stderr, which only `-v` asks for.
    pub(super) fn talk_json(&self, value: &impl Serialize) {
        if self.0.settings.verbose > 0
            && let Ok(json) = json_of(value)
        {
            self.talk(&json);
        }
    }
    /// Text that is escaped already, to stderr.
    pub(super) fn talk(&self, text: &str) {
        let text = ended(text);
        self.beside_bars(|| self.0.streams.write_talk(&text));
    }
    pub(super) fn beside_bars<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
    fn write_out(&self, text: &str) -> Result<()> {
        if text.is_empty() || self.reader_left() {
            return Ok(());
        }
        let text = ended(text);
        match self.beside_bars(|| self.0.streams.write_out(&text)) {
            Ok(()) => Ok(()),
            Err(why) if why.kind() == ErrorKind::BrokenPipe => {
                self.0.reader_left.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(why) => Err(Error::new(Code::Io, format!("writing to stdout: {why}"))
                .hint("what the command did is done; only its output is missing")),
        }
    }
    pub(super) fn painted(&self, word: &str, style: &str) -> String {
        if self.is_coloured() { format!("\u{1b}[{style}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

fn json_of(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value)
        .map_err(|why| Error::new(Code::Internal, format!("writing the output as JSON: {why}")))?;
    Ok(escape_json(&json).into_owned())
}

fn continued(text: &str) -> String {
    escape_block(text.trim_end()).replace('\n', CONTINUED)
}

fn ended(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{AT_TERMINAL, Captured, Failing, IN_SCRIPT, captured};
    use super::super::{ColorChoice, Settings, Streams, Ui};
    use super::*;
    use crate::model::SessionId;

    const HUMAN: Settings = Settings {
        format: Format::Human,
        color: ColorChoice::Auto,
        no_color: false,
        quiet: false,
        verbose: 0,
        no_input: false,
        yes: false,
    };
    const JSON: Settings = Settings { format: Format::Json, ..HUMAN };

    fn failure() -> Error {
        Error::new(Code::BadDefinition, "reading chat:\nservice.toml:3: \u{1b}[2Jno\nservice.toml:9: \u{202e}no")
            .hint("mend both")
    }

    #[test]
    fn data_is_text_for_people_and_one_line_for_scripts() {
        let (ui, out, talk) = captured(HUMAN, IN_SCRIPT, &[]);
        ui.data(&[1, 2], || "one\ntwo \u{1b}[31m".into()).unwrap();
        ui.json_line(&1).unwrap();
        assert_eq!(out.text(), "one\ntwo \\u{1b}[31m\n");
        let (ui, out, _) = captured(JSON, IN_SCRIPT, &[]);
        ui.data(&["a\u{202e}\nb"], || unreachable!()).unwrap();
        ui.json_line(&1).unwrap();
        assert_eq!(out.text(), "[\"a\\u202e\\nb\"]\n1\n");
        assert_eq!(talk.text(), "");
    }

    #[test]
    fn own_text_is_printed_as_it_is_and_no_text_prints_nothing() {
        let (ui, out, _) = captured(JSON, IN_SCRIPT, &[]);
        ui.verbatim("complete\t-c deployctl\n").unwrap();
        ui.verbatim("").unwrap();
        assert_eq!(out.text(), "complete\t-c deployctl\n");
    }

    #[test]
    fn talk_obeys_quiet_json_and_verbose() {
        for (settings, expected) in [
            (HUMAN, "sent\\r\nwarning: old\n"),
            (Settings { quiet: true, ..HUMAN }, "warning: old\n"),
            (JSON, ""),
            (
                Settings { verbose: 1, ..JSON },
                "{\"event\":\"notice\",\"text\":\"sent\\r\"}\n{\"event\":\"notice\",\"text\":\"old\"}\n",
            ),
        ] {
            let (ui, out, talk) = captured(settings, IN_SCRIPT, &[]);
            ui.note("sent\r");
            ui.warn("old");
            assert_eq!((talk.text().as_str(), out.text().as_str()), (expected, ""));
        }
    }

    #[test]
    fn an_error_keeps_its_lines_and_none_of_them_passes_for_ours() {
        let (ui, _, talk) = captured(Settings { quiet: true, ..HUMAN }, IN_SCRIPT, &[]);
        ui.error(&failure());
        let expected = "error: reading chat:\n    service.toml:3: \\u{1b}[2Jno\n    service.toml:9: \\u{202e}no\n  hint: mend both\n";
        assert_eq!(talk.text(), expected);
    }

    #[test]
    fn an_error_in_json_is_exactly_one_line() {
        let (ui, out, talk) = captured(Settings { quiet: true, ..JSON }, AT_TERMINAL, &[]);
        let session = SessionId::from_bytes([0; 16]);
        ui.error(&Error::new(Code::Declined, "“ada”\nsaid\u{9b} no").hint("ask ada").about(session));
        ui.error(&Error::new(Code::Internal, "x"));
        let expected = format!(
            "{{\"error\":{{\"code\":\"declined\",\"message\":\"“ada”\\nsaid\\u009b no\",\"hint\":\"ask ada\",\"session\":\"{session}\"}}}}\n{{\"error\":{{\"code\":\"internal\",\"message\":\"x\"}}}}\n"
        );
        assert_eq!(talk.text(), expected);
        assert_eq!(out.text(), "");
    }

    #[test]
    fn colour_is_for_terminals_unless_told_otherwise() {
        let coloured = |color, no_color, terminals| {
            let (ui, _, talk) = captured(Settings { color, no_color, ..HUMAN }, terminals, &[]);
            ui.error(&Error::new(Code::Io, "x"));
            match talk.text().as_str() {
                "error: x\n" => false,
                "\u{1b}[1;31merror:\u{1b}[0m x\n" => true,
                other => panic!("{other}"),
            }
        };
        assert!(coloured(ColorChoice::Auto, false, AT_TERMINAL));
        assert!(!coloured(ColorChoice::Auto, true, AT_TERMINAL));
        assert!(!coloured(ColorChoice::Auto, false, IN_SCRIPT));
        assert!(coloured(ColorChoice::Always, true, IN_SCRIPT));
        assert!(!coloured(ColorChoice::Never, false, AT_TERMINAL));
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        let on = |kind| {
            Ui::with_streams(HUMAN, Streams::new(IN_SCRIPT, |_: &mut String| Ok(0), Failing(kind), Captured::default()))
        };
        let ui = on(ErrorKind::BrokenPipe);
        assert!(!ui.reader_left());
        ui.data(&1, || "x".into()).unwrap();
        assert!(ui.reader_left());
        ui.data(&1, || "x".into()).unwrap();
        let ui = on(ErrorKind::StorageFull);
        assert_eq!(ui.data(&1, || "x".into()).unwrap_err().code, Code::Io);
        assert!(!ui.reader_left());
    }
}
