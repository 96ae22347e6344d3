//! Programs: services with one role and no invitation, handed from node to node (System B). Each is a record and an
//! installation, not a session: it has one party on each side, goes on through versions, starts and stops, and ends when
//! its owner removes it.

pub mod ask;
pub mod file;
pub mod find;
mod given;
pub mod handed;
pub mod install;
mod made;
pub mod mail;
pub mod offer;
pub mod policy;
pub mod query;
pub mod run;
pub mod verify;

use serde::Serialize;

use super::node::Node;
use crate::message::{Failure, PackageRef, ReportState};
use crate::model::{Address, Key, Result, RoleName, ServiceName};
use crate::service::platform::Platform;
use crate::store::installs;
use crate::store::programs::{Program, ProgramId, Programs, Release};

/// An installed program, for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    #[serde(skip)]
    pub id: ProgramId,
    pub program: ServiceName,
    pub signer: Key,
    pub state: ReportState,
    /// Whether its program runs, or will run again by itself.
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(flatten)]
    pub current: Option<Current>,
    /// The other generation that is still here, which can be gone back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<semver::Version>,
}

/// Of the generation that is current.
#[derive(Clone, Debug, Serialize)]
pub struct Current {
    pub version: semver::Version,
    pub generation: u32,
    pub role: RoleName,
    pub platform: Platform,
    /// What it runs by; empty: natively.
    pub by: Vec<String>,
    pub package: PackageRef,
    /// It has said that it runs well.
    pub confirmed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    pub folder: std::path::PathBuf,
}

impl Node {
    /// Where a program is installed: below the state directory, or where its owner wished it.
    pub fn program_root(&self, program: &Program) -> std::path::PathBuf {
        let ProgramId { signer, name } = &program.id;
        program.root.as_ref().map_or_else(
            || self.state.program_root(signer, name),
            |root| root.join("programs").join(signer.short()).join(&**name),
        )
    }
    /// The generation that is current, with its release.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub fn current<'a>(&self, program: &'a Program) -> Result<Option<(u32, &'a Release)>> {
        let generation = installs::look(&self.program_root(program))?.and_then(|status| status.current);
        Ok(generation.and_then(|generation| Some((generation, program.releases.get(&generation)?))))
    }
    /// A program by what people call it.
    ///
    /// # Errors
    /// `not-found`, `ambiguous`.
    pub fn installed_program(&self, text: &str) -> Result<Program> {
        Programs::of(&self.state).resolve(text, |key| self.calls(key))
    }
    /// How it stands with a program.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub fn summarize(&self, program: &Program) -> Result<Summary> {
        let root = self.program_root(program);
        let status = installs::look(&root)?;
        let current = status.as_ref().and_then(|status| status.current);
        let current = current.and_then(|generation| Some((generation, program.releases.get(&generation)?)));
        let before = current.and_then(|(generation, _)| {
            let (before, _) = status.as_ref()?.generations.range(..generation).next_back()?;
            Some(program.releases.get(before)?.version().clone())
        });
        Ok(Summary {
            id: program.id.clone(),
            program: program.id.name.clone(),
            signer: program.id.signer,
            state: program.state,
            running: program.wanted,
            failure: program.failure.clone(),
            current: current.map(|(generation, release)| Current {
                version: release.version().clone(),
                generation,
                role: release.role.clone(),
                platform: release.fit.platform.clone(),
                by: release.fit.by.clone(),
                package: release.package,
                confirmed: release.confirmed,
                source: release.source.clone(),
                folder: installs::folder_of(&root, generation),
            }),
            before,
        })
    }
    /// All installed programs.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub fn programs(&self) -> Result<Vec<Summary>> {
        Programs::of(&self.state).list()?.iter().map(|program| self.summarize(program)).collect()
    }
}
