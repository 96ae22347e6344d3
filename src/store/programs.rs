//! The programs that are installed here: of each a record, `programs/SIGNER/NAME/program.json`, beside the manifests of
//! its releases and the secret options that came with them.
//!
//! A release is recorded before it is installed, and what is current is what its installation says: so a record may
//! name a release that is not installed (any more), and never the other way round.

use std::collections::BTreeMap;
use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::file::Stamp;
use super::lock::Lock;
use super::state::StateDir;
use super::statements::Statements;
use super::{document, file};
use crate::message::{Envelope, Failure, PackageRef, ReportState, ServiceId};
use crate::model::{Address, Code, Digest, Error, Key, OptionName, Result, RoleName, ServiceName, Span, Time};
use crate::service::definition::RoleTerms;
use crate::service::fit::Fit;
use crate::service::option::Options;
use crate::service::roster::Member;

/// A change of a record is a matter of moments, but for the one that installs.
const WAIT: Span = Span::from_secs(30);

/// Whose program it is, and what it is called: that names it on every device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramId {
    pub signer: Key,
    pub name: ServiceName,
}

impl ProgramId {
    /// As locks and folders are called by it: letters, digits and `-`.
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.signer, self.name)
    }
}
impl std::fmt::Display for ProgramId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.signer)
    }
}
impl std::str::FromStr for ProgramId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::new(Code::BadName, format!("“{text}” is not NAME@KEY"));
        let (name, signer) = text.split_once('@').ok_or_else(refuse)?;
        Ok(Self { signer: signer.parse()?, name: name.parse()? })
    }
}

/// An installed program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    #[serde(flatten)]
    pub id: ProgramId,
    /// By generation; which of them is current, the installation says.
    pub releases: BTreeMap<u32, Release>,
    /// Installed below this folder instead of the state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Whether it is to run: what was started and not stopped runs again after a restart of the node.
    #[serde(default)]
    pub wanted: bool,
    pub state: ReportState,
    /// Why it failed last, until it is started or installed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The advertised service that it was installed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_service: Option<serde_json::Value>,
}

/// One version of a program, as it was delivered to this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub service: ServiceId,
    pub role: RoleName,
    pub package: PackageRef,
    /// SHA-256 of the manifest's envelope.
    pub manifest: Digest,
    pub terms: RoleTerms,
    /// By what it runs here.
    pub fit: Fit,
    pub options: Options,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<OptionName>,
    pub configuration: serde_json::Value,
    /// This device, as the program gets to see it.
    pub device: Member,
    /// Who handed it over, and the signed delivery; absent where it came as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Envelope>,
    pub installed: Time,
    /// It has said that it runs well.
    #[serde(default)]
    pub confirmed: bool,
}

/// All programs of one state directory.
#[derive(Clone, Debug)]
pub struct Programs {
    state: StateDir,
}

