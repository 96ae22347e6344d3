//! The manifest: what a package is, who it is for and what its bytes are, as a signed in-toto statement.

use std::ops::Deref;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::cut::Cut;
use super::header::{BLOCK, END_BYTES};
use super::{FREE_RATIO_BYTES, MAX_ENTRIES, MAX_MANIFEST_BYTES, MAX_PIECE_RAW_BYTES, MAX_RATIO, MAX_RAW_BYTES};
use crate::message::{Envelope, SigningKey};
use crate::model::{Code, Digest, Error, Hash, Key, Result, RoleName, ServiceName, SessionId};
use crate::service::platform::Platform;
use crate::service::{Definition, RoleTerms};

/// in-toto's media type (attestation framework v1, envelope.md).
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// in-toto's statement (attestation framework v1, statement.md).
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What the predicate below means.
pub const PREDICATE_TYPE: &str = "urn:deployctl:manifest:v1";

/// The shortest gzip member: header, an empty block, trailer.
const MIN_PIECE_BYTES: u64 = 20;

/// What a package is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: ServiceName,
    pub version: Version,
    pub role: RoleName,
    pub platform: Platform,
    /// Absent in a program of a directory, which belongs to no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    pub generation: u32,
    /// What the participant agreed to.
    pub terms: RoleTerms,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// In a program's manifest, and in no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<About>,
    /// Of the service's definition.
    pub definition: Digest,
    /// Of the options that it was built with.
    pub options: Digest,
    pub package: PackageId,
    /// How the packer cut the pieces, which nobody has to know to use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// In the order of the package, without gaps.
    pub pieces: Vec<Piece>,
    pub entries: u64,
    /// Bytes of the tar inside.
    pub raw_size: u64,
    /// See [`super::tree`].
    pub tree: Hash,
}

/// What a program's signer says of it, so that nobody else can when it is offered on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The advertised service types that it makes usable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enables: Vec<String>,
    /// The only device that it is for: something of that device was built into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Key>,
}

impl About {
    pub fn of(definition: &Definition) -> Self {
        Self {
            summary: definition.summary.clone(),
            category: definition.category.clone(),
            enables: definition.enables.iter().flat_map(|enables| enables.types.clone()).collect(),
            device: None,
        }
    }
}

/// The package as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageId {
    /// SHA-256 of the whole file, which names the package.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// One gzip member of the package. All figures are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub offset: u64,
    pub length: u64,
    /// After inflating.
    pub raw_length: u64,
    /// BLAKE3 of the compressed bytes.
    pub hash: Hash,
}

/// in-toto's statement around a predicate.
#[derive(Serialize, Deserialize)]
pub(super) struct Statement<P> {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub(super) predicate_type: String,
    pub(super) predicate: P,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) digest: SubjectDigest,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct SubjectDigest {
    pub(super) sha256: Digest,
}

impl Manifest {
    /// What the package would be called in a folder of downloads.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}-{}.tar.gz", self.name, self.version, self.role, self.platform)
    }
    /// Signs it. The file of a manifest is this envelope's JSON.
    pub fn seal(&self, signer: &SigningKey) -> Envelope {
        let statement = Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![self.subject()],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: self,
        };
        let payload = serde_json::to_vec(&statement).expect("names, numbers and lists serialize");
        Envelope::seal(PAYLOAD_TYPE, payload, signer)
    }
    pub(super) fn subject(&self) -> Subject {
        Subject { name: self.file_name(), digest: SubjectDigest { sha256: self.package.digest } }
    }
}

/// A manifest whose signature was checked and whose figures are consistent and within our limits. Only
/// [`VerifiedManifest::open`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedManifest {
    manifest: Manifest,
    signer: Key,
    bytes: Vec<u8>,
    digest: Digest,
}

