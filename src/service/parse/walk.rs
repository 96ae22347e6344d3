//! Walking through a TOML document while keeping account of where everything stands and of all that is wrong.

use std::cell::OnceCell;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Finding;
use crate::model::Error;
use crate::model::suggest::did_you_mean;

/// Findings that are told; whoever has more is told the rest after mending these.
const MAX_FINDINGS: usize = 100;

/// The mistakes found so far.
pub(super) struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    /// Byte offsets where lines begin.
    lines: OnceCell<Vec<usize>>,
    found: Vec<Finding>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, lines: OnceCell::new(), found: Vec::new() }
    }

    /// Adds one that stands at a byte of the file.
    pub(super) fn add(&mut self, at: usize, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        if self.found.len() >= MAX_FINDINGS {
            return;
        }
        let lines = self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= at);
        let start = lines[line - 1];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.found.push(Finding { file, line, column, key, message: message.into(), remedy: remedy.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// By their place in the file.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.found.sort_by_key(|finding| (finding.line, finding.column));
        self.found
    }
}

/// A table, and where its key stands.
pub(super) struct Section<'d> {
    path: String,
    at: usize,
    table: &'d DeTable<'d>,
}

impl<'d> Section<'d> {
    pub(super) fn root(table: &'d DeTable<'d>) -> Self {
        Self { path: String::new(), at: 0, table }
    }

    /// The keys that lead to it: `roles.host`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A key with its value, if it is there.
    pub(super) fn entry(&self, key: &str) -> Option<Entry<'d>> {
        self.table.get_key_value(key).map(|(key, value)| self.entry_of(key, value))
    }

    /// All keys with their values, in the order of the file.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'d str, Entry<'d>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries.into_iter().map(|(key, value)| (&**key.get_ref(), self.entry_of(key, value)))
    }

    fn entry_of(&self, key: &Spanned<std::borrow::Cow<'d, str>>, value: &'d Spanned<DeValue<'d>>) -> Entry<'d> {
        let path = match self.path.as_str() {
            "" => key.get_ref().to_string(),
            path => format!("{path}.{}", key.get_ref()),
        };
        Entry { path, key_at: key.span().start, at: value.span().start, value: value.get_ref() }
    }

    /// A key that must be there.
    pub(super) fn require(&self, key: &str, remedy: &str, findings: &mut Findings<'_>) -> Option<Entry<'d>> {
        let entry = self.entry(key);
        if entry.is_none() {
            self.wrong(findings, format!("“{key}” is missing"), remedy);
        }
        entry
    }

    /// The table under a key, if it is there.
    pub(super) fn section(&self, key: &str, findings: &mut Findings<'_>) -> Option<Section<'d>> {
        self.entry(key)?.section(findings)
    }

    /// The texts under a key, or none.
    pub(super) fn listed(&self, key: &str, most: usize, findings: &mut Findings<'_>) -> Vec<Entry<'d>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let items = entry.texts(findings).unwrap_or_default();
        if items.len() > most {
            entry.wrong(findings, format!("there are more than {most} of them"), "write fewer");
            return Vec::new();
        }
        items
    }

    /// Finds fault with every key that is none of these.
    pub(super) fn allow(&self, known: &[&str], findings: &mut Findings<'_>) {
        for (key, entry) in self.entries().filter(|(key, _)| !known.contains(key)) {
            let key: String = key.chars().take(64).collect();
            let meant = did_you_mean(&key, known.iter().copied());
            let remedy = format!("known here: {}", known.join(", "));
            findings.add(entry.key_at, &self.path, format!("“{key}” is unknown{meant}"), remedy);
        }
    }

    /// Finds fault with the section as a whole.
    pub(super) fn wrong(&self, findings: &mut Findings<'_>, message: impl Into<String>, remedy: impl Into<String>) {
        findings.add(self.at, &self.path, message, remedy);
    }
}

/// A value under its key.
pub(super) struct Entry<'d> {
    path: String,
    key_at: usize,
    at: usize,
    value: &'d DeValue<'d>,
}

impl<'d> Entry<'d> {
    pub(super) fn value(&self) -> &'d DeValue<'d> {
        self.value
    }

    /// Finds fault with the value.
    pub(super) fn wrong(&self, findings: &mut Findings<'_>, message: impl Into<String>, remedy: impl Into<String>) {
        findings.add(self.at, &self.path, message, remedy);
    }

    fn expected(&self, findings: &mut Findings<'_>, what: &str, remedy: &str) {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.wrong(findings, format!("{what} belongs here, not {found}"), remedy);
    }

    pub(super) fn text(&self, findings: &mut Findings<'_>) -> Option<&'d str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected(findings, "a text", "write it in quotes");
        }
        text
    }

    pub(super) fn flag(&self, findings: &mut Findings<'_>) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.expected(findings, "true or false", "write true or false, without quotes");
        }
        flag
    }

    /// A whole number that fits the type, which `range` describes.
    pub(super) fn count<T: TryFrom<i64>>(&self, range: &str, findings: &mut Findings<'_>) -> Option<T> {
        let remedy = format!("write a whole number {range}");
        let Some(number) = self.value.as_integer() else {
            self.expected(findings, "a whole number", &remedy);
            return None;
        };
        let count =
            i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|number| T::try_from(number).ok());
        if count.is_none() {
            self.wrong(findings, format!("{number} is out of range"), remedy);
        }
        count
    }

    /// The items of a list that are texts, each where it stands; others are found fault with.
    pub(super) fn texts(&self, findings: &mut Findings<'_>) -> Option<Vec<Entry<'d>>> {
        let Some(array) = self.value.as_array() else {
            self.expected(findings, "a list of texts", "write [\"…\", \"…\"]");
            return None;
        };
        let items = array.iter().map(|item| Entry {
            path: self.path.clone(),
            key_at: item.span().start,
            at: item.span().start,
            value: item.get_ref(),
        });
        Some(items.filter(|item| item.text(findings).is_some()).collect())
    }

    /// The text of an item that `texts` has looked at.
    pub(super) fn as_text(&self) -> &'d str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn section(&self, findings: &mut Findings<'_>) -> Option<Section<'d>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.expected(findings, "a section", &format!("write [{}] above its keys", self.path));
        }
        Some(Section { path: self.path.clone(), at: self.key_at, table: table? })
    }

    /// A text that is a value of a type with rules of its own.
    pub(super) fn parsed<T: FromStr<Err = Error>>(&self, findings: &mut Findings<'_>) -> Option<T> {
        let text = self.text(findings)?;
        text.parse().map_err(|why| self.refused(findings, why)).ok()
    }

    /// The key itself, as a name.
    pub(super) fn parsed_key<T: FromStr<Err = Error>>(&self, key: &str, findings: &mut Findings<'_>) -> Option<T> {
        let name = key.parse::<T>().map_err(|why| {
            let section = self.path.strip_suffix(key).unwrap_or_default().trim_end_matches('.');
            findings.add(self.key_at, section, why.message, why.hint.unwrap_or_default());
        });
        name.ok()
    }

    /// Finds fault with the value as the error says.
    pub(super) fn refused(&self, findings: &mut Findings<'_>, why: Error) {
        self.wrong(findings, why.message, why.hint.unwrap_or_default());
    }

    /// One of some words, each with what it stands for.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], findings: &mut Findings<'_>) -> Option<T> {
        let text = self.text(findings)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let meant = did_you_mean(text, known.iter().copied());
            self.wrong(findings, format!("“{text}” is unknown{meant}"), format!("write one of {}", known.join(", ")));
        }
        found
    }
}
