//! Programs go from node to node (System B): real processes over real sockets.

#![expect(clippy::disallowed_methods, reason = "writes services, and looks at files as a person would")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/sandbox.rs"]
mod sandbox;
#[path = "programs/shelf.rs"]
mod shelf;

use std::fs;

use proxy::Proxy;
use sandbox::{Sandbox, is_alive, until};
use serde_json::Value;
use shelf::{Shelf, greeter, neighbours, plain, tome};

/// What the offering node says of the one device that has a program.
fn handed(sandbox: &Sandbox, node: &str, program: &str) -> Value {
    sandbox.run(node, &["status", program]).document()["installations"][0].clone()
}

fn wait_handed(sandbox: &Sandbox, node: &str, program: &str, state: &str) -> Value {
    let mut last = Value::Null;
    until(&format!("{node} hears that {program} is {state}"), || {
        last = handed(sandbox, node, program);
        last["state"] == state
    });
    last
}

#[test]
fn b8_b13_a_program_is_handed_over_configured_run_and_reported() {
    let (sandbox, shelf) = neighbours();
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let installed = sandbox.run("anna", &["install", "greeter", "--from", "shop", "--yes", "--start"]);
    assert_eq!(installed.code, 0, "{installed:?}");
    let installed = installed.document();
    assert_eq!((installed["state"].as_str(), installed["version"].as_str()), (Some("confirmed"), Some("1.0.0")));
    assert_eq!(installed["by"], serde_json::json!([]));
    // The configuration for this device is built in, and beside it.
    let folder = std::path::PathBuf::from(installed["folder"].as_str().unwrap());
    let here = format!("linux-{}", std::env::consts::ARCH);
    assert_eq!(fs::read_to_string(folder.join("hello.txt")).unwrap(), format!("hello anna on {here}\n"));
    let data = folder.join("../../data");
    let given: Value = serde_json::from_str(&fs::read_to_string(data.join("configuration.json")).unwrap()).unwrap();
    assert_eq!((given["name"].as_str(), given["platform"].as_str()), (Some("anna"), Some(here.as_str())));
    assert_eq!(given["offered_by"], _shop.address());
    // The secret option came beside, and is in no package.
    assert_eq!(fs::read_to_string(data.join("word")).unwrap(), "open sesame");
    let heard = wait_handed(&sandbox, "shop", "greeter", "confirmed");
    assert_eq!((heard["name"].as_str(), heard["version"].as_str()), (Some("anna"), Some("1.0.0")));
    // Again changes nothing.
    let again = sandbox.run("anna", &["install", "greeter", "--from", "shop", "--yes"]).document();
    assert_eq!((again["already"].as_bool(), again["generation"].as_u64()), (Some(true), Some(1)));
    let checked = sandbox.run("anna", &["verify", "greeter"]).ok();
    assert_eq!(checked["delivered_by"], _shop.address()["deploy://".len()..][..52]);
    let pid = fs::read_to_string(data.join("pid")).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid));
    let stopped = sandbox.run("anna", &["stop", "greeter"]);
    assert_eq!((stopped.code, stopped.document()["state"].as_str()), (0, Some("stopped")), "{stopped:?}");
    assert!(!is_alive(pid));
    wait_handed(&sandbox, "shop", "greeter", "stopped");
    let removed = sandbox.run("anna", &["remove", "greeter"]);
    assert_eq!((removed.code, removed.document()["kept"].as_array().map(Vec::len)), (0, Some(0)), "{removed:?}");
    wait_handed(&sandbox, "shop", "greeter", "removed");
    let state = sandbox.state("anna");
    let left = ["installs", "programs", "packages"].map(|name| state.join(name).exists());
    assert_eq!(left, [false; 3]);
    sandbox.run("anna", &["status", "greeter"]).fails(6, "not-found");
}

