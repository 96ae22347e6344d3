//! Build commands, with the real program: what they get, what they may, and what becomes of those that fail.

#![expect(clippy::disallowed_methods, reason = "writes services and runs the program, as people do")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/quick.rs"]
mod quick;
#[path = "support/sandbox.rs"]
mod sandbox;
#[expect(unreachable_pub, reason = "a part of this test program")]
#[path = "build/scene.rs"]
mod scene;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use deployctl::model::{Address, Digest, Key};
use deployctl::node::{Client, NodeIdentity};
use deployctl::package::{Provenance, VerifiedManifest};
use quick::{NAMES, Quick};
use scene::{PROGRAM, Place, deployctl, json, text};
use serde_json::Value;

/// The error's code, message and hint.
fn error(output: &Output) -> (String, String, String) {
    let line = String::from_utf8_lossy(&output.stderr).lines().last().unwrap().to_owned();
    let error = serde_json::from_str::<Value>(&line).unwrap()["error"].clone();
    let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (part("code"), part("message"), part("hint"))
}

/// The text of a file in a package.
fn unpacked(package: &Value, file: &str) -> String {
    let package = package["package"]["file"].as_str().unwrap();
    let output = Command::new("tar").args(["xzOf", package, file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a process runs that was started with this argument.
fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).skip(1).any(|one| one == argument.as_bytes()))
}

