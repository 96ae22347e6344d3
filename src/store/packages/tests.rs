#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::io::Read;

use super::*;

fn packages() -> (tempfile::TempDir, Packages) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Packages::of(&state))
}

fn put(packages: &Packages, bytes: &[u8]) -> Digest {
    let (complete, digest) = (packages.temporary().unwrap(), Digest::of(bytes));
    std::fs::write(&complete, bytes).unwrap();
    packages.put_package(&complete, &digest).unwrap();
    assert!(!complete.exists());
    digest
}

#[test]
fn a_package_is_kept_under_its_digest() {
    let (_folder, packages) = packages();
    assert!(packages.list().unwrap().is_empty());
    let mut digests = [put(&packages, b"one"), put(&packages, b"two"), put(&packages, b"one")][..2].to_vec();
    let mut text = String::new();
    packages.open_package(&digests[0]).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one");
    digests.sort_unstable();
    assert_eq!(packages.list().unwrap(), digests);
    assert_eq!(packages.open_package(&Digest::of(b"three")).unwrap_err().code, Code::NotFound);
}

#[test]
fn removing_takes_everything_about_it_and_nothing_else() {
    let (_folder, packages) = packages();
    let (one, two) = (put(&packages, b"one"), put(&packages, b"two"));
    for digest in [&one, &two] {
        packages.put_statement(digest, Statement::Manifest, b"manifest").unwrap();
        packages.put_statement(digest, Statement::Provenance, b"provenance").unwrap();
        packages.grant(digest, &Key::from_bytes([1; 32])).unwrap();
        packages.note_pieces(digest, [(Hash::of(b"a"), 1)].into_iter()).unwrap();
        std::fs::write(packages.partial(digest).unwrap(), b"part").unwrap();
    }
    assert_eq!(packages.statement(&one, Statement::Manifest).unwrap(), b"manifest");
    assert!(packages.remove(&one).unwrap() && !packages.remove(&one).unwrap());
    let left = file::list(&packages.state.packages()).unwrap();
    assert_eq!(left.len(), 6);
    assert!(left.iter().all(|name| name.starts_with(&two.to_string())));
    assert_eq!(packages.statement(&one, Statement::Provenance).unwrap_err().code, Code::NotFound);
}

#[test]
fn the_pieces_of_packages_that_are_here_are_remembered_in_their_order() {
    let (_folder, packages) = packages();
    let (one, gone) = (put(&packages, b"one"), Digest::of(b"gone"));
    let pieces = [(Hash::of(b"a"), 20), (Hash::of(b"b"), 30)];
    packages.note_pieces(&one, pieces.into_iter()).unwrap();
    packages.note_pieces(&gone, pieces.into_iter()).unwrap();
    assert_eq!(packages.with_pieces(9).unwrap(), [one]);
    assert_eq!(packages.pieces(&one).unwrap(), pieces);
    std::fs::write(packages.file(&one, PIECES), format!("{} 20\nx y\n", pieces[0].0)).unwrap();
    assert_eq!(packages.pieces(&one).unwrap(), pieces[..1]);
    assert!(packages.pieces(&Digest::of(b"never")).unwrap().is_empty());
}

#[test]
fn only_who_was_granted_it_may_read_a_package() {
    let (_folder, packages) = packages();
    let digest = Digest::of(b"one");
    let [a, b, c] = [1, 2, 3].map(|n| Key::from_bytes([n; 32]));
    assert!(!packages.may_read(&digest, &a).unwrap());
    packages.grant(&digest, &a).unwrap();
    packages.grant(&digest, &a).unwrap();
    let path = packages.file(&digest, ".readers");
    // An interrupted line grants nothing, even if it is a whole key, and spoils nothing.
    let mut text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{a}\n"));
    text.push_str(&b.to_string()[..20]);
    std::fs::write(&path, text).unwrap();
    packages.grant(&digest, &c).unwrap();
    assert_eq!(packages.readers(&digest).unwrap(), BTreeSet::from([a, c]));
    assert!(!packages.may_read(&digest, &b).unwrap());
    assert!(!packages.may_read(&Digest::of(b"two"), &a).unwrap());
}
