//! `deployctl verify`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::shell::Shell;
use super::status::program;
use crate::model::count::counted;
use crate::model::{Address, Code, Digest, Error, Key, Result};
use crate::package::manifest::VerifiedManifest;
use crate::package::{MAX_MANIFEST_BYTES, check_digest, check_file};
use crate::roles::programs::verify::ProgramVerification;
use crate::roles::transcript;
use crate::roles::verify::{Verification, verify_session};
use crate::store::file;

/// Check a session, a program, a transcript or a package from files alone
///
/// Of a session or a transcript: that the log is whole and chained, that every message in it and inside of it is signed
/// by whom it says, that it replays to what was sent, that everything came in its order, that the ledger agrees, and that
/// what was delivered is what was accepted; of this node's own session also that what is installed is what was signed.
/// Of a package: every piece, and the whole file's SHA-256.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl verify 7k3q
  deployctl verify party.json                 a transcript, from anybody; needs no identity
  deployctl verify chat.tar.gz --manifest chat.json --signer shop")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; an installed program; or the file of a transcript or a package
    #[arg(value_name = "SESSION|PROGRAM|FILE")]
    what: String,
    /// The package's signed manifest
    #[arg(long, value_name = "FILE", requires = "signer")]
    manifest: Option<PathBuf>,
    /// Who must have signed the manifest: a key, an address or a contact
    #[arg(long, value_name = "KEY|ADDRESS|CONTACT", requires = "manifest")]
    signer: Option<String>,
}

#[derive(Serialize)]
struct Verified {
    verified: Vec<Verification>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let path = Path::new(&args.what);
    if let (Some(manifest), Some(signer)) = (&args.manifest, &args.signer) {
        return package(path, manifest, &key_of(signer, shell)?, shell);
    }
    if file::exists(path)? {
        let transcript = transcript::read(path)?;
        let verified = transcript::verify(&transcript).map_err(|error| error.while_doing(path.display()))?;
        return show(vec![verified], shell);
    }
    let node = shell.node()?;
    if let Some(program) = program::named(&node, &args.what)? {
        let checked = node.verify_program(&program)?;
        return shell.ui.data(&checked, || describe_program(&checked));
    }
    let session = node.state.resolve_session(&args.what).map_err(|why| match program::unknown(&args.what, why) {
        error if error.code == Code::NotFound => {
            Error { message: format!("there is no file, no session and no program {}", args.what), ..error }
        }
        error => error,
    })?;
    let mut verified = Vec::new();
    for (found, parties) in node.state.find_sessions()? {
        for party in parties.into_iter().filter(|_| found == session) {
            verified.push(verify_session(&node, session, party)?);
        }
    }
    show(verified, shell)
}

fn show(verified: Vec<Verification>, shell: &Shell) -> Result<()> {
    let all = Verified { verified };
    shell.ui.data(&all, || all.verified.iter().map(describe).collect::<Vec<_>>().join("\n"))
}

fn describe(one: &Verification) -> String {
    let installed =
        one.installed.map_or(String::new(), |digest| format!("; what is installed is package {}", digest.short()));
    let mut lines = vec![format!(
        "session {} as {}: {} chained and in order, {} right, {} in agreement, {} as accepted, {} that fit{installed}",
        one.session.short(),
        one.party,
        counted(one.records, "record"),
        counted(one.signatures, "signature"),
        counted(one.accountings, "accounting"),
        counted(one.manifests, "manifest"),
        counted(one.provenances, "provenance"),
    )];
    for signer in &one.signers {
        let who = &signer.who;
        lines.push(format!("  {} {} as {}, {}", who.key, who.name, who.party, counted(signer.signatures, "signature")));
    }
    if let Some(key) = one.sealed_by {
        lines.push(format!("  sealed by {key}"));
    }
    lines.join("\n")
}

fn describe_program(one: &ProgramVerification) -> String {
    let by = one.delivered_by.map_or_else(|| "from a file".to_owned(), |key| format!("delivered by {}", key.short()));
    format!(
        "{} {}, generation {}: {} entries are as {} signed, package {}, {by}",
        one.program,
        one.version,
        one.generation,
        one.entries,
        one.signer.short(),
        one.package.short()
    )
}

/// A key as it is, the one of an address, or that of a contact or of this node by name.
pub(super) fn key_of(text: &str, shell: &Shell) -> Result<Key> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    match text.parse::<Address>() {
        Ok(address) => Ok(address.key),
        Err(_) => {
            let node = shell.node()?;
            match &*node.name() == text {
                true => Ok(node.key()),
                false => Ok(node.contacts.by_name(text)?.address.key),
            }
        }
    }
}

/// A package that is what its manifest says.
#[derive(Serialize)]
struct Package {
    digest: Digest,
    size: u64,
    pieces: usize,
    name: String,
    version: String,
    role: String,
    platform: String,
    signer: Key,
}

fn package(path: &Path, manifest: &Path, signer: &Key, shell: &Shell) -> Result<()> {
    let bytes = file::read_limited(manifest, MAX_MANIFEST_BYTES as u64)?;
    let manifest = VerifiedManifest::open(&bytes, signer)?;
    let package = file::open_optional(path)?
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no file {}", path.display())))?;
    let checks = check_file(&package, &manifest).and_then(|()| check_digest(&package, &manifest));
    checks.map_err(|error| error.while_doing(path.display()))?;
    let digest = manifest.package.digest;
    let checked = Package {
        digest,
        size: manifest.package.size,
        pieces: manifest.pieces.len(),
        name: manifest.name.to_string(),
        version: manifest.version.to_string(),
        role: manifest.role.to_string(),
        platform: manifest.platform.to_string(),
        signer: *signer,
    };
    shell.ui.data(&checked, || {
        format!(
            "{} {} for {} on {}: {} pieces and SHA-256 {} are as {} signed",
            checked.name,
            checked.version,
            checked.role,
            checked.platform,
            checked.pieces,
            digest,
            signer.short()
        )
    })
}
