//! A folder held by its handle, and the operations in it that a crash may come between. No operation follows a link.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::model::error::IoContext;
use crate::model::{Code, Error, Result};
use crate::package::Folder;
pub(super) use crate::package::fault::step;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An opened folder.
pub(super) struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// The folder `path`; `None` where there is nothing.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        match retry_on_intr(|| rustix::fs::open(path, FOLDER, Mode::empty())) {
            Ok(fd) => Ok(Some(Self { fd, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(why).doing("opening the folder", path),
        }
    }
    /// The folder `path`, made with mode 0700 where it is missing, and its parents likewise.
    pub(super) fn make(path: &Path) -> Result<Self> {
        if let Some(place) = Self::open(path)? {
            return Ok(place);
        }
        let missing = || Error::new(Code::NotFound, format!("{} is no path to a folder", path.display()));
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(missing()),
        };
        // A parent may be reached through a link; what we make and own may not.
        let above = match retry_on_intr(|| rustix::fs::open(parent, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty()))
        {
            Ok(fd) => Self { fd, path: parent.to_owned() },
            Err(Errno::NOENT) => Self::make(parent)?,
            Err(why) => return Err(why).doing("opening the folder", parent),
        };
        above.make_folder(path.file_name().ok_or_else(missing)?)?;
        above.sync()?;
        Self::open(path)?.ok_or_else(missing)
    }
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    /// The same folder, for a package to be unpacked into it.
    pub(super) fn for_unpacking(&self) -> Result<Folder> {
        let fd = self.fd.try_clone().doing("opening the folder", &self.path)?;
        Ok(Folder::of(fd, &self.path))
    }
    pub(super) fn fd(&self) -> impl AsFd {
        &self.fd
    }
    pub(super) fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
    /// A folder in this one; `None` where there is nothing.
    pub(super) fn sub(&self, name: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = self.path_of(&name);
        match retry_on_intr(|| rustix::fs::openat(&self.fd, name.as_ref(), FOLDER, Mode::empty())) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(why).doing("opening the folder", &path),
        }
    }
    /// A folder in this one whose content is about to be removed: on the same file system, and made accessible to us.
    pub(super) fn sub_to_clear(&self, name: impl AsRef<Path>) -> Result<Self> {
        let path = self.path_of(&name);
        let mounted = || {
            Error::new(Code::Io, format!("removing {}: another file system is mounted there", path.display()))
                .hint("unmount it, then run the same command again")
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match retry_on_intr(|| rustix::fs::openat2(&self.fd, name.as_ref(), flags, Mode::empty(), resolve)) {
            Err(Errno::NOSYS | Errno::PERM) => {
                retry_on_intr(|| rustix::fs::openat(&self.fd, name.as_ref(), flags, Mode::empty()))
            }
            Err(Errno::XDEV) => return Err(mounted()),
            held => held,
        };
        let held = held.doing("opening the folder", &path)?;
        let stat = retry_on_intr(|| rustix::fs::fstat(&held)).doing("looking at", &path)?;
        if stat.st_dev != retry_on_intr(|| rustix::fs::fstat(&self.fd)).doing("looking at", &self.path)?.st_dev {
            return Err(mounted());
        }
        if stat.st_mode & 0o700 != 0o700 {
            // Through the handle: a chmod by name would follow a link that took the folder's place.
            let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
            retry_on_intr(|| rustix::fs::chmod(&own, Mode::RWXU)).doing("making accessible", &path)?;
        }
        let fd = retry_on_intr(|| rustix::fs::openat(&held, ".", FOLDER, Mode::empty()))
            .doing("opening the folder", &path)?;
        Ok(Self { fd, path })
    }
    /// What `name` is, itself and not what it points to; `None` where there is nothing.
    pub(super) fn stat(&self, name: impl AsRef<Path>) -> Result<Option<Stat>> {
        match retry_on_intr(|| rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(why).doing("looking at", &self.path_of(name)),
        }
    }
    pub(super) fn has_folder(&self, name: impl AsRef<Path>) -> Result<bool> {
        Ok(self.stat(name)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
    }
    /// The names in this folder, in no order.
    pub(super) fn names(&self) -> Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for item in Dir::read_from(&self.fd).doing("reading the folder", &self.path)? {
            let item = item.doing("reading the folder", &self.path)?;
            let name = item.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(PathBuf::from(OsStr::from_bytes(name)));
            }
        }
        Ok(names)
    }
    /// The names of the folders in this folder, in no order.
    pub(super) fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for item in Dir::read_from(&self.fd).doing("reading the folder", &self.path)? {
            let item = item.doing("reading the folder", &self.path)?;
            let name = Path::new(OsStr::from_bytes(item.file_name().to_bytes()));
            let is_folder = match item.file_type() {
                FileType::Directory => name != Path::new(".") && name != Path::new(".."),
                FileType::Unknown => self.has_folder(name)?,
                _ => false,
            };
            if is_folder {
                folders.push(name.to_owned());
            }
        }
        Ok(folders)
    }
    /// A small file; `None` where there is nothing.
    ///
    /// # Errors
    /// `damaged` where it has more than `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path_of(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty())) {
            Ok(fd) => std::fs::File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(why) => return Err(why).doing("opening", &path),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).doing("reading", &path)?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(Code::Damaged, format!("{} has more than {limit} bytes", path.display())));
        }
        Ok(Some(bytes))
    }
    /// What a link says; `None` where there is nothing.
    pub(super) fn read_link(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match retry_on_intr(|| rustix::fs::readlinkat(&self.fd, name, Vec::new())) {
            Ok(target) => Ok(Some(target.into_bytes())),
            Err(Errno::NOENT) => Ok(None),
            Err(why) => Err(why).doing("reading the link", &self.path_of(name)),
        }
    }

    /// Replaces a file as a whole, durably: before or after, never between.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let new = temporary(name);
        let path = self.path_of(&new);
        self.unlink(&new)?;
        step(&path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let mut file = std::fs::File::from(
            retry_on_intr(|| rustix::fs::openat(&self.fd, &*new, flags, mode)).doing("creating", &path)?,
        );
        step(&path)?;
        file.write_all(bytes).doing("writing", &path)?;
        step(&path)?;
        file.sync_all().doing("syncing", &path)?;
        self.rename(&new, name)?;
        self.sync()
    }
    /// A folder of mode 0700, unless there is one.
    pub(super) fn make_folder(&self, name: impl AsRef<Path>) -> Result<()> {
        let path = self.path_of(&name);
        step(&path)?;
        match retry_on_intr(|| rustix::fs::mkdirat(&self.fd, name.as_ref(), Mode::RWXU)) {
            Err(Errno::EXIST) if self.has_folder(&name)? => Ok(()),
            result => result.doing("creating the folder", &path),
        }
    }
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = self.path_of(to);
        step(&path)?;
        retry_on_intr(|| rustix::fs::renameat(&self.fd, from, &self.fd, to)).doing("renaming to", &path)
    }
    /// Moves a folder out of this one.
    pub(super) fn move_folder(&self, name: &Path, to: &Self, new: &str) -> Result<()> {
        step(&self.path_of(name))?;
        retry_on_intr(|| rustix::fs::renameat(&self.fd, name, &to.fd, new)).doing("moving", &self.path_of(name))
    }
    pub(super) fn link(&self, target: &str, name: &str) -> Result<()> {
        let path = self.path_of(name);
        step(&path)?;
        retry_on_intr(|| rustix::fs::symlinkat(target, &self.fd, name)).doing("creating the link", &path)
    }
    /// Removes a file or a link, unless there is nothing.
    pub(super) fn unlink(&self, name: impl AsRef<Path>) -> Result<()> {
        let path = self.path_of(&name);
        step(&path)?;
        match retry_on_intr(|| rustix::fs::unlinkat(&self.fd, name.as_ref(), AtFlags::empty())) {
            Err(Errno::NOENT) => Ok(()),
            result => result.doing("removing", &path),
        }
    }
    /// Removes a folder if it is empty or not there; false where it is not empty.
    pub(super) fn remove_empty(&self, name: impl AsRef<Path>) -> Result<bool> {
        let path = self.path_of(&name);
        step(&path)?;
        match retry_on_intr(|| rustix::fs::unlinkat(&self.fd, name.as_ref(), AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(why) => Err(why).doing("removing the folder", &path),
        }
    }
    /// Makes the names in this folder durable.
    pub(super) fn sync(&self) -> Result<()> {
        step(&self.path)?;
        retry_on_intr(|| rustix::fs::fsync(&self.fd)).doing("syncing the folder", &self.path)
    }
    /// Makes everything on this folder's file system durable.
    pub(super) fn sync_all(&self) -> Result<()> {
        step(&self.path)?;
        retry_on_intr(|| rustix::fs::syncfs(&self.fd)).doing("syncing the file system of", &self.path)
    }
}

/// What a file is called until it is whole.
pub(super) fn temporary(name: &str) -> String {
    format!(".{name}.new")
}
