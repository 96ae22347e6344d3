//! Templates: files rendered when software is built, and the texts of run and permission sections.
//!
//! Files come from the provider's own service folder and have the whole language. The texts travel to participants,
//! who render them before they have agreed to anything: `terms` gives them a small language that cannot grow.

pub mod terms;

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};
use semver::Version;

use super::option::Options;
use super::platform::Platform;
use super::roster::Roster;
use crate::model::error::{Error, Result};
use crate::model::{Code, RoleName, ServiceName, SessionId};

pub use terms::{preview_permissions, preview_run, render_permissions, render_run};

/// Steps that a template file may take; one that prints all options and a roster of 100 takes a few thousand.
const FILE_STEPS: u64 = 1_000_000;
/// Bytes of a template file.
const FILE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of what a template file becomes.
const OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// What a template sees, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub options: &'a Options,
    pub session: SessionId,
    pub role: &'a RoleName,
    pub platform: &'a Platform,
    pub service_name: &'a ServiceName,
    pub service_version: &'a Version,
    /// `None` as long as it is not fixed.
    pub roster: Option<&'a Roster>,
}

impl Context<'_> {
    fn to_value(self) -> Value {
        let service = context! { name => self.service_name.to_string(), version => self.service_version.to_string() };
        let known = context! {
            options => Value::from(Serde(self.options)),
            session => self.session.to_string(),
            role => self.role.to_string(),
            platform => self.platform.to_string(),
            service => service,
        };
        match self.roster {
            Some(roster) => context! { roster => Value::from(Serde(roster)), ..known },
            None => known,
        }
    }
}

