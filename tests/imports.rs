//! Keeps the house in order: between the rooms of `src/`, imports run downwards only.
//!
//! Reads the source as tokens, without comments and strings, and finds `crate::ROOM` wherever it stands: in `use`, in
//! groups, in the middle of an expression, and as `super::` that climbs as far as the crate's root.

#![expect(clippy::disallowed_methods, reason = "reads the source, which no room of the program does")]

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. Rooms of one level do not see each other.
const LEVELS: [&[&str]; 8] = [
    &["model"],
    &["service"],
    &["message"],
    &["package", "session"],
    &["store"],
    &["node", "discover", "process"],
    &["roles"],
    &["cli"],
];

/// The lowest room that has effects, and so may ask for the time and for randomness.
const LOWEST_WITH_EFFECTS: &str = "store";

/// Why code of room `from` may not import room `to`, if so.
fn objection(from: &str, to: &str, in_test: bool) -> Option<String> {
    let level = |room| LEVELS.iter().position(|rooms| rooms.contains(&room));
    for room in [from, to] {
        if level(room).is_none() && !["ui", "system"].contains(&room) {
            return Some(format!("“{room}” is no room of the house: give it a place in tests/imports.rs"));
        }
    }
    let (fine, rule) = match (from, to) {
        _ if from == to => (true, ""),
        (_, "system") => (
            in_test || level(from) >= level(LOWEST_WITH_EFFECTS),
            "`system` is for `store` and what is above it, and for tests",
        ),
        (_, "ui") => (from == "cli", "`ui` is for `cli` alone"),
        ("ui" | "system", _) => (to == "model", "`ui` and `system` import `model` alone"),
        _ => (level(to) < level(from), "imports run downwards only"),
    };
    (!fine).then(|| format!("`{from}` must not import `{to}`: {rule}"))
}

/// All objections to one file, as `path:line: why`.
fn objections(path: &str, source: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut modules: Vec<&str> = inner.split('/').collect();
    let in_test = modules.last().is_some_and(|last| *last == "tests" || last.ends_with("_tests"));
    if modules.last() == Some(&"mod") {
        modules.pop();
    }
    arrows(&tokens(&without_comments_and_strings(source)), modules.len(), in_test)
        .into_iter()
        .filter_map(|arrow| {
            let why = objection(modules[0], &arrow.to, arrow.in_test)?;
            Some(format!("{path}:{}: {why}", arrow.line))
        })
        .collect()
}

/// One mention of a room.
#[derive(Debug, PartialEq)]
struct Arrow {
    line: usize,
    to: String,
    in_test: bool,
}

/// One pair of braces that is open.
struct Braces {
    is_module: bool,
    is_test: bool,
}

/// Finds the mentions of rooms in a file whose module lies `depth` below the crate's root.
fn arrows(tokens: &[Token], depth: usize, whole_in_test: bool) -> Vec<Arrow> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut open: Vec<Braces> = Vec::new();
    // After `#[cfg(test)]`, until the item that it stands before ends; and how many `(` and `[` are open.
    let (mut before_test_item, mut nested) = (false, 0_usize);
    for at in 0..tokens.len() {
        match text(at) {
            "{" => {
                let is_module = at >= 2 && text(at - 2) == "mod";
                open.push(Braces { is_module, is_test: std::mem::take(&mut before_test_item) });
            }
            "}" => drop(open.pop()),
            "(" | "[" => nested += 1,
            ")" | "]" => nested = nested.saturating_sub(1),
            ";" if nested == 0 => before_test_item = false,
            "cfg" if text(at + 1) == "(" && text(at + 2) == "test" && text(at + 3) == ")" => before_test_item = true,
            _ => {}
        }
        let depth = depth + open.iter().filter(|braces| braces.is_module).count();
        let Some(root_end) = path_to_root(tokens, at, depth) else { continue };
        let in_test = whole_in_test || before_test_item || open.iter().any(|braces| braces.is_test);
        found.extend(rooms_after(&tokens[root_end..]).into_iter().map(|token| Arrow {
            line: token.line,
            to: token.text.clone(),
            in_test,
        }));
    }
    found
}

/// Where the path `crate::`, or `super::` as often as needed, ends if it starts at `at`.
fn path_to_root(tokens: &[Token], at: usize, depth: usize) -> Option<usize> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    if is(at, "crate") && is(at + 1, "::") {
        return Some(at + 2);
    }
    if at >= 2 && is(at - 1, "::") && is(at - 2, "super") {
        return None;
    }
    let climbs = (0..).take_while(|n| is(at + 2 * n, "super") && is(at + 2 * n + 1, "::")).count();
    (climbs > 0 && climbs >= depth).then_some(at + 2 * climbs)
}

/// The first name of the path, or of every path of the group, that comes after the root.
fn rooms_after(tokens: &[Token]) -> Vec<&Token> {
    match tokens {
        [first, ..] if first.text != "{" => vec![first],
        _ => {
            let mut rooms = Vec::new();
            let mut nested = 0_usize;
            let mut starts = false;
            for token in tokens {
                match token.text.as_str() {
                    "{" => (nested, starts) = (nested + 1, nested == 0),
                    "}" if nested == 1 => break,
                    "}" => nested -= 1,
                    "," => starts = nested == 1,
                    "self" => starts = false,
                    _ if std::mem::take(&mut starts) => rooms.push(token),
                    _ => {}
                }
            }
            rooms
        }
    }
}

