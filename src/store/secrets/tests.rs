use std::os::unix::fs::MetadataExt;

use super::*;

fn secrets() -> (tempfile::TempDir, Secrets) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Secrets::of(&state, SessionId::from_bytes([1; 16])))
}

#[test]
fn a_secret_is_written_once() {
    let (_folder, secrets) = secrets();
    let secret = |text: &str| Secret::new(text.into());
    assert_eq!(secrets.find("key").unwrap(), None);
    secrets.put("key", &secret("one")).unwrap();
    secrets.put("key", &secret("one")).unwrap();
    assert_eq!(secrets.put("key", &secret("two")).unwrap_err().code, Code::WrongState);
    assert_eq!(secrets.find("key").unwrap().unwrap().reveal(), b"one");
    assert_eq!(secrets.put("../key", &secret("one")).unwrap_err().code, Code::BadName);
    assert_eq!(secrets.put("large", &Secret::new(vec![0; MAX_SECRET + 1])).unwrap_err().code, Code::TooLarge);
    assert_eq!(secrets.names().unwrap(), ["key"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&secrets.folder), mode(&secrets.folder.join("key"))), (0o700, 0o600));
}

#[test]
fn a_salted_value_reads_back_and_is_never_printed() {
    let (_folder, secrets) = secrets();
    let salted = Salted { value: "hunter2".into(), salt: "pepper".into() };
    secrets.put_json("option.password", &salted).unwrap();
    assert_eq!(secrets.find_json::<Salted>("option.password").unwrap().as_ref(), Some(&salted));
    secrets.put("broken", &Secret::new(b"hunter2".to_vec())).unwrap();
    let error = secrets.find_json::<Salted>("broken").unwrap_err();
    assert_eq!(error.code, Code::Damaged);
    let printed = format!("{salted:?} {:?} {error:?}", Secret::new(b"hunter2".to_vec()));
    assert!(!printed.contains("hunter2") && !printed.contains("pepper"), "{printed}");
}