#[test]
fn p2_b22_an_older_version_is_refused_on_every_path_and_also_after_removal() {
    let (sandbox, shelf) = neighbours();
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let install = ["install", "greeter", "--from", "shop", "--yes"];
    assert_eq!(sandbox.run("anna", &install).document()["generation"], 1);
    shelf.put("greeter", &greeter("2.0.0", "exec sleep 1000"));
    let second = sandbox.run("anna", &install).document();
    assert_eq!((second["generation"].as_u64(), second["version"].as_str()), (Some(2), Some("2.0.0")));
    assert_eq!(second["before"], "1.0.0");
    shelf.put("greeter", &greeter("1.5.0", "exec sleep 1000"));
    let refused = sandbox.run("anna", &install);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("downgrade") && refused.stderr.contains("2.0.0"), "{refused:?}");
    // The kept generation is exempt: its own owner may go back to it.
    let back = sandbox.run("anna", &["install", "--rollback", "greeter"]).document();
    assert_eq!((back["version"].as_str(), back["generation"].as_u64()), (Some("1.0.0"), Some(1)));
    let again = sandbox.run("anna", &["install", "--rollback", "greeter"]).document();
    assert_eq!(again["version"], "1.0.0", "a repeat changes nothing");
    assert_eq!(sandbox.run("anna", &["verify", "greeter"]).ok()["version"], "1.0.0");
    assert_eq!(sandbox.run("anna", &["remove", "greeter"]).code, 0);
    assert_eq!(sandbox.run("anna", &install).code, 4);
    shelf.put("greeter", &greeter("2.0.1", "exec sleep 1000"));
    assert_eq!(sandbox.run("anna", &install).document()["version"], "2.0.1");
}

#[test]
fn b14_an_update_that_does_not_become_ready_goes_back_to_the_generation_before() {
    let (sandbox, shelf) = neighbours();
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let install = ["install", "greeter", "--from", "shop", "--yes", "--start"];
    assert_eq!(sandbox.run("anna", &install).document()["state"], "confirmed");
    shelf.put("greeter", &greeter("2.0.0", "echo cannot find my hat >&2; exit 7"));
    let failed = sandbox.run("anna", &install);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("cannot find my hat"), "{failed:?}");
    let mut status = Value::Null;
    until("the generation before runs again", || {
        status = sandbox.run("anna", &["status", "greeter"]).document();
        status["state"] == "confirmed"
    });
    assert_eq!((status["version"].as_str(), status["running"].as_bool()), (Some("1.0.0"), Some(true)));
    assert!(status["failure"]["tail"].as_str().unwrap().contains("hat"), "{status}");
    let heard = wait_handed(&sandbox, "shop", "greeter", "failed");
    assert_eq!(heard["version"], "2.0.0");
    assert_eq!(sandbox.run("anna", &["remove", "greeter"]).code, 0);
    // The first generation of all has nothing to go back to, and goes.
    shelf.put("greeter", &greeter("3.0.0", "exit 7"));
    assert_eq!(sandbox.run("anna", &install).code, 1);
    let status = sandbox.run("anna", &["status", "greeter"]).document();
    assert_eq!((status["state"].as_str(), status["generation"].as_u64()), (Some("failed"), None));
    let heard = wait_handed(&sandbox, "shop", "greeter", "failed");
    assert!(!heard["reason"].as_str().unwrap().is_empty());
}

#[test]
fn b18_strangers_get_nothing_and_nothing_of_strangers_is_installed_without_a_yes() {
    let sandbox = Sandbox::new();
    let shop = sandbox.init("shop");
    sandbox.init("anna");
    let shelf = Shelf::new(&sandbox);
    shelf.put("greeter", &greeter("1.0.0", "exec sleep 1000"));
    shelf.put_options(&sandbox, "shop", "greeter");
    let serving = sandbox.serve("shop", &["--services", shelf.path()]);
    sandbox
        .run("anna", &["install", "greeter", "--from", &shop, "--yes"])
        .fails(3, "not-permitted")
        .hints(&["trust add"]);
    serving.stop();
    fs::write(sandbox.state("shop").join("config.toml"), "[offer]\nto = \"anyone\"\n").unwrap();
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    // Shown with its key, and asked for: without a terminal that is an error that names the flag.
    let asked = sandbox.human("anna", &["install", "greeter", "--from", &shop]);
    assert_eq!(asked.code, 2, "{asked:?}");
    let groups = &shop["deploy://".len()..][..8];
    let shown = [&groups[..4], " ", &groups[4..]].concat();
    for words in ["UNKNOWN", shown.as_str(), "--yes", "It may write into its own data folder", "MIT"] {
        assert!(asked.stderr.contains(words), "{words}: {asked:?}");
    }
    let uri = format!("{shop}/programs/greeter?version=^1");
    assert_eq!(sandbox.run("anna", &["install", &uri, "--yes"]).document()["version"], "1.0.0");
    let uri = format!("{shop}/programs/greeter?version=^2");
    sandbox.run("anna", &["install", &uri, "--yes"]).fails(6, "unknown-service").says(&["1.0.0", "^2"]);
    sandbox
        .run("anna", &["install", "greter", "--from", &shop, "--yes"])
        .fails(6, "unknown-service")
        .hints(&["greeter"]);
}

