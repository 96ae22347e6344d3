use serde_json::json;

use super::*;
use crate::service::option::Kind;
use crate::service::template::tests::Scene;

fn run(command: &[&str]) -> Run {
    serde_json::from_value(json!({"command": command})).unwrap()
}

fn rendered(text: &str) -> Result<String> {
    let scene = Scene::new();
    render_run(&run(&["sh", text]), &scene.context()).map(|mut run| run.command.remove(1))
}

#[test]
fn expressions_become_what_they_say() {
    for (text, expected) in [
        ("plain {text} }}", "plain {text} }}"),
        ("127.0.0.1:{{ options.port }}", "127.0.0.1:8080"),
        ("{{options.port+1}}-{{ role }}", "8081-host"),
        ("{{ \"}}\" ~ '{{' }}", "}}{{"),
        ("{{ roster.peers[1].host }}", "cy.example"),
        ("{{ roster.peers | map(attribute='host') | join(',') }}", "bob.example,cy.example"),
        ("{{ roster.peers | length }}", "2"),
        ("{{ options.none | default('x') }}", "x"),
        ("{{ 'open' if options.open else 'closed' }}", "open"),
        ("{{ -1 }}", "-1"),
        ("{{ options.open }}", "true"),
        ("{{ options.title }}", "Tea & <Scones>"),
    ] {
        assert_eq!(rendered(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn whatever_could_grow_or_does_not_exist_is_refused() {
    let chain = format!("{{{{ 'ab'{} }}}}", " | join('aaaaaaaa')".repeat(100));
    let nest = format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000));
    for text in [
        "{{ options.prot }}",
        "{{ nothing.at.all }}",
        "{{ options }}",
        "{{ roster.peers }}",
        "{{ none }}",
        "{{ 'x' * 1000000 }}",
        "{{ 2 ** 9999 }}",
        "{{ range(9) | join }}",
        "{{ 'a' | replace('a', 'aa') }}",
        "{{ options.port",
        "{{- options.port }}",
        "{{ options.port -}}",
        "{% if true %}x{% endif %}",
        "{# comment #}",
        "{{ 'a\\u0000b' }}",
        "nul \0",
        "{{ }}",
        &chain,
        &nest,
        &"x".repeat(TEXT_BYTES + 1),
        "{{ roster.peers | map('upper') }}",
        "{{ roster.peers | map(attribute='nickname') | join }}",
    ] {
        let error = rendered(text).unwrap_err();
        assert_eq!(error.code, Code::BadDefinition, "{text}");
        assert!(error.message.starts_with("run.command: "), "{error}");
    }
    assert_eq!(
        rendered("{{ options.prot }}").unwrap_err().message,
        "run.command: {{ options.prot }}: “options.prot” is undefined"
    );
}

#[test]
fn all_texts_of_a_run_section_are_rendered() {
    let scene = Scene::new();
    let run: Run = serde_json::from_value(json!({
        "command": ["a", "{{ role }}"],
        "ready": {"tcp": "127.0.0.1:{{ options.port }}", "within": "5s"},
        "environment": {"TITLE": "{{ options.title }}"},
    }))
    .unwrap();
    let rendered = render_run(&run, &scene.context()).unwrap();
    assert_eq!(rendered.command, ["a", "host"]);
    assert_eq!(rendered.ready.unwrap().probe, Probe::Tcp("127.0.0.1:8080".into()));
    assert_eq!(rendered.environment["TITLE"], "Tea & <Scones>");
}

#[test]
fn before_the_roster_is_known_what_names_it_stays_as_written() {
    let scene = Scene::new();
    let context = Context { roster: None, ..scene.context() };
    let permissions = Permissions {
        network: vec![
            "connect:{{ roster.initiator.host }}:{{ options.port }}".into(),
            "listen:{{ options.port }}".into(),
        ],
        write: vec!["data/".into()],
    };
    let preview = preview_permissions(&permissions, &context).unwrap();
    assert_eq!(preview.network, ["connect:{{ roster.initiator.host }}:8080", "listen:8080"]);
    assert!(render_permissions(&permissions, &context).unwrap_err().message.contains("not known yet"));
    let rendered = render_permissions(&permissions, &scene.context()).unwrap();
    assert_eq!(rendered.network, ["connect:ada.example:8080", "listen:8080"]);
    let preview = preview_run(&run(&["sh", "{{ roster.peers[0].name }} {{ role }}"]), &context).unwrap();
    assert_eq!(preview.command[1..], ["{{ roster.peers[0].name }} host"]);
    assert!(preview_run(&run(&["{{ options.prot }}"]), &context).is_err());
}

#[test]
fn an_option_cannot_turn_a_permission_into_another() {
    let mut scene = Scene::new();
    scene.options = serde_json::from_value(json!({"port": "1:any"})).unwrap();
    let permissions = Permissions { network: vec!["listen:{{ options.port }}".into()], write: vec![] };
    assert_eq!(render_permissions(&permissions, &scene.context()).unwrap_err().code, Code::BadDefinition);
}

#[test]
fn mistakes_are_found_before_anything_is_known() {
    let mut password = OptionSpec::new("password".parse().unwrap(), Kind::String);
    password.secret = true;
    let specs = [OptionSpec::new("port".parse().unwrap(), Kind::Integer), password];
    let found = |text: &str| problems(text, &specs).into_iter().map(|(problem, _)| problem).collect::<Vec<_>>();
    assert!(found("{{ options.port }} {{ roster.peers[0].x }} {{ session }}").is_empty());
    assert_eq!(found("{{ options.prot }}"), ["“options.prot” does not exist; did you mean “port”?"]);
    assert_eq!(found("{{ option.port }}"), ["“option.port” does not exist; did you mean “options”?"]);
    assert_eq!(found("{{ options.password }}"), ["“options.password” is secret, and templates do not see secrets"]);
    assert_eq!(found("{{ service.nam }}").len(), 1);
    assert_eq!(found("{{ a }} {{ b }}").len(), 2);
    assert_eq!(found("{% x %}").len(), 1);
    assert_eq!(found("{{ 1 + }}").len(), 1);
    assert_eq!(found("{{ 1 | frobnicate }}").len(), 0, "unknown filters show when rendered");
}

#[test]
fn the_outline_shows_the_form_without_values() {
    assert_eq!(outline("connect:{{ roster.initiator.host }}:{{ options.port }}"), "connect:1:1");
}

#[test]
fn what_options_make_of_a_text_keeps_to_its_form_too() {
    let mut scene = Scene::new();
    scene.options = serde_json::from_value(json!({"evil": "../../etc/passwd", "host": "fe80::1"})).unwrap();
    let refused = |run: serde_json::Value| {
        let run: Run = serde_json::from_value(run).unwrap();
        assert_eq!(render_run(&run, &scene.context()).unwrap_err().code, Code::BadDefinition, "{run:?}");
    };
    refused(json!({"command": []}));
    refused(json!({"command": ["{{ options.evil }}"]}));
    refused(json!({"command": ["/bin/sh"]}));
    refused(json!({"command": ["sh"], "ready": {"file": "{{ options.evil }}"}}));
    refused(json!({"command": ["sh"], "ready": {"tcp": "{{ options.evil }}"}}));
    refused(json!({"command": ["sh"], "environment": {"DEPLOYCTL_DATA": "x"}}));
    refused(json!({"command": ["sh"], "environment": {"A=B": "x"}}));
    for write in ["/etc", "{{ options.evil }}", "data/../.."] {
        let permissions = Permissions { network: vec![], write: vec![write.into()] };
        assert!(render_permissions(&permissions, &scene.context()).is_err(), "{write}");
    }
    let run: Run =
        serde_json::from_value(json!({"command": ["sh"], "ready": {"tcp": "{{ options.host }}:80"}})).unwrap();
    assert_eq!(render_run(&run, &scene.context()).unwrap().ready.unwrap().probe, Probe::Tcp("[fe80::1]:80".into()));
}

#[test]
fn a_section_cannot_cost_more_than_its_share() {
    let scene = Scene::new();
    let many = Permissions { network: vec!["listen:{{ options.port }}".into(); 501], write: vec![] };
    assert!(render_permissions(&many, &scene.context()).unwrap_err().message.contains("too many"));
    let long = "x".repeat(TEXT_BYTES);
    let long = run(&vec![long.as_str(); 300]);
    assert!(preview_run(&long, &scene.context()).unwrap_err().message.contains("too long"));
}
