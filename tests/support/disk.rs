//! A disk that may lose, in a power cut, whatever was not synced: it follows recorded calls, and says what could be found
//! afterwards. More hostile than most file systems: names, lengths and each block of data survive on their own, in any
//! order, until a sync of their file, their folder or the file system covers them. A file's sync does not cover its name.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "reads and writes what could be found, and gives up loudly"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::calls::{Arg, Call};

/// What is written at once, or not.
const BLOCK: usize = 4096;
/// Files found after a power cut are as old as this, so that nobody takes them for those of a running process.
const AGE: Duration = Duration::from_secs(2 * 3600);

type Id = usize;

/// What survives of what no sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    Nothing,
    /// Names and lengths, without data.
    Names,
    /// Data, without names and lengths.
    Data,
    /// Some of it.
    Chance(u64),
}

#[derive(Clone, Debug)]
enum Change {
    /// A name in a folder: of something, or of nothing any more.
    Name(Id, OsString, Option<Id>),
    /// `to` in its folder is what `from` was, which is gone: both or neither.
    Rename(Id, OsString, Id, OsString, Id),
    Length(Id, usize),
    Cut(Id, usize),
    Data(Id, usize, Vec<u8>),
}

impl Change {
    /// What is to be synced for it to be durable.
    fn covered_by(&self) -> Id {
        match self {
            Self::Name(id, ..) | Self::Length(id, _) | Self::Cut(id, _) | Self::Data(id, ..) => *id,
            Self::Rename(_, _, to, ..) => *to,
        }
    }
    fn is_data(&self) -> bool {
        matches!(self, Self::Data(..))
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    mode: u32,
    /// Of folders.
    names: Option<BTreeMap<OsString, Id>>,
    /// Of links.
    target: Option<PathBuf>,
    length: usize,
    data: Vec<u8>,
}

/// The disk below one folder.
pub struct Disk {
    root: PathBuf,
    /// As it surely is after a power cut.
    durable: Vec<Node>,
    /// As processes see it.
    seen: Vec<Node>,
    unsynced: Vec<Change>,
    /// Of open files: whether they are appended to, and where is written next.
    open: BTreeMap<String, (bool, usize)>,
}

/// What is found below the folder after a power cut.
pub type Found = BTreeMap<PathBuf, Item>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(PathBuf),
}

impl Disk {
    /// What is in a folder, all of it durable.
    pub fn of(root: &Path) -> Self {
        let mut nodes = Vec::new();
        read(root, &mut nodes);
        Self { root: root.to_owned(), durable: nodes.clone(), seen: nodes, unsynced: Vec::new(), open: BTreeMap::new() }
    }

    /// Follows one call.
    pub fn follow(&mut self, call: &Call) {
        let arg = |n: usize| call.args.get(n).cloned().unwrap_or_default();
        if call.name.starts_with("open") && !call.failed() {
            self.opened(call);
        }
        if !call.changes() || !(call.is_in(&self.root) || call.name == "sync") {
            return;
        }
        match call.name.as_str() {
            "open" | "openat" | "openat2" => {}
            "mkdir" => self.make(&named(None, &arg(0)), folder(mode(&arg(1)))),
            "mkdirat" => self.make(&named(Some(&arg(0)), &arg(1)), folder(mode(&arg(2)))),
            "symlink" => self.make(&named(None, &arg(1)), link(&arg(0))),
            "symlinkat" => self.make(&named(Some(&arg(1)), &arg(2)), link(&arg(0))),
            "link" => self.link(&named(None, &arg(0)), &named(None, &arg(1))),
            "linkat" => self.link(&named(Some(&arg(0)), &arg(1)), &named(Some(&arg(2)), &arg(3))),
            "unlink" | "rmdir" => self.unlink(&named(None, &arg(0))),
            "unlinkat" => self.unlink(&named(Some(&arg(0)), &arg(1))),
            "rename" => self.rename(&named(None, &arg(0)), &named(None, &arg(1))),
            "renameat" => self.rename(&named(Some(&arg(0)), &arg(1)), &named(Some(&arg(2)), &arg(3))),
            "write" => self.write(&arg(0), &arg(1).text.unwrap_or_default(), None),
            "pwrite64" => self.write(&arg(0), &arg(1).text.unwrap_or_default(), arg(3).word.parse().ok()),
            "ftruncate" => {
                let length = arg(1).word.parse().expect("a length");
                if let Some(id) = self.file(&arg(0)) {
                    self.change(Change::Cut(id, length));
                }
            }
            // Modes are taken as durable: nothing here hangs on them.
            "chmod" | "fchmod" => self.set_mode(&arg(0), mode(&arg(1))),
            "fchmodat" | "fchmodat2" => {
                let path = named(Some(&arg(0)), &arg(1));
                self.set_mode(&Arg { path: Some(path), ..Arg::default() }, mode(&arg(2)));
            }
            "fsync" | "fdatasync" => {
                if let Some(id) = self.file(&arg(0)) {
                    self.sync(|change| change.covered_by() == id);
                }
            }
            "syncfs" | "sync" => self.sync(|_| true),
            other => panic!("the disk does not know the call {other}"),
        }
    }