#[test]
fn b7_a_neighbour_offers_on_what_the_license_allows_under_its_signer_and_the_floor_holds_there_too() {
    let (sandbox, shelf) = neighbours();
    shelf.put("tune", &plain("1.0.0", "MIT OR LicenseRef-Mine"));
    shelf.put("secret", &plain("1.0.0", "LicenseRef-Mine"));
    let shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let key = shop.address()["deploy://".len()..][..52].to_owned();
    for program in ["tune", "secret", "greeter"] {
        assert_eq!(sandbox.run("anna", &["install", program, "--from", "shop", "--yes"]).code, 0);
    }
    shelf.put("tune", &plain("2.0.0", "MIT"));
    let (cleo, anna) =
        (sandbox.init("cleo"), sandbox.run("anna", &["init"]).ok()["address"].as_str().unwrap().to_owned());
    sandbox.trust("anna", "cleo", &cleo, "request");
    sandbox.trust("shop", "cleo", &cleo, "request");
    let serving = sandbox.serve("anna", &[]);
    sandbox.run("cleo", &["install", "tune", "--from", &anna, "--yes"]).fails(6, "unknown-service");
    serving.stop();
    let _anna = sandbox.serve("anna", &["--share"]);
    let got = sandbox.run("cleo", &["install", "tune", "--from", &anna, "--yes"]).document();
    assert_eq!((got["signer"].as_str(), got["version"].as_str()), (Some(key.as_str()), Some("1.0.0")));
    assert_eq!(wait_handed(&sandbox, "anna", "tune", "installed")["signer"], key.as_str());
    // Neither what may not be handed on, nor what was made for one device alone.
    for program in ["secret", "greeter"] {
        sandbox.run("cleo", &["install", program, "--from", &anna, "--yes"]).fails(6, "unknown-service");
    }
    // The signer itself hands over a newer one; from then on the neighbour's is too old.
    assert_eq!(
        sandbox.run("cleo", &["install", "tune", "--from", shop.address(), "--yes"]).document()["version"],
        "2.0.0"
    );
    let old = sandbox.run("cleo", &["install", "tune", "--from", &anna, "--yes"]);
    assert!(old.code == 4 && old.stderr.contains("downgrade"), "{old:?}");
}

#[test]
fn b7_what_a_neighbour_has_changed_is_refused_and_nothing_of_it_is_kept() {
    let (sandbox, shelf) = neighbours();
    shelf.put("tune", &plain("1.0.0", "MIT"));
    let shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let taken = sandbox.run("anna", &["install", "tune", "--from", "shop", "--yes"]).document();
    shop.stop();
    let anna = sandbox.run("anna", &["init"]).ok()["address"].as_str().unwrap().to_owned();
    let cleo = sandbox.init("cleo");
    sandbox.trust("anna", "cleo", &cleo, "request");
    sandbox.trust("cleo", "anna", &anna, "provide");
    let _anna = sandbox.serve("anna", &["--share"]);
    let digest = taken["package"]["digest"].as_str().unwrap();
    let package = sandbox.state("anna").join("packages").join(format!("{digest}.tar.gz"));
    let good = fs::read(&package).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&package, bad).unwrap();
    let refused = sandbox.run("cleo", &["install", "tune", "--from", &anna, "--yes"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    let left = ["installs", "programs", "floors.json"].map(|name| sandbox.state("cleo").join(name).exists());
    assert_eq!(left, [false; 3], "{refused:?}");
    fs::write(&package, good).unwrap();
    let got = sandbox.run("cleo", &["install", "tune", "--from", &anna, "--yes"]).document();
    assert_eq!((&got["signer"], &got["package"]["digest"]), (&taken["signer"], &taken["package"]["digest"]));
}

#[test]
fn a_report_waits_until_the_offering_node_is_back_and_a_program_outlives_its_supervisor() {
    let (sandbox, shelf) = neighbours();
    let shop = sandbox.serve("shop", &["--services", shelf.path()]);
    assert_eq!(sandbox.run("anna", &["install", "greeter", "--from", "shop", "--yes"]).code, 0);
    shop.kill();
    let _anna = sandbox.serve("anna", &[]);
    assert_eq!(sandbox.run("anna", &["start", "greeter"]).document()["state"], "confirmed");
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    wait_handed(&sandbox, "shop", "greeter", "confirmed");
    let record = sandbox.state("anna").join("run/programs");
    let record = record.join(fs::read_dir(&record).unwrap().next().unwrap().unwrap().file_name()).join("record.json");
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(&record).unwrap_or_default()).unwrap_or_default();
    let before = read();
    sandbox::signal(before["supervisor"]["pid"].as_i64().unwrap().try_into().unwrap(), rustix::process::Signal::KILL);
    until("another supervisor has charge of it", || {
        let now = read();
        now["supervisor"]["pid"].is_u64() && now["supervisor"]["pid"] != before["supervisor"]["pid"]
    });
    assert_eq!(read()["child"], before["child"], "the program itself went on");
    assert_eq!(sandbox.run("anna", &["stop", "greeter"]).document()["state"], "stopped");
    wait_handed(&sandbox, "shop", "greeter", "stopped");
}

