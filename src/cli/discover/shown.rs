//! Nodes and their programs as people and scripts see them. All of it came from outside.

use serde::Serialize;

use crate::model::{Address, Key, Name, Way};
use crate::service::query::{Answer, Explained, Match, Runs};
use crate::service::requirement::Size;
use crate::ui::escape::{escape_line, shorten};
use crate::ui::table::table;

/// Characters of a text in a table.
const CELL: usize = 60;
/// Characters of what a rule expects or finds.
const REASON: usize = 200;

/// A node as scripts see it.
#[derive(Serialize)]
pub(super) struct Shown {
    /// As it calls itself on the local network; as this node calls it, where it was asked without being seen.
    name: Option<Name>,
    key: Key,
    pub(super) address: Address,
    /// The name of the contact with this key, if there is one.
    pub(super) contact: Option<Name>,
    /// The node itself has said, over TLS, which programs fit.
    asked: bool,
    pub(super) programs: Vec<Match>,
    pub(super) via: Vec<Way>,
    /// Whether the node's programs are known: not every way tells them.
    #[serde(skip)]
    is_listed: bool,
    #[serde(skip)]
    pub(super) more: bool,
    #[serde(skip)]
    explained: Vec<Explained>,
}

/// Why a program of a node is shown or not.
#[derive(Serialize)]
pub(super) struct Explanation<'a> {
    node: &'a Address,
    #[serde(flatten)]
    explained: &'a Explained,
    #[serde(skip)]
    called: String,
    /// How it runs; empty where it does not.
    #[serde(skip)]
    runs: String,
}

impl Shown {
    pub(super) fn new(name: Option<Name>, address: Address, contact: Option<Name>) -> Self {
        Self {
            name,
            key: address.key,
            address,
            contact,
            asked: false,
            programs: Vec::new(),
            via: Vec::new(),
            is_listed: false,
            more: false,
            explained: Vec::new(),
        }
    }
    pub(super) fn take(&mut self, answer: Answer, asked: bool) {
        (self.programs, self.explained, self.more) = (answer.programs, answer.explained, answer.more);
        (self.asked, self.is_listed) = (asked, true);
    }
    pub(super) fn called(&self) -> String {
        self.contact.as_ref().or(self.name.as_ref()).map_or_else(|| self.key.short(), ToString::to_string)
    }
    pub(super) fn explanations(&self) -> impl Iterator<Item = Explanation<'_>> {
        self.explained.iter().map(|explained| {
            let is_it =
                |one: &&Match| one.listed.name == explained.listed.name && one.listed.signer == explained.listed.signer;
            let runs = self.programs.iter().find(is_it).map(runs).unwrap_or_default();
            Explanation { node: &self.address, explained, called: self.called(), runs }
        })
    }
}