    /// What is found if the power is cut now.
    pub fn after(&self, survives: Survives) -> Found {
        let mut nodes = self.durable.clone();
        let mut chance = if let Survives::Chance(seed) = survives { seed } else { 0 };
        for change in &self.unsynced {
            let is_kept = match survives {
                Survives::Nothing => false,
                Survives::Names => !change.is_data(),
                Survives::Data => change.is_data(),
                Survives::Chance(_) => {
                    chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    chance >> 63 == 1
                }
            };
            if is_kept {
                apply(&mut nodes, change);
            }
        }
        let mut found = Found::new();
        list(&nodes, 0, Path::new(""), &mut found);
        found
    }

    fn opened(&mut self, call: &Call) {
        let Some(path) = call.result.path.clone() else { return };
        let words: String = call.args.iter().map(|arg| arg.word.as_str()).collect();
        let fd = call.result.word.clone();
        self.open.insert(fd, (words.contains("O_APPEND"), 0));
        if !path.starts_with(&self.root) {
            return;
        }
        if words.contains("O_CREAT") && self.find(&path).is_none() {
            let last = call.args.last().map_or("", |arg| arg.word.as_str());
            let octal = last.split("mode=").nth(1).unwrap_or(last).split([',', '}']).next().unwrap_or("0600");
            let mode = u32::from_str_radix(octal, 8).unwrap_or(0o600);
            self.make(&path, Node { mode, ..Node::default() });
        } else if words.contains("O_TRUNC")
            && let Some(id) = self.find(&path)
        {
            self.change(Change::Cut(id, 0));
        }
    }
    fn make(&mut self, path: &Path, node: Node) {
        let id = self.seen.len();
        self.seen.push(node.clone());
        self.durable.push(node);
        let (folder, name) = self.place(path);
        self.change(Change::Name(folder, name, Some(id)));
    }
    fn link(&mut self, from: &Path, to: &Path) {
        let id = self.find(from).unwrap_or_else(|| panic!("{} is linked, and not there", from.display()));
        let (folder, name) = self.place(to);
        self.change(Change::Name(folder, name, Some(id)));
    }
    fn unlink(&mut self, path: &Path) {
        let (folder, name) = self.place(path);
        self.change(Change::Name(folder, name, None));
    }
    fn rename(&mut self, from: &Path, to: &Path) {
        let id = self.find(from).unwrap_or_else(|| panic!("{} is renamed, and not there", from.display()));
        let ((from, name), (to, new)) = (self.place(from), self.place(to));
        self.change(Change::Rename(from, name, to, new, id));
    }
    fn write(&mut self, fd: &Arg, bytes: &[u8], at: Option<usize>) {
        let Some(id) = self.file(fd) else { return };
        let length = self.seen[id].length;
        let (appends, next) = self.open.get(&fd.word).copied().unwrap_or((false, 0));
        let at = if appends { length } else { at.unwrap_or(next) };
        let end = at + bytes.len();
        self.open.insert(fd.word.clone(), (appends, end));
        if end > length {
            self.change(Change::Length(id, end));
        }
        let mut from = at;
        while from < end {
            let to = end.min((from / BLOCK + 1) * BLOCK);
            self.change(Change::Data(id, from, bytes[from - at..to - at].to_vec()));
            from = to;
        }
    }
    fn set_mode(&mut self, of: &Arg, mode: u32) {
        if let Some(id) = of.path.as_deref().and_then(|path| self.find(path)) {
            (self.seen[id].mode, self.durable[id].mode) = (mode, mode);
        }
    }
    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }
    fn sync(&mut self, is_covered: impl Fn(&Change) -> bool) {
        let all = std::mem::take(&mut self.unsynced);
        for change in all {
            if is_covered(&change) {
                apply(&mut self.durable, &change);
            } else {
                self.unsynced.push(change);
            }
        }
    }

    /// What a descriptor is of; nothing where that is elsewhere, or has no name any more.
    fn file(&self, fd: &Arg) -> Option<Id> {
        self.find(fd.path.as_deref()?)
    }
    fn find(&self, path: &Path) -> Option<Id> {
        let mut at = 0;
        for name in path.strip_prefix(&self.root).ok()? {
            at = *self.seen[at].names.as_ref()?.get(name)?;
        }
        Some(at)
    }
    fn place(&self, path: &Path) -> (Id, OsString) {
        let folder = path.parent().and_then(|folder| self.find(folder));
        let folder = folder.unwrap_or_else(|| panic!("{} is in no folder that is known", path.display()));
        (folder, path.file_name().expect("a name").to_owned())
    }
}

