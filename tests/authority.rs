//! Nodes with a certificate authority: certificates that openssl made are taken, and those of another authority, for another
//! purpose, or whose time is over are refused in the handshake. The key is asked for all the same.

#![expect(clippy::disallowed_methods, reason = "runs openssl")]

#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Sandbox, until};

const LIST: [&str; 4] = ["request", "--provider", "shop", "--list"];
const BOTH: &str = "extendedKeyUsage=serverAuth,clientAuth\n";
const CONFIGURATION: &str = "[req]\ndistinguished_name=dn\nx509_extensions=ca\nprompt=no\n[dn]\nCN=The authority NAME\n[ca]\nbasicConstraints=critical,CA:TRUE\n";

fn openssl(sandbox: &Sandbox, args: &str) -> bool {
    let output =
        Command::new("openssl").args(args.split(' ')).current_dir(sandbox.path()).output().expect("openssl runs");
    output.status.success()
}

/// Makes an authority of this name, with a key of this kind.
fn authority(sandbox: &Sandbox, name: &str, key: &str) {
    fs::write(sandbox.path().join("ca.cnf"), CONFIGURATION.replace("NAME", name)).expect("a file");
    let args = format!("req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.crt -days 30 -config ca.cnf");
    assert!(openssl(sandbox, &args));
}

/// Has a node's request signed by an authority; gives the certificate.
fn certify(sandbox: &Sandbox, node: &str, by: &str, days: u32, extensions: &str) -> PathBuf {
    let csr = sandbox.run(node, &["init", "--csr"]).ok();
    fs::write(sandbox.path().join("node.csr"), csr["csr"].as_str().expect("a request")).expect("a file");
    fs::write(sandbox.path().join("extensions"), extensions).expect("a file");
    let issue = format!(
        "x509 -req -in node.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -days {days} -extfile extensions -out {node}.pem"
    );
    assert!(openssl(sandbox, &issue));
    sandbox.path().join(format!("{node}.pem"))
}

fn install(sandbox: &Sandbox, node: &str, certificate: &Path) {
    sandbox.run(node, &["init", "--certificate", certificate.to_str().expect("a path")]).ok();
}

fn configure(sandbox: &Sandbox, node: &str, authority: &str) {
    let path = sandbox.path().join(format!("{authority}.crt"));
    fs::write(sandbox.state(node).join("config.toml"), format!("[tls]\nca = {path:?}\n")).expect("a file");
}

/// Two nodes who know each other, with certificates of the authority `ours`, and one of `theirs`.
fn stage(key: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let (shop, ada) = (sandbox.init("shop"), sandbox.init_nowhere("ada"));
    sandbox.trust("shop", "ada", &ada, "request");
    sandbox.trust("ada", "shop", &shop, "");
    authority(&sandbox, "ours", key);
    authority(&sandbox, "theirs", "ed25519");
    for node in ["shop", "ada"] {
        let certificate = certify(&sandbox, node, "ours", 30, BOTH);
        install(&sandbox, node, &certificate);
        configure(&sandbox, node, "ours");
    }
    sandbox
}

fn refused(sandbox: &Sandbox, why: &str) {
    // The alert may be lost where the connection is reset before it is read.
    let output = sandbox.run("ada", &LIST);
    assert!(output.code == 4 || output.code == 5, "{output:#?}");
    until(&format!("shop's audit says {why}"), || {
        let audit = sandbox.audit("shop");
        audit
            .iter()
            .any(|line| line["what"].as_str().is_some_and(|what| what.contains("TLS handshake") && what.contains(why)))
    });
}

#[test]
fn certificates_of_the_same_authority_are_taken_and_the_key_is_asked_for_as_well() {
    let sandbox = stage("rsa:2048");
    let serving = sandbox.serve("shop", &[]);
    sandbox.run("ada", &LIST).ok();
    // A certificate of the authority makes nobody a contact, and no other key the one that was asked for.
    sandbox.init_nowhere("eve");
    let certificate = certify(&sandbox, "eve", "ours", 30, BOTH);
    install(&sandbox, "eve", &certificate);
    configure(&sandbox, "eve", "ours");
    sandbox.trust("eve", "shop", serving.address(), "");
    sandbox.run("eve", &LIST).fails(3, "not-permitted");
    let place = serving.address().split_once('@').expect("a place").1.to_owned();
    sandbox.run("eve", &["trust", "remove", "shop"]).ok();
    let own = sandbox.run("eve", &["init"]).ok();
    let other = format!("{}@{place}", own["address"].as_str().expect("an address"));
    sandbox.trust("eve", "shop", &other, "");
    sandbox.run("eve", &LIST).fails(4, "wrong-key");
    // A certificate of another's key is not installed.
    let foreign = sandbox.path().join("shop.pem");
    let refusal = sandbox.run("ada", &["init", "--certificate", foreign.to_str().expect("a path")]);
    refusal.fails(8, "bad-input").says(&["not one of the private key"]).hints(&["--csr"]);
    sandbox.run("ada", &LIST).ok();
}

#[test]
fn a_client_of_another_authority_for_another_purpose_or_too_late_is_refused_in_the_handshake() {
    let sandbox = stage("ed25519");
    let _serving = sandbox.serve("shop", &[]);
    let certificate = certify(&sandbox, "ada", "theirs", 30, BOTH);
    install(&sandbox, "ada", &certificate);
    refused(&sandbox, "UnknownIssuer");
    let certificate = certify(&sandbox, "ada", "ours", 30, "extendedKeyUsage=serverAuth\n");
    install(&sandbox, "ada", &certificate);
    refused(&sandbox, "InvalidPurpose");
    let certificate = certify(&sandbox, "ada", "ours", 0, BOTH);
    install(&sandbox, "ada", &certificate);
    until("the certificate has expired", || sandbox.run("ada", &LIST).code != 0);
    refused(&sandbox, "Expired");
    let certificate = certify(&sandbox, "ada", "ours", 30, BOTH);
    install(&sandbox, "ada", &certificate);
    sandbox.run("ada", &LIST).ok();
}

#[test]
fn a_server_of_another_authority_or_for_another_purpose_is_refused_and_without_authorities_nothing_is_asked() {
    let sandbox = stage("ed25519");
    for (by, extensions, why) in
        [("theirs", BOTH, "UnknownIssuer"), ("ours", "extendedKeyUsage=clientAuth\n", "InvalidPurpose")]
    {
        let certificate = certify(&sandbox, "shop", by, 30, extensions);
        install(&sandbox, "shop", &certificate);
        let serving = sandbox.serve("shop", &[]);
        assert!(sandbox.talk().contains("will refuse this node's certificate"), "{}", sandbox.talk());
        sandbox.run("ada", &LIST).fails(4, "bad-certificate").says(&[why]).hints(&["[tls] ca"]);
        serving.stop();
    }
    for node in ["shop", "ada"] {
        fs::remove_file(sandbox.state(node).join("config.toml")).expect("a file");
    }
    let _serving = sandbox.serve("shop", &[]);
    sandbox.run("ada", &LIST).ok();
    fs::write(sandbox.state("ada").join("config.toml"), "[tls]\nca = \"nothing.pem\"\n").expect("a file");
    sandbox.run("ada", &LIST).fails(1, "io").says(&["nothing.pem"]);
    fs::write(sandbox.state("ada").join("nothing.pem"), "nothing").expect("a file");
    sandbox.run("ada", &LIST).fails(8, "bad-input").says(&["there is no certificate"]);
}
