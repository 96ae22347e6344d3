//! Installing a program that was checked and agreed to, going back to the generation before, and removing it (rows B8,
//! B13, B22): by the installations of System A, below `installs/programs/`.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::ask::Parcel;
use crate::message::{Failure, PackageRef, ReportState, Secret, ServiceId};
use crate::model::{Code, Error, Event, OptionName, Result, Source};
use crate::roles::node::{Node, blocking};
use crate::store::floors::Floors;
use crate::store::installs;
use crate::store::packages::Packages;
use crate::store::programs::{Program, ProgramId, Programs, Release};
use crate::store::secrets::Secrets as SecretStore;

/// What an installation came to.
#[derive(Debug)]
pub struct Installed {
    pub program: Program,
    /// It had been installed before.
    pub already: bool,
}

/// How the owner of this node wants it.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Install below this folder instead of the state directory.
    pub root: Option<PathBuf>,
    /// Where the package is fetched from, before who hands it over is asked.
    pub sources: Vec<Source>,
    /// The advertised service that it is for.
    pub seen_service: Option<serde_json::Value>,
}

impl Program {
    /// What runs for another service is started anew for the one of the wish, and is to say how that goes.
    fn is_for(&mut self, wish: &Wish) {
        if wish.seen_service.is_some() && self.seen_service != wish.seen_service {
            self.seen_service.clone_from(&wish.seen_service);
            self.state = ReportState::Installed;
        }
    }
}

impl Node {
    /// Fetches and installs it; a failure is reported to who handed it over. That a person or a policy agreed is the
    /// caller's to see to.
    ///
    /// # Errors
    /// What [`installs::install`] and the download say; `downgrade`.
    pub async fn install_program(&self, parcel: &Parcel, wish: &Wish) -> Result<Installed> {
        let release = self.release(parcel);
        let installed = match self.fetch_program(parcel, &wish.sources).await {
            Ok(()) => {
                let package = || Packages::of(&self.state).open_package(&parcel.manifest.package.digest);
                blocking(|| self.put_program(parcel, &release, wish, package))
            }
            Err(error) => Err(error),
        };
        let report = match &installed {
            Ok(Installed { already: true, program }) => Some((program.state, program.failure.clone())),
            Ok(_) => Some((ReportState::Installed, None)),
            Err(error) if error.code.may_pass_later() => None,
            Err(error) => {
                Some((ReportState::Failed, Some(Failure::new(error.code, &error.message, error.hint.as_deref()))))
            }
        };
        if let Some((state, failure)) = report {
            self.report(&release, state, failure)?;
        }
        installed
    }

    async fn fetch_program(&self, parcel: &Parcel, sources: &[Source]) -> Result<()> {
        match &parcel.source {
            Some((source, _)) => {
                let from = Source::Node(self.reach(source));
                self.fetch(&parcel.manifest, sources.to_vec(), vec![from]).await
            }
            None => Ok(()),
        }
    }

    pub(super) fn release(&self, parcel: &Parcel) -> Release {
        let manifest = &parcel.manifest;
        Release {
            service: ServiceId {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                definition: manifest.definition,
            },
            role: manifest.role.clone(),
            package: PackageRef { digest: manifest.package.digest, size: manifest.package.size },
            manifest: manifest.digest(),
            terms: manifest.terms.clone(),
            fit: parcel.fit.clone(),
            options: parcel.options.clone(),
            secrets: secrets_of(parcel).map(|(name, _)| name).collect(),
            configuration: parcel.configuration.clone(),
            device: parcel.device.clone(),
            source: parcel.source.as_ref().map(|(source, _)| source.clone()),
            delivery: parcel.source.as_ref().map(|(_, delivery)| delivery.clone()),
            installed: self.system.now(),
            confirmed: false,
        }
    }

