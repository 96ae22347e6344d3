//! Where a package comes from: a second signed in-toto statement about it, SLSA's provenance
//! (<https://slsa.dev/spec/v1.0/provenance>), for the receivers' own tools and for looking up whether something was
//! built already.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::manifest::{PAYLOAD_TYPE, STATEMENT_TYPE, Statement};
use super::{MAX_MANIFEST_BYTES, Manifest, VerifiedManifest};
use crate::message::{Envelope, SigningKey};
use crate::model::{Code, Digest, Error, Key, Result, RoleName, ServiceName, SessionId, Time};
use crate::service::platform::Platform;

/// What the predicate means.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What the parameters mean, and how to build again: ARCHITECTURE.md, Builds.
pub const BUILD_TYPE: &str = "urn:deployctl:build:v1";
/// The name of a definition's digest, which is over a folder and not over a file.
const DEFINITION: &str = "deployctlDefinitionV1";

/// SLSA's predicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub build_definition: BuildDefinition,
    pub run_details: RunDetails,
}

/// Everything that the package's bytes depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    pub build_type: String,
    pub external_parameters: Parameters,
    pub resolved_dependencies: Vec<Dependency>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The session, which is also its service request's id. Absent outside any session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    pub service: ServiceName,
    pub version: Version,
    pub role: RoleName,
    pub platform: Platform,
    /// As in the manifest: of the options and the commitments to secret ones.
    pub options: Digest,
    /// Of the participants, as JSON.
    pub roster: Digest,
}

/// What was built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub digest: BTreeMap<String, Digest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetails {
    pub builder: Builder,
    pub metadata: Metadata,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Builder {
    /// The provider: `deploy://KEY`.
    pub id: String,
    pub version: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub started_on: Time,
    pub finished_on: Time,
    /// How far a build command was held (ours, beside SLSA's fields). Absent where nothing was run.
    #[serde(default, rename = "deployctl_confinement", skip_serializing_if = "Option::is_none")]
    pub confinement: Option<String>,
}

impl BuildDefinition {
    pub fn new(parameters: Parameters, definition: Digest) -> Self {
        let dependency = Dependency {
            name: format!("the definition of {} {}", parameters.service, parameters.version),
            digest: BTreeMap::from([(DEFINITION.to_owned(), definition)]),
        };
        Self {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: parameters,
            resolved_dependencies: vec![dependency],
        }
    }
}

impl Metadata {
    pub fn new(started_on: Time, finished_on: Time, confinement: Option<String>) -> Self {
        Self { started_on, finished_on, confinement }
    }
}