/// A node for people: who it says it is, and what it offers.
pub(super) fn block(node: &Shown) -> String {
    let known = match &node.contact {
        Some(contact) => format!("your contact {contact}"),
        None => "not a contact".to_owned(),
    };
    let via: Vec<_> = node.via.iter().map(ToString::to_string).collect();
    let seen = if via.is_empty() { "asked".to_owned() } else { format!("seen by {}", via.join(" and ")) };
    let mut text = format!("{}, {known}, {seen}\n", node.name.as_ref().map_or(node.called(), ToString::to_string));
    text.push_str(&format!("  key      {}\n  address  {}\n", node.key.groups(), node.address));
    if !node.is_listed {
        return text;
    }
    let rows: Vec<_> = node.programs.iter().map(|program| row(program, &node.key)).collect();
    if rows.is_empty() {
        text.push_str("  offers no programs that fit\n");
    }
    let header = ["PROGRAM", "VERSION", "CATEGORY", "LICENSE", "RUNS", "SIZE", "SUMMARY"];
    for line in table(&header, &rows).lines().filter(|_| !rows.is_empty()) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn row(program: &Match, node: &Key) -> Vec<String> {
    let listed = &program.listed;
    let name = match listed.signer == *node {
        true => listed.name.to_string(),
        false => format!("{}@{}", listed.name, listed.signer.short()),
    };
    let cell = |text: &Option<String>| shorten(text.as_deref().unwrap_or_default(), CELL);
    let version = shorten(&listed.version.to_string(), CELL);
    let (category, license) = (cell(&listed.category), cell(&listed.license));
    vec![
        name,
        version,
        category,
        license,
        shorten(&runs(program), CELL),
        size(listed.size),
        shorten(&listed.summary, CELL),
    ]
}

fn runs(program: &Match) -> String {
    match program.runs {
        Runs::Native => "natively".to_owned(),
        Runs::Runtime | Runs::Emulator => format!("by {}", program.by.join(" and ")),
    }
}

/// Rounded up; nothing where it is not known.
fn size(bytes: Option<u64>) -> String {
    let unit = |bytes: u64| if bytes < 10 << 20 { 1 << 10 } else { 1 << 20 };
    bytes.map(|bytes| Size(bytes.next_multiple_of(unit(bytes))).to_string()).unwrap_or_default()
}

/// Why a program is shown or not, for people.
pub(super) fn explanation(one: &Explanation<'_>) -> String {
    let Explained { listed, unmet } = one.explained;
    let head = format!("{} {} of {}", listed.name, escape_line(&listed.version.to_string()), one.called);
    if unmet.is_empty() {
        let runs = if one.runs.is_empty() { String::new() } else { format!(", and runs {}", escape_line(&one.runs)) };
        return format!("{head} fits{runs}\n");
    }
    let rows: Vec<_> = unmet
        .iter()
        .map(|one| [&one.rule, &one.expected, &one.actual].map(|text| shorten(text, REASON)).to_vec())
        .collect();
    let rules: String =
        table(&["RULE", "EXPECTED", "ACTUAL"], &rows).lines().map(|line| format!("  {line}\n")).collect();
    format!("{head} is left out:\n{rules}")
}

/// A change, for people.
pub(super) fn line(event: &str, node: &Shown) -> String {
    let contact = node.contact.as_ref().map(|contact| format!(" (your contact {contact})")).unwrap_or_default();
    let programs: Vec<_> = node.programs.iter().map(|program| program.listed.name.to_string()).collect();
    let offers = if programs.is_empty() { String::new() } else { format!(": {}", programs.join(", ")) };
    format!("{event} {}{contact} {}{offers}", node.called(), node.address)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ui::Settings;
    use crate::ui::testing::{IN_SCRIPT, captured};
    use crate::ui::{Format, escape::escape_block};

    /// Clears the screen, begins a line that could be ours, turns the direction, hides.
    const NASTY: &str = "x\u{1b}[2J\r\nerror: fake\u{202e}\u{200b}\u{9b}31m";

    /// A node as it could describe itself and its programs: whatever of it is free text is hostile.
    fn nasty() -> Shown {
        let key = Key::from_bytes([7; 32]);
        let program = json!({
            "name": "chess", "version": "1.0.0+x", "summary": NASTY, "category": NASTY, "license": NASTY, "signer": key,
            "enables": [NASTY], "platform": "linux-x86_64", "runs": "runtime", "by": [NASTY]
        });
        let unmet = json!({"rule": NASTY, "expected": NASTY, "actual": NASTY});
        let explained = json!({
            "name": "chess", "version": "1.0.0", "summary": NASTY, "signer": key, "unmet": [unmet]
        });
        let answer = json!({"programs": [program], "explained": [explained], "more": false});
        let mut shown = Shown::new(None, Address { key, host: None }, None);
        shown.take(serde_json::from_value(answer).expect("an answer as it comes"), true);
        shown
    }

    #[test]
    fn what_a_node_says_of_itself_and_its_programs_is_harmless_line_by_line() {
        let shown = nasty();
        let explained: Vec<_> = shown.explanations().map(|one| explanation(&one)).collect();
        for text in [block(&shown), line("found", &shown), explained.join("")] {
            // No line begins that is not ours, and nothing is left that only the last gate would stop.
            assert_eq!(escape_block(&text), text, "{text:?}");
            assert!(!text.lines().any(|line| line.trim_start().starts_with("error:")), "{text}");
        }
        for format in [Format::Human, Format::Json] {
            let (ui, out, _) = captured(Settings { format, ..Settings::default() }, IN_SCRIPT, &[]);
            ui.data(&shown, || block(&shown)).expect("it is shown");
            assert!(out.text().chars().all(|c| c == '\n' || !c.is_control()) && !out.text().contains('\u{202e}'));
        }
    }

    #[test]
    fn a_name_that_is_no_name_is_nobodys() {
        for name in [NASTY, "", "a b", "../x", "-x"] {
            let program = json!({"name": name, "version": "1.0.0", "summary": "s", "signer": Key::from_bytes([7; 32])});
            assert!(serde_json::from_value::<crate::service::query::Listed>(program).is_err(), "{name:?}");
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }
}
