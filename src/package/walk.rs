//! What is in a folder, in the order and by the rule of packages.

use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode};
use rustix::io::retry_on_intr;

use super::MAX_ENTRIES;
use super::entry::{Entry, Kind, MAX_FILE_BYTES, bad_entry};
use super::folder::Folder;
use super::names::Names;
use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};

/// All entries below `folder`, sorted by the bytes of their paths.
///
/// # Errors
/// `bad-archive` naming the entry that no package can hold; `too-large`; `io`.
pub(super) fn list(folder: &mut Folder) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        let first = found.len();
        list_one(folder, &path, &mut found)?;
        let below = found[first..].iter().filter(|entry: &&Entry| entry.kind == Kind::Folder);
        open.extend(below.map(|entry| entry.path.clone()));
        if found.len() as u64 > MAX_ENTRIES {
            return Err(Error::new(Code::TooLarge, format!("the software has more than {MAX_ENTRIES} entries")));
        }
    }
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let mut names = Names::default();
    for entry in &found {
        names.admit(entry).map_err(|reason| bad_entry(&entry.path, reason))?;
    }
    Ok(found)
}

/// The entries directly in the folder `path`.
fn list_one(folder: &Folder, path: &str, found: &mut Vec<Entry>) -> Result<()> {
    let place = folder.path_of(path);
    let handle = folder.open_folder(path)?;
    for item in Dir::read_from(&handle).doing("reading the folder", &place)? {
        let item = item.doing("reading the folder", &place)?;
        let name = item.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(text) = name.to_str() else {
            let shown = Path::new(path).join(name.to_string_lossy().as_ref());
            return Err(bad_entry(&shown.to_string_lossy(), "has a name that is not UTF-8"));
        };
        let path = if path.is_empty() { text.to_owned() } else { format!("{path}/{text}") };
        let stat = retry_on_intr(|| rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW))
            .doing("looking at", &place.join(text))?;
        let target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Some(
                retry_on_intr(|| rustix::fs::readlinkat(&handle, name, Vec::new()))
                    .doing("reading the link", &place.join(text))?,
            ),
            _ => None,
        };
        let kind = kind_of(&stat, target.as_deref()).map_err(|reason| bad_entry(&path, reason))?;
        found.push(Entry { path, kind });
    }
    Ok(())
}

fn kind_of(stat: &rustix::fs::Stat, target: Option<&std::ffi::CStr>) -> Result<Kind, String> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(Kind::Folder),
        FileType::RegularFile if mode.intersects(Mode::SUID | Mode::SGID) => {
            Err("has the set-user-id or set-group-id bit".into())
        }
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).map_err(|_| "has no size")?;
            if size > MAX_FILE_BYTES {
                return Err(format!("has {size} bytes, more than {MAX_FILE_BYTES}"));
            }
            Ok(Kind::File { size, executable: mode.contains(Mode::XUSR) })
        }
        FileType::Symlink => {
            let target = target.and_then(|target| target.to_str().ok()).ok_or("is a link whose target is not UTF-8")?;
            Ok(Kind::Link { target: target.to_owned() })
        }
        _ => Err("is neither a file, a folder nor a symbolic link".into()),
    }
}