impl VerifiedManifest {
    /// Opens the file of a manifest: first the signature over the bytes as they came, then what they say.
    ///
    /// # Errors
    /// `too-large`, `bad-message`, `bad-signature`; `bad-archive` where its figures contradict each other.
    pub fn open(bytes: &[u8], signer: &Key) -> Result<Self> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            let why = format!("the manifest has {} bytes, more than {MAX_MANIFEST_BYTES}", bytes.len());
            return Err(Error::new(Code::TooLarge, why));
        }
        let envelope = Envelope::from_json(bytes).map_err(|why| why.while_doing("reading the manifest"))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            let why = format!("the manifest is of type {:?} instead of {PAYLOAD_TYPE}", envelope.payload_type);
            return Err(Error::new(Code::BadMessage, why));
        }
        envelope.verify(signer).map_err(|why| why.while_doing("checking the manifest"))?;
        let statement: Statement<Manifest> = serde_json::from_slice(&envelope.payload)
            .map_err(|why| Error::new(Code::BadMessage, format!("the manifest cannot be read: {why}")))?;
        let manifest = statement_about_a_package(statement)?;
        check_figures(&manifest)?;
        Ok(Self { manifest, signer: *signer, bytes: bytes.to_vec(), digest: Digest::of(bytes) })
    }
    /// The file, byte for byte: what is stored and passed on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    pub fn signer(&self) -> Key {
        self.signer
    }
}
impl Deref for VerifiedManifest {
    type Target = Manifest;
    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

fn inconsistent(why: impl std::fmt::Display) -> Error {
    Error::new(Code::BadArchive, format!("the manifest contradicts itself: {why}"))
}

fn statement_about_a_package(statement: Statement<Manifest>) -> Result<Manifest> {
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        let why = format!("the manifest is a statement {:?} of {:?}", statement.predicate_type, statement.kind);
        return Err(Error::new(Code::BadMessage, why));
    }
    if statement.subject != [statement.predicate.subject()] {
        return Err(inconsistent("its subject is not the package that it describes"));
    }
    Ok(statement.predicate)
}

/// Every figure within its limit, and the sums right: what is read later can rely on them.
fn check_figures(manifest: &Manifest) -> Result<()> {
    if manifest.program.is_some() && manifest.session.is_some() {
        return Err(inconsistent("a program belongs to no session"));
    }
    let too_large = |what: &str, value: u64, limit: u64| {
        Error::new(Code::TooLarge, format!("the manifest promises {value} {what}, more than {limit}"))
    };
    if manifest.entries > MAX_ENTRIES {
        return Err(too_large("entries", manifest.entries, MAX_ENTRIES));
    }
    if manifest.raw_size > MAX_RAW_BYTES {
        return Err(too_large("bytes", manifest.raw_size, MAX_RAW_BYTES));
    }
    let least = manifest.entries * BLOCK as u64 + END_BYTES as u64;
    if manifest.raw_size < least || !manifest.raw_size.is_multiple_of(BLOCK as u64) {
        return Err(inconsistent(format!("{} entries in {} bytes of tar", manifest.entries, manifest.raw_size)));
    }
    let (mut offset, mut raw) = (0_u64, 0_u64);
    for piece in &manifest.pieces {
        check_piece_figures(piece, offset)?;
        offset = offset.checked_add(piece.length).ok_or_else(|| inconsistent("its pieces' lengths overflow"))?;
        raw = raw.checked_add(piece.raw_length).ok_or_else(|| inconsistent("its pieces' raw lengths overflow"))?;
    }
    if offset != manifest.package.size {
        return Err(inconsistent(format!("pieces of {offset} bytes in a package of {}", manifest.package.size)));
    }
    if raw != manifest.raw_size {
        return Err(inconsistent(format!("pieces of {raw} raw bytes in a tar of {}", manifest.raw_size)));
    }
    check_ratio(raw, offset)
}

fn check_piece_figures(piece: &Piece, offset: u64) -> Result<()> {
    if piece.offset != offset {
        return Err(inconsistent(format!("the piece at byte {} does not follow the one before", piece.offset)));
    }
    // Deflate stores what it cannot shrink, at a cost far below this.
    let most = piece.raw_length.saturating_add(piece.raw_length / 64).saturating_add(128);
    let raw_fits = (1..=MAX_PIECE_RAW_BYTES).contains(&piece.raw_length);
    if !raw_fits || !(MIN_PIECE_BYTES..=most).contains(&piece.length) {
        let why = format!("the piece at byte {offset} has {} bytes for {}", piece.length, piece.raw_length);
        return Err(inconsistent(why));
    }
    Ok(())
}

/// Refuses what compresses too well to be software, beyond a size that anybody can afford.
pub(super) fn check_ratio(raw_size: u64, size: u64) -> Result<()> {
    if raw_size > FREE_RATIO_BYTES && raw_size / MAX_RATIO > size {
        let why =
            format!("a package of {size} bytes with {raw_size} bytes inside compresses more than {MAX_RATIO} times");
        return Err(Error::new(Code::TooLarge, why));
    }
    Ok(())
}
