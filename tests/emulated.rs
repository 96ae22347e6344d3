//! Programs for other platforms are found, installed and run by the emulators that a machine has (rows B4, B8). The
//! emulators are scripts in a mount namespace of the machine that asks. Needs root and util-linux.

#![expect(clippy::disallowed_methods, reason = "writes services, and looks at what a program said")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::process::Command;

use sandbox::{Sandbox, read, until};
use serde_json::json;

/// Runs what comes after it where these emulators are installed: what they do is to say so, and to run the program.
const EMULATORS: &str = "mount -t tmpfs none /usr/local/bin && for name in wine qemu-s390x qemu-riscv64-static; do \
    printf '#!/bin/sh\\necho \"%s runs $1\"\\nexec sh \"$@\"\\n' $name > /usr/local/bin/$name && \
    chmod 755 /usr/local/bin/$name || exit 1; done && exec \"$@\"";

fn around(node: &str) -> Vec<String> {
    match node {
        "anna" => ["unshare", "--mount", "sh", "-c", EMULATORS, "sh"].map(str::to_owned).into(),
        _ => Vec::new(),
    }
}

fn put(sandbox: &Sandbox, name: &str, platform: &str, requires: &str) {
    let folder = sandbox.path().join("shelf").join(name);
    fs::create_dir_all(folder.join("app")).expect("a folder");
    fs::write(folder.join("app/run"), "#!/bin/sh\necho up\nexec sleep 1000\n").expect("a script");
    let text = format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\nsummary = \"Of another world\"\nlicense = \"MIT\"\n\
         [roles.app]\nfor = \"initiator\"\nplatforms = [\"{platform}\"]\nrequires = [{requires}]\n\
         build = {{ copy = \"app/\" }}\n[roles.app.run]\ncommand = [\"./run\"]\n\
         ready = {{ output = \"up\", within = \"20s\" }}\nrestart = \"never\"\n"
    );
    fs::write(folder.join("service.toml"), text).expect("a definition");
}

#[test]
fn b4_what_is_for_another_platform_is_found_with_its_emulator_and_run_by_it() {
    let mut sandbox = Sandbox::new();
    if !Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
        .status()
        .is_ok_and(|s| s.success())
    {
        needs::skip("mount namespaces cannot be made here (they need root and util-linux)");
        return;
    }
    sandbox.around = around;
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "provide");
    put(&sandbox, "mainframe", "linux-s390x", "");
    put(&sandbox, "board", "linux-riscv64", "\"sh\", \"qemu-user\"");
    put(&sandbox, "orchard", "macos-aarch64", "");
    let is_pc = std::env::consts::ARCH == "x86_64";
    if is_pc {
        put(&sandbox, "office", "windows-x86_64", "");
    }
    let shelf = sandbox.path().join("shelf").to_string_lossy().into_owned();
    let _shop = sandbox.serve("shop", &["--services", &shelf]);
    let found = sandbox.run("anna", &["discover", "--from", "shop"]).ok();
    let told: Vec<_> = found[0]["programs"]
        .as_array()
        .expect("programs")
        .iter()
        .map(|one| json!([one["name"], one["runs"], one["by"]]))
        .collect();
    let mut expected = vec![
        json!(["board", "emulator", ["qemu-riscv64-static", "sh", "qemu-user"]]),
        json!(["mainframe", "emulator", ["qemu-s390x"]]),
    ];
    expected.extend(is_pc.then(|| json!(["office", "emulator", ["wine"]])));
    assert_eq!(told, expected);
    for (program, by) in [("mainframe", "qemu-s390x"), ("office", "wine")].iter().take(1 + usize::from(is_pc)) {
        let installed = sandbox.run("anna", &["install", program, "--yes", "--start"]).document();
        assert_eq!((&installed["state"], &installed["by"]), (&json!("confirmed"), &json!([by])), "{installed:#}");
        let output = sandbox.state("anna").join("run/programs");
        until("the emulator was what ran it", || {
            let folders = fs::read_dir(&output).into_iter().flatten().flatten();
            let all: String = folders.map(|folder| read(&folder.path().join("output.log"))).collect();
            all.contains(&format!("{by} runs ./run"))
        });
        assert_eq!(sandbox.run("anna", &["stop", program]).document()["state"], "stopped");
    }
    // Where there is none, what would help is named.
    sandbox.around = |_| Vec::new();
    let explained = sandbox.run("anna", &["discover", "--from", "shop", "--explain", "mainframe"]).ok();
    let actual = explained[0]["unmet"][0]["actual"].as_str().unwrap_or_default();
    assert!(actual.is_empty() || actual.ends_with("without qemu-s390x or qemu-s390x-static"), "{explained:#}");
}
