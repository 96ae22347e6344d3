//! Whether a program is ready: a port, a line of output, a file, or a quiet period.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::output::{Output, Search};
use super::plan::{Plan, within};
use crate::model::error::{Error, Result};
use crate::model::{Code, Span};
use crate::service::definition::Probe;

/// A program without a probe is ready when it has been running for so long.
const QUIET: Span = Span::from_ms(100);
/// All connection attempts of one look together take at most so long.
const CONNECT_LIMIT: Duration = Duration::from_millis(200);
/// Connection attempts are so many milliseconds apart.
const CONNECT_EVERY_MS: u64 = 50;
/// At most so many of a name's addresses are tried.
const MOST_ADDRESSES: usize = 4;

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = std::fs::symlink_metadata(path).ok()?;
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Some(Self {
            inode: about.ino(),
            size: about.len(),
            modified_ns: ns(about.mtime(), about.mtime_nsec()),
            changed_ns: ns(about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The way in which one program's readiness is looked for.
pub(super) enum Watch {
    Port {
        text: String,
        addresses: Vec<SocketAddr>,
        /// When to try next, in milliseconds since the start.
        next_ms: u64,
    },
    Line(String, Option<Search>),
    /// A file that is as it was before the start does not count. It is not removed: the folder is the program's, and a
    /// link in the path could lead anywhere.
    File(PathBuf, Option<Stamp>),
    Running(Span),
}

impl Watch {
    /// # Errors
    /// `bad-definition` where the probe makes no sense, `unsuitable` where its host name is not known here.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let bad = |what: String, hint: &str| Error::new(Code::BadDefinition, what).hint(hint);
        match plan.ready.as_ref().map(|ready| &ready.probe) {
            None => Ok(Watch::Running(QUIET)),
            Some(Probe::After(span)) => Ok(Watch::Running(*span)),
            Some(Probe::Output(text)) if text.is_empty() => {
                Err(bad("`ready.output` is empty".into(), "give a text that the program prints when it is ready"))
            }
            Some(Probe::Output(text)) => Ok(Watch::Line(text.clone(), None)),
            Some(Probe::File(file)) => within(&plan.data, file).map(|path| Watch::File(path, None)).ok_or_else(|| {
                bad(format!("the ready file “{file}” is outside the data folder"), "give a path below the data folder")
            }),
            Some(Probe::Tcp(text)) => {
                let addresses = addresses(text)?;
                Ok(Watch::Port { text: text.clone(), addresses, next_ms: 0 })
            }
        }
    }
    /// Looks at how things are before a start: from now on, only what is new counts. Says why the program cannot be
    /// started, if so.
    pub(super) fn arm(&mut self, output: &Output) -> Result<(), String> {
        match self {
            Watch::Port { text, addresses, next_ms } => {
                *next_ms = 0;
                if accepts(addresses) {
                    return Err(format!("something else already listens on {text}"));
                }
            }
            Watch::Line(text, search) => *search = Some(Search::new(text, output.size())),
            Watch::File(path, stale) => *stale = Stamp::of(path),
            Watch::Running(_) => {}
        }
        Ok(())
    }
    /// Goes on where another supervisor armed it.
    pub(super) fn rearm(&mut self, log_offset: u64, stamp: Option<Stamp>) {
        match self {
            Watch::Line(text, search) => *search = Some(Search::new(text, log_offset)),
            Watch::File(_, stale) => *stale = stamp,
            Watch::Port { .. } | Watch::Running(_) => {}
        }
    }
    /// What the ready file looked like when it was armed.
    pub(super) fn stale(&self) -> Option<Stamp> {
        if let Watch::File(_, stale) = self { *stale } else { None }
    }
    /// Whether it is ready, `running_ms` milliseconds after its start. Takes at most 200 ms, and mostly none.
    pub(super) fn is_ready(&mut self, running_ms: u64, output: &Output) -> bool {
        match self {
            Watch::Port { addresses, next_ms, .. } => {
                if running_ms < *next_ms {
                    return false;
                }
                *next_ms = running_ms + CONNECT_EVERY_MS;
                accepts(addresses)
            }
            Watch::Line(_, search) => search.as_mut().is_some_and(|search| search.found(output)),
            Watch::File(path, stale) => {
                let now = Stamp::of(path);
                now.is_some() && now != *stale
            }
            Watch::Running(span) => running_ms >= span.as_ms(),
        }
    }
    /// What has not happened, for people: “nothing listens on …”.
    pub(super) fn missing(&self) -> String {
        match self {
            Watch::Port { text, .. } => format!("nothing accepts connections on {text}"),
            Watch::Line(text, _) => format!("no line of its output holds “{text}”"),
            Watch::File(path, _) => format!("the file {} was not written", path.display()),
            Watch::Running(span) => format!("it has not been running for {span}"),
        }
    }
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>> {
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err(Error::new(Code::BadDefinition, format!("“{text}” is not a host and a port"))
            .hint("write `ready.tcp` like 127.0.0.1:8080"));
    }
    // Mostly an address or `localhost`; a name is looked up this once, before the start.
    match text.to_socket_addrs() {
        Ok(found) => Ok(found.take(MOST_ADDRESSES).collect()),
        Err(why) => Err(Error::new(Code::Unsuitable, format!("looking up {text} of `ready.tcp`: {why}"))
            .hint("an address like 127.0.0.1 needs no looking up")),
    }
}

fn accepts(addresses: &[SocketAddr]) -> bool {
    let each = CONNECT_LIMIT / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    addresses.iter().any(|address| TcpStream::connect_timeout(address, each).is_ok())
}
