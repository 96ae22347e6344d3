//! A strict reader of tar: takes exactly what [`super::pack`] writes and refuses everything else, by name and reason.

use super::entry::{Entry, Kind, bad_entry};
use super::header::{self, BLOCK, MAX_PAX_BYTES, Pax, RawHeader};
use super::names::Names;
use super::pack::padding;
use crate::model::{Code, Error, Result};

/// Hands out the next verified piece of the tar, `None` after the last.
pub(super) type Pull<'a> = dyn FnMut() -> Result<Option<Vec<u8>>> + 'a;

/// Reads entry after entry. After each entry that is a file, its content must be taken.
pub(super) struct Reader<'a> {
    pull: &'a mut Pull<'a>,
    piece: Vec<u8>,
    /// How much of `piece` is read.
    at: usize,
    /// Bytes of tar that the manifest still allows.
    left: u64,
    /// Entries that the manifest still allows.
    entries_left: u64,
    names: Names,
}

impl<'a> Reader<'a> {
    pub(super) fn new(pull: &'a mut Pull<'a>, raw_size: u64, entries: u64) -> Self {
        Self { pull, piece: Vec::new(), at: 0, left: raw_size, entries_left: entries, names: Names::default() }
    }

    /// The next entry, or `None` at the tar's proper end.
    ///
    /// # Errors
    /// `bad-archive`, and what the pieces give.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let block = self.block()?;
        if block == [0; BLOCK] {
            return self.end().map(|()| None);
        }
        let entry = self.entry(block)?;
        let refuse = |reason: String| bad_entry(&entry.path, reason);
        self.names.admit(&entry).map_err(refuse)?;
        self.entries_left =
            self.entries_left.checked_sub(1).ok_or_else(|| refuse("is one more than the manifest promises".into()))?;
        if entry.size() > self.left {
            let why =
                format!("claims {} bytes where {} are left of what the manifest promises", entry.size(), self.left);
            return Err(refuse(why));
        }
        Ok(Some(entry))
    }

    /// Hands the content of `entry` to `sink`, in parts.
    pub(super) fn content(&mut self, entry: &Entry, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = entry.size();
        while left > 0 {
            let part = self.take(usize::try_from(left).unwrap_or(usize::MAX))?;
            left -= part.len() as u64;
            sink(part)?;
        }
        let mut pad = padding(entry.size());
        while pad > 0 {
            let part = self.take(pad)?;
            if part.iter().any(|&byte| byte != 0) {
                return Err(bad_entry(&entry.path, "is followed by bytes that are not zero"));
            }
            pad -= part.len();
        }
        Ok(())
    }

    /// One header, with the pax record area before it if any.
    fn entry(&mut self, first: [u8; BLOCK]) -> Result<Entry> {
        let refuse =
            |block: &[u8; BLOCK], reason: &str| bad_entry(&String::from_utf8_lossy(header::name(block)), reason);
        let raw = RawHeader::parse(&first).map_err(|reason| refuse(&first, &reason))?;
        if raw.kind != b'x' {
            let entry = entry_of(&raw, Pax::default()).map_err(|reason| refuse(&first, &reason))?;
            return written_as_ours(entry, &first);
        }
        if raw.size > MAX_PAX_BYTES {
            return Err(refuse(&first, &format!("has {} bytes of pax records, more than {MAX_PAX_BYTES}", raw.size)));
        }
        let mut written = first.to_vec();
        let length = usize::try_from(raw.size).unwrap_or(0);
        for _ in 0..length.div_ceil(BLOCK) {
            written.extend_from_slice(&self.block()?);
        }
        let pax = Pax::parse(&written[BLOCK..BLOCK + length]);
        let second = self.block()?;
        written.extend_from_slice(&second);
        let entry = pax
            .and_then(|pax| entry_of(&RawHeader::parse(&second)?, pax))
            .map_err(|reason| refuse(&second, &reason))?;
        written_as_ours(entry, &written)
    }

    /// After the first zero block: one more, and nothing else.
    fn end(&mut self) -> Result<()> {
        let refuse = |why: String| Err(Error::new(Code::BadArchive, format!("the package's tar {why}")));
        if self.block()? != [0; BLOCK] {
            return refuse("goes on after a zero block".into());
        }
        if self.left > 0 {
            return refuse(format!("has {} bytes after its end", self.left));
        }
        if self.entries_left > 0 {
            return refuse(format!("has {} entries fewer than the manifest promises", self.entries_left));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let part = self.take(BLOCK - filled)?;
            block[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        Ok(block)
    }

    /// The next bytes: at least one, at most `most`.
    fn take(&mut self, most: usize) -> Result<&[u8]> {
        let truncated = || Error::new(Code::BadArchive, "the package's tar ends without its end blocks");
        while self.at == self.piece.len() {
            self.piece = (self.pull)()?.ok_or_else(truncated)?;
            self.at = 0;
        }
        let part = &self.piece[self.at..];
        let part = &part[..part.len().min(most)];
        self.at += part.len();
        self.left = self.left.checked_sub(part.len() as u64).ok_or_else(truncated)?;
        Ok(part)
    }
}

/// What a header says, where it is of a kind that packages have.
fn entry_of(raw: &RawHeader<'_>, pax: Pax) -> Result<Entry, String> {
    let text = |field: &[u8], pax: Option<String>| match pax {
        Some(text) => Ok(text),
        None => String::from_utf8(field.to_vec()).map_err(|_| "has a name or target that is not UTF-8".to_owned()),
    };
    let mut path = text(raw.name, pax.path)?;
    let kind = match raw.kind {
        b'0' => Kind::File { size: raw.size, executable: raw.mode & 0o100 != 0 },
        b'5' => Kind::Folder,
        b'2' => Kind::Link { target: text(raw.target, pax.target)? },
        other => return Err(format!("is {}, and only files, folders and symbolic links are taken", kind_name(other))),
    };
    if raw.mode & 0o7000 != 0 {
        return Err("has a set-user-id, set-group-id or sticky bit".into());
    }
    if kind == Kind::Folder {
        path = path.strip_suffix('/').ok_or("is a folder without “/” at the end")?.to_owned();
    }
    Ok(Entry { path, kind })
}

/// The names of what others put into a tar.
fn kind_name(kind: u8) -> String {
    match kind {
        b'1' => "a hard link".into(),
        b'3' | b'4' => "a device".into(),
        b'6' => "a named pipe".into(),
        b'7' => "a contiguous file".into(),
        b'g' => "a global pax header".into(),
        b'x' => "a second pax header".into(),
        b'L' | b'K' => "a GNU long name".into(),
        b'S' => "a GNU sparse file".into(),
        0 => "an entry of the time before ustar".into(),
        other => format!("of the unknown kind {:?}", char::from(other)),
    }
}

/// The last rule, which leaves no room for what the others forgot: the same entry, written by us, gives the same bytes.
fn written_as_ours(entry: Entry, written: &[u8]) -> Result<Entry> {
    if header::encode(&entry) == written {
        return Ok(entry);
    }
    Err(bad_entry(&entry.path, "has a header with owners, times, modes or other fields that packages do not have"))
}
