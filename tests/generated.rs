//! What the program makes of itself, committed: completion scripts and manual pages, and whether these say all that there is to say. `BLESS=1 cargo test --test generated` writes it anew.

#![expect(clippy::disallowed_methods, reason = "runs the program, and compares files")]

#[path = "support/needs.rs"]
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_deployctl");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn said(args: &[&str]) -> String {
    let output =
        Command::new(PROGRAM).env_clear().env("HOME", "/nonexistent").args(args).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is committed is what the program makes.
fn compare(path: &Path, made: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, made).expect("a file");
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == made, "{} is not what the program makes; BLESS=1 writes it anew", path.display());
}

/// Nothing but what is made lies in a folder of what is made.
fn only(folder: &str, made: &[PathBuf]) {
    for entry in fs::read_dir(root().join(folder)).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert!(made.contains(&path), "{} is made by nobody", path.display());
    }
}

#[test]
fn the_completion_scripts_are_those_that_the_program_prints() {
    let shells = [
        ("bash", "deployctl.bash"),
        ("zsh", "_deployctl"),
        ("fish", "deployctl.fish"),
        ("elvish", "deployctl.elv"),
        ("powershell", "deployctl.ps1"),
    ];
    let path = |name: &str| root().join("completions").join(name);
    for (shell, name) in shells {
        compare(&path(name), &said(&["completions", shell]));
    }
    only("completions", &shells.map(|(_, name)| path(name)));
}

fn pages() -> Vec<String> {
    said(&["man"]).lines().map(str::to_owned).collect()
}

#[test]
fn the_pages_of_the_commands_are_those_that_the_program_prints() {
    let pages = pages();
    assert!(pages.len() > 20 && pages[0] == "deployctl", "{pages:?}");
    let path = |page: &str| root().join("man").join(page);
    let mut all = Vec::new();
    for page in &pages {
        let made = said(&["man", page]);
        let examples = page == "deployctl" || page.matches('-').count() > 1 || made.contains(".SH \"EXAMPLES\"");
        assert!(examples || page == "deployctl-trust", "{page} has no examples");
        let name = path(&format!("{page}.1"));
        compare(&name, &made);
        all.push(name);
    }
    all.extend(WRITTEN.map(path));
    only("man", &all);
}

/// The pages that people write.
const WRITTEN: [&str; 3] = ["deployctl-service.toml.5", "deployctl-config.toml.5", "deployctl-protocol.7"];

#[test]
fn mandoc_and_man_find_nothing_wrong_with_the_pages() {
    if !needs::has(&["mandoc", "man"]) {
        return;
    }
    for entry in fs::read_dir(root().join("man")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "style"]).arg(&path).output().expect("mandoc runs");
        let found = String::from_utf8_lossy(&lint.stdout).into_owned();
        // The pages that this one refers to are not installed where it is looked at, and mandoc's taste in the
        // pages that clap makes is not what they are judged by.
        let taste = ["referenced manual not found", "input text line longer than 80 bytes"];
        let found: Vec<_> = found.lines().filter(|line| !taste.iter().any(|word| line.contains(word))).collect();
        assert!(found.is_empty(), "{found:#?}");
        let mut man = Command::new("man");
        man.args(["--warnings", "-l"]).arg(&path).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
        let man = man.output().expect("man runs");
        assert!(
            man.status.success() && man.stderr.is_empty(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&man.stderr)
        );
    }
}

/// The keys that a page lists, by the section that it lists them in.
fn listed(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("man").join(page)).expect("a page");
    let (mut section, mut found) = (String::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            section = title.trim_end_matches("\\&").to_owned();
        } else if let Some(key) = line.strip_prefix(".It Cm ") {
            found.entry(section.clone()).or_default().insert(key.to_owned());
        }
    }
    found
}

#[test]
fn the_page_of_service_toml_has_exactly_the_keys_that_the_parser_knows() {
    let known = |section: &str| {
        // Each section says which keys it knows when it meets one that it does not.
        let text = format!("{section}no-such-key = 1\n");
        let findings = deployctl::service::parse::parse("service.toml", &text, None).expect_err("a wrong definition");
        let remedy = findings.iter().find(|one| one.message.contains("no-such-key")).expect("the key is refused");
        let words = remedy.remedy.strip_prefix("known here: ").expect("what is known");
        words.split(", ").map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let sections = [
        ("The service", ""),
        ("[options.NAME]", "[options.x]\n"),
        ("[roles.NAME]", "[roles.x]\n"),
        ("[roles.NAME.build]", "[roles.x.build]\n"),
        ("[roles.NAME.run]", "[roles.x.run]\n"),
        ("ready", "[roles.x.run.ready]\n"),
        ("stop", "[roles.x.run.stop]\n"),
        ("[roles.NAME.permissions]", "[roles.x.permissions]\n"),
        ("[limits]", "[limits]\n"),
        ("[enables]", "[enables]\n"),
        ("[tariff]", "[tariff]\n"),
    ];
    let parser: BTreeMap<_, _> = sections.iter().map(|(title, text)| ((*title).to_owned(), known(text))).collect();
    assert_eq!(listed("deployctl-service.toml.5"), parser);
}

/// The words in backticks of serde's “unknown field `x`, expected one of `a`, `b`”, but for the first.
fn expected(text: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, text).expect("a file");
    let error = deployctl::store::config::Config::load(&path).expect_err("a wrong key").message;
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_of_config_toml_has_exactly_the_keys_that_the_parser_knows() {
    let sections = expected("no-such-section = 1\n");
    let mut parser: BTreeMap<_, _> =
        sections.iter().map(|name| (format!("[{name}]"), expected(&format!("[{name}]\nno-such-key = 1\n")))).collect();
    parser.insert("[[policy.accept]]".to_owned(), expected("[[policy.accept]]\nno-such-key = 1\n"));
    assert!(parser.len() > 4, "{parser:?}");
    assert_eq!(listed("deployctl-config.toml.5"), parser);
}
