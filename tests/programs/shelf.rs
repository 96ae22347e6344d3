//! A folder of programs that a node offers, and two neighbours.

use std::fs;
use std::path::PathBuf;

use crate::sandbox::Sandbox;

pub(crate) struct Shelf {
    folder: PathBuf,
}

/// A program: its definition, and files beside it.
pub(crate) struct Program {
    definition: String,
    files: Vec<(&'static str, String)>,
}

impl Shelf {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path().join("shelf");
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }
    pub(crate) fn path(&self) -> &str {
        self.folder.to_str().unwrap()
    }
    /// Puts a program on it, in place of what was there before.
    pub(crate) fn put(&self, name: &str, program: &Program) {
        let (folder, new) = (self.folder.join(name), self.folder.join(format!(".{name}")));
        for (path, text) in &program.files {
            fs::create_dir_all(new.join(path).parent().unwrap()).unwrap();
            fs::write(new.join(path), text).unwrap();
        }
        fs::write(new.join("service.toml"), format!("name = \"{name}\"\n{}", program.definition)).unwrap();
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::rename(new, folder).unwrap();
    }
    /// What the owner of `node` wants devices to get for options.
    pub(crate) fn put_options(&self, sandbox: &Sandbox, node: &str, program: &str) {
        let folder = sandbox.state(node).join("offers").join(program);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("options.toml"), "word = \"open sesame\"\n").unwrap();
    }
}

/// A program with a file that is made for the device, a secret option, and `script` as what it ends with.
pub(crate) fn greeter(version: &str, script: &str) -> Program {
    let definition = format!(
        r#"version = "{version}"
summary = "Says hello to its device"
category = "communication/hello"
license = "MIT"

[options.word]
type = "string"
secret = true
roles = ["app"]

[roles.app]
for = "initiator"
platforms = ["any"]

[roles.app.build]
copy = "app/"
templates = ["hello.txt.j2"]

[roles.app.run]
command = ["sh", "run.sh"]
ready = {{ file = "ready", within = "20s" }}
restart = "never"

[roles.app.permissions]
write = ["data/"]
"#
    );
    let run = format!(
        "set -e\ncp \"$DEPLOYCTL_CONFIGURATION\" \"$DEPLOYCTL_DATA/configuration.json\"\n\
         cp \"$DEPLOYCTL_OPTION_FILES/word\" \"$DEPLOYCTL_DATA/word\"\necho $$ > \"$DEPLOYCTL_DATA/pid\"\n\
         case '{script}' in exec*) touch \"$DEPLOYCTL_DATA/ready\";; esac\n{script}\n"
    );
    let hello = "hello {{ roster.initiator.name }} on {{ platform }}\n".to_owned();
    Program { definition, files: vec![("app/hello.txt.j2", hello), ("app/run.sh", run)] }
}

/// Two megabytes of text in many files, three of which begin with a number.
pub(crate) fn tome(version: &str, number: u32) -> Program {
    let mut program = plain(version, "MIT");
    let mut word = 0_u32;
    let names = (0..200).map(|page| format!("app/page-{page}").leak() as &'static str);
    program.files.extend(names.enumerate().map(|(page, name)| {
        let mut text = if matches!(page, 7 | 100 | 180) { format!("version {number}\n") } else { String::new() };
        for _ in 0..1500 {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(&format!("{word:x} "));
        }
        (name, text)
    }));
    program
}

/// A program that is the same for every device, and has nothing to run.
pub(crate) fn plain(version: &str, license: &str) -> Program {
    let definition = format!(
        "version = \"{version}\"\nlicense = \"{license}\"\n[roles.app]\nfor = \"initiator\"\nbuild = {{ copy = \"app/\" }}\n"
    );
    Program { definition, files: vec![("app/tune.txt", format!("la {version}\n"))] }
}

/// A shop with a greeter, and anna who may have it and trusts the shop.
pub(crate) fn neighbours() -> (Sandbox, Shelf) {
    let sandbox = Sandbox::new();
    let (shop, anna) = (sandbox.init("shop"), sandbox.init("anna"));
    sandbox.trust("shop", "anna", &anna, "request");
    sandbox.trust("anna", "shop", &shop, "provide");
    let shelf = Shelf::new(&sandbox);
    shelf.put("greeter", &greeter("1.0.0", "exec sleep 1000"));
    shelf.put_options(&sandbox, "shop", "greeter");
    (sandbox, shelf)
}
