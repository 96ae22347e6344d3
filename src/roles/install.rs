//! Fetch, authenticate, install; and take away again (rows A13, A14, A19). What was accepted is all that may be delivered.

use std::path::Path;

use super::node::{Node, blocking};
use super::part::Part;
use crate::message::Failure;
use crate::model::count::counted;
use crate::model::{Code, Digest, Error, Event, Party, Result, Source};
use crate::package::VerifiedManifest;
use crate::session::Outcome;
use crate::store::packages::Packages;
use crate::store::space::{self, Need};
use crate::store::{file, installs, tree};

impl Node {
    /// Fetches and installs what was delivered; a refusal is a result, too.
    ///
    /// # Errors
    /// What may pass later: the provider cannot be reached, the disk is full.
    pub(super) async fn install(&self, part: &Part) -> Result<Outcome> {
        match self.fetch_and_install(part).await {
            Ok(text) => {
                self.emit(Event::Step { session: part.session, party: part.party, text });
                Ok(Outcome::Installed)
            }
            Err(error) if error.code.may_pass_later() => Err(error),
            Err(error) => {
                let failure = Failure::new(error.code, &error.message, error.hint.as_deref());
                Ok(Outcome::InstallFailed { failure })
            }
        }
    }

    async fn fetch_and_install(&self, part: &Part) -> Result<String> {
        let packages = Packages::of(&self.state);
        let manifest = self.fetch_manifest(part).await?;
        self.foresee(part, &manifest)?;
        self.fetch_provenance(part, &manifest).await?;
        let wishes = self.wishes(part.session, part.party)?;
        let provider = Source::Node(self.reach(&part.provider));
        self.fetch(&manifest, wishes.sources, vec![provider]).await?;
        let package = packages.open_package(&manifest.package.digest)?;
        let root = self.install_root(part.session, part.party, &part.role)?;
        let installed =
            blocking(|| installs::install(&root, part.delivery.generation, &package, &manifest, &mut |_| {}));
        let stop_at = wishes.root.as_deref().unwrap_or(self.state.root());
        let installed = installed.inspect_err(|_| drop(installs::remove_empty_parents(&root, stop_at)))?;
        let what = if installed.already { "is installed already" } else { "installed" };
        Ok(format!("{} {what}: {} in {}", part.role, counted(manifest.entries, "entry"), installed.folder.display()))
    }

    /// There has to be room for the package and for what is in it, before any of it is fetched.
    fn foresee(&self, part: &Part, manifest: &VerifiedManifest) -> Result<()> {
        let digest = manifest.package.digest;
        let partial = Packages::of(&self.state).partial(&digest)?;
        let there = file::length_of(&self.state.package(&digest))?.max(space::taken(&partial)?);
        let root = self.install_root(part.session, part.party, &part.role)?;
        let missing = manifest.package.size.saturating_sub(there);
        let installed = installs::look(&root)?.is_some_and(|status| status.current == Some(part.delivery.generation));
        let unpacked = if installed { 0 } else { manifest.raw_size };
        let packages = self.state.packages();
        space::require(
            &format!("fetching and installing {}", part.role),
            &[
                Need { at: &packages, bytes: missing, entries: 1 },
                Need { at: &root, bytes: unpacked, entries: if installed { 0 } else { manifest.entries } },
            ],
        )
        .map_err(|error| error.about(part.session))
    }

    async fn fetch_manifest(&self, part: &Part) -> Result<VerifiedManifest> {
        let (digest, provider) = (part.delivery.package.digest, &part.provider);
        let bytes = match self.manifest(part.session, part.party, &part.delivery.manifest)? {
            Some(bytes) => bytes,
            None => self.client.manifest(&self.reach(provider), digest, Some(part.session)).await?,
        };
        if Digest::of(&bytes) != part.delivery.manifest {
            return Err(Error::new(
                Code::BadDigest,
                format!(
                    "the manifest has the digest {}, delivered was {}",
                    Digest::of(&bytes).short(),
                    part.delivery.manifest.short()
                ),
            ));
        }
        let manifest = VerifiedManifest::open(&bytes, &provider.key)?;
        check_accepted(part, &manifest)?;
        self.put_manifest(part.session, part.party, &part.delivery.manifest, &bytes)?;
        Ok(manifest)
    }

