//! Asking which programs there are for a device: real processes over real sockets, on the loopback.

#![expect(clippy::disallowed_methods, reason = "writes services, and talks to the node from outside")]

#[path = "support/link.rs"]
mod link;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::path::PathBuf;

use link::call;
use sandbox::{Sandbox, Serving, until};
use serde_json::{Value, json};

const PROGRAMS: &str = "urn:deployctl-org:service:ProgramDirectory:1";

/// A program of a category, with the rest of its role.
fn put(sandbox: &Sandbox, name: &str, category: &str, role: &str) {
    let folder = sandbox.path().join("shelf").join(name);
    fs::create_dir_all(folder.join("app")).expect("a folder");
    fs::write(folder.join("app/text"), name).expect("a file");
    let text = format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\nsummary = \"The {name} of kings\"\ncategory = \"{category}\"\n\
         license = \"MIT\"\n[roles.app]\nfor = \"initiator\"\nbuild = {{ copy = \"app/\" }}\n{role}\n"
    );
    fs::write(folder.join("service.toml"), text).expect("a definition");
}

/// A shop with a program for everybody, one for another platform, one for machines with a display, and one of a category
/// that anna wants nothing of. She may ask; cleo is a stranger.
fn scene() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.init("cleo");
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "");
    sandbox.configure("anna", "[content]\nblock-categories = [\"gambling\"]\n");
    put(&sandbox, "chess", "games/board", "platforms = [\"any\"]");
    put(&sandbox, "orchard", "games", "platforms = [\"macos-aarch64\"]");
    put(&sandbox, "window", "tools", "requires = [\"display\"]");
    put(&sandbox, "dice", "gambling/dice", "platforms = [\"any\"]");
    let shelf = sandbox.path().join("shelf");
    (sandbox, shelf)
}

fn serve(sandbox: &Sandbox, shelf: &std::path::Path, extra: &[&str]) -> Serving {
    let services = shelf.to_str().expect("a path");
    sandbox.serve("shop", &[&["--services", services], extra].concat())
}

fn names(node: &Value) -> Vec<&str> {
    let programs = node["programs"].as_array().expect("programs");
    programs.iter().map(|program| program["name"].as_str().expect("a name")).collect()
}

/// The rules that are not kept, with what was expected.
fn rules(explained: &Value) -> Vec<(&str, &str)> {
    let unmet = explained[0]["unmet"].as_array().expect("rules");
    let word = |rule: &'_ Value| rule.as_str().map(str::to_owned).expect("a text");
    assert!(unmet.iter().all(|rule| !word(&rule["actual"]).is_empty()), "{unmet:?}");
    unmet.iter().map(|one| (one["rule"].as_str().expect("one"), one["expected"].as_str().expect("one"))).collect()
}

#[test]
fn b4_b5_a_contact_says_what_fits_this_machine_and_this_node_says_what_it_wants_of_that() {
    let (sandbox, shelf) = scene();
    let shop = serve(&sandbox, &shelf, &[]);
    let ask = |flags: &[&str]| sandbox.run("anna", &[&["discover", "--from", "shop"], flags].concat());
    let found = ask(&[]).ok();
    assert_eq!((names(&found[0]), &found[0]["asked"]), (vec!["chess"], &json!(true)), "{found:#}");
    assert_eq!((&found[0]["contact"], &found[0]["address"]), (&json!("shop"), &json!(shop.address())));
    let chess = &found[0]["programs"][0];
    let here = format!("linux-{}", std::env::consts::ARCH);
    assert_eq!((&chess["runs"], &chess["by"], &chess["platform"]), (&json!("native"), &json!([]), &json!(here)));
    assert_eq!(chess["signer"], found[0]["key"]);

    let elsewhere = ask(&["--platform", "macos-aarch64"]).ok();
    assert_eq!(names(&elsewhere[0]), ["chess", "orchard", "window"]);
    assert_eq!(
        names(&ask(&["--platform", "macos-aarch64", "--category", "games", "KINGS", "--license", "MIT"]).ok()[0]),
        ["chess", "orchard"]
    );
    for none in [&["--license", "0BSD"][..], &["queens"], &["--enables", "_ipp._tcp"], &["--category", "game"]] {
        assert!(names(&ask(none).ok()[0]).is_empty(), "{none:?}");
    }

    assert_eq!(rules(&ask(&["--explain", "orchard"]).ok()), [("platforms", "macos-aarch64")]);
    assert_eq!(rules(&ask(&["--explain", "window"]).ok()), [("requires", "display")]);
    assert_eq!(rules(&ask(&["--explain", "dice"]).ok()), [("content.block-categories", "not gambling")]);
    assert_eq!(rules(&ask(&["--explain", "chess"]).ok()), []);
    ask(&["--explain", "checkers"]).fails(6, "not-found").says(&["checkers"]);
    let told = sandbox.human("anna", &["discover", "--from", "shop", "--explain", "dice"]);
    for words in ["dice 1.0.0 of shop is left out", "content.block-categories", "not gambling", "gambling/dice"] {
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }

    sandbox.run("cleo", &["discover", "--from", shop.address()]).fails(3, "not-permitted").hints(&["trust add"]);
    let long = "x".repeat(300);
    ask(&[&long]).fails(2, "usage");
}

