#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use serde::Deserialize;

use super::*;
use crate::store::fault::{self, Point};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thing {
    n: u32,
}

#[test]
fn documents_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let (json, toml) = (folder.path().join("a.json"), folder.path().join("a.toml"));
    assert_eq!(read_json::<Thing>(&json).unwrap(), None);
    write_json(&json, &Thing { n: 1 }, file::PRIVATE).unwrap();
    write_json_unsynced(&json, &Thing { n: 2 }, file::PRIVATE).unwrap();
    write_toml(&toml, &Thing { n: 3 }, file::PRIVATE).unwrap();
    assert_eq!(read_json(&json).unwrap(), Some(Thing { n: 2 }));
    assert_eq!(read_toml(&toml).unwrap(), Some(Thing { n: 3 }));
}

#[test]
fn a_damaged_file_is_set_aside_and_named_and_the_next_read_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..=2 {
        let path = folder.path().join("a.toml");
        std::fs::write(&path, format!("\n\nn = {n} oops")).unwrap();
        let error = read_toml::<Thing>(&path).unwrap_err();
        let aside = folder.path().join(format!("a.toml.damaged-{n}"));
        assert_eq!(error.code, Code::Damaged);
        assert!(error.message.contains("line 3") && error.message.contains(aside.to_str().unwrap()), "{error}");
        assert_eq!(read_toml::<Thing>(&path).unwrap(), None);
        assert!(std::fs::read_to_string(&aside).unwrap().contains(&n.to_string()));
    }
}

#[test]
fn where_it_cannot_be_set_aside_the_error_says_so_and_the_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    std::fs::write(&path, b"{").unwrap();
    fault::arm(Point::Rename, 0);
    let error = read_json::<Thing>(&path).unwrap_err();
    assert_eq!(error.code, Code::Damaged);
    assert!(error.message.contains("could not be set aside") && path.exists(), "{error}");
}
