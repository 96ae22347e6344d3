//! Removal: all that was installed, and only that.

use std::path::{Path, PathBuf};

use super::clear::clear;
use super::durable::{Place, temporary};
use super::journal::{self, Journal, Pending};
use super::recover::settle;
use super::site::{CURRENT, DATA, GENERATIONS, Site, remove_empty};
use crate::model::Result;

/// What removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes of files.
    pub freed: u64,
    /// What is still there: the data if they were to be kept, and whatever is not ours.
    pub kept: Vec<PathBuf>,
}

/// Removes the installation in `root`, its data too unless `keep_data`; then `root` if nothing else is in it, and its
/// parents below `stop_at` that are empty then. The service must have been stopped. A repeat does nothing.
///
/// Kept data keep their journal, so that a later removal knows that they are ours.
///
/// # Errors
/// `locked`; `io` where something cannot be removed: the removal stays pending, and a repeat or recovery resumes it.
pub fn remove(root: &Path, keep_data: bool, stop_at: &Path) -> Result<Removed> {
    let mut removed = Removed::default();
    if let Some(site) = Site::open(root)? {
        settle(&site)?;
        if let Some(mut journal) = site.journal()? {
            journal.pending = Some(Pending::Remove { keep_data });
            site.write_journal(&journal)?;
            removed.freed = finish_remove(&site, keep_data)?;
        }
        let has_journal = site.journal()?.is_some();
        let foreign = foreign_generations(&site)?;
        removed.kept = site.leave()?;
        removed.kept.retain(|path| !(has_journal && *path == root.join(journal::FILE)));
        if !foreign.is_empty() {
            removed.kept.retain(|path| *path != root.join(GENERATIONS));
            removed.kept.extend(foreign);
        }
    }
    remove_empty_parents(root, stop_at)?;
    Ok(removed)
}

/// What is left among the generations after ours are gone.
fn foreign_generations(site: &Site) -> Result<Vec<PathBuf>> {
    let Some(generations) = site.generations()? else { return Ok(Vec::new()) };
    let mut names: Vec<_> = generations.names()?.iter().map(|name| generations.path_of(name)).collect();
    names.sort();
    Ok(names)
}

/// Everything after the journal says that it is to be removed; returns the bytes of the files that went.
pub(super) fn finish_remove(site: &Site, keep_data: bool) -> Result<u64> {
    let root = &site.root;
    root.unlink(temporary(CURRENT))?;
    // A `current` that is no link of ours is somebody else's, and stays.
    if matches!(site.current(), Ok(Some(_))) {
        root.unlink(CURRENT)?;
        root.sync()?;
    }
    // To an empty journal every generation is a leftover.
    let mut freed = site.sweep(&Journal::default())?;
    root.remove_empty(GENERATIONS)?;
    if !keep_data {
        freed += clear(root, DATA)?;
    }
    if keep_data && root.stat(DATA)?.is_some() {
        site.write_journal(&Journal::default())?;
        return Ok(freed);
    }
    // What the journal stands for is surely gone before it goes.
    root.sync()?;
    root.unlink(journal::FILE)?;
    root.sync()?;
    Ok(freed)
}

/// From `root` upwards, as long as folders are empty, and never `stop_at` itself: what is left where an installation was
/// refused.
///
/// # Errors
/// `io`.
pub fn remove_empty_parents(root: &Path, stop_at: &Path) -> Result<()> {
    for folder in root.ancestors().take_while(|folder| *folder != stop_at && folder.starts_with(stop_at)) {
        if Place::open(folder)?.is_some() && !remove_empty(folder)? {
            break;
        }
    }
    Ok(())
}
