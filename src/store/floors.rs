//! Version floors, `floors.json`: of each signer's program the highest version that was installed here. What is older is
//! refused from then on, whoever hands it over, and also after the program was removed (rows P2, B22).

use std::collections::BTreeMap;

use semver::Version;

use super::lock::Lock;
use super::programs::ProgramId;
use super::state::StateDir;
use super::{document, file};
use crate::model::{Code, Error, Key, Result, ServiceName, Span};

/// Another writer is done in a moment.
const WAIT: Span = Span::from_secs(10);

type Kept = BTreeMap<Key, BTreeMap<ServiceName, Version>>;

/// The floors of one state directory.
#[derive(Clone, Debug)]
pub struct Floors {
    state: StateDir,
}

impl Floors {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }
    pub fn floor(&self, id: &ProgramId) -> Result<Option<Version>> {
        Ok(self.read()?.get(&id.signer).and_then(|of_signer| of_signer.get(&id.name)).cloned())
    }
    /// Refuses a version that is older than the floor.
    ///
    /// # Errors
    /// `downgrade`.
    pub fn check(&self, id: &ProgramId, version: &Version) -> Result<()> {
        match self.floor(id)? {
            Some(floor) if *version < floor => {
                let why = format!("{} {version} is older than {floor}, which was installed here before", id.name);
                Err(Error::new(Code::Downgrade, why).hint(format!(
                    "a generation that is still here can be gone back to: deployctl install --rollback {}",
                    id.name
                )))
            }
            _ => Ok(()),
        }
    }
    /// Raises the floor to this version, durably; never lowers it.
    pub fn raise(&self, id: &ProgramId, version: &Version) -> Result<()> {
        let _lock = Lock::acquire(&self.state.lock("floors"), "the version floors", WAIT)?;
        let mut kept = self.read()?;
        let floor = kept.entry(id.signer).or_default().entry(id.name.clone()).or_insert_with(|| Version::new(0, 0, 0));
        if *floor >= *version {
            return Ok(());
        }
        *floor = version.clone();
        document::write_json(&self.state.floors(), &kept, file::PRIVATE)
    }
    /// Has a signer's new key begin where its former ones ended, durably.
    pub fn carry_over(&self, former: &[Key], to: &Key) -> Result<()> {
        let kept = self.read()?;
        for (name, floor) in former.iter().filter_map(|from| kept.get(from)).flatten() {
            self.raise(&ProgramId { signer: *to, name: name.clone() }, floor)?;
        }
        Ok(())
    }
    fn read(&self) -> Result<Kept> {
        Ok(document::read_json(&self.state.floors())?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_only_rises_and_is_kept_by_signer_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state"), true).unwrap();
        let floors = Floors::of(&state);
        let id =
            |number: u8, name: &str| ProgramId { signer: Key::from_bytes([number; 32]), name: name.parse().unwrap() };
        let version = |text: &str| text.parse::<Version>().unwrap();
        floors.check(&id(1, "chat"), &version("0.1.0")).unwrap();
        floors.raise(&id(1, "chat"), &version("1.2.0")).unwrap();
        floors.raise(&id(1, "chat"), &version("1.1.0")).unwrap();
        assert_eq!(Floors::of(&state).floor(&id(1, "chat")).unwrap(), Some(version("1.2.0")));
        assert_eq!(floors.check(&id(1, "chat"), &version("1.2.0-rc.1")).unwrap_err().code, Code::Downgrade);
        floors.check(&id(1, "chat"), &version("1.2.0")).unwrap();
        floors.check(&id(2, "chat"), &version("1.0.0")).unwrap();
        floors.check(&id(1, "talk"), &version("1.0.0")).unwrap();
        // A signer's next key.
        floors.raise(&id(3, "chat"), &version("0.9.0")).unwrap();
        floors.carry_over(&[id(1, "chat").signer, id(9, "chat").signer], &id(3, "chat").signer).unwrap();
        assert_eq!(floors.check(&id(3, "chat"), &version("1.1.0")).unwrap_err().code, Code::Downgrade);
        floors.check(&id(1, "chat"), &version("1.2.0")).unwrap();
    }
}