#[test]
fn a_command_gets_its_options_roster_and_nothing_of_the_environment() {
    let place = Place::new();
    let script = "set -e\ncd \"$DEPLOYCTL_OUTPUT\"\nls -A > empty\ncat \"$DEPLOYCTL_OPTIONS\" > options\n\
        cat \"$DEPLOYCTL_ROSTER\" > roster\nenv | cut -d= -f1 | sort > names\numask > umask\npwd -P > /dev/null\n\
        echo \"$DEPLOYCTL_ROLE $DEPLOYCTL_PLATFORM $LANG $TZ $SOURCE_DATE_EPOCH\" > texts\nchmod +x umask\n";
    let service = place.service(script, "");
    let arguments = ["--format", "json", "build", "--service", text(&service), "--role", "host", "--set", "word=tea"];
    let output = place.path("out");
    let mut command = deployctl(&arguments);
    let built = json(&command.args(["--output", text(&output)]).env("SECRET", "x").output().unwrap());
    assert_eq!(unpacked(&built, "empty"), "empty\n", "the output folder is empty at first");
    assert_eq!(serde_json::from_str::<Value>(&unpacked(&built, "options")).unwrap()["word"], "tea");
    let roster: Value = serde_json::from_str(&unpacked(&built, "roster")).unwrap();
    assert_eq!(
        (roster["initiator"]["role"].as_str(), roster["peers"][0]["role"].as_str()),
        (Some("host"), Some("guest"))
    );
    let texts = format!("host linux-{} C.UTF-8 UTC 315532800\n", std::env::consts::ARCH);
    assert_eq!((unpacked(&built, "texts"), unpacked(&built, "umask").as_str()), (texts, "0022\n"));
    let names = unpacked(&built, "names");
    let known =
        ["DEPLOYCTL_", "HOME", "LANG", "LC_ALL", "OLDPWD", "PATH", "PWD", "SHLVL", "SOURCE_DATE", "TMPDIR", "TZ", "_"];
    assert!(names.lines().all(|name| known.iter().any(|known| name.starts_with(known))), "{names}");
    let left: Vec<_> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn what_is_built_outside_a_session_is_signed_and_says_what_it_was_made_of() {
    let place = Place::new();
    let service = place.service("echo made > \"$DEPLOYCTL_OUTPUT/file\"\n", "");
    let built = json(&place.build(&service, "out"));
    let signer: Key = built["signer"].as_str().unwrap().parse().unwrap();
    let read = |what: &str| fs::read(built[what]["file"].as_str().unwrap()).unwrap();
    for what in ["package", "manifest", "provenance"] {
        assert_eq!(built[what]["digest"], Digest::of(&read(what)).to_string());
    }
    let manifest = VerifiedManifest::open(&read("manifest"), &signer).unwrap();
    assert_eq!((manifest.session, manifest.package.digest), (None, Digest::of(&read("package"))));
    let (provenance, about) = Provenance::open(&read("provenance"), &signer).unwrap();
    assert_eq!(about, manifest.package.digest);
    let parameters = provenance.build_definition.external_parameters;
    assert_eq!((parameters.options, parameters.session), (manifest.options, None));
    assert_eq!(provenance.run_details.builder.id, format!("deploy://{signer}"));
}

/// Built in two places, by users with other habits, from folders that were filled in another order.
#[test]
fn a11_equal_inputs_give_equal_bytes() {
    let script = "set -e\nls -U > \"$DEPLOYCTL_OUTPUT/order\"\ndate > \"$DEPLOYCTL_OUTPUT/zone\" -d @0\n\
        ls --full-time -n build.sh | cut -d' ' -f6- > \"$DEPLOYCTL_OUTPUT/time\"\nstat -c %a . sub > \"$DEPLOYCTL_OUTPUT/modes\"\n\
        cat \"$DEPLOYCTL_ROSTER\" \"$DEPLOYCTL_OPTIONS\" > \"$DEPLOYCTL_OUTPUT/given\"\nprintf '%s\\n' b a B A | sort > \"$DEPLOYCTL_OUTPUT/sorted\"\n\
        mkdir \"$DEPLOYCTL_OUTPUT/d\"; touch \"$DEPLOYCTL_OUTPUT/d/x\"\n";
    let mut digests = Vec::new();
    for (names, umask, locale, zone) in
        [(["a", "b", "c"], "022", "C", "UTC"), (["c", "b", "a"], "077", "de_DE.UTF-8", "Asia/Tokyo")]
    {
        let place = Place::new();
        let service = place.service(script, "");
        fs::create_dir(service.join("sub")).unwrap();
        for name in names {
            fs::write(service.join(name), name).unwrap();
        }
        let line = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            &line,
            PROGRAM,
            "--format",
            "json",
            "build",
            "--service",
            text(&service),
            "--role",
            "host",
        ]);
        command.args(["--output", text(&place.path("out"))]).env_clear();
        command
            .env("HOME", place.path("home"))
            .env("LC_ALL", locale)
            .env("TZ", zone)
            .env("DEPLOYCTL_STATE", place.path("state"));
        let built = json(&command.output().unwrap());
        digests.push((built["package"]["digest"].clone(), built["definition"].clone()));
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_failing_command_is_told_with_its_status_and_its_last_words() {
    let place = Place::new();
    let script =
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i of the log\"; i=$((i+1)); done; echo the end >&2; exit 3\n";
    let failed = place.build(&place.service(script, ""), "out");
    assert_eq!(failed.status.code(), Some(1));
    let (code, message, hint) = error(&failed);
    assert_eq!((code.as_str(), message.as_str()), ("build-failed", "“sh build.sh” ended with exit status 3"));
    assert!(hint.ends_with("line 2999 of the log\nthe end") && hint.len() <= 8 * 1024, "{hint}");
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0, "nothing is left of it");
    for (script, expected) in [
        ("true", "left nothing in the folder that $DEPLOYCTL_OUTPUT names"),
        ("kill -TERM $$", "was killed by signal 15 (SIGTERM)"),
        ("cd $DEPLOYCTL_OUTPUT; for n in 1 2 3; do truncate -s 3G $n; done", "wrote more than 8 GiB"),
    ] {
        let failed = place.build(&place.service(script, ""), "out");
        let (code, message, _) = error(&failed);
        assert!(code == "build-failed" && message.contains(expected), "{script}: {message}");
    }
    let service = place.service("", "");
    let definition = fs::read_to_string(service.join("service.toml")).unwrap();
    fs::write(service.join("service.toml"), definition.replace("\"sh\", ", "\"no-such-shell\", ")).unwrap();
    let (code, message, _) = error(&place.build(&service, "out"));
    assert!(code == "build-failed" && message.contains("“no-such-shell” is not installed"), "{message}");
}

#[test]
fn at_the_deadline_everything_is_ended_also_what_left_the_group_and_forgot_its_environment() {
    let place = Place::new();
    let nonce = std::process::id();
    let script = format!(
        "sleep 7{nonce}1 &\nsetsid sleep 7{nonce}2 &\nsetsid env -i sh -c 'sleep 7{nonce}3 & sleep 7{nonce}4' &\n\
         echo waiting\nsleep 7{nonce}5\n"
    );
    let service = place.service(&script, "deadline = \"1s\"");
    let begun = Instant::now();
    let (code, message, hint) = error(&place.build(&service, "out"));
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(code, "build-failed");
    assert!(message.contains("took longer than 1s and was ended"), "{message}");
    assert_eq!(hint, "waiting");
    assert!((1..=5).all(|n| !runs(&format!("7{nonce}{n}"))));
}

