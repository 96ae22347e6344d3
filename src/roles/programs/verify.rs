//! Checking an installed program from files alone: who signed it, who handed it over, and whether what is installed is
//! what was signed.

use serde::Serialize;

use crate::message::{Body, Verified};
use crate::model::{Code, Digest, Error, Key, Result, ServiceName};
use crate::package::{self, VerifiedManifest};
use crate::roles::node::Node;
use crate::store::floors::Floors;
use crate::store::installs;
use crate::store::programs::{Program, Programs, Release};

/// What was checked and found right.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramVerification {
    pub program: ServiceName,
    pub signer: Key,
    pub version: semver::Version,
    pub generation: u32,
    pub package: Digest,
    pub entries: u64,
    /// Whose signed delivery brought it; absent where it came as a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_by: Option<Key>,
}

impl Node {
    /// Settles what a crash left, if there is anything.
    fn settle_if_interrupted(&self, program: &Program) -> Result<()> {
        let is_interrupted = installs::look(&self.program_root(program))?.is_some_and(|status| status.interrupted);
        let floor = Floors::of(&self.state).floor(&program.id)?;
        let current = self.current(program)?;
        let is_low = current.is_some_and(|(_, release)| floor.is_none_or(|floor| floor < *release.version()));
        if is_interrupted || is_low { self.settle_program(program) } else { Ok(()) }
    }

    /// Checks the generation that is current, after what was interrupted was finished or undone.
    ///
    /// # Errors
    /// `not-found` where nothing is installed; `bad-signature`, `bad-digest`, `broken-chain` naming what is not right.
    pub fn verify_program(&self, program: &Program) -> Result<ProgramVerification> {
        let name = &program.id.name;
        self.settle_if_interrupted(program)?;
        let (generation, release) = self
            .current(program)?
            .ok_or_else(|| Error::new(Code::NotFound, format!("nothing of {name} is installed")))?;
        let bytes = Programs::of(&self.state)
            .statements(&program.id)
            .manifest(&release.manifest)?
            .ok_or_else(|| Error::new(Code::BrokenChain, format!("the manifest of {name} is missing")))?;
        let manifest = VerifiedManifest::open(&bytes, &program.id.signer).map_err(|error| error.while_doing(name))?;
        check_release(release, &manifest).map_err(|error| error.while_doing(name))?;
        package::check_tree(&installs::folder_of(&self.program_root(program), generation), &manifest)?;
        let delivered_by = check_delivery(release, program).map_err(|error| error.while_doing(name))?;
        let floor = Floors::of(&self.state).floor(&program.id)?;
        if floor.is_none_or(|floor| floor < *release.version()) {
            let why = format!("the version floor of {name} is lower than the version that is installed");
            return Err(Error::new(Code::BrokenChain, why));
        }
        Ok(ProgramVerification {
            program: name.clone(),
            signer: program.id.signer,
            version: release.version().clone(),
            generation,
            package: release.package.digest,
            entries: manifest.entries,
            delivered_by,
        })
    }
}

fn check_release(release: &Release, manifest: &VerifiedManifest) -> Result<()> {
    let rules = [
        (manifest.digest() == release.manifest, "the manifest is another than the one that was installed by"),
        (manifest.package.digest == release.package.digest, "the manifest is of another package"),
        (manifest.version == release.service.version, "the manifest is of another version"),
        (manifest.terms == release.terms, "the manifest has other terms than were agreed to"),
    ];
    hold(&rules)
}

/// The delivery was signed by who handed it over, and is of this release.
fn check_delivery(release: &Release, program: &Program) -> Result<Option<Key>> {
    let Some(envelope) = &release.delivery else { return Ok(None) };
    let message = Verified::open(envelope.clone())?;
    let Body::ProgramDelivery(delivery) = &message.body else {
        return Err(Error::new(Code::BrokenChain, format!("a {} is kept as its delivery", message.body)));
    };
    let source = release.source.as_ref().map(|source| source.key);
    let rules = [
        (source == Some(message.head.from), "its delivery is of another node than is recorded"),
        (message.head.to == release.device.key || source.is_none(), "its delivery was for another device"),
        (delivery.signer == program.id.signer, "its delivery names another signer"),
        (delivery.package == release.package, "its delivery is of another package"),
        (delivery.manifest == release.manifest, "its delivery is of another manifest"),
        (delivery.program == release.service, "its delivery is of another program or version"),
    ];
    hold(&rules)?;
    Ok(source)
}

fn hold(rules: &[(bool, &str)]) -> Result<()> {
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, why)) => Err(Error::new(Code::BrokenChain, *why)),
    }
}
