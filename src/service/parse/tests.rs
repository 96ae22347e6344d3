use super::*;
use crate::service::definition::{Bound, Build, CommandBuild, Probe, Restart, Signal};
use crate::service::option::{Kind, OptionValue};
use crate::service::platform::Platforms;

/// Every key that there is, as in the manual.
const EVERYTHING: &str = r#"
name = "chat"
version = "1.2.0"
summary = "A chat room for the people you invite"
category = "communication/text"
license = "MIT OR Apache-2.0"

[options.room]
type = "string"
title = "Room name"
description = "Where they meet"
default = "lobby"
pattern = "^[a-z0-9-]{1,32}$"
max_length = 32

[options.port]
type = "integer"
default = 8080
minimum = 1024
maximum = 65_535

[options.colour]
enum = ["red", "green"]
required = true

[options.admin]
type = "string"
secret = true
roles = ["host"]

[roles.host]
for = "initiator"
min = 1
max = 1
platforms = ["linux-x86_64", "linux-aarch64"]
requires = ["python>=3.9", "memory>=512MiB", "display"]

[roles.host.build]
copy = "host/"
templates = ["config.json.j2"]

[roles.host.run]
command = ["bin/chat", "--config", "config.json"]
ready = { tcp = "127.0.0.1:{{ options.port }}", within = "20s" }
stop = { signal = "INT" }
restart = "always"
environment = { RUST_LOG = "info", ROOM = "{{ options.room }}" }

[roles.host.permissions]
network = ["listen:{{ options.port }}", "connect:{{ roster.peers[0].host }}:443"]
write = ["data/"]

[roles.guest]
for = "peer"
build = { copy = "guest" }

[limits]
duration = "14d"
starts = 20
bound = "pair"

[enables]
types = ["urn:example-org:service:DoorOpener:1", "_door._tcp"]

[tariff]
currency = "EUR"
per = { minute = "0.02", session = "0.10" }
"#;

#[test]
fn a_definition_says_everything_that_the_manual_knows() {
    let definition = parse("service.toml", EVERYTHING, Some("chat")).unwrap();
    let names: Vec<_> = definition.options.iter().map(|option| &*option.name).collect();
    assert_eq!(names, ["room", "port", "colour", "admin"]);
    assert_eq!(definition.options[1].maximum, Some(OptionValue::Integer(65535)));
    assert_eq!(definition.options[2].kind, Kind::Enum(vec!["red".into(), "green".into()]));
    assert!(definition.options[3].secret);
    let host = &definition.roles["host"];
    assert_eq!((host.terms.side, host.terms.min, host.terms.max), (Side::Initiator, 1, Some(1)));
    assert_eq!(host.terms.platforms.to_string(), "linux-x86_64, linux-aarch64");
    assert_eq!(host.terms.requires.len(), 3);
    let run = host.terms.run.as_ref().unwrap();
    assert_eq!(run.ready.as_ref().unwrap().probe, Probe::Tcp("127.0.0.1:{{ options.port }}".into()));
    assert_eq!(
        (run.stop.signal, run.stop.grace.to_string().as_str(), run.restart),
        (Signal::Int, "5s", Restart::Always)
    );
    assert_eq!(definition.limits.as_ref().unwrap().bound, Some(Bound::Pair));
    assert_eq!(definition.enables.as_ref().unwrap().types.len(), 2);
    assert_eq!(definition.tariff.as_ref().unwrap().per["minute"].to_string(), "0.02");
    let text = serde_json::to_string(&definition).unwrap();
    assert_eq!(serde_json::from_str::<Definition>(&text).unwrap(), definition);
}

#[test]
fn what_is_not_said_has_a_default() {
    let definition = parse("service.toml", EVERYTHING, None).unwrap();
    let guest = &definition.roles["guest"].terms;
    assert_eq!((guest.min, guest.max, &guest.platforms), (0, None, &Platforms::Any));
    assert!(guest.run.is_none() && guest.permissions.network.is_empty());
    let text = "name = \"x\"\nversion = \"1.0.0\"\n[roles.host]\nfor = \"initiator\"\nbuild.copy = \".\"\nrun.command = [\"a\"]\nrun.ready.after = \"1s\"\npermissions.network = \"none\"\n";
    let definition = parse("service.toml", text, None).unwrap();
    let host = &definition.roles["host"].terms;
    let run = host.run.as_ref().unwrap();
    assert_eq!((host.max, run.restart, run.stop.signal), (Some(1), Restart::OnFailure, Signal::Term));
    assert_eq!(run.ready.as_ref().unwrap().within.to_string(), "30s");
}

