//! Building outside any session, for authors of services and their tests: with made-up participants, which are the same
//! every time, so that the same definition and options give the same package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::catalogue::{Offer, load_offer};
use super::workshop::{Job, Made, Workshop, tools};
use crate::message::SigningKey;
use crate::message::body::options_digest;
use crate::model::{Address, Code, Digest, Error, Host, Key, Name, Result, RoleName, ServiceName, SessionId};
use crate::process::sandbox::Level;
use crate::service::Roster;
use crate::service::definition::{Role, Side};
use crate::service::option::{OptionSpec, Options};
use crate::service::platform::Platform;
use crate::service::roster::Member;
use crate::service::template::Context;
use crate::store::config::Config;
use crate::store::file;
use crate::system::System;

/// The session that such a build believes to be in.
const SESSION: SessionId = SessionId::from_bytes([0; 16]);

/// A service's folder, and one of its roles.
pub struct Rehearsal {
    offer: Offer,
    role: RoleName,
    platform: Platform,
}

/// What such a build needs of this machine.
pub struct Stage<'a> {
    pub system: &'a System,
    /// This program's file.
    pub program: &'a Path,
    pub config: &'a Config,
    /// Where the package and its statements go; made where it is not there.
    pub output: &'a Path,
    /// See [`Workshop::leaving`].
    pub leaving: &'a AtomicBool,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Rehearsed {
    pub service: ServiceName,
    pub version: semver::Version,
    pub role: RoleName,
    pub platform: Platform,
    pub definition: Digest,
    pub options: Digest,
    pub package: Placed,
    pub manifest: Placed,
    pub provenance: Placed,
    /// The throw-away key that signed the statements.
    pub signer: Key,
    /// How far the build's command was held; absent where none was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Level>,
}

/// A file with its SHA-256 and its length in bytes.
#[derive(Debug, Serialize)]
pub struct Placed {
    pub file: PathBuf,
    pub digest: Digest,
    pub size: u64,
}

impl Rehearsal {
    /// # Errors
    /// `bad-definition`; `not-found` for a role that is not there; `unsuitable` for a platform that it is not for.
    pub fn of(folder: &Path, role: RoleName, platform: Platform) -> Result<Self> {
        let offer = load_offer(folder.to_owned(), None)?;
        let names: Vec<_> = offer.definition.roles.keys().map(ToString::to_string).collect();
        let known = offer.definition.roles.get(&role).ok_or_else(|| {
            Error::new(Code::NotFound, format!("{} has no role {role}", offer.definition.name))
                .hint(format!("its roles: {}", names.join(", ")))
        })?;
        if !known.terms.platforms.accepts(&platform) {
            return Err(Error::new(Code::Unsuitable, format!("the role {role} is not for {platform}"))
                .hint("name one of its platforms with --platform"));
        }
        Ok(Self { offer, role, platform })
    }
    /// The options that it can be built with. Secret ones never get into a package.
    pub fn options(&self) -> Vec<OptionSpec> {
        self.offer.definition.options.iter().filter(|spec| !spec.secret).cloned().collect()
    }
    /// Builds, and places package, manifest and provenance.
    ///
    /// # Errors
    /// `build-failed` with the end of the command's output as hint; `bad-definition`; `io`, `disk-full`; `interrupted`.
    pub fn build(&self, options: &Options, stage: &Stage<'_>) -> Result<Rehearsed> {
        file::create_dir_private(stage.output)?;
        let roster = self.roster()?;
        let definition = &self.offer.definition;
        let context = Context {
            options,
            session: SESSION,
            role: &self.role,
            platform: &self.platform,
            service_name: &definition.name,
            service_version: &definition.version,
            roster: Some(&roster),
        };
        let role = definition.roles.get(&self.role).ok_or_else(|| Error::new(Code::Internal, "the role is gone"))?;
        let options = options_digest(options, &BTreeMap::new());
        let job = Job { offer: &self.offer, role, context, options, session: None, generation: 1, device: None };
        // Absolute, as the build's command is run elsewhere.
        let folder = std::path::absolute(stage.output).map_err(|why| Error::io("finding", stage.output, &why))?;
        let (system, program) = (stage.system, stage.program);
        let workshop = Workshop { folder, system, program, tools: tools(stage.config), leaving: stage.leaving };
        let made = workshop.make(&job, || true)?;
        place(&job, &made, stage)
    }

    /// An Initiator and a peer, the one with the role that is built having its platform, too.
    fn roster(&self) -> Result<Roster> {
        let of_side = |side: Side| {
            let fits = |role: &&Role| role.terms.side == side;
            let own = self.offer.definition.roles.get(&self.role).filter(fits).map(|_| &self.role);
            own.or_else(|| self.offer.definition.roles.iter().find(|(_, role)| fits(role)).map(|(name, _)| name))
        };
        let initiator = of_side(Side::Initiator).unwrap_or(&self.role);
        let peers = of_side(Side::Peer).map(|role| self.member("peer", 2, role)).transpose()?;
        Ok(Roster { initiator: self.member("initiator", 1, initiator)?, peers: peers.into_iter().collect() })
    }

    fn member(&self, name: &str, number: u8, role: &RoleName) -> Result<Member> {
        let key = SigningKey::from_seed(&[number; 32])?.key();
        let host = Host { name: format!("{name}.example"), port: 4800 };
        Ok(Member {
            name: name.parse::<Name>()?,
            key,
            host: Some(host.name.clone()),
            port: Some(host.port),
            address: Address { key, host: Some(host) },
            role: role.clone(),
            platform: self.platform.clone(),
        })
    }
}

fn place(job: &Job<'_>, made: &Made, stage: &Stage<'_>) -> Result<Rehearsed> {
    let signer = SigningKey::from_seed(&stage.system.random())?;
    let manifest = job.manifest(&made.packed);
    let name = manifest.file_name();
    let stem = name.strip_suffix(".tar.gz").unwrap_or(&name);
    let package = stage.output.join(&name);
    file::rename_durable(&made.path, &package)?;
    let put = |what: &str, bytes: &[u8]| {
        let file = stage.output.join(format!("{stem}.{what}.json"));
        file::write_atomic(&file, bytes, file::PLAIN)?;
        Ok::<_, Error>(Placed { file, digest: Digest::of(bytes), size: bytes.len() as u64 })
    };
    let provenance = job.provenance(made, &signer.key()).seal(&manifest, &signer).to_json();
    Ok(Rehearsed {
        service: manifest.name.clone(),
        version: manifest.version.clone(),
        role: manifest.role.clone(),
        platform: manifest.platform.clone(),
        definition: manifest.definition,
        options: manifest.options,
        package: Placed { file: package, digest: made.packed.digest, size: made.packed.size },
        manifest: put("manifest", &manifest.seal(&signer).to_json())?,
        provenance: put("provenance", &provenance)?,
        signer: signer.key(),
        confinement: made.level,
    })
}
