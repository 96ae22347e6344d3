#![expect(clippy::disallowed_methods, reason = "tests write files as people do")]

use super::*;

fn load(text: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "what people wrote stays");
    config
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = Config::load(Path::new("/nonexistent/config.toml")).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!((config.policy.install, config.accounting.interval), (Consent::Auto, Span::from_secs(60)));
    assert_eq!(load("").unwrap(), config);
    let config = load(
        "[policy]\nremove = \"ask\"\n[accounting]\ninterval = \"5s\"\n[serve]\nlisten = \"[::1]:4800\"\nadvertise = [\"upnp\", \"mdns\"]\n",
    );
    let config = config.unwrap();
    assert_eq!((config.policy.install, config.policy.remove), (Consent::Auto, Consent::Ask));
    assert_eq!(config.accounting.interval, Span::from_secs(5));
    assert_eq!(config.serve.listen.unwrap().port(), 4800);
    assert_eq!((config.serve.advertise, config.serve.interface), (vec![Way::Upnp, Way::Mdns], vec![]));
}

#[test]
fn a_mistake_is_named_with_its_line_and_what_was_meant() {
    for (text, line, hint) in [
        ("[policy]\n\ninstal = \"auto\"", "line 3", Some("did you mean install?")),
        ("\n[polcy]\n", "line 2", Some("did you mean policy?")),
        ("[policy]\ninstall = \"aks\"", "line 2", Some("did you mean ask?")),
        ("[[policy.accept]]\nproviderr = \"shop\"", "line 2", Some("did you mean provider?")),
        ("[[policy.accept]]\nmax_size = \"1MiB\"", "line 2", Some("did you mean max-size?")),
        ("[[policy.accept]]\nmax-size = \"1 lot\"", "line 2", None),
        ("[[policy.accept]]\nanswer = \"aut\"", "line 2", Some("did you mean auto?")),
        ("[[policy.accept]]\nnetwork = \"lsted\"", "line 2", Some("did you mean listed?")),
        ("[accounting]\ninterval = \"soon\"", "line 2", None),
        ("[serve]\nlisten = 4800", "line 2", None),
        ("[serve\n", "line 1", None),
    ] {
        let error = load(text).unwrap_err();
        assert_eq!(error.code, Code::BadInput);
        assert!(error.message.contains("config.toml") && error.message.contains(line), "{text}: {error}");
        assert_eq!(error.hint.as_deref(), hint, "{text}: {error}");
    }
    assert_eq!(load("[accounting]\ninterval = \"1ms\"").unwrap_err().code, Code::BadInput);
    assert_eq!(load("[build]\npath = [\"bin\"]").unwrap_err().code, Code::BadInput);
    assert_eq!(load("[build]\nread = [\"/a:b\"]").unwrap_err().code, Code::BadInput);
}

#[test]
fn every_key_that_is_known_is_listed_and_no_other() {
    let words = |text: &str| {
        let error = load(text).unwrap_err().message;
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let sections = words("no-such-section = 1");
    let keys = sections.iter().flat_map(|section| {
        let keys = words(&format!("[{section}]\nno-such-key = 1"));
        keys.into_iter().map(move |key| format!("{section}.{key}"))
    });
    assert_eq!(keys.collect::<Vec<_>>(), KEYS);
}

#[test]
fn what_the_file_says_is_told_apart_from_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "[policy]\ninstall = \"auto\"\n").unwrap();
    assert_eq!(Config::load_with_keys(&path).unwrap(), (Config::default(), vec!["policy.install"]));
}