/// A word, `::`, or one other character.
#[derive(Debug, PartialEq)]
struct Token {
    line: usize,
    text: String,
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                c if is_of_word(c) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            tokens.push(Token { line, text: token.to_owned() });
            rest = after.trim_start();
        }
    }
    tokens
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The code with its lines where they were, each comment and literal a blank.
fn without_comments_and_strings(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let length = length_to_skip(&chars[at..], at > 0 && is_of_word(chars[at - 1]));
        if length == 0 {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let end = (at + length).min(chars.len());
        code.push(' ');
        code.extend(chars[at..end].iter().filter(|&&c| c == '\n'));
        at = end;
    }
    code
}

/// How many characters the comment or literal has that starts here; 0 if none does.
fn length_to_skip(rest: &[char], after_word: bool) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => string(rest),
        ['\'', '\\', _, after @ ..] => 3 + after.iter().take_while(|&&c| c != '\'').count() + 1,
        ['\'', _, '\'', ..] => 3,
        ['r', after @ ..] if !after_word => raw_string(after).map_or(0, |length| 1 + length),
        ['b' | 'c', 'r', after @ ..] if !after_word => raw_string(after).map_or(0, |length| 2 + length),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// From the hashes on.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&c| c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let mut end = vec!['"'];
    end.resize(1 + hashes, '#');
    let body = rest[hashes + 1..].windows(end.len()).position(|window| window == end)?;
    Some(hashes + 1 + body + end.len())
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder reads").map(|entry| entry.expect("the entry reads").path()) {
        if entry.is_dir() {
            files.extend(source_files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files.sort();
    files
}

#[test]
fn imports_run_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut read = 0;
    let mut all = Vec::new();
    for file in source_files(&root.join("src")) {
        let path = file.strip_prefix(root).expect("it lies inside").to_string_lossy().replace('\\', "/");
        if ["src/lib.rs", "src/main.rs"].contains(&path.as_str()) {
            continue;
        }
        read += 1;
        all.extend(objections(&path, &fs::read_to_string(&file).expect("the file reads")));
    }
    assert!(read > 10, "only {read} files were found");
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn an_arrow_that_runs_up_is_found_however_it_is_written() {
    for (path, source, line, to) in [
        ("src/store/mod.rs", "use crate::model::Key;\nuse crate::roles::Peer;", 2, "roles"),
        ("src/model/id.rs", "fn f() {\n    crate::system::System::real()\n}", 2, "system"),
        ("src/session/peer.rs", "use crate::{\n    model::{Key, store::X},\n    store::Store,\n};", 3, "store"),
        ("src/store/a.rs", "use crate::{self, message, node};", 1, "node"),
        ("src/service/mod.rs", "pub(crate) use super::message::Envelope;", 1, "message"),
        ("src/service/a.rs", "mod b {\n use super::super::super::store; }", 2, "store"),
        ("src/service/a/b.rs", "use super::super::super::{model, store};", 1, "store"),
        ("src/node/mod.rs", "macro_rules! m { () => { $crate::process::run() } }", 1, "process"),
        ("src/package/mod.rs", "use crate :: session;", 1, "session"),
        ("src/roles/mod.rs", "use crate::ui::Ui;", 1, "ui"),
        ("src/ui/mod.rs", "use crate::service::Definition;", 1, "service"),
        ("src/system/mod.rs", "use crate::ui;", 1, "ui"),
        ("src/message/mod.rs", "#[cfg(test)]\nmod tests { use crate::system; }\nuse crate::system;", 3, "system"),
        ("src/message/mod.rs", "#[cfg(test)]\nmod tests {\nuse crate::store; }", 3, "store"),
        ("src/message/mod.rs", "#[cfg(test)]\nuse crate::system;\nuse crate::system;", 3, "system"),
        ("src/message/mod.rs", "const C: char = '\"';\nuse crate::store;\nconst D: char = '\\'';", 2, "store"),
        ("src/message/mod.rs", "fn f<'a>(x: &'a str, r: u8) {}\nuse crate::store; // '", 2, "store"),
    ] {
        let found = objections(path, source);
        let room = path.split('/').nth(1).expect("a room");
        assert_eq!(found.len(), 1, "{source}\n{found:?}");
        assert!(found[0].starts_with(&format!("{path}:{line}: `{room}` must not import `{to}`")), "{found:?}");
    }
}

#[test]
fn a_room_without_a_place_is_found() {
    assert!(objections("src/cli/mod.rs", "use crate::util::x;")[0].contains("“util” is no room"));
    assert!(objections("src/util/mod.rs", "use crate::model;")[0].contains("“util” is no room"));
    assert_eq!(objections("src/cli/mod.rs", "use crate::*;").len(), 1);
}

#[test]
fn arrows_that_run_down_comments_and_strings_are_fine() {
    for (path, source) in [
        ("src/cli/mod.rs", "use crate::{model, roles, ui::Ui, system::System, discover::Found, store};"),
        ("src/store/a.rs", "use crate::{package, session, message, service, system};\nuse super::b;"),
        ("src/store/a.rs", "mod faults { pub(in super::super) fn arm() {} use super::super::c; }"),
        (
            "src/model/mod.rs",
            "/// [`crate::store`]\n// crate::cli\n/* /* crate::cli */ crate::cli */ use crate::model::x;",
        ),
        (
            "src/model/a.rs",
            r##"const A: &str = "\"crate::cli"; const B: &str = r#" " crate::cli "#; const C: &[u8] = b"crate::cli";"##,
        ),
        ("src/model/a.rs", "pub(crate) fn r#type() { let crate_store = 1; } use super::id;"),
        ("src/message/tests.rs", "use crate::system::System;"),
        ("src/message/a.rs", "#[cfg(test)]\nmod tests {\n    fn f(a: [u8; 4]) {}\n    use crate::system::System;\n}"),
        ("src/message/a.rs", "#[cfg(test)]\nmod tests { use super::super::b; use super::*; }"),
    ] {
        assert_eq!(objections(path, source), Vec::<String>::new(), "{source}");
    }
}
