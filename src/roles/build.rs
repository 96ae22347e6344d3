//! Building the package of one role for one platform of one session (row A11): copy, render, pack, sign.

use std::fs::File;
use std::path::Path;

use super::catalogue::Offer;
use super::node::{Node, blocking};
use crate::message::body::options_digest;
use crate::message::{Failure, PackageRef, Secret};
use crate::model::error::IoContext;
use crate::model::{Code, Error, Event, Party, Result, RoleName, SessionId};
use crate::package::manifest::{Manifest, PackageId};
use crate::package::{Packed, pack};
use crate::service::definition::Role;
use crate::service::platform::Platform;
use crate::service::template::{self, Context};
use crate::session::{Outcome, Provider};
use crate::store::packages::Packages;
use crate::store::secrets::Secrets as SecretStore;
use crate::store::tree;

impl Node {
    /// Builds; a failure is a result, too.
    ///
    /// # Errors
    /// What may pass later: the disk is full, a file cannot be read.
    pub(super) fn build(
        &self,
        session: SessionId,
        provider: &Provider,
        role: &RoleName,
        platform: &Platform,
    ) -> Result<Outcome> {
        match blocking(|| self.build_package(session, provider, role, platform)) {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.code.may_pass_later() => Err(error),
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
        let service = &provider.interface.service;
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
        let roster = provider.roster();
        let context = Context {
            options: &provider.asked().options,
            session,
            role: role_name,
            platform,
            service_name: &service.name,
            service_version: &service.version,
            roster: Some(&roster),
        };
        check_terms(role, &context)?;
        let packages = Packages::of(&self.state);
        let staging = packages.temporary()?;
        let built = stage(&offer, role, &context, &staging).and_then(|()| pack_into(&packages, &staging));
        tree::remove(&staging)?;
        let (packed, complete) = built?;
        packages.put_package(&complete, &packed.digest)?;
        let manifest = manifest(&offer, role, &context, provider, &packed);
        let bytes = manifest.seal(&self.identity.signing()).to_json();
        self.put_manifest(session, Party::Provider, &packed.digest, &bytes)?;
        for participant in provider.participants.iter().filter(|one| one.takes_part()) {
            if participant.role == *role_name && participant.platform.as_ref() == Some(platform) {
                packages.grant(&packed.digest, &participant.key())?;
            }
        }
        self.emit(Event::Step {
            session,
            party: Party::Provider,
            text: format!("built {role_name} for {platform}: {} bytes, {}", packed.size, packed.digest.short()),
        });
        Ok(Outcome::Built {
            role: role_name.clone(),
            platform: platform.clone(),
            package: PackageRef { digest: packed.digest, size: packed.size },
            manifest: crate::model::Digest::of(&bytes),
            roster_value: self.roster_value(session)?.commitment(),
        })
    }

    /// The roster's random value: drawn once, before anything that depends on it is said.
    fn roster_value(&self, session: SessionId) -> Result<Secret> {
        let store = SecretStore::of(&self.state, session);
        if let Some(value) = store.find_json::<Secret>("roster")? {
            return Ok(value);
        }
        let value = Secret::new(self.system.random::<32>().to_vec(), self.system.random())?;
        store.put_json("roster", &value)?;
        Ok(value)
    }
}

/// What is rendered only on the participant's machine must render, too.
fn check_terms(role: &Role, context: &Context<'_>) -> Result<()> {
    if let Some(run) = &role.terms.run {
        template::render_run(run, context)?;
    }
    template::render_permissions(&role.terms.permissions, context).map(|_| ())
}

/// Copies the role's folder and renders its templates.
fn stage(offer: &Offer, role: &Role, context: &Context<'_>, staging: &Path) -> Result<()> {
    let source = offer.folder.join(&role.build.copy);
    tree::copy(&source, staging)?;
    for name in &role.build.templates {
        let path = staging.join(name);
        let text = tree::read_text(&path)?;
        let rendered = template::render(name, &text, context)?;
        let target = name.strip_suffix(".j2").unwrap_or(name);
        tree::replace(&path, &staging.join(target), rendered.as_bytes())?;
    }
    Ok(())
}

fn pack_into(packages: &Packages, staging: &Path) -> Result<(Packed, std::path::PathBuf)> {
    let path = packages.temporary()?;
    let mut file = create(&path)?;
    let packed = pack(staging, &mut file)?;
    file.sync_all().doing("writing", &path)?;
    Ok((packed, path))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a new file of its own name in the packages' folder, renamed by `store` when it is complete"
)]
fn create(path: &Path) -> Result<File> {
    File::create(path).doing("creating", path)
}

fn manifest(offer: &Offer, role: &Role, context: &Context<'_>, provider: &Provider, packed: &Packed) -> Manifest {
    let request = provider.asked();
    Manifest {
        name: offer.definition.name.clone(),
        version: offer.definition.version.clone(),
        role: context.role.clone(),
        platform: context.platform.clone(),
        session: Some(context.session),
        generation: 1,
        terms: role.terms.clone(),
        license: offer.definition.license.clone(),
        definition: offer.digest,
        options: options_digest(&request.options, &request.secret_options),
        package: PackageId { digest: packed.digest, size: packed.size },
        pieces: packed.pieces.clone(),
        entries: packed.entries,
        raw_size: packed.raw_size,
        tree: packed.tree,
    }
}