    /// Records and installs it; the package is opened only if it is not installed yet.
    pub(super) fn put_program(
        &self,
        parcel: &Parcel,
        release: &Release,
        wish: &Wish,
        package: impl FnOnce() -> Result<File>,
    ) -> Result<Installed> {
        let (programs, id) = (Programs::of(&self.state), &parcel.id);
        let _lock = programs.lock(id)?;
        let mut program = self.record_of(&programs, id, wish)?;
        self.settle_program(&program)?;
        // Again under the lock: another version may have come meanwhile.
        Floors::of(&self.state).check(id, release.version())?;
        if let Some(generation) = self.same_release(&program, release, parcel)? {
            // It was handed over once more: how it goes on is reported of this delivery.
            if let Some(kept) = program.releases.get_mut(&generation) {
                (kept.source, kept.delivery) = (release.source.clone(), release.delivery.clone());
            }
            program.is_for(wish);
            programs.write(&program)?;
            return Ok(Installed { program, already: true });
        }
        let package = package()?;
        let before = program.clone();
        let installed =
            installs::look(&self.program_root(&program))?.map(|status| status.generations).unwrap_or_default();
        let last = program.releases.keys().chain(installed.keys()).max();
        let generation = last.map_or(1, |last| last + 1);
        programs.statements(id).put_manifest(&release.manifest, parcel.manifest.bytes())?;
        let secrets = SecretStore::of_release(&self.state, id, generation);
        // Of an installation that was interrupted, or failed, before it had a record.
        secrets.forget()?;
        for (name, secret) in secrets_of(parcel) {
            secrets.put_json(&format!("option.{name}"), secret)?;
        }
        program.releases.insert(generation, release.clone());
        // Before it is installed: what is current must have its record.
        programs.write(&program)?;
        if let Err(error) = self.unpack_program(&program, generation, &package, parcel) {
            let undone = if before.releases.is_empty() { programs.remove(id) } else { programs.write(&before) };
            return undone.and(Err(error));
        }
        Floors::of(&self.state).raise(id, release.version())?;
        program.state = ReportState::Installed;
        program.failure = None;
        program.is_for(wish);
        self.forget_releases(&mut program)?;
        programs.write(&program)?;
        Ok(Installed { program, already: false })
    }

    /// What is recorded of a program, or is to be.
    ///
    /// # Errors
    /// `wrong-state` where it is elsewhere than where it is wished now.
    fn record_of(&self, programs: &Programs, id: &ProgramId, wish: &Wish) -> Result<Program> {
        let program = match programs.read(id)? {
            Some(program) => program,
            None => Program {
                id: id.clone(),
                releases: std::collections::BTreeMap::new(),
                root: wish.root.clone(),
                wanted: false,
                state: ReportState::Installed,
                failure: None,
                seen_service: None,
            },
        };
        if let Some(root) = wish.root.as_ref().filter(|root| program.root.as_ref() != Some(root)) {
            let place = self.program_root(&program);
            let why = format!("{} is installed in {} and not below {}", id.name, place.display(), root.display());
            return Err(Error::new(Code::WrongState, why)
                .hint(format!("without --root it goes there, too; to move it: deployctl remove {}", id.name)));
        }
        Ok(program)
    }

    /// The current generation, if it is the very same already, with the same things for this device.
    fn same_release(&self, program: &Program, release: &Release, parcel: &Parcel) -> Result<Option<u32>> {
        let Some((generation, current)) = self.current(program)? else { return Ok(None) };
        let content = |one: &Release| {
            (one.package, one.service.clone(), one.options.clone(), one.configuration.clone(), one.secrets.clone())
        };
        if content(current) != content(release) {
            return Ok(None);
        }
        let kept = SecretStore::of_release(&self.state, &program.id, generation);
        for (name, secret) in secrets_of(parcel) {
            let kept = kept.find_json::<Secret>(&format!("option.{name}"))?;
            if kept.is_none_or(|kept| kept.value() != secret.value()) {
                return Ok(None);
            }
        }
        Ok(Some(generation))
    }

    fn unpack_program(&self, program: &Program, generation: u32, package: &File, parcel: &Parcel) -> Result<()> {
        let root = self.program_root(program);
        let installed = installs::install(&root, generation, package, &parcel.manifest, &mut |_| {})
            .inspect_err(|_| drop(installs::remove_empty_parents(&root, self.stop_at(program))))?;
        let folder = installed.folder.display();
        self.emit(Event::Notice { text: format!("{} installed in {folder}", program.id.name) });
        Ok(())
    }

    /// The folder that stays, however empty it is.
    fn stop_at<'a>(&'a self, program: &'a Program) -> &'a Path {
        program.root.as_deref().unwrap_or(self.state.root())
    }

    /// Drops the releases that are not installed any more, with what only they needed.
    fn forget_releases(&self, program: &mut Program) -> Result<()> {
        let status = installs::look(&self.program_root(program))?;
        let kept = status.map(|status| status.generations).unwrap_or_default();
        let gone: Vec<_> = program.releases.keys().copied().filter(|one| !kept.contains_key(one)).collect();
        for generation in gone {
            if let Some(release) = program.releases.remove(&generation) {
                SecretStore::of_release(&self.state, &program.id, generation).forget()?;
                self.drop_package(program, &release)?;
            }
        }
        Ok(())
    }

    /// Removes a package that no release and no other node needs.
    fn drop_package(&self, program: &Program, release: &Release) -> Result<()> {
        let packages = Packages::of(&self.state);
        let digest = release.package.digest;
        let is_used = program.releases.values().any(|other| other.package.digest == digest);
        if !is_used && packages.readers(&digest)?.is_empty() {
            packages.remove(&digest)?;
        }
        Ok(())
    }

