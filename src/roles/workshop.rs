//! Making the software of one role for one platform (row A11): copied and rendered, or by the definition's own command;
//! then packed. Needs no session: `build` wraps one around it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::catalogue::{Offer, digest_of};
use crate::model::error::IoContext;
use crate::model::{Code, Digest, Error, Key, Result, SessionId, Time};
use crate::package::manifest::{About, Manifest, PackageId};
use crate::package::provenance::{BuildDefinition, Metadata, Parameters, Provenance};
use crate::package::{Cut, Packed, pack};
use crate::process::command::{self, Order, Tools};
use crate::process::sandbox::Level;
use crate::service::Roster;
use crate::service::definition::{Build, CommandBuild, CopyBuild, Role};
use crate::service::template::{self, Context};
use crate::store::config::Config;
use crate::store::space::{self, Need};
use crate::store::{file, tree};
use crate::system::System;

/// What is to be made.
pub struct Job<'a> {
    pub offer: &'a Offer,
    pub role: &'a Role,
    pub context: Context<'a>,
    /// Of the options and the commitments to secret ones.
    pub options: Digest,
    /// The session that the package is for; `context` has a made-up one where there is none.
    pub session: Option<SessionId>,
    pub generation: u32,
    /// The only device that it is for, where something of that is built in.
    pub device: Option<Key>,
}

/// Where and with what software is made.
pub struct Workshop<'a> {
    /// Where it is laid out; packages are made in it, too.
    pub folder: PathBuf,
    pub system: &'a System,
    /// This program's file.
    pub program: &'a Path,
    pub tools: Tools,
    /// Whether this process was asked to end: what is being made is left off then, and removed.
    pub leaving: &'a AtomicBool,
}

/// A package that has not got its name yet.
pub struct Made {
    pub path: PathBuf,
    pub packed: Packed,
    /// How far the command was held; nothing where none was run.
    pub level: Option<Level>,
    pub started: Time,
    pub finished: Time,
}

/// The tools that a node's settings name.
pub fn tools(config: &Config) -> Tools {
    Tools { path: config.build.path.clone(), read: config.build.read.clone() }
}

impl Workshop<'_> {
    /// Makes it, unless it is not `wanted` any more. All that was needed for it is removed.
    ///
    /// # Errors
    /// `build-failed` with the end of the command's output as hint; `bad-definition`; `io`, `disk-full`; `interrupted`
    /// where it was left off.
    pub fn make(&self, job: &Job<'_>, wanted: impl Fn() -> bool) -> Result<Made> {
        let is_leaving = || self.leaving.load(Ordering::Relaxed);
        self.make_whole(job, || !is_leaving() && wanted()).map_err(|error| match is_leaving() {
            true => Error::new(Code::Interrupted, "what was being built was left off, and is gone"),
            false => error,
        })
    }

    fn make_whole(&self, job: &Job<'_>, wanted: impl Fn() -> bool) -> Result<Made> {
        check_terms(job.role, &job.context)?;
        self.foresee(job)?;
        let started = self.system.now();
        let work = file::temporary_name(&self.folder.join("build"));
        let built = match &job.role.build {
            Build::Copy(build) => stage(job, build, &work).map(|folder| (folder, None)),
            Build::Command(build) => self.run(job, build, &work, wanted).map(|(output, level)| (output, Some(level))),
        };
        let packed = built.and_then(|(output, level)| Ok((self.pack(&output)?, level)));
        tree::remove(&work)?;
        let ((path, packed), level) = packed?;
        Ok(Made { path, packed, level, started, finished: self.system.now() })
    }

    /// There has to be room for a copy of what it is made of, and for a package of the same size.
    fn foresee(&self, job: &Job<'_>) -> Result<()> {
        let source = match &job.role.build {
            Build::Copy(build) => job.offer.folder.join(&build.copy),
            Build::Command(_) => job.offer.folder.clone(),
        };
        let (bytes, entries) = space::size_of(&source)?;
        let needs = Need { at: &self.folder, bytes: bytes.saturating_mul(2), entries };
        space::require(&format!("building {}", job.context.role), &[needs])
    }

    fn run(
        &self,
        job: &Job<'_>,
        build: &CommandBuild,
        work: &Path,
        wanted: impl Fn() -> bool,
    ) -> Result<(PathBuf, Level)> {
        let context = &job.context;
        let texts = [
            ("SESSION", context.session.to_string()),
            ("ROLE", context.role.to_string()),
            ("PLATFORM", context.platform.to_string()),
        ];
        let documents = [("OPTIONS", json(context.options)), ("ROSTER", json(&context.roster))];
        let order = Order {
            deployctl: self.program,
            build,
            definition: &job.offer.folder,
            work,
            texts: &texts,
            documents: &documents,
            tools: &self.tools,
            run: self.system.nonce(),
        };
        let check = |copy: &Path| match digest_of(copy)? == job.offer.digest {
            true => Ok(()),
            false => Err(Error::new(Code::BuildFailed, "the definition was changed while it was being built")),
        };
        command::run(&order, check, wanted).map(|done| (done.output, done.level))
    }

    fn pack(&self, source: &Path) -> Result<(PathBuf, Packed)> {
        let path = file::temporary_name(&self.folder.join("package"));
        let packed = create(&path).and_then(|file| {
            let mut out = Wanted { file, leaving: self.leaving };
            let packed = pack(source, &mut out)?;
            out.file.sync_all().doing("writing", &path)?;
            Ok(packed)
        });
        match packed {
            Ok(packed) => Ok((path, packed)),
            Err(error) => {
                file::remove_unsynced(&path)?;
                Err(error)
            }
        }
    }
}