#[test]
fn b14_an_update_after_a_small_change_brings_little_more_than_the_change() {
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("shop", "anna", &anna, "request");
    let (key, at) = shop.rsplit_once('@').unwrap();
    let way = Proxy::to(at, |_| None);
    sandbox.trust("anna", "shop", &format!("{key}@{}", way.at), "provide");
    let shelf = Shelf::new(&sandbox);
    shelf.put("tome", &tome("1.0.0", 1));
    let _shop = sandbox.serve("shop", &["--services", shelf.path()]);
    let install = ["install", "tome", "--from", "shop", "--yes"];
    assert_eq!(sandbox.run("anna", &install).ok()["generation"], 1);
    let first = way.came();
    assert!(first > 1_000_000, "{first}");
    shelf.put("tome", &tome("2.0.0", 2));
    let second = sandbox.run("anna", &install).ok();
    assert_eq!((second["generation"].as_u64(), second["version"].as_str()), (Some(2), Some("2.0.0")));
    // The pieces that changed are some 100 KB each. What comes is mostly handshakes, delivery and manifest.
    let update = way.came() - first;
    assert!(update < 40_000, "{update} bytes, {first} at first");
    let page = std::path::PathBuf::from(second["folder"].as_str().unwrap()).join("page-100");
    assert!(fs::read_to_string(page).unwrap().starts_with("version 2"));
    sandbox.run("anna", &["verify", "tome"]).ok();
    // Without the earlier one, the whole comes.
    sandbox.run("anna", &["remove", "tome"]).ok();
    let before = way.came();
    assert_eq!(sandbox.run("anna", &install).ok()["version"], "2.0.0");
    assert!(way.came() - before > 1_000_000);
}

#[test]
fn b7_where_nobody_says_the_best_version_of_a_contact_that_may_provide_is_taken_and_said_so() {
    let (sandbox, shelf) = neighbours();
    shelf.put("tune", &plain("1.0.0", "MIT"));
    let shop = sandbox.serve("shop", &["--services", shelf.path()]);
    // There is but one that may provide: it is asked.
    let installed = sandbox.run("anna", &["install", "tune", "--yes"]).document();
    assert_eq!((&installed["version"], &installed["source"]), (&"1.0.0".into(), &shop.address().into()));
    let quiet = ["--interface", "lo", "--yes"];
    sandbox.run("anna", &[&["install", "tone"], &quiet[..]].concat()).fails(6, "unknown-service").hints(&["tune"]);

    // Of two, both are; the signer is the same.
    shelf.put("tune", &plain("2.0.0", "MIT"));
    let (cleo, anna) =
        (sandbox.init("cleo"), sandbox.run("anna", &["init"]).ok()["address"].as_str().unwrap().to_owned());
    for (node, address) in [("anna", &anna), ("shop", &shop.address().to_owned())] {
        sandbox.trust(node, "cleo", &cleo, "request");
        sandbox.trust("cleo", node, address, "provide");
    }
    let _anna = sandbox.serve("anna", &["--share"]);
    let install = [&["-v", "install", "tune"], &quiet[..]].concat();
    let taken = sandbox.run("cleo", &install);
    assert_eq!(taken.document()["version"], "2.0.0", "{taken:?}");
    assert!(
        taken.stderr.contains("tune 2.0.0 comes from shop") && taken.stderr.contains("of 2 that offer it"),
        "{taken:?}"
    );
    sandbox.run("cleo", &[&["install", "tone"], &quiet[..]].concat()).fails(6, "not-found").hints(&["--from"]);

    // Of the same name, but not the same program.
    let other = Shelf::new(&sandbox);
    let dora = sandbox.init("dora");
    sandbox.trust("dora", "cleo", &cleo, "request");
    sandbox.trust("cleo", "dora", &dora, "provide");
    let _dora = sandbox.serve("dora", &["--services", other.path()]);
    let choice = sandbox.run("cleo", &install);
    assert_eq!(choice.code, 2, "{choice:?}");
    assert!(
        ["prompt-needed", "of shop", "of dora", "--from"].iter().all(|word| choice.stderr.contains(word)),
        "{choice:?}"
    );
    let named = [&["install", "tune@shop"], &quiet[..]].concat();
    assert_eq!(sandbox.run("cleo", &named).document()["already"], true);
}
