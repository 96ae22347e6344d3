//! Installing a package that lies here as a file, with its manifest: no network, no session, no other party. Whose
//! signature counts is what the contacts say.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::node::{Node, blocking};
use crate::message::Envelope;
use crate::model::{Code, Digest, Error, Key, Name, Result, RoleName, ServiceName};
use crate::package::{MAX_MANIFEST_BYTES, VerifiedManifest};
use crate::service::platform::{Platform, Platforms};
use crate::store::floors::Floors;
use crate::store::packages::{Packages, Statement};
use crate::store::programs::ProgramId;
use crate::store::rights::Right;
use crate::store::{file, installs};

/// A manifest that a contact with `provide` signed.
pub struct Offered {
    pub manifest: VerifiedManifest,
    /// The contact's name here.
    pub from: Name,
}

/// What is installed now.
#[derive(Debug, Serialize)]
pub struct Placed {
    pub program: ServiceName,
    pub version: semver::Version,
    pub role: RoleName,
    pub platform: Platform,
    pub signer: Key,
    pub package: Digest,
    pub generation: u32,
    pub folder: PathBuf,
    /// It had been installed before.
    pub already: bool,
    /// What an interrupted change had left, and what became of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovered: Vec<String>,
}

impl Node {
    /// Reads the manifest's file, and sees that it may be installed here: signed by a contact with `provide`, of no
    /// session, for this machine.
    ///
    /// # Errors
    /// `wrong-key`, `bad-signature`, `bad-message`, `not-permitted`, `wrong-session`, `unsuitable`; `io`.
    pub fn open_offer(&self, path: &Path) -> Result<Offered> {
        let bytes = file::read_limited(path, MAX_MANIFEST_BYTES as u64)?;
        let doing = |error: Error| error.while_doing(path.display());
        let key = signer_of(&bytes).map_err(doing)?;
        let contact = self.contacts.by_key(&key, self.system.now())?.ok_or_else(|| {
            Error::new(Code::WrongKey, format!("{} was signed by {key}, which is no contact here", path.display()))
                .hint(format!("if you trust it: deployctl trust add NAME deploy://{key} --may provide"))
        })?;
        if !contact.may.may(Right::Provide) {
            let why = format!(
                "{} was signed by {}, which may not have software installed here",
                path.display(),
                contact.name
            );
            return Err(Error::new(Code::NotPermitted, why)
                .hint(format!("deployctl trust add {} {} --may provide", contact.name, contact.address)));
        }
        let manifest = VerifiedManifest::open(&bytes, &key).map_err(doing)?;
        if let Some(session) = manifest.session {
            return Err(Error::new(Code::WrongSession, format!("{} is of a session", path.display()))
                .hint(format!("deployctl install {}", session.short())));
        }
        let here = Platform::here();
        if manifest.platform != here && manifest.terms.platforms != Platforms::Any {
            let why = format!("{} is for {}, and this machine is {here}", manifest.file_name(), manifest.platform);
            return Err(Error::new(Code::Unsuitable, why));
        }
        Ok(Offered { manifest, from: contact.name })
    }

    /// Installs the package's file as the next generation of its program, below `root` or in the state directory.
    ///
    /// # Errors
    /// What [`installs::install`] gives; `not-found` without the file; `downgrade` where a later version is installed.
    pub fn install_offer(&self, package: &Path, offered: &Offered, root: Option<&Path>) -> Result<Placed> {
        let manifest = &offered.manifest;
        let missing = || Error::new(Code::NotFound, format!("there is no file {}", package.display()));
        let opened = file::open_optional(package)?.ok_or_else(missing)?;
        let id = ProgramId { signer: manifest.signer(), name: manifest.name.clone() };
        Floors::of(&self.state).check(&id, &manifest.version)?;
        let root = match root {
            Some(root) => root.join(&*manifest.name),
            None => self.state.program_root(&manifest.signer(), &manifest.name),
        };
        let recovered = blocking(|| installs::recover(&root))?.did;
        let generation = self.next_generation(&root, manifest)?;
        // Kept first: by it a later installation knows which version this one is.
        let packages = Packages::of(&self.state);
        packages.put_statement(&manifest.package.digest, Statement::Manifest, manifest.bytes())?;
        let installed = blocking(|| installs::install(&root, generation, &opened, manifest, &mut |_| {}))?;
        Floors::of(&self.state).raise(&id, &manifest.version)?;
        Ok(Placed {
            program: manifest.name.clone(),
            version: manifest.version.clone(),
            role: manifest.role.clone(),
            platform: manifest.platform.clone(),
            signer: manifest.signer(),
            package: manifest.package.digest,
            generation,
            folder: installed.folder,
            already: installed.already,
            recovered,
        })
    }

    /// The number that it is installed under: that of the same package where it is here already, else a new one.
    fn next_generation(&self, root: &Path, manifest: &VerifiedManifest) -> Result<u32> {
        let Some(status) = installs::look(root)? else { return Ok(1) };
        let same =
            |record: &installs::Generation| record.package == manifest.package.digest && record.tree == manifest.tree;
        if let Some((&generation, _)) = status.generations.iter().find(|(_, record)| same(record)) {
            return Ok(generation);
        }
        let current = status.current.and_then(|current| status.generations.get(&current));
        if let Some(version) = current.and_then(|record| self.version_of(record, &manifest.signer()))
            && version > manifest.version
        {
            let why = format!("{} {version} is installed, which is later than {}", manifest.name, manifest.version);
            return Err(Error::new(Code::Downgrade, why));
        }
        Ok(status.generations.last_key_value().map_or(1, |(last, _)| last + 1))
    }

    fn version_of(&self, record: &installs::Generation, signer: &Key) -> Option<semver::Version> {
        let bytes = Packages::of(&self.state).statement(&record.package, Statement::Manifest).ok()?;
        VerifiedManifest::open(&bytes, signer).ok().map(|manifest| manifest.version.clone())
    }
}

/// Who says to have signed it, which is still to be checked.
fn signer_of(bytes: &[u8]) -> Result<Key> {
    let envelope = Envelope::from_json(bytes)?;
    let [signature] = envelope.signatures.as_slice() else {
        return Err(Error::new(Code::BadSignature, "the manifest has not exactly one signature"));
    };
    signature.keyid.parse().map_err(|_| Error::new(Code::BadSignature, "the manifest's signature names no key"))
}
