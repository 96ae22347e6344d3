//! After a crash: what began is finished or undone, by the journal.

use std::path::Path;

use super::durable::temporary;
use super::journal::{self, Pending};
use super::site::{CURRENT, DATA, GENERATIONS, Site};
use super::{change, finish, remove};
use crate::model::Result;

/// What recovery did, in sentences; nothing where nothing had been interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub did: Vec<String>,
}

/// Brings the installation in `root` to the state before or after the change that was interrupted. To be called at every
/// start; a repeat does nothing.
///
/// # Errors
/// `locked` where somebody is changing it just now; `damaged`, `io`.
pub fn recover(root: &Path) -> Result<Recovery> {
    let Some(site) = Site::open(root)? else { return Ok(Recovery::default()) };
    let did = settle(&site)?;
    tidy(site)?;
    Ok(Recovery { did })
}

/// The same on a locked site, whose folder stays.
pub(super) fn settle(site: &Site) -> Result<Vec<String>> {
    let Some(mut journal) = site.journal()? else { return Ok(Vec::new()) };
    let at = site.root.path().display();
    let did = match journal.pending.clone() {
        None => {
            let freed = site.sweep(&journal)?;
            return Ok(if freed > 0 { vec![format!("removed leftovers in {at}")] } else { Vec::new() });
        }
        Some(Pending::Install { generation, .. }) if is_whole(site, generation)? => {
            finish(site, journal)?;
            format!("finished installing generation {generation} in {at}")
        }
        Some(Pending::Install { generation, .. }) => {
            site.sweep(&journal)?;
            journal.pending = None;
            site.write_journal(&journal)?;
            format!("undid the interrupted installation of generation {generation} in {at}")
        }
        Some(Pending::Switch { to }) => {
            change::switch_to(site, &mut journal, to)?;
            format!("finished switching {at} to generation {to}")
        }
        Some(Pending::Uninstall { generation }) => {
            change::finish_uninstall(site, journal)?;
            format!("finished removing generation {generation} of {at}")
        }
        Some(Pending::Remove { keep_data }) => {
            remove::finish_remove(site, keep_data)?;
            format!("finished removing {at}")
        }
    };
    Ok(vec![did])
}

/// Whether the folder of `generation` has its name, which it gets only when it is whole and durable.
fn is_whole(site: &Site, generation: u32) -> Result<bool> {
    match site.generations()? {
        Some(generations) => generations.has_folder(generation.to_string()),
        None => Ok(false),
    }
}

/// Lets go of the site; where nothing is installed and no data are kept, our own traces go too, and the folder if it is
/// empty then.
pub(super) fn tidy(site: Site) -> Result<()> {
    let unused = match site.journal()? {
        Some(journal) => journal.generations.is_empty() && journal.pending.is_none() && site.root.stat(DATA)?.is_none(),
        None => true,
    };
    if !unused {
        return Ok(());
    }
    if site.journal()?.is_some() {
        site.root.unlink(temporary(CURRENT))?;
        site.root.remove_empty(GENERATIONS)?;
        site.root.sync()?;
        site.root.unlink(journal::FILE)?;
        site.root.sync()?;
    }
    site.leave().map(drop)
}