#[test]
fn what_a_command_leaves_behind_in_the_background_is_ended() {
    let place = Place::new();
    let nonce = std::process::id();
    let script = format!("setsid env -i sleep 8{nonce}1 &\necho x > \"$DEPLOYCTL_OUTPUT/file\"\n");
    json(&place.build(&place.service(&script, ""), "out"));
    assert!(!runs(&format!("8{nonce}1")));
}

#[test]
fn a_command_stays_in_its_own_folders_where_the_kernel_can_hold_it() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::write(&outside, "secret\n").unwrap();
    let script = format!(
        "cd \"$DEPLOYCTL_OUTPUT\"\necho x > {0}.new && echo written >> said\necho x >> {0} && echo changed >> said\n\
         cat {0} && echo read >> said\necho x > /tmp/deployctl-escape-$$ && echo tmp >> said\n\
         ln -s {0} link && cat link && echo followed >> said\nkill -0 {1} && echo signalled >> said\n\
         rm -f link; echo done >> said; exit 0\n",
        text(&outside),
        std::process::id()
    );
    let built = json(&place.build(&place.service(&script, ""), "out"));
    if built["confinement"]["files"] == false {
        eprintln!("skipped: this kernel has no Landlock; the build said so");
        return;
    }
    let said = unpacked(&built, "said");
    assert!(said == "done\n" || said == "signalled\ndone\n", "{said}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "secret\n");
    assert!(!place.path("outside.new").exists());
}

#[test]
fn a_command_has_no_network_unless_its_definition_says_so() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "python3 - <<'E' > \"$DEPLOYCTL_OUTPUT/said\" 2>&1\nimport socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 5)\n    \
         print('reached')\nexcept OSError as why:\n    print('refused')\nE\n"
    );
    let built = json(&place.build(&place.service(&script, ""), "out"));
    if built["confinement"]["network"] == "open" {
        eprintln!("skipped: this kernel has neither namespaces nor Landlock for TCP; the build said so");
    } else {
        assert_eq!(unpacked(&built, "said"), "refused\n");
    }
    let built = json(&place.build(&place.service(&script, "network = true"), "out"));
    assert_eq!((unpacked(&built, "said").as_str(), &built["confinement"]["network"]), ("reached\n", &"allowed".into()));
}

#[test]
fn the_providers_own_tools_are_found_and_may_be_read() {
    let place = Place::new();
    let (tools, data) = (place.path("tools"), place.path("data"));
    fs::create_dir_all(&tools).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("word"), "word\n").unwrap();
    fs::write(tools.join("made-for-this"), format!("#!/bin/sh\ncat {}/word\n", text(&data))).unwrap();
    fs::set_permissions(tools.join("made-for-this"), fs::Permissions::from_mode(0o755)).unwrap();
    let state = place.path("state");
    fs::create_dir(&state).unwrap();
    let config = format!("[build]\npath = [{:?}]\nread = [{:?}]\n", text(&tools), text(&data));
    fs::write(state.join("config.toml"), config).unwrap();
    let service = place.service("made-for-this > \"$DEPLOYCTL_OUTPUT/said\"\n", "");
    let mut command = deployctl(&["--state", text(&state), "--format", "json", "build", "--service", text(&service)]);
    let built = json(&command.args(["--role", "host", "--output", text(&place.path("out"))]).output().unwrap());
    assert_eq!(unpacked(&built, "said"), "word\n");
}

/// Nodes whose provider was asked for a service that is built by this script.
fn asked(script: &str) -> (Quick, Place) {
    let place = Place::new();
    place.service(script, "");
    let mut quick = Quick::with_services(&place.path("services"));
    quick.ask("made", &[]);
    (quick, place)
}