/// A file that is written as long as nobody asks this process to end.
struct Wanted<'a> {
    file: File,
    leaving: &'a AtomicBool,
}

impl Write for Wanted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.leaving.load(Ordering::Relaxed) {
            return Err(io::Error::other("this process was asked to end"));
        }
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Job<'_> {
    pub fn manifest(&self, packed: &Packed) -> Manifest {
        let definition = &self.offer.definition;
        Manifest {
            name: definition.name.clone(),
            version: definition.version.clone(),
            role: self.context.role.clone(),
            platform: self.context.platform.clone(),
            session: self.session,
            generation: self.generation,
            terms: self.role.terms.clone(),
            license: definition.license.clone(),
            program: self.about(),
            definition: self.offer.digest,
            options: self.options,
            package: PackageId { digest: packed.digest, size: packed.size },
            cut: Some(Cut::ours()),
            pieces: packed.pieces.clone(),
            entries: packed.entries,
            raw_size: packed.raw_size,
            tree: packed.tree,
        }
    }
    /// What its manifest says of a program.
    fn about(&self) -> Option<About> {
        let definition = &self.offer.definition;
        let (None, Some(_)) = (self.session, definition.program()) else { return None };
        Some(About { device: self.device, ..About::of(definition) })
    }
    /// All that the package depends on.
    pub fn inputs(&self) -> BuildDefinition {
        let parameters = Parameters {
            session: self.session,
            service: self.offer.definition.name.clone(),
            version: self.offer.definition.version.clone(),
            role: self.context.role.clone(),
            platform: self.context.platform.clone(),
            options: self.options,
            roster: roster_digest(self.context.roster),
        };
        BuildDefinition::new(parameters, self.offer.digest)
    }
    pub fn provenance(&self, made: &Made, builder: &Key) -> Provenance {
        let confinement = made.level.map(|level| level.to_string());
        Provenance::new(self.inputs(), builder, Metadata::new(made.started, made.finished, confinement))
    }
}

/// What provenances say of the participants that software was made for.
pub(super) fn roster_digest(roster: Option<&Roster>) -> Digest {
    Digest::of(&json(&roster))
}

/// What is rendered only on the participant's machine must render, too.
pub(super) fn check_terms(role: &Role, context: &Context<'_>) -> Result<()> {
    // A program is made before it is known for which device: what its texts say of that is checked at each delivery.
    if context.roster.is_none() {
        return Ok(());
    }
    if let Some(run) = &role.terms.run {
        template::render_run(run, context)?;
    }
    template::render_permissions(&role.terms.permissions, context).map(|_| ())
}

/// The role's folder, if there is nothing to render in it; else a copy in `staging`, with its templates rendered.
fn stage(job: &Job<'_>, build: &CopyBuild, staging: &Path) -> Result<PathBuf> {
    let source = job.offer.folder.join(&build.copy);
    if build.templates.is_empty() {
        return tree::expect_folder(&source).map(|()| source);
    }
    tree::copy(&source, staging)?;
    for name in &build.templates {
        let path = staging.join(name);
        let text = tree::read_text(&path)?;
        let rendered = template::render(name, &text, &job.context)?;
        let target = name.strip_suffix(".j2").unwrap_or(name);
        tree::replace(&path, &staging.join(target), rendered.as_bytes())?;
    }
    Ok(staging.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a new file of its own name in the packages' folder, renamed by `store` when it is complete"
)]
fn create(path: &Path) -> Result<File> {
    File::create(path).doing("creating", path)
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("names, numbers and texts serialize")
}