#[test]
fn a_build_is_a_copy_or_a_command() {
    let head = "name = \"x\"\nversion = \"1.0.0\"\n[roles.host]\nfor = \"initiator\"\nbuild = ";
    let build = |text: &str| {
        let definition = parse("service.toml", &format!("{head}{text}\n"), None);
        definition.map_err(|found| findings_to_error(&found)).unwrap().roles["host"].build.clone()
    };
    assert!(matches!(build("{ copy = \"host/\" }"), Build::Copy(copy) if copy.copy == "host/"));
    let command = |network, deadline: &str| {
        let (command, deadline) = (vec!["sh".to_owned(), "{{ build.sh".to_owned()], deadline.parse().unwrap());
        Build::Command(CommandBuild { command, network, deadline })
    };
    assert_eq!(build("{ command = [\"sh\", \"{{ build.sh\"] }"), command(false, "10m"));
    let all = "{ command = [\"sh\", \"{{ build.sh\"], network = true, deadline = \"30m\" }";
    assert_eq!(build(all), command(true, "30m"));
}

#[test]
fn every_mistake_is_found_with_its_line() {
    for (name, text, expected) in [
        (
            "empty",
            include_str!("../../../fixtures/services/bad/empty.toml"),
            include_str!("../../../fixtures/services/bad/empty.txt"),
        ),
        (
            "syntax",
            include_str!("../../../fixtures/services/bad/syntax.toml"),
            include_str!("../../../fixtures/services/bad/syntax.txt"),
        ),
        (
            "keys",
            include_str!("../../../fixtures/services/bad/keys.toml"),
            include_str!("../../../fixtures/services/bad/keys.txt"),
        ),
        (
            "options",
            include_str!("../../../fixtures/services/bad/options.toml"),
            include_str!("../../../fixtures/services/bad/options.txt"),
        ),
        (
            "roles",
            include_str!("../../../fixtures/services/bad/roles.toml"),
            include_str!("../../../fixtures/services/bad/roles.txt"),
        ),
        (
            "no-initiator",
            include_str!("../../../fixtures/services/bad/no-initiator.toml"),
            include_str!("../../../fixtures/services/bad/no-initiator.txt"),
        ),
        (
            "templates",
            include_str!("../../../fixtures/services/bad/templates.toml"),
            include_str!("../../../fixtures/services/bad/templates.txt"),
        ),
        (
            "tariff",
            include_str!("../../../fixtures/services/bad/tariff.toml"),
            include_str!("../../../fixtures/services/bad/tariff.txt"),
        ),
    ] {
        let findings = parse("service.toml", text, Some("chat")).unwrap_err();
        let error = findings_to_error(&findings);
        assert_eq!(error.code, Code::BadDefinition);
        assert_eq!(error.message.trim_end(), expected.trim_end(), "{name}");
    }
}

#[test]
fn the_services_that_come_along_are_right() {
    for (folder, text) in [
        ("site", include_str!("../../../fixtures/services/site/service.toml")),
        ("notice", include_str!("../../../fixtures/services/notice/service.toml")),
    ] {
        let definition = parse("service.toml", text, Some(folder)).map_err(|found| findings_to_error(&found)).unwrap();
        assert!(definition.roles.len() > 1, "{folder}");
    }
}

#[test]
fn a_definition_cannot_grow_without_bounds() {
    let too_large = parse("service.toml", &" ".repeat(DEFINITION_BYTES + 1), None).unwrap_err();
    assert!(too_large[0].message.contains("1 MiB"));
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(!parse("service.toml", &deep, None).unwrap_err().is_empty());
    let mut many = String::from("name = \"x\"\nversion = \"1.0.0\"\n");
    for n in 0..2000 {
        many.push_str(&format!("[roles.r{n}]\nfor = \"peer\"\n"));
    }
    assert!(parse("service.toml", &many, None).unwrap_err().len() <= 101);
    let many: String = (0..300).map(|n| format!("[options.o{n}]\ntype = \"string\"\n")).collect();
    let findings = parse("service.toml", &many, None).unwrap_err();
    assert!(findings.iter().any(|finding| finding.message.contains("256 options")));
}

#[test]
fn columns_count_characters() {
    let findings =
        parse("x", "name = \"x\"\nversion = \"1.0.0\"\n\"ä\" = 1\nroles = { a = 1, \"ö\" = 2 }\n", None).unwrap_err();
    let places: Vec<_> = findings.iter().map(|finding| (finding.line, finding.column)).collect();
    assert_eq!(places[0], (3, 1));
    assert!(places.iter().all(|(line, column)| *line >= 3 && *column < 30), "{findings:?}");
}

#[test]
fn whatever_the_text_it_is_read_or_refused() {
    let pieces = [
        "[", "]", "=", "\"", "'", "\n", "roles", ".host", "{{", "}}", "for", "1", "é", "\u{0}", "#", "{", "}", ",",
        "\\u",
    ];
    let mut seed: u64 = 42;
    for _ in 0..2000 {
        let mut text = String::from("name = \"x\"\n");
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()]);
        }
        assert!(parse("x", &text, None).is_err(), "{text}");
    }
}
