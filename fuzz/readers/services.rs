//! Definitions, interfaces and terms, queries for programs, settings, and the words that people and nodes write.

use std::collections::BTreeMap;
use std::fs;

use deployctl::discover::seeing::Sought;
use deployctl::model::program_uri::ProgramUri;
use deployctl::model::{
    Address, Code, Digest, Host, Key, MessageId, Name, OptionName, RoleName, ServiceName, Source, Span, Time, Token,
};
use deployctl::service::option::given::{parse_set, parse_values};
use deployctl::service::option::{Given, Options};
use deployctl::service::permission::Access;
use deployctl::service::query::{Answer, Candidate, Listed, Query};
use deployctl::service::requirement::{ProgramVersion, Size};
use deployctl::service::template::{self, Context};
use deployctl::service::usage::MeterName;
use deployctl::service::{
    Interface, Platform, Requirement, RoleTerms, Roster, ServiceType, consent, findings_to_error, parse,
};
use deployctl::store::config::Config;
use deployctl::store::rights::Rights;
use serde_json::json;

use super::{same_again, texts};

/// A `service.toml`: it is a definition whose interface says the same, or every finding has a place.
pub(super) fn definition(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match parse("service.toml", text, None) {
        Ok(definition) => {
            let interface = Interface::from(&definition);
            let written = serde_json::to_string(&interface).unwrap();
            assert_eq!(serde_json::from_str::<Interface>(&written).unwrap(), interface);
            assert_eq!(interface.options().unwrap(), definition.options);
            interface.describe().unwrap();
        }
        Err(findings) => {
            assert!(!findings.is_empty());
            assert!(findings.iter().all(|finding| (1..=text.lines().count() + 1).contains(&finding.line)));
            assert_eq!(findings_to_error(&findings).code, Code::BadDefinition);
        }
    }
}

/// An interface as a provider sends it, and after zeros the values that are given: a file in JSON, one in TOML, a pair.
/// What is resolved is taken by the same interface again.
pub(super) fn interface(input: &[u8]) {
    let mut texts = texts(input);
    let Some(Ok(interface)) = texts.next().map(serde_json::from_str::<Interface>) else { return };
    let (described, options) = (interface.describe(), interface.options());
    assert!(described.is_ok() == options.is_ok());
    let Ok(options) = options else { return };
    let mut given = Given::new();
    for (text, extension) in texts.by_ref().zip(["json", "toml"]) {
        given.extend(parse_values(text, extension).unwrap_or_default());
    }
    given.extend(texts.next().and_then(|text| parse_set(&options, text).ok()));
    if let Ok(resolved) = interface.resolve(&given) {
        let mut again: Given = serde_json::from_value(serde_json::to_value(&resolved.options).unwrap()).unwrap();
        again.extend(given.into_iter().filter(|(name, _)| resolved.secrets.contains_key(name)));
        let again = interface.resolve(&again).expect("what holds once holds again");
        assert_eq!(again.options, resolved.options);
    }
}

/// What texts see: some options, and who takes part.
struct Scene {
    options: Options,
    roster: Roster,
    role: RoleName,
    platform: Platform,
    service: ServiceName,
}

