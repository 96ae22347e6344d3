//! Questions to a person at a terminal; to nobody else. What cannot be asked is an error that names the flag.

use super::Ui;
use super::escape::{escape_block, escape_line};
use super::terminal::Line;
use crate::model::{Code, Error, Result};

/// Unusable answers in a row, after which asking is given up.
const MAX_TRIES: usize = 3;

impl Ui {
    /// Whether a question would reach a person and the answer come back.
    pub fn can_ask(&self) -> bool {
        self.why_silent().is_none()
    }
    /// A yes or a no; no by default. `--yes` answers without asking. The question may have several lines.
    ///
    /// # Errors
    /// `prompt-needed` where nobody can be asked, with `flag` as the way to answer.
    pub fn confirm(&self, question: &str, flag: &str) -> Result<bool> {
        if self.0.settings.yes {
            return Ok(true);
        }
        self.ask(question, "[y/N] ", flag, |answer| match answer.to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "" | "n" | "no" => Ok(false),
            _ => Err("please answer y or n".to_owned()),
        })
    }
    /// A line of text without blanks around it; an empty one is the default, or asked for again where there is none.
    ///
    /// # Errors
    /// Like [`Ui::confirm`], and also where there is a default: whether it is good enough unasked is the caller's to
    /// say, see [`Ui::can_ask`].
    pub fn ask_line(&self, label: &str, default: Option<&str>, flag: &str) -> Result<String> {
        let shown = default.map(|default| format!("[{}]: ", escape_line(default))).unwrap_or_else(|| ": ".to_owned());
        self.ask(label, &shown, flag, |answer| match (answer, default) {
            ("", Some(default)) => Ok(default.to_owned()),
            ("", None) => Err("please write something".to_owned()),
            (answer, _) => Ok(answer.to_owned()),
        })
    }
    /// One field of a form: what was written behind the label, without blanks around it, and be it nothing; unseen, if it
    /// is to be hidden. Whether it will do is the caller's to say, who asks again.
    ///
    /// # Errors
    /// Like [`Ui::confirm`].
    pub fn ask_field(&self, label: &str, hidden: bool, flag: &str) -> Result<String> {
        let answer = self.ask_once(label.trim(), label, hidden, flag)?;
        Ok(answer.trim().to_owned())
    }
    /// The place in `items` of the one that the person takes, by its number from 1.
    ///
    /// # Errors
    /// Like [`Ui::confirm`]; `not-found` where there are no items.
    pub fn choose(&self, label: &str, items: &[String], flag: &str) -> Result<usize> {
        if items.is_empty() {
            return Err(Error::new(Code::NotFound, format!("{label}: there is nothing to choose from")));
        }
        if self.can_ask() {
            let lines: Vec<String> =
                items.iter().zip(1..).map(|(item, n)| format!("  {n:>2}  {}", escape_line(item))).collect();
            self.talk(&lines.join("\n"));
        }
        let last = items.len();
        self.ask(label, &format!("[1-{last}]: "), flag, |answer| match answer.parse::<usize>() {
            Ok(n) if (1..=last).contains(&n) => Ok(n - 1),
            _ => Err(format!("please answer with a number from 1 to {last}")),
        })
    }
    /// The next line of what is piped in, without blanks around it: for what must not stand on a command line.
    ///
    /// # Errors
    /// `usage` where nothing comes.
    pub fn read_piped(&self, what: &str) -> Result<String> {
        let line = self.0.streams.read_line().map_err(|why| Error::new(Code::Io, format!("reading {what}: {why}")))?;
        let line = line.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
        line.ok_or_else(|| Error::new(Code::Usage, format!("reading {what} from stdin: nothing came")))
    }
    fn ask<T>(
        &self,
        question: &str,
        shown: &str,
        flag: &str,
        understand: impl Fn(&str) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let gap = if shown.starts_with(':') { "" } else { " " };
        let prompt = format!("{}{gap}{shown}", escape_block(question));
        for _ in 0..MAX_TRIES {
            let line = self.ask_once(question, &prompt, false, flag)?;
            match understand(line.trim()) {
                Ok(answer) => return Ok(answer),
                Err(advice) => self.talk(&advice),
            }
        }
        Err(unanswered(question, flag, "no answer could be understood"))
    }
    /// Shows `prompt`, which is escaped already, and reads one line.
    fn ask_once(&self, question: &str, prompt: &str, hidden: bool, flag: &str) -> Result<String> {
        if let Some(why) = self.why_silent() {
            return Err(unanswered(question, flag, why));
        }
        self.beside_bars(|| self.0.streams.write_talk(prompt));
        let line = self.0.streams.read_answer(hidden);
        match line.map_err(|why| unanswered(question, flag, &format!("reading stdin: {why}")))? {
            Line::Text(line) => Ok(line),
            Line::Ended => {
                self.talk("");
                Err(unanswered(question, flag, "input ended"))
            }
            Line::Interrupted => {
                self.talk("");
                Err(Error::new(Code::Interrupted, format!("interrupted at the question “{}”", question.trim()))
                    .hint("what was asked about was not done"))
            }
        }
    }
    fn why_silent(&self) -> Option<&'static str> {
        let (settings, terminals) = (self.settings(), self.terminals());
        if settings.no_input {
            Some("--no-input forbids it")
        } else if self.is_json() {
            Some("--format json never asks")
        } else if !terminals.stdin {
            Some("stdin is not a terminal")
        } else if !terminals.stderr {
            Some("stderr is not a terminal")
        } else {
            None
        }
    }
}