    /// What it was made of, kept beside the manifest. A provider that does not say is no reason not to install.
    async fn fetch_provenance(&self, part: &Part, manifest: &VerifiedManifest) -> Result<()> {
        let (session, party, named) = (part.session, part.party, &part.delivery.manifest);
        if self.provenance(session, party, named)?.is_some() {
            return Ok(());
        }
        let (digest, provider) = (part.delivery.package.digest, &part.provider);
        let bytes = match self.client.provenance(&self.reach(provider), digest, Some(session)).await {
            Err(error) if error.code == Code::NotFound => return Ok(()),
            fetched => fetched?,
        };
        manifest.check_provenance(&bytes)?;
        self.put_provenance(session, party, named, &bytes)
    }

    /// Takes the generation in charge away; the one before is current again. What cannot be is a result, too.
    pub(super) fn roll_back(&self, part: &Part) -> Result<Outcome> {
        let root = self.install_root(part.session, part.party, &part.role)?;
        match blocking(|| back_from(&root, part.delivery.generation)) {
            Ok(()) => {
                let text = format!("{}: generation {} is taken away", part.role, part.delivery.generation);
                self.emit(Event::Step { session: part.session, party: part.party, text });
                Ok(Outcome::RolledBack)
            }
            Err(error) if error.code.may_pass_later() => Err(error),
            Err(error) => {
                let failure = Failure::new(error.code, &error.message, error.hint.as_deref());
                Ok(Outcome::InstallFailed { failure })
            }
        }
    }

    /// Takes the software of a part away, and all files that went with it.
    pub(super) fn uninstall(&self, part: &Part) -> Result<Outcome> {
        let root = self.install_root(part.session, part.party, &part.role)?;
        let wishes = self.wishes(part.session, part.party)?;
        let stop_at = wishes.root.unwrap_or_else(|| self.state.root().to_owned());
        let removed = blocking(|| installs::remove(&root, wishes.keep_data, &stop_at))?;
        let packages = Packages::of(&self.state);
        let delivered = part.delivery.package.digest;
        let manifests = self.statements(part.session, part.party).manifests()?.into_values();
        let of_all = manifests.filter_map(|bytes| VerifiedManifest::open(&bytes, &part.provider.key).ok());
        for digest in of_all.map(|manifest| manifest.package.digest).chain([delivered]) {
            // A provider that takes part itself still serves it to the others.
            if packages.readers(&digest)?.is_empty() {
                packages.remove(&digest)?;
            }
        }
        tree::remove(&self.places(part.session, part.party).folder)?;
        // Nothing more is sent, run or derived with the session's secrets; a provider may still have to hand them out.
        if !file::exists(&self.state.session_log(part.session, Party::Provider))? {
            tree::remove(&self.state.secrets(part.session))?;
        }
        let kept: Vec<_> = removed.kept.iter().map(|path| path.display().to_string()).collect();
        let rest = if kept.is_empty() { "nothing is left".to_owned() } else { format!("kept: {}", kept.join(", ")) };
        self.emit(Event::Step {
            session: part.session,
            party: part.party,
            text: format!("{} removed, {rest}", part.role),
        });
        Ok(Outcome::Removed { kept })
    }
}

/// Whatever of it a crash before has done already is not done again.
fn back_from(root: &Path, generation: u32) -> Result<()> {
    installs::recover(root)?;
    let status = installs::look(root)?.filter(|status| status.generations.contains_key(&generation));
    let Some(status) = status else { return Ok(()) };
    if status.current == Some(generation) {
        installs::rollback(root)?;
    }
    installs::uninstall_generation(root, generation)
}

/// A13: the manifest says what was accepted, of this session, for this role and machine.
fn check_accepted(part: &Part, manifest: &VerifiedManifest) -> Result<()> {
    let delivery = &part.delivery;
    let identity = [
        (
            "package",
            manifest.package.digest == delivery.package.digest && manifest.package.size == delivery.package.size,
        ),
        ("session", manifest.session == Some(part.session)),
        ("generation", manifest.generation == delivery.generation),
    ];
    if let Some((what, _)) = identity.iter().find(|(_, same)| !same) {
        return Err(Error::new(Code::WrongSession, format!("the manifest is of another {what} than the delivery")));
    }
    let accepted = [
        ("service", manifest.name == part.service.name && manifest.version == part.service.version),
        ("definition", manifest.definition == part.service.definition),
        ("options", manifest.options == part.options_digest()),
        ("role", manifest.role == part.role),
        ("permissions", manifest.terms.permissions == part.terms.permissions),
        ("run section", manifest.terms.run == part.terms.run),
        ("terms", manifest.terms == part.terms),
    ];
    match accepted.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(Error::new(
            Code::MoreThanAccepted,
            format!("the {what} of what was delivered differ from what was accepted"),
        )
        .hint("nothing was installed; ask the provider what it delivered")),
    }
}