impl Provenance {
    pub fn new(build_definition: BuildDefinition, builder: &Key, metadata: Metadata) -> Self {
        let version = BTreeMap::from([("deployctl".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        let builder = Builder { id: format!("deploy://{builder}"), version };
        Self { build_definition, run_details: RunDetails { builder, metadata } }
    }
    /// Signs it as being about the manifest's package.
    pub fn seal(&self, manifest: &Manifest, signer: &SigningKey) -> Envelope {
        let statement = Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![manifest.subject()],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: self,
        };
        let payload = serde_json::to_vec(&statement).expect("names, numbers and lists serialize");
        Envelope::seal(PAYLOAD_TYPE, payload, signer)
    }
    /// Opens a statement: first the signature over the bytes as they came, then what they say. Gives the digest of the
    /// package that it is about, too.
    ///
    /// # Errors
    /// `too-large`, `bad-message`, `bad-signature`.
    pub fn open(bytes: &[u8], signer: &Key) -> Result<(Self, Digest)> {
        let refuse = |why: String| Error::new(Code::BadMessage, format!("the provenance cannot be read: {why}"));
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(Error::new(Code::TooLarge, format!("the provenance has {} bytes", bytes.len())));
        }
        let envelope = Envelope::from_json(bytes).map_err(|why| why.while_doing("reading the provenance"))?;
        envelope.verify(signer).map_err(|why| why.while_doing("checking the provenance"))?;
        let statement: Statement<Self> =
            serde_json::from_slice(&envelope.payload).map_err(|why| refuse(why.to_string()))?;
        let is_ours = envelope.payload_type == PAYLOAD_TYPE
            && statement.kind == STATEMENT_TYPE
            && statement.predicate_type == PREDICATE_TYPE
            && statement.predicate.build_definition.build_type == BUILD_TYPE;
        match statement.subject.as_slice() {
            [subject] if is_ours => Ok((statement.predicate, subject.digest.sha256)),
            _ => Err(refuse(format!("it is a statement {:?}", statement.predicate_type))),
        }
    }
}

impl VerifiedManifest {
    /// Whether a provenance is about this package: by the same signer, of the same definition, role and session.
    ///
    /// # Errors
    /// As [`Provenance::open`]; `bad-digest` where it is about another package, `bad-proof` where it says otherwise.
    pub fn check_provenance(&self, bytes: &[u8]) -> Result<()> {
        let (provenance, digest) = Provenance::open(bytes, &self.signer())?;
        if digest != self.package.digest {
            let why = format!("the provenance is about {}, not about {}", digest.short(), self.package.digest.short());
            return Err(Error::new(Code::BadDigest, why));
        }
        let said = &provenance.build_definition;
        let parameters = Parameters {
            session: self.session,
            service: self.name.clone(),
            version: self.version.clone(),
            role: self.role.clone(),
            platform: self.platform.clone(),
            options: self.options,
            roster: said.external_parameters.roster,
        };
        if *said != BuildDefinition::new(parameters, self.definition) {
            let why = "the provenance names another definition, role, platform, session or options than the manifest";
            return Err(Error::new(Code::BadProof, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::builder;

    #[test]
    fn a_provenance_is_an_in_toto_statement_about_the_package_with_slsas_words() {
        let signer = SigningKey::from_seed(&[7; 32]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let packed = crate::package::pack(folder.path(), &mut Vec::new()).unwrap();
        let manifest = builder::manifest(1, packed);
        let parameters = Parameters {
            session: None,
            service: manifest.name.clone(),
            version: manifest.version.clone(),
            role: manifest.role.clone(),
            platform: manifest.platform.clone(),
            options: manifest.options,
            roster: Digest::of(b"{}"),
        };
        let definition = BuildDefinition::new(parameters, manifest.definition);
        let metadata = Metadata::new(Time::from_unix_ms(0), Time::from_unix_ms(1), None);
        let provenance = Provenance::new(definition, &signer.key(), metadata);
        let envelope = provenance.seal(&manifest, &signer);
        let statement: serde_json::Value = serde_json::from_slice(&envelope.payload).unwrap();
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        assert_eq!(statement["subject"][0]["digest"]["sha256"], manifest.package.digest.to_string());
        let predicate = &statement["predicate"];
        assert_eq!(predicate["buildDefinition"]["buildType"], "urn:deployctl:build:v1");
        assert_eq!(predicate["buildDefinition"]["externalParameters"]["role"], manifest.role.to_string());
        let dependency = &predicate["buildDefinition"]["resolvedDependencies"][0];
        assert_eq!(dependency["digest"]["deployctlDefinitionV1"], manifest.definition.to_string());
        assert_eq!(predicate["runDetails"]["builder"]["id"], format!("deploy://{}", signer.key()));
        assert_eq!(predicate["runDetails"]["metadata"]["startedOn"], "1970-01-01T00:00:00.000Z");
        let bytes = envelope.to_json();
        assert_eq!(Provenance::open(&bytes, &signer.key()).unwrap(), (provenance, manifest.package.digest));
        let other = SigningKey::from_seed(&[8; 32]).unwrap().key();
        assert_eq!(Provenance::open(&bytes, &other).unwrap_err().code, Code::BadSignature);
        let sealed = VerifiedManifest::open(&manifest.seal(&signer).to_json(), &signer.key()).unwrap();
        sealed.check_provenance(&bytes).unwrap();
        let of_another = |change: fn(&mut Manifest)| {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            let sealed = VerifiedManifest::open(&manifest.seal(&signer).to_json(), &signer.key()).unwrap();
            sealed.check_provenance(&bytes).unwrap_err().code
        };
        assert_eq!(of_another(|manifest| manifest.package.digest = Digest::of(b"other")), Code::BadDigest);
        assert_eq!(of_another(|manifest| manifest.definition = Digest::of(b"other")), Code::BadProof);
        assert_eq!(of_another(|manifest| manifest.role = "other".parse().unwrap()), Code::BadProof);
        let manifest = manifest.seal(&signer).to_json();
        assert_eq!(Provenance::open(&manifest, &signer.key()).unwrap_err().code, Code::BadMessage);
    }
}
