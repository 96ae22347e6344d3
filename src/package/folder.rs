//! A directory handle, and files below it: no name given to it leads out of it or through a symbolic link.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::fault::step;
use crate::model::Result;
use crate::model::error::IoContext;

/// Below this many bytes, finding out whether a file can be shared costs more than writing it.
const MIN_SHARED_BYTES: u64 = 16 << 10;

/// An opened folder. Remembers the handle of the folder used last, since neighbours come one after the other.
pub struct Folder {
    root: OwnedFd,
    path: PathBuf,
    /// A folder below the root, by its relative name.
    last: Option<(String, OwnedFd)>,
    /// Whether new files get the mode that is asked for, as the first of each mode showed: the umask, or rules of the
    /// folder, may take bits away.
    exact: [Option<bool>; 2],
    /// An earlier tree, much of which may be as it will be here. Nothing is believed of it.
    earlier: Option<Box<Self>>,
}

impl Folder {
    /// # Errors
    /// `io` where it is no folder, or a link to one.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).doing("opening the folder", path)?;
        Ok(Self::of(root, path))
    }
    /// A folder that was opened already, whatever is at its `path` by now.
    pub fn of(root: OwnedFd, path: &Path) -> Self {
        Self { root, path: path.to_owned(), last: None, exact: [None; 2], earlier: None }
    }
    /// New files share with those of `earlier` what is the same, where the file system can.
    pub fn sharing_with(self, earlier: Option<Self>) -> Self {
        Self { earlier: earlier.map(Box::new), ..self }
    }
    /// Where an entry is, for errors.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
    /// A file, for reading.
    pub(super) fn open_file(&mut self, name: &str) -> Result<File> {
        let path = self.path_of(name);
        let (parent, base) = self.parent(name)?;
        // Without O_NONBLOCK a file that became a pipe would hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(open_beneath(parent, base, flags, Mode::empty()).doing("opening", &path)?.into())
    }
    /// A folder below, or this one where `name` is empty.
    pub(super) fn open_folder(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if name.is_empty() { "." } else { name };
        open_beneath(self.root.as_fd(), name, flags, Mode::empty()).doing("opening the folder", &self.path_of(name))
    }
    /// A new file that only its creator writes to, by the handle that is returned; never one that exists.
    pub(super) fn create_file(&mut self, name: &str, executable: bool) -> Result<File> {
        let path = self.path_of(name);
        step(&path)?;
        // What is shared is read before it is believed.
        let access = if self.earlier.is_some() { OFlags::RDWR } else { OFlags::WRONLY };
        let (parent, base) = self.parent(name)?;
        let mode = Mode::from_raw_mode(if executable { 0o555 } else { 0o444 });
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open_beneath(parent, base, flags, mode).doing("creating", &path)?;
        let exact = &mut self.exact[usize::from(executable)];
        if exact.is_none() {
            let stat = retry_on_intr(|| rustix::fs::fstat(&file)).doing("looking at", &path)?;
            *exact = Some(Mode::from_raw_mode(stat.st_mode) == mode);
        }
        if *exact == Some(false) {
            retry_on_intr(|| rustix::fs::fchmod(&file, mode)).doing("setting the mode of", &path)?;
        }
        Ok(file.into())
    }
    /// Gives `file`, new and empty, the content of the earlier tree's file of that name, without copying it, where that has
    /// `size` bytes and the file system can. Returns whether it did; if not, the file is as it was.
    pub(super) fn share(&mut self, name: &str, size: u64, file: &File) -> Result<bool> {
        if size < MIN_SHARED_BYTES {
            return Ok(false);
        }
        let Some(earlier) = &mut self.earlier else { return Ok(false) };
        let is_as_long = |file: &File| file.metadata().is_ok_and(|found| found.is_file() && found.len() == size);
        let Some(old) = earlier.open_file(name).ok().filter(is_as_long) else { return Ok(false) };
        if retry_on_intr(|| rustix::fs::ioctl_ficlone(file, &old)).is_err() {
            self.earlier = None;
            return Ok(false);
        }
        // Who owns the old file may have made it longer meanwhile.
        let shared = is_as_long(file);
        if !shared {
            file.set_len(0).doing("emptying", &self.path_of(name))?;
        }
        Ok(shared)
    }
    /// A new folder; never one that exists.
    pub(super) fn make_folder(&mut self, name: &str) -> Result<()> {
        let path = self.path_of(name);
        step(&path)?;
        let (parent, base) = self.parent(name)?;
        let mode = Mode::from_raw_mode(0o755);
        retry_on_intr(|| rustix::fs::mkdirat(parent, base, mode)).doing("creating the folder", &path)?;
        // By its handle: a chmod by name would follow a link that took the folder's place.
        let made = self.open_folder(name)?;
        retry_on_intr(|| rustix::fs::fchmod(&made, mode)).doing("setting the mode of", &path)?;
        self.last = Some((name.to_owned(), made));
        Ok(())
    }
    /// A new symbolic link; never in the place of anything.
    pub(super) fn make_link(&mut self, name: &str, target: &str) -> Result<()> {
        let path = self.path_of(name);
        step(&path)?;
        let (parent, base) = self.parent(name)?;
        retry_on_intr(|| rustix::fs::symlinkat(target, parent, base)).doing("creating the link", &path)
    }

    /// The folder that `name` lies in, and its last component.
    fn parent<'a>(&mut self, name: &'a str) -> Result<(BorrowedFd<'_>, &'a str)> {
        let Some((parent, base)) = name.rsplit_once('/') else { return Ok((self.root.as_fd(), name)) };
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            self.last = Some((parent.to_owned(), self.open_folder(parent)?));
        }
        Ok((self.last.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()), base))
    }
}

