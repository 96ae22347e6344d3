//! Whole trees: removing them, and making them read-only. Links are removed and never followed.

use rustix::fs::{FileType, Mode};
use rustix::io::retry_on_intr;

use super::durable::{Place, step};
use crate::model::Result;
use crate::model::error::IoContext;

/// Folders that are open at once; deeper ones are moved up first. A program may nest its data as deep as it likes.
const MAX_OPEN: usize = 64;

/// Removes `name` in `place` and everything below it, and returns how many bytes of files that were.
///
/// # Errors
/// `io` where a file system is mounted below, or something cannot be removed; what was removed so far stays removed.
pub(super) fn clear(place: &Place, name: &str) -> Result<u64> {
    let Some(stat) = place.stat(name)? else { return Ok(0) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        place.unlink(name)?;
        return Ok(bytes_of(&stat));
    }
    let top = place.sub_to_clear(name)?;
    let mut clearing = Clearing { top: &top, moved: 0, freed: 0 };
    loop {
        let before = clearing.moved;
        clearing.empty(&top, 0)?;
        if clearing.moved == before {
            break;
        }
    }
    let freed = clearing.freed;
    place.remove_empty(name)?;
    Ok(freed)
}

struct Clearing<'a> {
    top: &'a Place,
    /// Folders that were moved up, each to be emptied in the next round.
    moved: u64,
    freed: u64,
}

impl Clearing<'_> {
    fn empty(&mut self, folder: &Place, depth: usize) -> Result<()> {
        for name in folder.names()? {
            let Some(stat) = folder.stat(&name)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                folder.unlink(&name)?;
                self.freed += bytes_of(&stat);
                continue;
            }
            let below = folder.sub_to_clear(&name)?;
            if depth == MAX_OPEN {
                folder.move_folder(&name, self.top, &format!(".deep-{}", self.moved))?;
                self.moved += 1;
                continue;
            }
            self.empty(&below, depth + 1)?;
            folder.remove_empty(&name)?;
        }
        Ok(())
    }
}

/// What removing it gives back; a file with another name elsewhere gives back nothing.
fn bytes_of(stat: &rustix::fs::Stat) -> u64 {
    let counts = stat.st_nlink == 1 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if counts { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 }
}

/// Takes away the permission to write in a folder that was just unpacked and in those below; its files have none already.
pub(super) fn make_read_only(folder: &Place) -> Result<()> {
    step(folder.path())?;
    for name in folder.folders()? {
        if let Some(below) = folder.sub(&name)? {
            make_read_only(&below)?;
        }
    }
    retry_on_intr(|| rustix::fs::fchmod(folder.fd(), Mode::from_raw_mode(0o555)))
        .doing("making read-only", folder.path())
}
