//! Whether anything is left: looked at from outside, in the files, the process table and the ports of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::stage::{Party, Stage};
use crate::model::{Hash, Result};
use crate::node::port;
use crate::process::pid;
use crate::store::file;
use crate::store::scratch::listing;

/// A supervisor may take a moment to end after its program is gone.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Files by their path, with length and hash.
pub(super) type Listing = BTreeMap<PathBuf, Option<(u64, Hash)>>;

/// What is installed at a participant.
pub(super) fn installed(party: &Party) -> Result<Listing> {
    listing(&party.state_dir()?.installs())
}

/// The number of files and of their bytes.
pub(super) fn size(listing: &Listing) -> (usize, u64) {
    let files = listing.values().flatten();
    (files.clone().count(), files.map(|(bytes, _)| bytes).sum())
}

/// How it was before the session.
pub(super) struct Before {
    /// Of each participant.
    pub(super) installs: Vec<Listing>,
    pub(super) port: Option<u16>,
}

/// Everything of the session that is still on this machine, in words; the nodes themselves run.
pub(super) async fn left_behind(stage: &Stage, session: &str, before: &Before) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = look(stage, session, before)?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(left)
}

fn look(stage: &Stage, session: &str, before: &Before) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (party, installs) in stage.parties.iter().skip(1).zip(&before.installs) {
        let state = party.state_dir()?;
        let now = installed(party)?;
        for (path, content) in &now {
            if installs.get(path) != Some(content) {
                left.push(format!("{}: {} is installed", party.name, path.display()));
            }
        }
        for path in installs.keys().filter(|path| !now.contains_key(*path)) {
            left.push(format!("{}: {} was there before and is gone", party.name, path.display()));
        }
        for name in file::list(&state.packages())? {
            left.push(format!("{}: package {name}", party.name));
        }
        for name in file::list(&state.run())?.iter().filter(|name| name.starts_with(session)) {
            left.push(format!("{}: folder run/{name}", party.name));
        }
    }
    let nodes = stage.nodes();
    for member in pid::users_of(stage.scratch.path()) {
        if !nodes.contains(&member.identity.pid) {
            left.push(format!("process {member}"));
        }
    }
    if let Some(taken) = before.port.filter(|port| !port::is_free(*port)) {
        left.push(format!("somebody listens on port {taken}"));
    }
    Ok(left)
}
