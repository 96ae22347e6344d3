//! The rule for names in packages, kept by the packer and demanded by the unpacker: what one writes, the other takes.

use std::collections::HashMap;

use super::entry::{Entry, Kind};

/// The longest component: the limit of Linux's file systems.
const MAX_NAME_BYTES: usize = 255;
/// The longest path, well below Linux's 4,096 with a folder before it.
const MAX_PATH_BYTES: usize = 1024;
/// The deepest path, in components: what walks a tree holds a handle for each.
const MAX_DEPTH: usize = 64;
/// All links' names and targets together: they are made last and kept in memory until then.
const MAX_LINK_BYTES: usize = 8 << 20;

/// Sees all entries of a package in their order, and refuses the first that breaks a rule. Remembers hashes instead of
/// names, so that a million of them fit some tens of megabytes.
#[derive(Default)]
pub(super) struct Names {
    last: Option<String>,
    known: HashMap<[u8; 16], Known>,
    link_bytes: usize,
}

struct Known {
    kind: Seen,
    /// Of the name as it was written, which the key leaves open.
    exact: [u8; 16],
}

#[derive(PartialEq)]
enum Seen {
    Folder,
    File,
    Link,
}

impl Names {
    /// Takes the next entry.
    ///
    /// # Errors
    /// The rule that it breaks, to be put after its name.
    pub(super) fn admit(&mut self, entry: &Entry) -> Result<(), String> {
        check_path(&entry.path)?;
        if let Kind::Link { target } = &entry.kind {
            check_target(&entry.path, target)?;
            self.link_bytes += entry.path.len() + target.len();
            if self.link_bytes > MAX_LINK_BYTES {
                return Err(format!("is one symbolic link too many: {MAX_LINK_BYTES} bytes of them are allowed"));
            }
        }
        self.check_order(&entry.path)?;
        self.check_parent(&entry.path)?;
        let kind = match entry.kind {
            Kind::Folder => Seen::Folder,
            Kind::File { .. } => Seen::File,
            Kind::Link { .. } => Seen::Link,
        };
        let known = Known { kind, exact: key(&entry.path) };
        if self.known.insert(folded_key(&entry.path), known).is_some() {
            return Err("differs from another entry by upper and lower case only".into());
        }
        self.last = Some(entry.path.clone());
        Ok(())
    }

    fn check_order(&self, path: &str) -> Result<(), String> {
        match self.last.as_deref() {
            Some(last) if last == path => Err("comes twice".into()),
            Some(last) if last > path => Err(format!("is out of order after {last:?}")),
            _ => Ok(()),
        }
    }

    fn check_parent(&self, path: &str) -> Result<(), String> {
        let Some((parent, _)) = path.rsplit_once('/') else { return Ok(()) };
        match self.known.get(&folded_key(parent)) {
            Some(known) if known.exact != key(parent) => {
                Err("lies in a folder that differs from another entry by upper and lower case only".into())
            }
            Some(Known { kind: Seen::Folder, .. }) => Ok(()),
            Some(Known { kind: Seen::Link, .. }) => Err("lies under a symbolic link".into()),
            Some(Known { kind: Seen::File, .. }) => Err("lies under a file".into()),
            None => Err("has no entry for its folder before it".into()),
        }
    }
}

/// A path is relative, has plain components only, and fits every limit.
fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("has an absolute name".into());
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(format!("has a name of {} bytes, more than {MAX_PATH_BYTES}", path.len()));
    }
    let depth = path.split('/').count();
    if depth > MAX_DEPTH {
        return Err(format!("lies {depth} folders deep, more than {MAX_DEPTH}"));
    }
    for component in path.split('/') {
        match component {
            "" => return Err("has an empty component in its name".into()),
            "." | ".." => return Err(format!("has a “{component}” component in its name")),
            long if long.len() > MAX_NAME_BYTES => {
                return Err(format!("has a component of {} bytes, more than {MAX_NAME_BYTES}", long.len()));
            }
            _ => {}
        }
    }
    check_text(path)
}

/// A link's target is relative and stays inside. `..` may stand at its beginning only: there it passes through real
/// folders (nothing lies under a link), while `link/..` leads wherever that link's own target lies.
fn check_target(path: &str, target: &str) -> Result<(), String> {
    if target.starts_with('/') {
        return Err(format!("is a link with an absolute target, {target:?}"));
    }
    if target.len() > MAX_PATH_BYTES {
        return Err(format!("is a link with a target of {} bytes, more than {MAX_PATH_BYTES}", target.len()));
    }
    let mut above = path.split('/').count() - 1;
    let mut descended = false;
    for component in target.split('/') {
        match component {
            "" => return Err(format!("is a link whose target has an empty component, {target:?}")),
            "." => {}
            ".." if descended => return Err(format!("is a link with “..” inside its target, {target:?}")),
            ".." => {
                above = above.checked_sub(1).ok_or_else(|| format!("is a link that leads outside, to {target:?}"))?;
            }
            long if long.len() > MAX_NAME_BYTES => {
                return Err(format!("is a link whose target has a component of {} bytes", long.len()));
            }
            _ => descended = true,
        }
    }
    check_text(target)
}

/// Characters that no name or target holds: they hide, reorder or split what a person reads, or mean a separator
/// elsewhere.
fn check_text(text: &str) -> Result<(), String> {
    let named = |c: char| format!("U+{:04X}", u32::from(c));
    for c in text.chars() {
        match c {
            '\\' => return Err("has a backslash in its name".into()),
            c if c.is_control() => return Err(format!("has the control character {} in its name", named(c))),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err(format!("has the direction mark {} in its name", named(c)));
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}' => {
                return Err(format!("has the invisible character {} in its name", named(c)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn key(text: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    key
}

/// Upper case first, so that letters with several lower-case forms (ſ, s) fold to one.
fn folded_key(text: &str) -> [u8; 16] {
    if text.is_ascii() { key(&text.to_ascii_lowercase()) } else { key(&text.to_uppercase().to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, target: &str) -> Result<(), String> {
        check_target(path, target)
    }

    #[test]
    fn links_stay_inside_even_through_other_links() {
        for (path, target) in
            [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b/c"), ("a", "."), ("d/a", ".."), ("a", "./b")]
        {
            link(path, target).unwrap();
        }
        for (path, target) in
            [("a", "../b"), ("d/a", "../../b"), ("a", "/etc"), ("a", ""), ("a", "b//c"), ("a", "b/../c"), ("a", "b/")]
        {
            link(path, target).unwrap_err();
        }
    }

    #[test]
    fn paths_are_plain() {
        for good in ["a", "a/b", ".hidden", "a..b", "ä ö/ü", "...", "a:b"] {
            check_path(good).unwrap();
        }
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\nb", "\u{202e}a", &deep] {
            check_path(bad).unwrap_err();
        }
    }
}