fn unanswered(question: &str, flag: &str, why: &str) -> Error {
    Error::new(Code::PromptNeeded, format!("cannot ask “{question}”: {why}")).hint(format!("answer with {flag}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{AT_TERMINAL, IN_SCRIPT, captured};
    use super::super::{Format, Settings, Terminals};
    use super::*;

    fn plain() -> Settings {
        Settings::default()
    }

    #[test]
    fn where_nobody_can_be_asked_the_error_names_the_flag() {
        let no_input = Settings { no_input: true, ..plain() };
        let json = Settings { format: Format::Json, ..plain() };
        let no_stderr = Terminals { stderr: false, ..AT_TERMINAL };
        for (settings, terminals, why) in [
            (plain(), IN_SCRIPT, "stdin is not a terminal"),
            (plain(), no_stderr, "stderr is not a terminal"),
            (no_input, AT_TERMINAL, "--no-input forbids it"),
            (json, AT_TERMINAL, "--format json never asks"),
        ] {
            let (ui, out, talk) = captured(settings, terminals, &["y", "y", "1"]);
            let error = ui.confirm("Remove it?", "--yes").unwrap_err();
            assert_eq!(error.code, Code::PromptNeeded);
            assert_eq!(error.message, format!("cannot ask “Remove it?”: {why}"));
            assert_eq!(error.hint.as_deref(), Some("answer with --yes"));
            let error = ui.ask_line("Room", Some("lobby"), "--set room=…").unwrap_err();
            assert_eq!(error.hint.as_deref(), Some("answer with --set room=…"));
            assert_eq!(ui.choose("Which?", &["a".into()], "an id").unwrap_err().code, Code::PromptNeeded);
            assert_eq!((out.text(), talk.text()), (String::new(), String::new()));
        }
    }

    #[test]
    fn yes_answers_confirmations_and_nothing_else() {
        let (ui, _, talk) = captured(Settings { yes: true, no_input: true, ..plain() }, IN_SCRIPT, &[]);
        assert!(ui.confirm("Remove it?", "--yes").unwrap());
        assert!(ui.ask_line("Room", None, "--set").is_err());
        assert_eq!(talk.text(), "");
    }

    #[test]
    fn confirming_takes_yes_and_no_and_asks_again_otherwise() {
        for (answers, expected) in
            [(&["y"][..], true), (&["YES "], true), (&[""], false), (&["n"], false), (&["what", "y"], true)]
        {
            let (ui, _, _) = captured(plain(), AT_TERMINAL, answers);
            assert_eq!(ui.confirm("Remove it?", "--yes").unwrap(), expected, "{answers:?}");
        }
        let (ui, out, talk) = captured(Settings { quiet: true, ..plain() }, AT_TERMINAL, &["what", "no"]);
        assert!(!ui.confirm("“\u{202e}x”\nRemove it?", "--yes").unwrap());
        let question = "“\\u{202e}x”\nRemove it? [y/N] ";
        assert_eq!(talk.text(), format!("{question}please answer y or n\n{question}"));
        assert_eq!(out.text(), "");
    }

    #[test]
    fn asking_ends_with_input_and_with_patience() {
        let (ui, _, _) = captured(plain(), AT_TERMINAL, &[]);
        let error = ui.confirm("Remove it?", "--yes").unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::PromptNeeded, "cannot ask “Remove it?”: input ended"));
        let (ui, _, _) = captured(plain(), AT_TERMINAL, &["a", "b", "c", "y"]);
        assert_eq!(ui.confirm("Remove it?", "--yes").unwrap_err().code, Code::PromptNeeded);
    }

    #[test]
    fn a_line_may_have_a_default() {
        let (ui, _, talk) = captured(plain(), AT_TERMINAL, &["", " attic ", "", "ada"]);
        assert_eq!(ui.ask_line("Room", Some("lobby"), "--set").unwrap(), "lobby");
        assert_eq!(ui.ask_line("Room", Some("lobby"), "--set").unwrap(), "attic");
        assert_eq!(ui.ask_line("Name", None, "--name").unwrap(), "ada");
        assert_eq!(talk.text(), "Room [lobby]: Room [lobby]: Name: please write something\nName: ");
    }

    #[test]
    fn a_choice_is_made_by_number() {
        let items = ["chat from ada".to_owned(), "e\u{1b}vil".to_owned()];
        let (ui, _, talk) = captured(plain(), AT_TERMINAL, &["0", "2"]);
        assert_eq!(ui.choose("Which invitation?", &items, "its id").unwrap(), 1);
        let question = "Which invitation? [1-2]: ";
        let expected = format!(
            "   1  chat from ada\n   2  e\\u{{1b}}vil\n{question}please answer with a number from 1 to 2\n{question}"
        );
        assert_eq!(talk.text(), expected);
        assert_eq!(ui.choose("Which?", &[], "its id").unwrap_err().code, Code::NotFound);
    }
}
