//! Small programs that were built and signed, as files.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "writes services, as people do")]

use std::fs;

use deployctl::message::SigningKey;
use deployctl::package::VerifiedManifest;
use serde_json::Value;

use super::sandbox::{Output, Sandbox};

/// A package with its manifest, and the key that signed it.
pub struct Built {
    pub package: String,
    pub manifest: String,
    pub signer: String,
}

/// Builds a version of a service with a file `bin/run` that says `text`, by the node `n`.
pub fn built(sandbox: &Sandbox, version: &str, text: &str) -> Built {
    let service = sandbox.path().join(format!("service-{version}-{text}"));
    fs::create_dir_all(service.join("tree/bin")).expect("a folder");
    fs::write(service.join("tree/bin/run"), text).expect("a file");
    let role = |name: &str, side: &str| {
        format!(
            "[roles.{name}]\nfor = \"{side}\"\nmin = 1\nmax = 1\nplatforms = [\"any\"]\n[roles.{name}.build]\ncopy = \"tree/\"\n"
        )
    };
    let head = format!(
        "name = \"tool\"\nversion = \"{version}\"\nsummary = \"A tool\"\ncategory = \"tools\"\nlicense = \"MIT\"\n"
    );
    fs::write(service.join("service.toml"), head + &role("b", "initiator")).expect("a service");
    let output = sandbox.path().join(format!("built-{version}-{text}"));
    let [service, output] = [&service, &output].map(|path| path.to_str().expect("a plain path"));
    let told = sandbox.run("n", &["build", "--service", service, "--role", "b", "--output", output]).ok();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    Built {
        package: text(&told["package"]["file"]),
        manifest: text(&told["manifest"]["file"]),
        signer: text(&told["signer"]),
    }
}

impl Built {
    /// The same, signed by one key instead of a throw-away one.
    pub fn resigned(self) -> Self {
        let key = SigningKey::from_seed(&[3; 32]).expect("a key");
        let bytes = fs::read(&self.manifest).expect("a manifest");
        let manifest = VerifiedManifest::open(&bytes, &self.signer.parse().expect("a key")).expect("a true manifest");
        fs::write(&self.manifest, manifest.seal(&key).to_json()).expect("a file");
        Self { signer: key.key().to_string(), ..self }
    }
    /// How `deployctl` is asked to install it.
    pub fn install(&self) -> Vec<&str> {
        vec!["install", &self.package, "--manifest", &self.manifest, "--yes"]
    }
}

pub fn install(sandbox: &Sandbox, built: &Built, more: &[&str]) -> Output {
    sandbox.run("n", &[&["install", &built.package, "--manifest", &built.manifest], more].concat())
}