    /// Makes the generation before current again. Whoever runs the program notices. Where that was done and nothing was
    /// installed since, a repeat changes nothing.
    ///
    /// # Errors
    /// `wrong-state` where there is none; `locked`, `io`.
    pub fn roll_back_program(&self, id: &ProgramId) -> Result<Program> {
        let programs = Programs::of(&self.state);
        let _lock = programs.lock(id)?;
        let mut program = programs.read(id)?.ok_or_else(|| gone(id))?;
        self.settle_program(&program)?;
        let root = self.program_root(&program);
        let is_back = installs::look(&root)?.is_some_and(|status| {
            status.current.is_some_and(|current| status.generations.keys().any(|g| *g > current))
        });
        if !is_back {
            blocking(|| installs::rollback(&root))?;
        }
        program.state = ReportState::Installed;
        program.failure = None;
        programs.write(&program)?;
        Ok(program)
    }

    /// A generation that never became ready goes back to the one before, or away if it was the first. Says whether there is
    /// one to go on with.
    pub(super) fn give_up_release(&self, id: &ProgramId, generation: u32, failure: &Failure) -> Result<bool> {
        let programs = Programs::of(&self.state);
        let _lock = programs.lock(id)?;
        let Some(mut program) = programs.read(id)? else { return Ok(false) };
        let root = self.program_root(&program);
        let Some(release) = program.releases.get(&generation).cloned() else { return Ok(false) };
        let back = match blocking(|| installs::rollback(&root)) {
            Ok(_) => true,
            Err(error) if error.code == Code::WrongState => {
                blocking(|| installs::uninstall_generation(&root, generation))?;
                false
            }
            Err(error) => return Err(error),
        };
        program.failure = Some(failure.clone());
        program.state = if back { ReportState::Installed } else { ReportState::Failed };
        program.wanted &= back;
        self.report(&release, ReportState::Failed, Some(failure.clone()))?;
        programs.write(&program)?;
        Ok(back)
    }

    /// Removes an installed program that is not running: all that was installed, and only that. Its floor stays. Says
    /// what is left.
    ///
    /// # Errors
    /// `locked`, `io`: a repeat goes on with it.
    pub fn remove_program(&self, id: &ProgramId, keep_data: bool) -> Result<Vec<PathBuf>> {
        let programs = Programs::of(&self.state);
        let _lock = programs.lock(id)?;
        let program = programs.read(id)?.ok_or_else(|| gone(id))?;
        // Interrupted when it had removed what is current, it is still to be reported of what was.
        let current = match self.current(&program)? {
            Some((_, release)) => Some(release.clone()),
            None => program.releases.values().next_back().filter(|_| program.state != ReportState::Failed).cloned(),
        };
        self.settle_program(&program)?;
        let removed = blocking(|| installs::remove(&self.program_root(&program), keep_data, self.stop_at(&program)))?;
        crate::store::tree::remove(&self.program_places(id).folder)?;
        let without = Program { releases: std::collections::BTreeMap::new(), ..program.clone() };
        for release in program.releases.values() {
            self.drop_package(&without, release)?;
        }
        if let Some(release) = &current {
            self.report(release, ReportState::Removed, None)?;
        }
        programs.remove(id)?;
        Ok(removed.kept)
    }

    /// Brings every installed program to before or after what was interrupted.
    pub(in crate::roles) fn recover_programs(&self) -> Result<()> {
        Programs::of(&self.state).list()?.iter().try_for_each(|program| self.settle_program(program))
    }

    /// Brings an installed program to before or after what was interrupted, and says so. The floor, which rises after an
    /// installation, is raised here if that did not get to it.
    pub(super) fn settle_program(&self, program: &Program) -> Result<()> {
        let root = self.program_root(program);
        blocking(|| self.recover_install(&root))?;
        let installed = installs::look(&root)?.map(|status| status.generations).unwrap_or_default();
        let floors = Floors::of(&self.state);
        let versions = program.releases.iter().filter(|(generation, _)| installed.contains_key(generation));
        versions
            .map(|(_, release)| release.version())
            .max()
            .map_or(Ok(()), |highest| floors.raise(&program.id, highest))
    }
}

/// The secret options that came with it.
fn secrets_of(parcel: &Parcel) -> impl Iterator<Item = (OptionName, &Secret)> {
    parcel.secrets.iter().filter_map(|(name, secret)| Some((name.strip_prefix("option.")?.parse().ok()?, secret)))
}

pub(super) fn gone(id: &ProgramId) -> Error {
    Error::new(Code::NotFound, format!("{} is not installed here", id.name))
        .hint("`deployctl status` lists what is installed")
}