impl Scene {
    fn new() -> Self {
        let key = Key::from_bytes([3; 32]);
        let member = |name: &str| {
            json!({
                "name": name, "key": key, "address": format!("deploy://{key}@192.0.2.1:4800"), "host": "192.0.2.1",
                "port": 4800, "role": "guest", "platform": "linux-x86_64",
            })
        };
        let options = json!({"port": 8080, "title": "a title", "public": true, "ratio": 0.5});
        Self {
            options: serde_json::from_value(options).unwrap(),
            roster: serde_json::from_value(json!({"initiator": member("ada"), "peers": [member("ben")]})).unwrap(),
            role: "guest".parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            service: "site".parse().unwrap(),
        }
    }
    fn with(&self, see: impl Fn(&Context<'_>)) {
        for roster in [None, Some(&self.roster)] {
            see(&Context {
                options: &self.options,
                session: "fivcukrkfivcukrkfivcukrkfi".parse().unwrap(),
                role: &self.role,
                platform: &self.platform,
                service_name: &self.service,
                service_version: &semver::Version::new(1, 2, 3),
                roster,
            });
        }
    }
}

thread_local! {
    static SCENE: Scene = Scene::new();
}

/// The terms of a role, which a participant shows and renders before it trusts anybody.
pub(super) fn terms(input: &[u8]) {
    let Ok(terms) = serde_json::from_slice::<RoleTerms>(input) else { return };
    let _ = (consent::terms_text(&terms), consent::seats_text(&terms));
    SCENE.with(|scene| {
        scene.with(|context| {
            if let Some(run) = &terms.run {
                let _ = (template::preview_run(run, context), template::render_run(run, context));
            }
            let _ = template::preview_permissions(&terms.permissions, context);
            let _ = template::render_permissions(&terms.permissions, context);
        });
    });
}

/// A template file: it is rendered within its bounds, or refused with its line.
pub(super) fn template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = template::sees_roster("a", text);
    SCENE.with(|scene| {
        scene.with(|context| {
            if let Err(why) = template::render("a", text, context) {
                assert_ne!(why.code, Code::Internal, "{why}");
            }
        });
    });
}

/// `config.toml`: what is taken is written so that it reads as the same.
pub(super) fn config(input: &[u8]) {
    let place = tempfile::NamedTempFile::new().unwrap();
    fs::write(place.path(), input).unwrap();
    match Config::load(place.path()) {
        Ok(config) => {
            fs::write(place.path(), toml::to_string(&config).unwrap()).unwrap();
            assert_eq!(Config::load(place.path()).unwrap(), config);
        }
        Err(why) => assert_eq!(why.code, Code::BadInput, "{why}"),
    }
}

/// A query for programs, answered from a list; and an answer as another node gives one.
pub(super) fn query(input: &[u8]) {
    let _ = serde_json::from_slice::<Answer>(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(query) = Query::from_json(text) else { return };
    let terms = |platforms: &str, requires: &[&str]| -> RoleTerms {
        serde_json::from_value(json!({"for": "initiator", "min": 1, "platforms": [platforms], "requires": requires}))
            .unwrap()
    };
    let listed = |name: &str| -> Listed {
        serde_json::from_value(json!({
            "name": name, "version": "1.2.3", "summary": "a tool for doors", "category": "home/doors",
            "license": "MIT OR Apache-2.0", "signer": Key::from_bytes([3; 32]), "size": 99, "enables": ["_door._tcp"],
        }))
        .unwrap()
    };
    let (one, other) = (terms("any", &["python >= 3.9", "memory >= 64MiB"]), terms("linux-x86_64", &[]));
    let all = [("tool", one), ("other", other)];
    let answer = query.answer(all.map(|(name, terms)| Candidate {
        listed: Listed { requires: terms.requires, ..listed(name) },
        platforms: terms.platforms,
        made: BTreeMap::new(),
    }));
    assert!(answer.programs.len() <= 2 && !answer.more);
    let written = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Answer>(&written).unwrap(), answer);
}

/// What stands on command lines, in files and in messages: each kind of word is written as it is read.
pub(super) fn words(input: &[u8]) {
    for text in texts(input) {
        same_again::<Address>(text);
        same_again::<Host>(text);
        same_again::<ProgramUri>(text);
        same_again::<Key>(text);
        same_again::<Digest>(text);
        same_again::<MessageId>(text);
        same_again::<Name>(text);
        same_again::<OptionName>(text);
        same_again::<MeterName>(text);
        same_again::<Time>(text);
        same_again::<Span>(text);
        same_again::<Source>(text);
        same_again::<Access>(text);
        same_again::<Requirement>(text);
        same_again::<ProgramVersion>(text);
        same_again::<Size>(text);
        same_again::<Platform>(text);
        same_again::<ServiceType>(text);
        same_again::<Rights>(text);
        let _ = (text.parse::<Token>(), text.parse::<Sought>());
    }
}