/// Reads what is there, at least one byte but at the end, carrying on after an interruption.
pub(super) fn read_some(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Opens `name` below `folder`, where no component may be a link. Old kernels and some sandboxes know no `openat2`; there
/// each component is opened by itself.
fn open_beneath(folder: BorrowedFd<'_>, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match retry_on_intr(|| rustix::fs::openat2(folder, name, flags, mode, resolve)) {
        Err(Errno::NOSYS | Errno::PERM) => open_by_component(folder, name, flags, mode),
        result => result,
    }
}

fn open_by_component(folder: BorrowedFd<'_>, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let Some((parents, base)) = name.rsplit_once('/') else {
        return if name == ".." {
            Err(Errno::XDEV)
        } else {
            retry_on_intr(|| rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW, mode))
        };
    };
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    for component in parents.split('/').chain(std::iter::once(base)) {
        if matches!(component, "" | "..") {
            return Err(Errno::XDEV);
        }
    }
    for component in parents.split('/') {
        at = Some(retry_on_intr(|| {
            rustix::fs::openat(at.as_ref().map_or(folder, |fd| fd.as_fd()), component, step, Mode::empty())
        })?);
    }
    retry_on_intr(|| {
        rustix::fs::openat(at.as_ref().map_or(folder, |fd| fd.as_fd()), base, flags | OFlags::NOFOLLOW, mode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_way_of_opening_leaves_the_folder_or_follows_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(temp.path()).unwrap();
        folder.make_folder("d").unwrap();
        folder.make_folder("d/e").unwrap();
        folder.create_file("d/e/file", true).unwrap();
        folder.make_link("out", "..").unwrap();
        folder.make_link("in", "d").unwrap();
        for open in [open_beneath, open_by_component] {
            let open = |name| open(folder.root.as_fd(), name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            open("d/e/file").unwrap();
            open("d/e").unwrap();
            for outside in ["..", "d/../..", "out", "in", "in/e/file", "out/x", "/etc/passwd"] {
                open(outside).unwrap_err();
            }
        }
    }
}
