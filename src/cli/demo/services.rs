//! The services that the demo offers: part of the program, so that it alone suffices.

use clap::ValueEnum;

use crate::model::Result;
use crate::process::command::Tools;
use crate::process::host;
use crate::store::file;
use crate::store::scratch::Scratch;

/// A service to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A chat room, compiled for this session; needs Rust
    Chat,
    /// A web site that the peers look at; needs Python
    Site,
    /// A notice that the peers read out; needs nothing but a shell
    Notice,
}

/// Path, content and mode of each file.
type Files = &'static [(&'static str, &'static [u8], u32)];

macro_rules! files {
    ($service:literal: $($path:literal),+ $(,)?) => {
        &[$((
            concat!($service, "/", $path),
            include_bytes!(concat!("../../../fixtures/services/", $service, "/", $path)),
            file::PLAIN,
        )),+]
    };
}

const CHAT: Files = files!("chat":
    "service.toml", "README.md", "build.sh", "talk", "src/chat.rs", "src/desk.rs", "src/guest.rs", "src/host.rs",
    "src/link.rs", "src/proof.rs",
);
const SITE: Files = files!("site":
    "service.toml", "host/serve.py", "host/public/index.html.j2", "host/public/session.json.j2", "host/public/style.css",
    "watcher/watch.py", "watcher/site.json.j2",
);
const NOTICE: Files = files!("notice":
    "service.toml", "holder/hold.sh", "holder/notice.txt.j2", "reader/read.sh", "reader/notice.txt.j2",
);

impl Show {
    pub(super) fn name(self) -> &'static str {
        match self {
            Show::Chat => "chat",
            Show::Site => "site",
            Show::Notice => "notice",
        }
    }
    /// What is accounted for by hand, where the program does not do so itself.
    pub(super) fn usage(self, peers: usize) -> Option<String> {
        match self {
            Show::Chat => None,
            Show::Site => Some(format!("visit={peers}")),
            Show::Notice => Some(format!("reading={peers}")),
        }
    }
    /// Whether it listens on a port.
    pub(super) fn listens(self) -> bool {
        self != Show::Notice
    }
    /// The role of the Initiator, and that of the peers.
    pub(super) fn roles(self) -> (&'static str, &'static str) {
        match self {
            Show::Chat => ("host", "guest"),
            Show::Site => ("host", "watcher"),
            Show::Notice => ("holder", "reader"),
        }
    }
    /// What this machine lacks for it.
    pub(super) fn lacks(self) -> Result<Vec<String>> {
        Ok(match self {
            Show::Chat if rust().is_none() => vec!["no rustc and cc are found".to_owned()],
            Show::Chat => Vec::new(),
            Show::Site => host::unmet(&["python>=3.9".parse()?], &std::env::temp_dir(), &Default::default()),
            Show::Notice => Vec::new(),
        })
    }
}

/// The compiler of the person who runs the demo.
pub(super) fn rust() -> Option<Tools> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::home_dir().map(|home| home.join(".cargo/bin"));
    host::rust(std::env::split_paths(&path).chain(home))
}

/// Writes all services into a folder `inside` of the scratch folder.
pub(super) fn write(scratch: &Scratch, inside: &str) -> Result<()> {
    let inside = std::path::Path::new(inside);
    [CHAT, SITE, NOTICE]
        .into_iter()
        .flatten()
        .try_for_each(|(path, bytes, mode)| scratch.put(&inside.join(path), bytes, *mode))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "looks at the fixtures")]

    use std::path::Path;

    use super::*;

    fn count(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }

    #[test]
    fn no_file_of_the_services_is_missing() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/services");
        assert_eq!(CHAT.len(), count(&services.join("chat")));
        assert_eq!(SITE.len(), count(&services.join("site")));
        // The description of its interface is for tests.
        assert_eq!(NOTICE.len() + 1, count(&services.join("notice")));
    }
}
