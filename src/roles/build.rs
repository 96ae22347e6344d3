//! Building the package of one role for one platform of one session (row A11): made, signed, kept with its manifest and
//! its provenance, and granted to those it is for.

use super::node::{Node, blocking};
use super::workshop::{Job, Workshop, tools};
use crate::message::body::options_digest;
use crate::message::secret::roster_secret;
use crate::message::{Failure, PackageRef, Secret};
use crate::model::{Code, Digest, Error, Event, Party, Result, RoleName, SessionId};
use crate::package::{Provenance, VerifiedManifest};
use crate::service::Roster;
use crate::service::platform::Platform;
use crate::service::template::Context;
use crate::session::{Outcome, Provider, Work};
use crate::store::file;
use crate::store::packages::Packages;
use crate::store::secrets::Secrets as SecretStore;
use crate::store::statements::Statements;

impl Node {
    /// Builds; a failure is a result, too.
    ///
    /// # Errors
    /// What may pass later: the disk is full, a file cannot be read; `interrupted` where it is left off.
    pub(super) fn build(
        &self,
        session: SessionId,
        provider: &Provider,
        role: &RoleName,
        platform: &Platform,
    ) -> Result<Outcome> {
        match blocking(|| self.build_package(session, provider, role, platform)) {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.code.may_pass_later() || error.code == Code::Interrupted => Err(error),
            Err(error) => {
                let failure = Failure::new(Code::BuildFailed, &error.message, error.hint.as_deref());
                Ok(Outcome::BuildFailed { role: role.clone(), platform: platform.clone(), failure })
            }
        }
    }

    fn build_package(
        &self,
        session: SessionId,
        provider: &Provider,
        role_name: &RoleName,
        platform: &Platform,
    ) -> Result<Outcome> {
        let (service, asked) = (&provider.interface.service, provider.asked());
        let offer = self.offer(&service.name)?;
        if offer.digest != service.definition {
            return Err(Error::new(
                Code::BuildFailed,
                format!("the definition of {} was changed after the session was requested", service.name),
            )
            .hint("request the service again to use the definition as it is now"));
        }
        let role = offer
            .definition
            .roles
            .get(role_name)
            .ok_or_else(|| Error::new(Code::BuildFailed, format!("there is no role {role_name}")))?;
        let roster: Roster = provider.roster();
        let context = Context {
            options: &asked.options,
            session,
            role: role_name,
            platform,
            service_name: &service.name,
            service_version: &service.version,
            roster: Some(&roster),
        };
        let options = options_digest(&asked.options, &asked.secret_options);
        let generation = provider.generation();
        let job = Job { offer: &offer, role, context, options, session: Some(session), generation, device: None };
        let statements = self.statements(session, Party::Provider);
        let work = Work::Build { role: role_name.clone(), platform: platform.clone() };
        // A log that cannot be read now may be read later: that is no reason to stop.
        let wanted = || self.read(session, Party::Provider).map_or(true, |now| now.machine.work().contains(&work));
        let built = self.make(&job, &statements, &wanted)?;
        let packages = Packages::of(&self.state);
        for participant in provider.participants.iter().filter(|one| one.takes_part()) {
            if participant.role == *role_name && participant.platform.as_ref() == Some(platform) {
                packages.grant(&built.package.digest, &participant.key())?;
            }
        }
        self.say(session, format!("built {role_name} for {platform}: {}", built.told));
        Ok(Outcome::Built {
            role: role_name.clone(),
            platform: platform.clone(),
            package: built.package,
            manifest: built.manifest,
            roster_value: self.roster_value(session, generation)?.commitment(),
        })
    }

    /// Makes the package with its statements; or takes the one that was made of equal inputs before.
    ///
    /// # Errors
    /// As [`Workshop::make`].
    pub(super) fn make(&self, job: &Job<'_>, statements: &Statements, wanted: &dyn Fn() -> bool) -> Result<Kept> {
        if let Some(built) = self.built_before(job, statements)? {
            return Ok(built);
        }
        let packages = Packages::of(&self.state);
        let folder = self.state.packages();
        file::create_dir_private(&folder)?;
        let tools = tools(&self.config);
        let workshop = Workshop { folder, system: &self.system, program: &self.program, tools, leaving: &self.leaving };
        let made = workshop.make(job, wanted)?;
        let digest = made.packed.digest;
        packages.put_package(&made.path, &digest)?;
        packages.note_pieces(&digest, made.packed.pieces.iter().map(|piece| (piece.hash, piece.length)))?;
        let manifest = job.manifest(&made.packed);
        let bytes = manifest.seal(&self.identity.signing()).to_json();
        let named = Digest::of(&bytes);
        statements.put_manifest(&named, &bytes)?;
        // Last: by it a complete build is known.
        let provenance = job.provenance(&made, &self.key()).seal(&manifest, &self.identity.signing());
        statements.put_provenance(&named, &provenance.to_json())?;
        let package = PackageRef { digest, size: made.packed.size };
        let held = made.level.map(|level| format!("; its build was {level}")).unwrap_or_default();
        let told = format!("{} bytes, {}{held}", package.size, digest.short());
        Ok(Kept { package, manifest: named, told })
    }

    fn built_before(&self, job: &Job<'_>, statements: &Statements) -> Result<Option<Kept>> {
        let inputs = job.inputs();
        for manifest in statements.provenances()? {
            let Some(bytes) = statements.provenance(&manifest)? else { continue };
            let Ok((provenance, digest)) = Provenance::open(&bytes, &self.key()) else { continue };
            let path = self.state.package(&digest);
            let kept = statements.manifest(&manifest)?;
            // What is built again is not to be what was built before.
            let same = kept.and_then(|kept| VerifiedManifest::open(&kept, &self.key()).ok());
            let there = file::exists(&path)? && same.is_some_and(|same| same.generation == job.generation);
            if there && provenance.build_definition == inputs {
                let package = PackageRef { digest, size: file::length_of(&path)? };
                return Ok(Some(Kept { package, manifest, told: format!("{}, as before", digest.short()) }));
            }
        }
        Ok(None)
    }

    fn say(&self, session: SessionId, text: String) {
        self.emit(Event::Step { session, party: Party::Provider, text });
    }

    /// The roster's random value of a generation: drawn once, before anything that depends on it is said.
    fn roster_value(&self, session: SessionId, generation: u32) -> Result<Secret> {
        let name = roster_secret(generation);
        let store = SecretStore::of(&self.state, session);
        if let Some(value) = store.find_json::<Secret>(&name)? {
            return Ok(value);
        }
        let value = Secret::new(self.system.random::<32>().to_vec(), self.system.random())?;
        store.put_json(&name, &value)?;
        Ok(value)
    }
}

/// A package that is in its place with its statements.
pub(super) struct Kept {
    pub(super) package: PackageRef,
    /// SHA-256 of the manifest's file.
    pub(super) manifest: Digest,
    /// For people.
    pub(super) told: String,
}