fn apply(nodes: &mut [Node], change: &Change) {
    fn names(nodes: &mut [Node], folder: Id) -> &mut BTreeMap<OsString, Id> {
        nodes[folder].names.get_or_insert_default()
    }
    match change {
        Change::Name(folder, name, Some(id)) => drop(names(nodes, *folder).insert(name.clone(), *id)),
        Change::Name(folder, name, None) => drop(names(nodes, *folder).remove(name)),
        Change::Rename(from, name, to, new, id) => {
            if names(nodes, *from).get(name) == Some(id) {
                names(nodes, *from).remove(name);
            }
            names(nodes, *to).insert(new.clone(), *id);
        }
        Change::Length(id, length) => nodes[*id].length = nodes[*id].length.max(*length),
        Change::Cut(id, length) => {
            nodes[*id].length = *length;
            nodes[*id].data.truncate(*length);
        }
        Change::Data(id, at, bytes) => {
            let (data, end) = (&mut nodes[*id].data, at + bytes.len());
            data.resize(data.len().max(end), 0);
            data[*at..end].copy_from_slice(bytes);
        }
    }
}

fn named(folder: Option<&Arg>, name: &Arg) -> PathBuf {
    let name = PathBuf::from(OsString::from_vec(name.text.clone().unwrap_or_default()));
    folder.and_then(|folder| folder.path.as_deref()).map_or(name.clone(), |folder| folder.join(name))
}
fn mode(arg: &Arg) -> u32 {
    u32::from_str_radix(&arg.word, 8).unwrap_or_else(|why| panic!("a mode: {why}: {arg:?}"))
}
fn folder(mode: u32) -> Node {
    Node { mode, names: Some(BTreeMap::new()), ..Node::default() }
}
fn link(target: &Arg) -> Node {
    let target = target.text.clone().map(|target| PathBuf::from(OsString::from_vec(target)));
    Node { target, ..Node::default() }
}

/// Reads a folder; gives its number.
fn read(path: &Path, nodes: &mut Vec<Node>) -> Id {
    let meta = fs::symlink_metadata(path).expect("it is there");
    let id = nodes.len();
    nodes.push(Node { mode: meta.permissions().mode() & 0o7777, ..Node::default() });
    if meta.is_dir() {
        let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry"));
        let names = entries.map(|entry| (entry.file_name(), read(&entry.path(), nodes))).collect();
        nodes[id].names = Some(names);
    } else if meta.is_symlink() {
        nodes[id].target = fs::read_link(path).ok();
    } else if meta.is_file() {
        nodes[id].data = fs::read(path).expect("a file");
        nodes[id].length = nodes[id].data.len();
    }
    id
}

fn list(nodes: &[Node], at: Id, path: &Path, found: &mut Found) {
    let node = &nodes[at];
    if let Some(names) = &node.names {
        found.insert(path.to_owned(), Item::Folder(node.mode));
        names.iter().for_each(|(name, id)| list(nodes, *id, &path.join(name), found));
    } else if let Some(target) = &node.target {
        found.insert(path.to_owned(), Item::Link(target.clone()));
    } else {
        let mut bytes = node.data.clone();
        bytes.resize(node.length, 0);
        found.insert(path.to_owned(), Item::File(node.mode, bytes));
    }
}

/// Makes a folder of what was found.
pub fn put(found: &Found, root: &Path) {
    for (path, item) in found {
        let path = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) };
        match item {
            Item::Folder(_) => fs::create_dir(&path).expect("a folder"),
            Item::Link(target) => symlink(target, &path).expect("a link"),
            Item::File(mode, bytes) => {
                fs::write(&path, bytes).expect("a file");
                let old = SystemTime::now() - AGE;
                File::options().append(true).open(&path).expect("a file").set_modified(old).expect("a time");
                fs::set_permissions(&path, Permissions::from_mode(*mode)).expect("a mode");
            }
        }
    }
    for (path, item) in found.iter().rev() {
        if let Item::Folder(mode) = item {
            fs::set_permissions(root.join(path), Permissions::from_mode(*mode)).expect("a mode");
        }
    }
}