impl Programs {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }
    /// The manifests of a program's releases.
    pub fn statements(&self, id: &ProgramId) -> Statements {
        Statements::at(self.state.program(&id.signer, &id.name).join("manifests"))
    }
    /// Held while a program is changed.
    ///
    /// # Errors
    /// `locked`, naming the holder.
    pub fn lock(&self, id: &ProgramId) -> Result<Lock> {
        Lock::acquire(&self.state.lock(&format!("program-{}", id.file_name())), "a program", WAIT)
    }
    pub fn read(&self, id: &ProgramId) -> Result<Option<Program>> {
        document::read_json(&self.path(id))
    }
    /// Keeps a record, durably.
    pub fn write(&self, program: &Program) -> Result<()> {
        let path = self.path(&program.id);
        file::create_dir_private(&self.state.program(&program.id.signer, &program.id.name))?;
        document::write_json(&path, program, file::PRIVATE)
    }
    /// Changes a record under its lock; says what it is then, and nothing where there is none.
    pub fn change(&self, id: &ProgramId, change: impl FnOnce(&mut Program)) -> Result<Option<Program>> {
        let _lock = self.lock(id)?;
        let Some(mut program) = self.read(id)? else { return Ok(None) };
        change(&mut program);
        self.write(&program)?;
        Ok(Some(program))
    }
    /// Removes a record with all that is beside it.
    pub fn remove(&self, id: &ProgramId) -> Result<()> {
        // Last the record: by it the rest is found again after an interruption.
        let folder = self.state.program(&id.signer, &id.name);
        for name in file::list(&folder)?.iter().filter(|name| *name != RECORD) {
            super::tree::remove(&folder.join(name))?;
        }
        // With its folder: what is left of that under the other name, housekeeping takes.
        let gone = file::temporary_name(&folder);
        file::rename(&folder, &gone)?;
        super::tree::remove(&gone)?;
        let signer = folder.parent().unwrap_or(&folder);
        [signer, &self.state.programs()].into_iter().try_for_each(file::remove_if_empty)
    }
    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<Program>> {
        let mut all = Vec::new();
        for id in self.ids()? {
            all.extend(self.read(&id)?);
        }
        all.sort_by(|a: &Program, b| (&a.id.name, a.id.signer).cmp(&(&b.id.name, b.id.signer)));
        Ok(all)
    }
    /// What tells whether one of them has changed, without reading any.
    pub fn stamps(&self) -> Result<BTreeMap<ProgramId, Stamp>> {
        let mut stamps = BTreeMap::new();
        for id in self.ids()? {
            if let Some((stamp, _)) = file::stamp(&self.path(&id))? {
                stamps.insert(id, stamp);
            }
        }
        Ok(stamps)
    }
    fn ids(&self) -> Result<Vec<ProgramId>> {
        let mut ids = Vec::new();
        for signer in file::list(&self.state.programs())? {
            let Ok(key) = signer.parse::<Key>() else { continue };
            let names = file::list(&self.state.programs().join(&signer))?;
            let names = names.into_iter().filter_map(|name| name.parse::<ServiceName>().ok());
            ids.extend(names.map(|name| ProgramId { signer: key, name }));
        }
        Ok(ids)
    }
    /// The program that `text` names: `NAME`, or `NAME@SIGNER` with the beginning of the signer's key or, by `called`, the
    /// contact that it is.
    ///
    /// # Errors
    /// `not-found`; `ambiguous` where two signers' programs have the name.
    pub fn resolve(&self, text: &str, called: impl Fn(&Key) -> Option<String>) -> Result<Program> {
        let (name, signer) = text.split_once('@').map_or((text, None), |(name, signer)| (name, Some(signer)));
        let is_meant = |key: &Key| {
            signer.is_none_or(|signer| {
                key.to_string().starts_with(signer) || called(key).is_some_and(|name| name == signer)
            })
        };
        let mut found: Vec<_> = self
            .list()?
            .into_iter()
            .filter(|program| *program.id.name == *name && is_meant(&program.id.signer))
            .collect();
        match found.len() {
            0 => Err(Error::new(Code::NotFound, format!("there is no program {text} here"))
                .hint("`deployctl status` lists what is installed")),
            1 => Ok(found.remove(0)),
            _ => {
                let names: Vec<_> = found
                    .iter()
                    .map(|one| format!("{name}@{}", called(&one.id.signer).unwrap_or_else(|| one.id.signer.short())))
                    .collect();
                let why = format!("{text} is a program of several signers: {}", names.join(", "));
                Err(Error::new(Code::Ambiguous, why).hint("name the signer, too: NAME@SIGNER"))
            }
        }
    }

    fn path(&self, id: &ProgramId) -> PathBuf {
        self.state.program(&id.signer, &id.name).join(RECORD)
    }
}

const RECORD: &str = "program.json";

impl Release {
    pub fn version(&self) -> &Version {
        &self.service.version
    }
}
