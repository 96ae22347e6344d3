//! Small services made of shell scripts, to be offered by a test's provider: a role `host` for the Initiator and a role
//! `guest` for the peers.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "lays out what a provider offers")]

use std::fs;
use std::path::{Path, PathBuf};

/// Says that it is up and stays until it is told to end.
pub const STAYS: &str = "echo up\nexec sleep 600\n";
/// Says nothing that it should, and stays.
pub const NEVER_READY: &str = "echo still thinking about it\nexec sleep 600\n";
/// Ends at once, and badly.
pub const FAILS: &str = "echo no flour left >&2\nexit 3\n";
/// Ends well when a file tells it to.
pub const ENDS_WHEN_TOLD: &str =
    "echo up\nwhile [ ! -e \"$DEPLOYCTL_DATA/end\" ]; do sleep 0.05; done\necho done\nexit 0\n";
/// Falls over the first time that a file tells it to, and stays after that.
pub const CRASHES_ONCE: &str = "n=$(cat \"$DEPLOYCTL_DATA/starts\" 2>/dev/null || echo 0)\nn=$((n+1))\n\
echo $n >\"$DEPLOYCTL_DATA/starts\"\necho up\n\
[ $n -gt 1 ] && exec sleep 600\nwhile [ ! -e \"$DEPLOYCTL_DATA/crash\" ]; do sleep 0.05; done\nexit 9\n";

/// How one role runs.
#[derive(Clone)]
pub struct Role {
    pub script: String,
    pub ready: String,
    pub restart: &'static str,
    pub more: String,
    /// What it may use of the network: `"listen:8080"`, and others after a comma.
    pub network: String,
}

impl Role {
    pub fn new(script: &str) -> Self {
        Self {
            script: script.to_owned(),
            ready: "{ output = \"up\", within = \"20s\" }".to_owned(),
            restart: "never",
            more: String::new(),
            network: String::new(),
        }
    }
    pub fn ready(mut self, ready: &str) -> Self {
        self.ready = ready.to_owned();
        self
    }
    pub fn restart(mut self, restart: &'static str) -> Self {
        self.restart = restart;
        self
    }
    pub fn network(mut self, network: &str) -> Self {
        self.network = network.to_owned();
        self
    }
    /// Further lines of the role's own table.
    pub fn more(mut self, lines: &str) -> Self {
        self.more = lines.to_owned();
        self
    }
}

/// Writes a service into the folder of services, and gives its own folder.
pub fn write(services: &Path, name: &str, host: &Role, guest: &Role) -> PathBuf {
    let folder = services.join(name);
    let mut text = format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\nsummary = \"A service for tests\"\ncategory = \"tests\"\nlicense = \"MIT\"\n\n\
         [options.colour]\nenum = [\"red\", \"green\"]\ndefault = \"red\"\n\n\
         [options.count]\ntype = \"integer\"\ndefault = 3\nminimum = 1\nmaximum = 9\n\n\
         [options.word]\ntype = \"string\"\ndefault = \"tea\"\npattern = \"^[a-z]+$\"\n\n\
         [tariff]\ncurrency = \"EUR\"\nper = {{ minute = \"0.02\", session = \"0.10\", reading = \"0.01\" }}\n"
    );
    for (role_name, side, role) in [("host", "initiator", host), ("guest", "peer", guest)] {
        let bounds = if side == "initiator" { "min = 1\nmax = 1\n" } else { "" };
        text.push_str(&format!(
            "\n[roles.{role_name}]\nfor = \"{side}\"\n{bounds}platforms = [\"any\"]\n{more}\n\
             [roles.{role_name}.build]\ncopy = \"{role_name}/\"\ntemplates = [\"about.txt.j2\"]\n\n\
             [roles.{role_name}.run]\ncommand = [\"sh\", \"run.sh\"]\nready = {ready}\n\
             stop = {{ signal = \"TERM\", grace = \"2s\" }}\nrestart = \"{restart}\"\n\n\
             [roles.{role_name}.permissions]\nwrite = [\"data/\"]\nnetwork = [{network}]\n",
            network = role.network,
            more = role.more,
            ready = role.ready,
            restart = role.restart,
        ));
        let files = folder.join(role_name);
        fs::create_dir_all(&files).expect("a role's folder");
        fs::write(files.join("run.sh"), &role.script).expect("a script");
        let about = "{{ options.word }} for {{ roster.initiator.name }} as {{ role }}\n";
        fs::write(files.join("about.txt.j2"), about).expect("a template");
    }
    fs::write(folder.join("service.toml"), text).expect("a definition");
    folder
}
