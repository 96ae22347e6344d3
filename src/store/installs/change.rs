//! Back to the generation before, and away with one.

use std::path::Path;

use super::Installed;
use super::journal::{Journal, Pending};
use super::recover::settle;
use super::site::{CURRENT, DATA, Site};
use crate::model::{Code, Error, Result};

/// Makes the generation before the current one current. The other one stays installed until the next installation.
///
/// # Errors
/// `not-found` where nothing is installed; `wrong-state` where there is no generation before; `locked`, `io`.
pub fn rollback(root: &Path) -> Result<Installed> {
    let (site, mut journal) = open(root)?;
    let nothing_before = || {
        let why = format!("there is no generation before the current one in {}", root.display());
        Error::new(Code::WrongState, why)
    };
    let current = site.current()?.ok_or_else(nothing_before)?;
    let generation = previous(&journal, current).ok_or_else(nothing_before)?;
    switch_to(&site, &mut journal, generation)?;
    Ok(Installed { generation, folder: site.folder_of(generation), data: site.root.path_of(DATA), already: true })
}

/// Removes one generation. The current one can go only where none is before it; then nothing is current any more.
///
/// # Errors
/// `not-found` where it is not installed; `wrong-state` where it is current and can be rolled back; `locked`, `io`.
pub fn uninstall_generation(root: &Path, generation: u32) -> Result<()> {
    let (site, mut journal) = open(root)?;
    if !journal.generations.contains_key(&generation) {
        let why = format!("generation {generation} is not installed in {}", root.display());
        return Err(Error::new(Code::NotFound, why));
    }
    if site.current()? == Some(generation) && previous(&journal, generation).is_some() {
        let why = format!("generation {generation} is the current one in {}", root.display());
        return Err(Error::new(Code::WrongState, why).hint("roll back first"));
    }
    journal.pending = Some(Pending::Uninstall { generation });
    site.write_journal(&journal)?;
    finish_uninstall(&site, journal)
}

/// Journals and does the switch to an installed generation.
pub(super) fn switch_to(site: &Site, journal: &mut Journal, to: u32) -> Result<()> {
    journal.pending = Some(Pending::Switch { to });
    site.write_journal(journal)?;
    site.switch(to)?;
    journal.pending = None;
    site.write_journal(journal)
}

pub(super) fn finish_uninstall(site: &Site, mut journal: Journal) -> Result<()> {
    let Some(Pending::Uninstall { generation }) = journal.pending.take() else { return Ok(()) };
    if site.current()? == Some(generation) {
        site.root.unlink(CURRENT)?;
        site.root.sync()?;
    }
    journal.generations.remove(&generation);
    // Unnamed by the journal, the folder is rubbish: what a crash leaves of it, the next sweep takes.
    site.write_journal(&journal)?;
    site.sweep(&journal).map(drop)
}

/// The latest of the installed generations that are older than `than`.
fn previous(journal: &Journal, than: u32) -> Option<u32> {
    journal.generations.range(..than).next_back().map(|(&generation, _)| generation)
}

fn open(root: &Path) -> Result<(Site, Journal)> {
    let nothing = || Error::new(Code::NotFound, format!("nothing is installed in {}", root.display()));
    let site = Site::open(root)?.ok_or_else(nothing)?;
    settle(&site)?;
    match site.journal()? {
        Some(journal) => Ok((site, journal)),
        None => {
            site.leave()?;
            Err(nothing())
        }
    }
}
