//! Domain names as multicast DNS has them: labels of any bytes, compared without regard to the case of ASCII letters.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Bytes of a label (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;
/// Bytes of a name with the lengths of its labels.
pub(super) const MAX_NAME: usize = 255;

/// A name as it travels, without compression: each label behind its length, and an empty one at the end.
#[derive(Clone)]
pub struct DomainName(Vec<u8>);

impl DomainName {
    /// None for an empty label or one that is too long, and where all are too long together.
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=MAX_LABEL).contains(&(*length).into()))?;
            wire.push(length);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        (wire.len() <= MAX_NAME).then_some(Self(wire))
    }
    /// `LABELS.local`. None as for [`DomainName::new`].
    pub fn local(labels: &[&str]) -> Option<Self> {
        Self::new(labels.iter().chain(&["local"]).map(|label| label.as_bytes()))
    }
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first().filter(|(length, _)| **length > 0)?;
            let (label, next) = after.split_at(length.into());
            rest = next;
            Some(label)
        })
    }
    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }
}

// The lengths of labels are below the letters, so that whole names can be compared as if they were one text.
impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for DomainName {}
impl Hash for DomainName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

/// With dots between labels, and a backslash before dots and backslashes within them (RFC 6763 §4.3).
impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for c in String::from_utf8_lossy(label).chars() {
                if matches!(c, '.' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}
impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_whatever_the_case_of_their_letters_and_shown_with_their_dots_escaped() {
        let name = DomainName::local(&["Ada 2.0 \\", "_x", "_tcp"]).unwrap();
        assert_eq!(name, DomainName::local(&["ada 2.0 \\", "_X", "_tcp"]).unwrap());
        assert_ne!(name, DomainName::local(&["ada 2", "0 \\", "_x", "_tcp"]).unwrap());
        assert_eq!(name.to_string(), "Ada 2\\.0 \\\\._x._tcp.local.");
        assert_eq!(name.labels().map(<[u8]>::len).collect::<Vec<_>>(), [9, 2, 4, 5]);
    }

    #[test]
    fn a_name_or_label_that_is_too_long_or_empty_is_none() {
        let label = "é".repeat(32);
        assert_eq!(DomainName::local(&[&label]), None);
        assert!(DomainName::local(&[&label[..62]]).is_some());
        assert_eq!(DomainName::local(&[""]), None);
        assert_eq!(DomainName::local(&[&label[..62]; 4]), None);
        assert!(DomainName::new([]).is_some_and(|root| root.labels().next().is_none()));
    }
}
