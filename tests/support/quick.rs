//! Three nodes that trust one another and serve: shop provides, anna asks, ben is invited and accepts by himself.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]

use std::path::{Path, PathBuf};

use super::sandbox::{Output, Sandbox, Serving};

pub const NAMES: [&str; 3] = ["shop", "anna", "ben"];

pub struct Quick {
    pub sandbox: Sandbox,
    /// In the order of the names.
    pub serving: Vec<Serving>,
    pub session: String,
    services: PathBuf,
}

impl Quick {
    /// With the services of this folder.
    pub fn with_services(services: &Path) -> Self {
        let sandbox = Sandbox::new();
        let [shop, anna, ben] = NAMES.map(|name| sandbox.init(name));
        sandbox.trust("shop", "anna", &anna, "request");
        sandbox.trust("anna", "shop", &shop, "provide");
        sandbox.trust("anna", "ben", &ben, "");
        sandbox.trust("ben", "shop", &shop, "provide");
        sandbox.trust("ben", "anna", &anna, "invite,auto-accept");
        let mut quick = Self { sandbox, serving: Vec::new(), session: String::new(), services: services.to_owned() };
        quick.serving = NAMES.map(|name| quick.serve(name)).into();
        quick
    }
    pub fn serve(&self, who: &str) -> Serving {
        self.sandbox.serve(who, &["--services", &self.services.display().to_string()])
    }
    pub fn state(&self, who: &str) -> PathBuf {
        self.sandbox.state(who)
    }
    /// What it prints is JSON.
    pub fn run(&self, who: &str, arguments: &[&str]) -> Output {
        self.sandbox.run(who, arguments)
    }
    /// Requests a service of ben.
    pub fn ask(&mut self, service: &str, more: &[&str]) {
        let command = ["request", service, "--provider", "shop", "--peer", "ben"];
        let asked = self.run("anna", &[command.as_slice(), more].concat()).ok();
        self.session = asked["session"].as_str().expect("a session").to_owned();
    }
    /// Requests a service of ben, and waits until it runs.
    pub fn request(&mut self, service: &str, more: &[&str]) {
        self.ask(service, &[&["--wait", "running"], more].concat());
    }
    /// Ends the session, and waits until it is over for everybody.
    pub fn end(&self) {
        self.run("anna", &["stop", &self.session]).ok();
        for who in NAMES {
            self.sandbox.wait(who, &self.session, "over", |status| status["over"] == true);
        }
    }
}

/// The fixtures that come with the program.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/services")
}
