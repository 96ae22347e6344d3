//! DNS-SD over multicast DNS (RFC 6762, RFC 6763): this node as one service instance. Probing, conflicts, known answers
//! and goodbyes are the crate's; what is said is ours.

use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Directory, Program};
use crate::model::{Code, Error, Result};
use crate::service::platform::{Platform, Platforms};

/// Has to be registered before a public release (RFC 6335).
pub const SERVICE_TYPE: &str = "_deployctl._tcp.local.";
/// Bytes of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Bytes of the platforms in TXT, so that all of it stays below 400 (RFC 6763 §6.2).
const MAX_PLATFORMS: usize = 150;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(1500);

/// A daemon on these interfaces alone, or on all that lead to a network.
///
/// # Errors
/// `io` where multicast sockets cannot be had.
pub(super) fn daemon(names: &[String]) -> Result<ServiceDaemon> {
    let failed = |why| Error::new(Code::Io, format!("starting multicast DNS: {why}"));
    let daemon = ServiceDaemon::new().map_err(failed)?;
    daemon.disable_interface(IfKind::All).map_err(failed)?;
    daemon.enable_interface(wanted(names)).map_err(failed)?;
    Ok(daemon)
}

fn wanted(names: &[String]) -> IfKind {
    let names = names.to_vec();
    IfKind::Predicate(IfPredicate::new(move |interface| match names.as_slice() {
        [] => !interface.is_loopback() && !interface.is_p2p(),
        names => names.contains(&interface.name),
    }))
}

/// This node as the link sees it. Dropped without [`Publisher::leave`], it goes without a word.
pub struct Publisher {
    daemon: ServiceDaemon,
    fullname: String,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Publishes the node on the links of these interfaces, or on all where none is named.
    ///
    /// # Errors
    /// `io` where multicast sockets cannot be had.
    pub fn begin(names: &[String], mut directory: watch::Receiver<Arc<Directory>>) -> Result<Self> {
        let daemon = daemon(names)?;
        let first = directory.borrow_and_update().clone();
        let instance = Instance::of(&first);
        let info = instance.info(names)?;
        let fullname = info.get_fullname().to_owned();
        daemon.register(info).map_err(|why| Error::new(Code::Io, format!("publishing by multicast DNS: {why}")))?;
        let (follower, names) = (daemon.clone(), names.to_vec());
        let task = tokio::spawn(async move {
            let mut said = instance;
            while directory.changed().await.is_ok() {
                let now = Instance::of(&directory.borrow_and_update().clone());
                if now != said {
                    // What cannot be published now is published with the next change.
                    let done = now.info(&names).map(|info| follower.register(info));
                    drop(done);
                    said = now;
                }
            }
        });
        Ok(Self { daemon, fullname, task })
    }
    /// Says goodbye and ends.
    pub async fn leave(self) {
        self.task.abort();
        let goodbye = async {
            if let Ok(status) = self.daemon.unregister(&self.fullname) {
                drop(status.recv_async().await);
            }
            if let Ok(status) = self.daemon.shutdown() {
                drop(status.recv_async().await);
            }
        };
        drop(timeout(GOODBYE, goodbye).await);
    }
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Instance {
    name: String,
    host: String,
    port: u16,
    /// The first is what the subtype is made of.
    platforms: Vec<String>,
    txt: Vec<(&'static str, String)>,
}

impl Instance {
    fn of(directory: &Directory) -> Self {
        let short = directory.key.short();
        let platforms = platforms(&directory.programs);
        let mut listed = String::new();
        for platform in &platforms {
            if listed.len() + platform.len() >= MAX_PLATFORMS {
                break;
            }
            listed.push_str(if listed.is_empty() { "" } else { "," });
            listed.push_str(platform);
        }
        let txt = vec![
            ("txtvers", "1".to_owned()),
            ("path", "/v1/".to_owned()),
            ("name", directory.name.to_string()),
            ("udn", directory.udn().to_string()),
            ("key", directory.key.to_string()),
            ("ver", env!("CARGO_PKG_VERSION").to_owned()),
            ("plat", listed),
        ];
        let room = MAX_LABEL - short.len() - 1;
        let name: String = directory.name.chars().take(room).collect();
        Self {
            host: format!("{name}-{short}.local."),
            name: format!("{name} {short}"),
            port: directory.port,
            platforms,
            txt,
        }
    }
    fn info(&self, names: &[String]) -> Result<ServiceInfo> {
        let kind = match self.platforms.first() {
            Some(platform) => format!("_{platform}._sub.{SERVICE_TYPE}"),
            None => SERVICE_TYPE.to_owned(),
        };
        let info = ServiceInfo::new(&kind, &self.name, &self.host, "", self.port, self.txt.as_slice());
        let mut info = info.map_err(|why| Error::new(Code::Internal, format!("publishing by multicast DNS: {why}")))?;
        info.set_interfaces(vec![wanted(names)]);
        Ok(info.enable_addr_auto())
    }
}

/// The platforms that there are programs for, this machine's own first: programs for any are for that, too.
fn platforms(programs: &[Program]) -> Vec<String> {
    let here = Platform::here();
    let mut all: Vec<Platform> = Vec::new();
    for program in programs {
        match &program.platforms {
            Platforms::Any => all.push(here.clone()),
            Platforms::Only(some) => all.extend(some.iter().cloned()),
        }
    }
    all.sort_by_key(|platform| (*platform != here, platform.clone()));
    all.dedup();
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::upnp::testing::directory;
    use super::*;

    #[test]
    fn what_is_published_fits_the_labels_and_records_that_carry_it() {
        let mut directory = directory();
        directory.name = "a".repeat(64).parse().or_else(|_| "a".repeat(32).parse()).unwrap();
        directory.programs[0].platforms =
            Platforms::from_texts(&(0..64).map(|n| format!("linux-cpu{n}")).collect::<Vec<_>>()).unwrap();
        let instance = Instance::of(&directory);
        assert!(instance.name.len() <= MAX_LABEL && instance.host.len() <= MAX_LABEL + ".local.".len());
        let bytes: usize = instance.txt.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(bytes < 400, "{bytes}");
        assert_eq!(instance.txt[0], ("txtvers", "1".to_owned()));
        assert!(instance.txt.iter().all(|(key, value)| key.len() <= 9 && key.len() + value.len() < 255));
        let listed = &instance.txt.last().unwrap().1;
        assert!(
            listed.len() <= MAX_PLATFORMS && listed.split(',').all(|one| one.parse::<Platform>().is_ok()),
            "{listed}"
        );
        let info = instance.info(&["lo".to_owned()]).unwrap();
        let own = format!("_{}._sub._deployctl._tcp.local.", Platform::here());
        assert_eq!(info.get_subtype().as_deref(), Some(own.as_str()));
        assert!(!info.get_fullname().is_empty());
    }
}
