//! Installations: complete or not at all, whatever comes between.
//!
//! An installation is a folder with `generations/N/` (read-only), `current -> generations/N`, `data/` (the program's own)
//! and `journal.json`, which says *pending* before the first thing is touched and *done* after the last. What a crash
//! leaves is finished or undone by [`recover`], which every other function here calls first.

mod change;
mod clear;
mod durable;
mod journal;
mod recover;
mod remove;
mod site;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use journal::{Journal, Pending};
use site::{DATA, GENERATIONS, STAGING, Site};

use crate::model::{Code, Error, Result};
use crate::package::{self, VerifiedManifest};

pub use change::{rollback, uninstall_generation};
pub use journal::Generation;
pub use recover::{Recovery, recover};
pub use remove::{Removed, remove, remove_empty_parents};

/// A generation that is installed and current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub generation: u32,
    /// `ROOT/generations/N`.
    pub folder: PathBuf,
    /// The program's own folder, `ROOT/data`.
    pub data: PathBuf,
    /// It had been installed before; at most `current` was switched to it.
    pub already: bool,
}

/// What an installation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub current: Option<u32>,
    /// Those that are installed completely, the current one among them.
    pub generations: BTreeMap<u32, Generation>,
    /// A change began and did not end; or it is going on just now.
    pub interrupted: bool,
}

/// Looks at the installation in `root` without locking or changing anything; `None` where there is none.
///
/// # Errors
/// `damaged`, `newer-state`, `io`.
pub fn look(root: &Path) -> Result<Option<Status>> {
    let Some(place) = durable::Place::open(root)? else { return Ok(None) };
    let Some(journal) = site::read_journal(&place)? else { return Ok(None) };
    let current = site::read_current(&place)?;
    Ok(Some(Status { current, generations: journal.generations, interrupted: journal.pending.is_some() }))
}

/// Where `generation` is, or would be.
pub fn folder_of(root: &Path, generation: u32) -> PathBuf {
    site::folder_of(root, generation)
}

/// Installs `package` as `generation` in `root` and makes it current. Keeps the generation that was current, and only that.
/// Tells `progress` how many bytes of the package are done.
///
/// Installing what is installed is no error; if `current` was rolled back from it, it is switched forward again.
///
/// # Errors
/// What [`package::unpack`] gives, with the old state untouched. `downgrade` where a later generation is current;
/// `wrong-state` where the generation exists with other content, or `root` holds what is not ours; `locked`; `io`. An error
/// after the folder has its name leaves the change pending, and [`recover`] or a repeat finishes it.
pub fn install(
    root: &Path,
    generation: u32,
    package: &File,
    manifest: &VerifiedManifest,
    progress: &mut dyn FnMut(u64),
) -> Result<Installed> {
    let site = Site::make(root)?;
    recover::settle(&site)?;
    let mut journal = match site.journal()? {
        Some(journal) => journal,
        None => empty_root(&site)?,
    };
    let current = site.current()?;
    if let Some(later) = current.filter(|current| *current > generation) {
        let why = format!("generation {generation} is older than {later}, which is installed in {}", root.display());
        return Err(Error::new(Code::Downgrade, why).hint("go back with a rollback if that is what you want"));
    }
    let installed =
        |already| Installed { generation, folder: site.folder_of(generation), data: site.root.path_of(DATA), already };
    if is_installed(&site, &mut journal, generation, manifest)? {
        if current != Some(generation) {
            change::switch_to(&site, &mut journal, generation)?;
        }
        return Ok(installed(true));
    }
    let staging = format!("{STAGING}{generation}-{}", manifest.package.digest.short());
    let record = Generation::of(manifest);
    journal.pending = Some(Pending::Install { generation, record, staging: staging.clone(), from: current });
    let staged = site
        .write_journal(&journal)
        .and_then(|()| stage(&site, current, generation, &staging, package, manifest, progress));
    if let Err(why) = staged {
        // The first error is the one to tell; what cannot be undone now, `recover` undoes.
        let _ = recover::settle(&site).and_then(|_| recover::tidy(site));
        return Err(why.while_doing(format!("installing {}", manifest.file_name())));
    }
    finish(&site, journal)?;
    Ok(installed(false))
}

/// A root without a journal: nothing in it may be where our things go.
fn empty_root(site: &Site) -> Result<Journal> {
    for name in [GENERATIONS, site::CURRENT, DATA] {
        if site.root.stat(name)?.is_some() {
            let why = format!("{} exists already and is not of an installation", site.root.path_of(name).display());
            return Err(Error::new(Code::WrongState, why).hint("choose another folder, or move it away"));
        }
    }
    Ok(Journal::default())
}

/// Whether the very same content is installed as `generation`. Forgets a generation whose folder somebody took away.
fn is_installed(site: &Site, journal: &mut Journal, generation: u32, manifest: &VerifiedManifest) -> Result<bool> {
    let Some(record) = journal.generations.get(&generation) else { return Ok(false) };
    let there = match site.generations()? {
        Some(generations) => generations.has_folder(generation.to_string())?,
        None => false,
    };
    if !there {
        journal.generations.remove(&generation);
        return Ok(false);
    }
    if record.tree != manifest.tree {
        let why = format!("generation {generation} is installed in {} with other content", site.root.path().display());
        return Err(Error::new(Code::WrongState, why));
    }
    Ok(true)
}

/// Everything up to the generation's folder having its name, durably. What is as in the `current` one is shared with it.
fn stage(
    site: &Site,
    current: Option<u32>,
    generation: u32,
    staging: &str,
    package: &File,
    manifest: &VerifiedManifest,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    site.root.make_folder(GENERATIONS)?;
    let lost = || Error::new(Code::Io, format!("{} vanished while installing", site.root.path().display()));
    let generations = site.generations()?.ok_or_else(lost)?;
    clear::clear(&generations, staging)?;
    generations.make_folder(staging)?;
    durable::step(generations.path())?;
    let staged = generations.sub(staging)?.ok_or_else(lost)?;
    let earlier = current.map(|current| generations.sub(current.to_string())).transpose()?.flatten();
    let earlier = earlier.map(|earlier| earlier.for_unpacking()).transpose()?;
    package::unpack(package, manifest, staged.for_unpacking()?.sharing_with(earlier), progress)?;
    clear::make_read_only(&staged)?;
    staged.sync_all()?;
    generations.rename(staging, &generation.to_string())?;
    generations.sync()
}

/// Everything after that; repeated as a whole by recovery.
fn finish(site: &Site, mut journal: Journal) -> Result<()> {
    let Some(Pending::Install { generation, record, from, .. }) = journal.pending.take() else { return Ok(()) };
    site.root.make_folder(DATA)?;
    site.root.sync()?;
    site.switch(generation)?;
    journal.generations.retain(|&kept, _| Some(kept) == from);
    journal.generations.insert(generation, record);
    site.write_journal(&journal)?;
    site.sweep(&journal).map(drop).map_err(|why| {
        why.while_doing(format!("generation {generation} is installed, but an older one could not be removed"))
    })
}
