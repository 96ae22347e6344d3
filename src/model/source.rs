//! Where the bytes of a package come from. What they are is settled by the pieces' hashes, so a source needs no trust.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{Error, Result};
use super::{Address, Code, Digest, Host, serde_as_text};

/// A URL longer than this is no address of a file.
const URL_BYTES: usize = 4096;

/// A place to fetch a package from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `deploy://KEY@host:port`: a node that lets this one have the package.
    Node(Address),
    /// `http://…` or `https://…`: a web server or a bucket.
    Web(WebUrl),
    /// `file:///…`: a file of this machine.
    File(PathBuf),
}

/// The URL of a file on a web server, or with a `/` at its end, of the folder in which packages lie as `DIGEST.tar.gz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    /// Whether it is `https`.
    pub secure: bool,
    pub host: Host,
    /// From the first `/` on, with the query: printable ASCII without blanks.
    target: String,
}

impl Source {
    /// The place of this very package, where a folder was named.
    #[must_use]
    pub fn of_package(&self, digest: &Digest) -> Self {
        match self {
            Self::Web(url) if url.target.ends_with('/') => {
                Self::Web(WebUrl { target: format!("{}{digest}.tar.gz", url.target), ..url.clone() })
            }
            other => other.clone(),
        }
    }
    /// In the words of an error: without the query, in which buckets have secrets.
    pub fn named(&self) -> String {
        match self {
            Self::Node(address) => address.named(),
            Self::Web(url) => url.to_string().split('?').next().unwrap_or_default().to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl WebUrl {
    /// What a request asks for: the path with its query.
    pub fn target(&self) -> &str {
        &self.target
    }
    fn parse(secure: bool, rest: &str) -> Result<Self, &'static str> {
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it has a name or a password in it, which would be seen in lists of processes and logs");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that have to be written as %XX");
        }
        let with_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let default = if secure { 443 } else { 80 };
        let whole = if with_port { authority.to_owned() } else { format!("{authority}:{default}") };
        let host = whole.parse().map_err(|_| "its host or port does not read")?;
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host, target })
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host, self.target)
    }
}
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(address) => address.fmt(f),
            Self::Web(url) => url.fmt(f),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}
impl FromStr for Source {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Code::BadAddress, format!("that is no source of packages: {why}"))
                .hint("write deploy://KEY@host:port, https://host/path, http://host/path or file:///path")
        };
        if text.len() > URL_BYTES {
            return Err(refuse("it is too long"));
        }
        match text.split_once("://") {
            Some(("deploy", _)) => text.parse().map(Self::Node),
            Some(("https", rest)) => WebUrl::parse(true, rest).map(Self::Web).map_err(refuse),
            Some(("http", rest)) => WebUrl::parse(false, rest).map(Self::Web).map_err(refuse),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("file", _)) => Err(refuse("the path of a file begins with a /")),
            _ => Err(refuse("it begins with none of deploy://, https://, http:// and file://")),
        }
    }
}
serde_as_text!(Source);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn a_source_reads_back_as_it_was_written() {
        let node = format!("deploy://{}@a.example:1", Key::from_bytes([3; 32]));
        for text in [&node, "https://a.example:443/x/y.tar.gz?sig=1", "http://[::1]:8000/", "file:///a/b"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for (short, whole) in [
            ("https://a.example", "https://a.example:443/"),
            ("http://[::1]/p#part", "http://[::1]:80/p"),
            ("http://a.example:80?x", "http://a.example:80/?x"),
        ] {
            assert_eq!(short.parse::<Source>().unwrap().to_string(), whole);
        }
    }

    #[test]
    fn what_is_no_source_is_refused_and_a_query_is_not_named() {
        for text in
            ["", "a.tar.gz", "ftp://a/b", "file://b", "http://", "http://u:p@a/b", "http://a/b c", "http://a:99999/"]
        {
            assert_eq!(text.parse::<Source>().unwrap_err().code, Code::BadAddress, "{text}");
        }
        let signed: Source = "https://a.example/x?secret=1".parse().unwrap();
        assert_eq!(signed.named(), "https://a.example:443/x");
    }

    #[test]
    fn in_a_folder_a_package_lies_by_its_digest() {
        let digest = Digest::of(b"");
        let named = |text: &str| text.parse::<Source>().unwrap().of_package(&digest).to_string();
        assert_eq!(named("http://a.example:80/p/"), format!("http://a.example:80/p/{digest}.tar.gz"));
        assert_eq!(named("http://a.example:80/p"), "http://a.example:80/p");
    }
}