/// Renders a template file; yes and no become `true` and `false`, as in `service.toml`. `name` is its path in the service's folder, for errors. Nothing is escaped, and no other
/// file can be included.
///
/// # Errors
/// `bad-definition` with the file, the line and what is wrong, an undefined name among others; `too-large` for a
/// template over 4 MiB.
pub fn render(name: &str, text: &str, context: &Context<'_>) -> Result<String> {
    if text.len() > FILE_BYTES {
        return Err(Error::new(Code::TooLarge, format!("the template {name} is larger than 4 MiB")));
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|why| in_file(name, &why))?);
    environment.set_fuel(Some(FILE_STEPS));
    environment.set_debug(true);
    environment.remove_global("debug");
    // Of minijinja 3.0.5: it panics at a letter beyond ASCII behind a “%”, and takes any width.
    environment.remove_filter("format");
    environment.set_formatter(|out, state, value| match bool::try_from(value.clone()) {
        Ok(yes) if value.kind() == ValueKind::Bool => Ok(write!(out, "{yes}")?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    let template = environment.template_from_named_str(name, text).map_err(|why| in_file(name, &why))?;
    let mut output = Bounded(Vec::new());
    template.render_captured_to(context.to_value(), &mut output).map_err(|why| in_file(name, &why))?;
    String::from_utf8(output.0)
        .map_err(|_| Error::new(Code::Internal, format!("{name} became something else than text")))
}

/// Whether the text is a template at all, before anything is known.
///
/// # Errors
/// `bad-definition` with file and line of the first mistake in its syntax.
pub fn parse_file(name: &str, text: &str) -> Result<()> {
    Environment::new().template_from_named_str(name, text).map(drop).map_err(|why| in_file(name, &why))
}

/// Whether a template file looks at who takes part: then what it becomes is for them alone.
pub fn sees_roster(name: &str, text: &str) -> Result<bool> {
    let environment = Environment::new();
    let template = environment.template_from_named_str(name, text).map_err(|why| in_file(name, &why))?;
    Ok(template.undeclared_variables(false).contains("roster"))
}

fn in_file(name: &str, why: &minijinja::Error) -> Error {
    let place = why.line().map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    Error::new(Code::BadDefinition, format!("{place}: {}", explain(why))).hint(
        "a template sees options, session, role, platform, service.name, service.version, roster.initiator and \
         roster.peers; what may be missing is written like {{ options.x | default(\"\") }}",
    )
}

/// What went wrong in a template, in words.
fn explain(why: &minijinja::Error) -> String {
    match (why.kind(), why.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps; does a loop not end?".to_owned(),
        (ErrorKind::WriteFailure, _) => "what it becomes is larger than 16 MiB".to_owned(),
        (ErrorKind::UndefinedError, Some(detail)) => detail.replace('`', "“").replacen("“ ", "” ", 1),
        (_, Some(detail)) => format!("{}: {detail}", why.kind()),
        (_, None) => why.kind().to_string(),
    }
}

/// Takes up to `OUTPUT_BYTES`, then fails.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES {
            return Err(io::Error::other("the output is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Everything that a template needs, owned.
    pub(in crate::service) struct Scene {
        pub(in crate::service) options: Options,
        role: RoleName,
        platform: Platform,
        name: ServiceName,
        version: Version,
        roster: Roster,
    }

    impl Scene {
        pub(in crate::service) fn new() -> Self {
            let member = |name: &str, n: u8, role: &str| {
                let key = crate::model::Key::from_bytes([n; 32]);
                json!({"name": name, "key": key, "address": format!("deploy://{key}@{name}.example:{n}"),
                       "host": format!("{name}.example"), "port": n, "role": role, "platform": "linux-x86_64"})
            };
            let roster = json!({"initiator": member("ada", 1, "host"),
                                "peers": [member("bob", 2, "watcher"), member("cy", 3, "watcher")]});
            let options = json!({"port": 8080, "title": "Tea & <Scones>", "ratio": 0.5, "open": true});
            Self {
                options: serde_json::from_value(options).unwrap(),
                role: "host".parse().unwrap(),
                platform: "linux-x86_64".parse().unwrap(),
                name: "site".parse().unwrap(),
                version: Version::new(1, 2, 3),
                roster: serde_json::from_value(roster).unwrap(),
            }
        }
        pub(in crate::service) fn context(&self) -> Context<'_> {
            Context {
                options: &self.options,
                session: SessionId::from_bytes([7; 16]),
                role: &self.role,
                platform: &self.platform,
                service_name: &self.name,
                service_version: &self.version,
                roster: Some(&self.roster),
            }
        }
    }

    fn rendered(text: &str) -> Result<String> {
        render("host/page.j2", text, &Scene::new().context())
    }

    #[test]
    fn a_template_sees_what_the_manual_promises() {
        let session = SessionId::from_bytes([7; 16]);
        for (text, expected) in [
            ("{{ options.port }}", "8080"),
            ("{{ options.port + 1 }}", "8081"),
            ("{{ options.ratio }} {{ options.open }}", "0.5 true"),
            ("{{ options.title }}\n", "Tea & <Scones>\n"),
            ("{{ options.title | e }}", "Tea &amp; &lt;Scones&gt;"),
            ("{{ session }}", &session.to_string()),
            ("{{ role }} {{ platform }}", "host linux-x86_64"),
            ("{{ service.name }} {{ service.version }}", "site 1.2.3"),
            ("{{ roster.initiator.host }}:{{ roster.initiator.port }}", "ada.example:1"),
            (
                "{% for p in roster.peers %}{{ p.name }} {{ p.role }} {{ p.platform }},{% endfor %}",
                "bob watcher linux-x86_64,cy watcher linux-x86_64,",
            ),
            ("{{ roster.peers | length }}", "2"),
            ("{{ roster.peers | map(attribute='name') | join(' ') }}", "bob cy"),
            ("{{ roster.initiator.key }}", &crate::model::Key::from_bytes([1; 32]).to_string()),
            ("{{ [options.title] | tojson }}", r#"["Tea \u0026 \u003cScones\u003e"]"#),
            ("{{ options.none | default('x') }}", "x"),
        ] {
            assert_eq!(rendered(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_undefined_name_is_an_error_that_names_it() {
        let error = rendered("one\ntwo {{ options.prot }}\n").unwrap_err();
        assert_eq!(error.code, Code::BadDefinition);
        assert_eq!(error.message, "host/page.j2:2: “options.prot” is undefined");
        for (text, name) in [
            ("{{ nothing }}", "nothing"),
            ("{% for p in roster.peers %}{{ p.nickname }}{% endfor %}", "p.nickname"),
            ("{{ roster.initiator.secret }}", "roster.initiator.secret"),
            ("{% if options.prot %}x{% endif %}", "options.prot"),
        ] {
            let error = rendered(text).unwrap_err();
            assert!(error.message.contains(&format!("“{name}”")), "{text}: {error}");
        }
    }

    #[test]
    fn a_template_cannot_reach_out_or_run_away() {
        for text in [
            "{% include '/etc/passwd' %}",
            "{% import 'x' as y %}",
            "{% extends 'x' %}",
            "{{ debug() }}",
            "{{ options",
            "{{ '%é' | format(1) }}",
            "{{ '%9999999999d' | format(1) }}",
            "{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}",
            "{% for x in range(10000) %}{{ 'x' * 10000 }}{% endfor %}",
            &"{% if true %}".repeat(10_000),
        ] {
            let error = rendered(text).unwrap_err();
            assert_eq!(error.code, Code::BadDefinition, "{text}");
            assert!(error.message.starts_with("host/page.j2"), "{error}");
        }
        assert_eq!(rendered(&" ".repeat(FILE_BYTES + 1)).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_template_file_is_parsed_before_anything_is_known() {
        assert!(parse_file("a.j2", "{{ options.anything }}").is_ok());
        assert!(parse_file("a.j2", "x\n{{ }").unwrap_err().message.starts_with("a.j2:2: "));
    }

    #[test]
    fn the_templates_of_the_services_that_come_along_render() {
        let mut scene = Scene::new();
        scene.options = serde_json::from_value(json!({
            "title": "Tea & <Scones>", "greeting": "Hello \"you\"", "colour": "red", "port": 8080, "text": "Hi", "repeat": 5
        }))
        .unwrap();
        let rendered = |text: &str| render("x.j2", text, &scene.context()).unwrap();
        let page = rendered(include_str!("../../fixtures/services/site/host/public/index.html.j2"));
        assert!(page.contains("<title>Tea &amp; &lt;Scones&gt;</title>"), "{page}");
        assert!(page.contains("held by ada, for bob, cy."), "{page}");
        let session = rendered(include_str!("../../fixtures/services/site/host/public/session.json.j2"));
        let session: serde_json::Value = serde_json::from_str(&session).unwrap();
        assert_eq!(session["title"], "Tea & <Scones>");
        assert_eq!(session["peers"], json!(["bob", "cy"]));
        let site = rendered(include_str!("../../fixtures/services/site/watcher/site.json.j2"));
        let site: serde_json::Value = serde_json::from_str(&site).unwrap();
        assert_eq!(site, json!({"host": "ada.example", "port": 8080}));
        let notice = rendered(include_str!("../../fixtures/services/notice/reader/notice.txt.j2"));
        assert_eq!(notice, "Hi\nada, to bob, cy\n");
    }
}