#[test]
fn b3_b4_those_seen_are_filtered_by_their_listings_and_contacts_are_asked() {
    let (sandbox, shelf) = scene();
    let shop = serve(&sandbox, &shelf, &["--advertise", "upnp", "--interface", "lo"]);
    let see = |node: &str, flags: &[&str]| {
        let mut found = Value::Null;
        until(&format!("{node} sees the shop"), || {
            let all = sandbox.run(node, &[&["discover", "--interface", "lo"], flags].concat()).ok();
            let ours = all.as_array().expect("nodes").iter().find(|one| one["address"] == shop.address());
            found = ours.cloned().unwrap_or_default();
            found.is_object()
        });
        found
    };
    let anna = see("anna", &[]);
    assert_eq!((names(&anna), &anna["asked"], &anna["via"]), (vec!["chess"], &json!(true), &json!(["upnp"])));
    // A listing tells requirements, too; cleo has no policy.
    let cleo = see("cleo", &[]);
    assert_eq!((names(&cleo), &cleo["asked"]), (vec!["chess", "dice"], &json!(false)));
    assert_eq!(
        rules(&sandbox.run("cleo", &["discover", "--interface", "lo", "--explain", "window"]).ok()),
        [("requires", "display")]
    );
    assert_eq!(names(&see("cleo", &["--category", "games"])), ["chess"]);
    let explained = sandbox.run("cleo", &["discover", "--interface", "lo", "--explain", "orchard"]).ok();
    assert_eq!(rules(&explained), [("platforms", "macos-aarch64")]);

    // The same by UPnP, for whoever speaks that.
    let url = shop.ready["upnp"].as_str().expect("a URL");
    let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/device.xml")).expect("a host");
    let query = |text: &str| call(host, "/ProgramDirectory/control", PROGRAMS, "Query", &[("Query", text)]);
    let answer = query(r#"{"device":{"platform":"macos-aarch64"},"category":"games","explain":"dice"}"#);
    let said = answer.body.replace("&quot;", "\"");
    assert!(
        answer.status == 200 && said.contains(r#""name":"orchard""#) && said.contains(r#""rule":"category""#),
        "{said}"
    );
    assert!(!said.contains(r#""name":"window""#), "{said}");
    let refused = query(r#"{"device":{}}"#);
    assert!(refused.status == 500 && refused.body.contains("<errorCode>800</errorCode>"), "{refused:?}");
}

#[test]
fn b4_requirements_hold_by_what_is_really_here_for_contacts_and_strangers() {
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.init("cleo");
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "");
    // `sh` tells no version, so that any is enough; of the others nobody said anything when asking.
    for (name, requires) in [
        ("shell", "sh>=1"),
        ("kernel", "kernel>=3.2"),
        ("future", "kernel>=99"),
        ("missing", "no-such-program-anywhere"),
        ("listing", "ls"),
    ] {
        put(&sandbox, name, "tools", &format!("requires = [\"{requires}\"]"));
    }
    let shop = serve(&sandbox, &sandbox.path().join("shelf"), &["--advertise", "upnp", "--interface", "lo"]);
    let asked = sandbox.run("anna", &["discover", "--from", "shop"]).ok();
    assert_eq!(names(&asked[0]), ["kernel", "listing", "shell"]);
    let shell = &asked[0]["programs"][2];
    assert_eq!(
        (&shell["runs"], &shell["by"], &shell["requires"]),
        (&json!("runtime"), &json!(["sh"]), &json!(["sh>=1"]))
    );
    until("a stranger sees the same", || {
        let all = sandbox.run("cleo", &["discover", "--interface", "lo"]).ok();
        let ours = all.as_array().expect("nodes").iter().find(|one| one["address"] == shop.address()).cloned();
        ours.is_some_and(|ours| names(&ours) == ["kernel", "listing", "shell"])
    });
    for node in ["anna", "cleo"] {
        let explain = |name| sandbox.run(node, &["discover", "--interface", "lo", "--explain", name]).ok();
        assert_eq!(rules(&explain("missing")), [("requires", "no-such-program-anywhere")], "{node}");
        assert_eq!(rules(&explain("future")), [("requires", "kernel>=99")], "{node}");
        let fits = sandbox.human(node, &["discover", "--interface", "lo", "--explain", "shell"]);
        assert!(fits.stdout.contains("shell 1.0.0 of shop fits, and runs by sh"), "{fits:?}");
    }
    // Of another machine nothing is known but what it is.
    let elsewhere = sandbox.run("anna", &["discover", "--from", "shop", "--platform", "macos-aarch64"]).ok();
    assert_eq!(names(&elsewhere[0]).len(), 5);
}

#[test]
fn b5_the_size_of_a_package_is_told_once_it_was_made_and_larger_ones_are_left_out() {
    let (sandbox, shelf) = scene();
    let shop = serve(&sandbox, &shelf, &["--advertise", "upnp", "--interface", "lo"]);
    let ask = |flags: &[&str]| sandbox.run("anna", &[&["discover", "--from", "shop"], flags].concat());
    let chess = |flags: &[&str]| ask(flags).ok()[0]["programs"][0].clone();
    // What nobody knows is not held against it.
    assert!(chess(&["--max-size", "1KiB"])["size"].is_null());
    sandbox.run("anna", &["install", "chess", "--from", "shop", "--yes"]).document();
    let told = chess(&[]);
    let package =
        sandbox.state("shop").join("packages").join(format!("{}.tar.gz", told["digest"].as_str().expect("one")));
    let size = fs::metadata(package).expect("the package").len();
    assert_eq!(told["size"], size, "{told:#}");
    assert_eq!(chess(&["--max-size", "1MiB"])["size"], size);
    // For another kind of machine it was not made yet.
    assert!(chess(&["--platform", "macos-aarch64"])["size"].is_null());
    let shown = sandbox.human("anna", &["discover", "--from", "shop"]);
    assert!(shown.stdout.contains("SIZE") && shown.stdout.contains("1KiB"), "{shown:?}");
    // A program of 20 KiB that nothing makes smaller.
    let noise: Vec<u8> = (0..20_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    fs::write(shelf.join("chess/app/noise"), noise).expect("a file");
    let text = fs::read_to_string(shelf.join("chess/service.toml")).expect("a definition");
    fs::write(shelf.join("chess/service.toml"), text.replace("1.0.0", "1.1.0")).expect("a definition");
    assert!(chess(&[])["size"].is_null(), "of that version nothing was made");
    sandbox.run("anna", &["install", "chess", "--from", "shop", "--yes"]).document();
    assert!(names(&ask(&["--max-size", "10KiB"]).ok()[0]).is_empty());
    let explained = ask(&["--max-size", "10KiB", "--explain", "chess"]).ok();
    assert_eq!(rules(&explained), [("max-size", "10240 bytes")]);
    // The listing that strangers read follows.
    until("the listing tells the size", || {
        let all = sandbox.run("cleo", &["discover", "--interface", "lo"]).ok();
        let ours = all.as_array().expect("nodes").iter().find(|one| one["address"] == shop.address()).cloned();
        ours.is_some_and(|ours| ours["programs"][0]["size"].as_u64().is_some_and(|size| size > 10 << 10))
    });
}

#[test]
fn b7_what_a_neighbour_offers_on_is_seen_with_its_signer_and_size_until_it_is_removed() {
    let (sandbox, shelf) = scene();
    sandbox.trust("anna", "shop", sandbox.run("shop", &["init"]).ok()["address"].as_str().expect("one"), "provide");
    let shop = serve(&sandbox, &shelf, &[]);
    sandbox.run("anna", &["install", "chess", "--from", "shop", "--yes"]).document();
    let anna = sandbox.serve("anna", &["--share", "--advertise", "upnp", "--interface", "lo"]);
    let see = |what: &str, fits: &dyn Fn(&Value) -> bool| {
        until(what, || {
            let all = sandbox.run("cleo", &["discover", "--interface", "lo"]).ok();
            all.as_array().expect("nodes").iter().any(|one| one["address"] == anna.address() && fits(one))
        });
    };
    see("chess is listed under who signed it", &|anna| {
        let chess = &anna["programs"][0];
        let key = &shop.address()["deploy://".len()..][..52];
        names(anna) == ["chess"] && chess["signer"] == key && chess["size"].is_u64() && chess["digest"].is_string()
    });
    sandbox.run("anna", &["remove", "chess"]).document();
    see("it is not listed any more", &|anna| names(anna).is_empty());
}

#[test]
fn b4_a_watch_asks_the_contacts_that_appear_and_tells_of_those_that_have_what_is_wanted() {
    let (sandbox, shelf) = scene();
    let watch = |words: &str| sandbox.begin("anna", &["discover", "--watch", "--interface", "lo", words]);
    let (chess, orchard) = (watch("chess"), watch("orchard"));
    // By DNS-SD alone, which tells no programs.
    let shop = serve(&sandbox, &shelf, &["--advertise", "mdns", "--interface", "lo"]);
    let ours = |watch: &sandbox::Running| {
        let lines = sandbox::lines(&watch.stdout).into_iter();
        lines.filter(|line| line["node"]["address"] == shop.address()).collect::<Vec<_>>()
    };
    until("chess is told of", || ours(&chess).iter().any(|line| line["event"] == "found"));
    let told = &ours(&chess)[0]["node"];
    assert_eq!((names(told), &told["asked"], &told["via"]), (vec!["chess"], &json!(true), &json!(["mdns"])));
    assert!(ours(&orchard).is_empty(), "nobody has an orchard for this machine");
    for watch in [chess, orchard] {
        watch.signal(rustix::process::Signal::INT);
        assert_eq!(watch.finish().code, 130);
    }
}
