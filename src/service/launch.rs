//! What a role's texts must keep to before a program is started with them: as they are written, and again as they are
//! rendered, because options are in them by then.

use crate::model::error::{Error, Result};
use crate::model::{Code, Host};

use super::permission::parse_host;

/// The program's own folder for what it writes.
pub const DATA: &str = "data";
const VARIABLE_CHARS: usize = 128;

/// A path below a folder, in parts that are names: neither absolute nor with `..`, `\` or control characters.
///
/// # Errors
/// `bad-input` for any other.
pub fn relative_path(text: &str) -> Result<Vec<&str>> {
    let refuse = |why: &str| {
        Error::new(Code::BadInput, format!("“{text}” cannot be a path here: {why}"))
            .hint("write a path below the folder, like bin/chat")
    };
    if text.starts_with('/') {
        return Err(refuse("it is absolute"));
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(refuse("it holds a backslash or a control character"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(refuse("“..” leaves the folder"));
    }
    if parts.iter().any(|part| part.len() > 255) || text.len() > 1024 {
        return Err(refuse("it is too long"));
    }
    Ok(parts)
}

/// A program: a name that the fixed search path knows, or a path in the software.
///
/// # Errors
/// `bad-input` for any other.
pub fn program(text: &str) -> Result<Vec<&str>> {
    let parts = relative_path(text)?;
    match parts.is_empty() || text.ends_with('/') {
        true => Err(refuse(text, "a program", "write a program's name, or its path in the software, like bin/chat")),
        false => Ok(parts),
    }
}

/// A file in the data folder.
///
/// # Errors
/// `bad-input` for any other.
pub fn data_file(text: &str) -> Result<Vec<&str>> {
    let parts = relative_path(text)?;
    match parts.is_empty() || text.ends_with('/') {
        true => Err(refuse(text, "a file", "write a file's name in the data folder, like \"ready\"")),
        false => Ok(parts),
    }
}

/// A folder that may be written: `data/` or one below it.
///
/// # Errors
/// `bad-input` for any other.
pub fn writable(text: &str) -> Result<Vec<&str>> {
    let parts = relative_path(text)?;
    match parts.first() == Some(&DATA) {
        true => Ok(parts),
        false => Err(refuse(text, "a folder that can be written", "write \"data/\" or a folder below it")),
    }
}

/// Where readiness is probed.
///
/// # Errors
/// `bad-input` for what is not HOST:PORT with a port from 1 to 65535.
pub fn probe_address(text: &str) -> Result<Host> {
    parse_host(text).ok_or_else(|| refuse(text, "HOST:PORT", "write it like 127.0.0.1:8080"))
}

/// The name of an environment variable that a definition may set.
///
/// # Errors
/// `bad-input` for other characters than letters, digits and `_`, and for what deployctl sets itself.
pub fn variable(name: &str) -> Result<&str> {
    let fits = (1..=VARIABLE_CHARS).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        let remedy = "write letters, digits and _, not beginning with a digit";
        return Err(refuse(name, "the name of a variable", remedy));
    }
    if name.starts_with("DEPLOYCTL_") {
        return Err(Error::new(Code::BadInput, format!("“{name}” is set by deployctl, as all of DEPLOYCTL_ are"))
            .hint("choose another name"));
    }
    Ok(name)
}

fn refuse(text: &str, what: &str, remedy: &str) -> Error {
    Error::new(Code::BadInput, format!("“{text}” is not {what}")).hint(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_folder() {
        assert_eq!(relative_path("./a//b/").unwrap(), ["a", "b"]);
        assert!(relative_path(".").unwrap().is_empty());
        for text in ["/etc", "..", "a/../b", "a\\b", "a\nb", "a\u{0}", &"x".repeat(256)] {
            assert!(relative_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_program_is_started_with_keeps_to_its_form() {
        assert!(program("sh").is_ok() && program("bin/chat").is_ok());
        assert!(data_file("ready").is_ok() && writable("data/").is_ok() && writable("data/a").is_ok());
        assert!(variable("RUST_LOG").is_ok());
        assert_eq!(probe_address("fe80::1:80").unwrap().to_string(), "[fe80::1]:80");
        for text in ["", ".", "bin/", "/bin/sh", "../sh"] {
            assert!(program(text).is_err() && data_file(text).is_err() && writable(text).is_err(), "{text}");
        }
        assert!(writable("cache/").is_err());
        for name in ["", "A-B", "1A", "A=B", "A\0", "DEPLOYCTL_DATA"] {
            assert!(variable(name).is_err(), "{name}");
        }
        for text in ["", "80", "host", "host:0", "a b:1"] {
            assert!(probe_address(text).is_err(), "{text}");
        }
    }
}
