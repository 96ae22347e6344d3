//! Older formats of the state directory: numbered steps, each from one format to the next. A step may be interrupted
//! anywhere and is then done again from its beginning; the number rises when all of it is durable.

use super::{StateDir, VERSION};
use crate::model::{Code, Digest, Error, Party, Result, Span};
use crate::store::lock::Lock;
use crate::store::{document, file};

/// The oldest format that can be brought up to date.
pub(super) const OLDEST: u32 = 1;
/// Another command may just be doing the same.
const WAIT: Span = Span::from_secs(60);

/// Brings a format to the next one; done again, it changes nothing.
type Step = fn(&StateDir) -> Result<()>;

/// The step from format `OLDEST + i` at `i`.
const STEPS: [Step; (VERSION - OLDEST) as usize] = [name_manifests_by_themselves];

/// Brings the state directory up to date.
///
/// # Errors
/// `locked` where a node of an earlier version runs on it; `io`, `disk-full`: then the same again goes on.
pub(super) fn migrate(state: &StateDir) -> Result<()> {
    let _lock = Lock::acquire(&state.lock("migration"), "bringing the state directory up to date", WAIT)?;
    let Some(_serve) = Lock::try_acquire(&state.lock("serve"), "bringing the state directory up to date")? else {
        let message = format!("{} is in use by a `deployctl serve` of an earlier version", state.root().display());
        return Err(
            Error::new(Code::Locked, message).hint("stop it, then run this again: its state is brought up to date")
        );
    };
    // Another command may have been quicker.
    let from = state.version()?;
    for (number, step) in (OLDEST..).zip(STEPS).filter(|(number, _)| *number >= from) {
        step(state).map_err(|error| {
            error.while_doing(format!("bringing {} from format {number} to {}", state.root().display(), number + 1))
        })?;
        state.write_version(number + 1)?;
    }
    Ok(())
}

/// 1 → 2: the manifests of a session, and the provenances beside them, were named by their packages' digests. Equal
/// packages may be delivered under several manifests, so they are named by their own.
fn name_manifests_by_themselves(state: &StateDir) -> Result<()> {
    for (session, parties) in state.find_sessions()? {
        for party in parties {
            name_manifests(state, session, party)?;
        }
    }
    Ok(())
}

fn name_manifests(state: &StateDir, session: crate::model::SessionId, party: Party) -> Result<()> {
    const PROVENANCE: &str = ".provenance.json";
    let folder = state.party(session, party).join("manifests");
    for name in file::list(&folder)? {
        let Some(known_as) = name.strip_suffix(".json").and_then(|stem| stem.parse::<Digest>().ok()) else { continue };
        let own = Digest::of(&file::read_limited(&folder.join(&name), document::MAX_DOCUMENT)?);
        if own == known_as {
            continue;
        }
        // The manifest goes last: by it an interrupted step finds what is left to do.
        let provenance = folder.join(format!("{known_as}{PROVENANCE}"));
        if file::exists(&provenance)? {
            file::rename(&provenance, &folder.join(format!("{own}{PROVENANCE}")))?;
        }
        file::rename(&folder.join(&name), &folder.join(format!("{own}.json")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests lay out an old state directory")]

    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::model::SessionId;
    use crate::store::fault::{Point, arm, disarm};

    const MANIFESTS: [&str; 2] = ["{\"manifest\": 1}", "{\"manifest\": 2}"];

    /// A state directory as format 1 had it: a session with two manifests, one with its provenance.
    fn old(root: &Path) -> StateDir {
        let state = StateDir::open(root, true).unwrap();
        let session = SessionId::from_bytes([1; 16]);
        let folder = state.party(session, Party::Provider).join("manifests");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(state.session_log(session, Party::Provider), b"").unwrap();
        for (manifest, package) in MANIFESTS.iter().zip([Digest::of(b"one"), Digest::of(b"two")]) {
            std::fs::write(folder.join(format!("{package}.json")), manifest).unwrap();
        }
        std::fs::write(folder.join(format!("{}.provenance.json", Digest::of(b"one"))), "provenance").unwrap();
        std::fs::write(root.join("VERSION"), "1\n").unwrap();
        state
    }

    fn manifests(state: &StateDir) -> BTreeMap<String, String> {
        let folder = state.party(SessionId::from_bytes([1; 16]), Party::Provider).join("manifests");
        let names = file::list(&folder).unwrap();
        names.into_iter().map(|name| (name.clone(), std::fs::read_to_string(folder.join(name)).unwrap())).collect()
    }

    fn expected() -> BTreeMap<String, String> {
        let [one, two] = MANIFESTS.map(|text| Digest::of(text.as_bytes()));
        BTreeMap::from([
            (format!("{one}.json"), MANIFESTS[0].to_owned()),
            (format!("{one}.provenance.json"), "provenance".to_owned()),
            (format!("{two}.json"), MANIFESTS[1].to_owned()),
        ])
    }

    #[test]
    fn format_1_is_brought_up_to_date_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("s");
        old(&root);
        let state = StateDir::open(&root, false).unwrap();
        assert_eq!(manifests(&state), expected());
        assert_eq!(std::fs::read_to_string(root.join("VERSION")).unwrap(), format!("{VERSION}\n"));
        StateDir::open(&root, false).unwrap();
        assert_eq!(manifests(&state), expected());
    }

    #[test]
    fn interrupted_anywhere_it_is_done_again_and_comes_to_the_same() {
        for point in [Point::Rename, Point::SyncDir, Point::Write, Point::Sync] {
            for after in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().join("s");
                let state = old(&root);
                std::fs::create_dir_all(state.run().join("locks")).unwrap();
                arm(point, after);
                let interrupted = StateDir::open(&root, false).is_err();
                disarm();
                if !interrupted {
                    assert!(after > 0, "{point:?} is never passed");
                    break;
                }
                assert_eq!(StateDir::open(&root, false).unwrap(), state);
                assert_eq!(manifests(&state), expected(), "{point:?} {after}");
            }
        }
    }

    #[test]
    fn a_directory_on_which_an_earlier_version_serves_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("s");
        let state = old(&root);
        let _serve = Lock::try_acquire(&state.lock("serve"), "serving").unwrap().unwrap();
        let before = manifests(&state);
        assert_eq!(StateDir::open(&root, false).unwrap_err().code, Code::Locked);
        assert_eq!(manifests(&state), before);
    }
}