#[test]
fn a11_a_failing_build_command_reaches_everyone_with_the_tail_of_its_log() {
    let (quick, _place) = asked("echo compiling; echo the last words >&2; exit 3\n");
    let session = quick.session.clone();
    for name in NAMES {
        let status =
            quick.sandbox.wait(name, &session, "the failure", |status| status.to_string().contains("the last words"));
        let (failure, told) = (&status["failure"], status.to_string());
        assert_eq!(failure["code"], "build-failed", "{name}: {told}");
        let platform = format!("linux-{}", std::env::consts::ARCH);
        let expected = format!("building host for {platform} failed: “sh build.sh” ended with exit status 3");
        assert_eq!(failure["text"], expected.as_str(), "{name}: {told}");
        assert_eq!(failure["tail"], "compiling\nthe last words", "{name}: {told}");
    }
}

#[test]
fn a11_a_command_builds_for_this_session_and_its_provenance_is_served_to_participants_alone() {
    let (quick, _place) = asked(
        "cat \"$DEPLOYCTL_ROSTER\" > \"$DEPLOYCTL_OUTPUT/roster\"; echo $DEPLOYCTL_SESSION > \"$DEPLOYCTL_OUTPUT/session\"\n",
    );
    let session = quick.session.clone();
    let status = quick.sandbox.wait("anna", &session, "running", |status| status["state"] == "running");
    let installed = quick.sandbox.installed("anna", &session, "host").join("current");
    assert_eq!(fs::read_to_string(installed.join("session")).unwrap(), format!("{session}\n"));
    let roster: Value = serde_json::from_slice(&fs::read(installed.join("roster")).unwrap()).unwrap();
    assert_eq!(roster["peers"][0]["name"], "ben");
    let digest: Digest = status["packages"][0]["digest"].as_str().unwrap().parse().unwrap();
    let shop: Address = quick.serving[0].address().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |name: &str| {
        let identity = quick.state(name).join("identity");
        let read = |file: &str| fs::read_to_string(identity.join(file)).unwrap();
        let identity = NodeIdentity::from_pem(&read("node.key"), &read("node.crt")).unwrap();
        let session = Some(session.parse().unwrap());
        runtime.block_on(Client::new(identity.into()).provenance(&shop, digest, session))
    };
    let (provenance, about) = Provenance::open(&ask("anna").unwrap(), &shop.key).unwrap();
    let parameters = provenance.build_definition.external_parameters;
    assert_eq!((about, parameters.session.unwrap().to_string()), (digest, session.clone()));
    assert_eq!(parameters.role.to_string(), "host");
    assert_eq!(ask("ben").unwrap_err().code.to_string(), "not-permitted", "it is not his package");
}

#[test]
fn a11_what_was_built_before_a_crash_is_not_built_again() {
    let (mut quick, _place) = asked("date +%N > \"$DEPLOYCTL_OUTPUT/differs\"\n");
    let session = quick.session.clone();
    quick.sandbox.wait("anna", &session, "running", |status| status["state"] == "running");
    quick.serving.remove(0).kill();
    let part = quick.sandbox.party("shop", &session, "provider");
    let kept = || {
        let files = fs::read_dir(part.join("manifests")).unwrap().map(|file| file.unwrap().path());
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = kept();
    let log = part.join("log.jsonl");
    let is_built = |line: &&str| line.contains("\"result\":\"built\"");
    let whole = fs::read_to_string(&log).unwrap();
    let cut: String = whole.split_inclusive('\n').take_while(|line| !is_built(line)).collect();
    assert!(whole.lines().filter(is_built).count() == 2 && before.len() == 4);
    // As if it had died before it could say that anything was built.
    fs::write(&log, &cut).unwrap();
    quick.serving.push(quick.serve("shop"));
    quick.sandbox.wait("shop", &session, "both built", |_| {
        fs::read_to_string(&log).unwrap().lines().filter(is_built).count() == 2
    });
    assert_eq!(kept(), before);
}

#[test]
fn a_build_that_nobody_wants_any_more_is_ended() {
    let nonce = format!("9{}1", std::process::id());
    let (mut quick, _place) = asked(&format!("sleep {nonce}\n"));
    let session = quick.session.clone();
    let comes_to = |is: bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while runs(&nonce) != is {
            assert!(Instant::now() < deadline, "the build runs: {}", !is);
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    comes_to(true);
    quick.run("anna", &["stop", &session]).ok();
    comes_to(false);
    quick.sandbox.wait("shop", &session, "over", |status| status["over"] == true);
    quick.ask("made", &[]);
    comes_to(true);
    quick.serving.remove(0).kill();
    comes_to(false);
}
