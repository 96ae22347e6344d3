//! Checking a session from its files alone (row C5): chains, signatures, the order of things, the ledger, what is installed.

use serde::Serialize;

use super::cast::{Cast, Member};
use super::forks;
use super::node::Node;
use super::order::{Manifests, Subject};
use super::proof::{self, Signatures};
use super::sitting::entries;
use crate::model::{Code, Digest, Error, Key, Party, Result, SessionId};
use crate::package::{self, VerifiedManifest};
use crate::session::record::Replayed;
use crate::store::ledger::Ledger;
use crate::store::{installs, log};

/// What was checked and found right.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    pub session: SessionId,
    pub party: Party,
    pub records: u64,
    pub signatures: u64,
    pub accountings: u64,
    pub manifests: u64,
    /// Statements of what the packages were made of, each compared with its manifest.
    pub provenances: u64,
    /// Who signed, and how often.
    pub signers: Vec<Signer>,
    /// The generation that is installed and was compared with its manifest, file by file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Digest>,
    /// Whose node sealed the transcript that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed_by: Option<Key>,
}

/// One whose signatures were checked.
#[derive(Clone, Debug, Serialize)]
pub struct Signer {
    #[serde(flatten)]
    pub who: Member,
    pub signatures: u64,
}

/// Checks this node's side of a session.
///
/// # Errors
/// `broken-chain`, `bad-signature`, `damaged`, `bad-digest`: naming file and record.
pub fn verify_session(node: &Node, session: SessionId, party: Party) -> Result<Verification> {
    let path = node.state.session_log(session, party);
    let contents = log::read(&path, session, party)?;
    let entries = entries(&contents.records)?;
    let of = Subject { session, party, me: node.me_in(&entries) };
    let cast = Cast::of(party, of.me, &entries, |key| node.calls(key));
    let manifests = open_manifests(node, session, party, &cast)?;
    let provenances = verify_provenances(node, session, party, &manifests)?;
    let mut signed = Signatures::new();
    let replayed = proof::check_log(of, &path.display().to_string(), &entries, &manifests, &mut signed)?;
    let signatures = signed.values().sum();
    let accountings = verify_ledger(node, session, Some(&replayed))?;
    let installed = verify_installed(node, session, party, &replayed)?;
    Ok(Verification {
        session,
        party,
        records: contents.head.seq,
        signatures,
        accountings,
        manifests: manifests.len() as u64,
        provenances,
        signers: signers(&cast, &signed),
        installed,
        sealed_by: None,
    })
}

/// Those who signed, in the order of the cast.
pub(super) fn signers(cast: &Cast, signed: &Signatures) -> Vec<Signer> {
    let mut signers: Vec<Signer> = Vec::new();
    for member in &cast.members {
        let Some(signatures) = signed.get(&member.key) else { continue };
        if signers.iter().all(|signer| signer.who.key != member.key) {
            signers.push(Signer { who: member.clone(), signatures: *signatures });
        }
    }
    signers
}

fn open_manifests(node: &Node, session: SessionId, party: Party, cast: &Cast) -> Result<Manifests> {
    let mut manifests = Manifests::new();
    let Some(provider) = cast.only(Party::Provider).map(|at| cast.members[at].key) else { return Ok(manifests) };
    let statements = node.statements(session, party);
    for (digest, bytes) in statements.manifests()? {
        let path = statements.manifest_path(&digest);
        let manifest = VerifiedManifest::open(&bytes, &provider)
            .and_then(|manifest| proof::is_named(manifest, &digest))
            .map_err(|error| proof::proven(error.while_doing(path.display())).about(session))?;
        manifests.insert(digest, manifest);
    }
    Ok(manifests)
}

/// Checks each provenance: signed by the provider, of the same package, definition, role and session as its manifest.
fn verify_provenances(node: &Node, session: SessionId, party: Party, manifests: &Manifests) -> Result<u64> {
    let mut checked = 0;
    let statements = node.statements(session, party);
    for named in statements.provenances()? {
        let path = statements.provenance_path(&named);
        let broken = |error: Error| proof::proven(error.while_doing(path.display())).about(session);
        let manifest = manifests.get(&named).ok_or_else(|| Error::new(Code::BrokenChain, "it has no manifest"));
        let bytes = node.provenance(session, party, &named)?.unwrap_or_default();
        manifest.and_then(|manifest| manifest.check_provenance(&bytes)).map_err(broken)?;
        checked += 1;
    }
    Ok(checked)
}

/// Checks the ledger of a session by itself, and that it is the same as the log says.
///
/// # Errors
/// `broken-chain`, naming file and accounting; `forked-chain` where there is evidence that somebody accounted or
/// countersigned twice.
pub fn verify_ledger(node: &Node, session: SessionId, replayed: Option<&Replayed>) -> Result<u64> {
    let contents = Ledger::of(&node.state, session).read()?;
    let place = node.state.ledger(session).display().to_string();
    let checked = proof::check_ledger(&contents.lines, &place, &mut Signatures::new())?;
    if checked.is_some_and(|checked| checked.session != session) {
        return Err(proof::broken(1, &place, "it is of another session").about(session));
    }
    forks::check(&node.state.forks(session))?;
    if let Some(replayed) = replayed {
        proof::check_agreement(&contents.lines, &place, replayed).map_err(|error| error.about(session))?;
    }
    Ok(checked.map_or(0, |checked| checked.accountings))
}

/// Compares what is installed with what was signed, file by file.
fn verify_installed(node: &Node, session: SessionId, party: Party, replayed: &Replayed) -> Result<Option<Digest>> {
    let Some(participation) = replayed.machine.participation() else { return Ok(None) };
    let Some(delivery) = participation.delivery.as_ref().filter(|_| participation.holds_software()) else {
        return Ok(None);
    };
    let summary = replayed.machine.summary();
    let Some(role) = summary.role else { return Ok(None) };
    let root = node.install_root(session, party, &role)?;
    // A later one may be installed beside it and not have taken over.
    let generation = delivery.generation;
    let installed = installs::look(&root)?.is_some_and(|status| status.generations.contains_key(&generation));
    if !installed {
        return Ok(None);
    }
    let digest = delivery.package.digest;
    let Some(bytes) = node.manifest(session, party, &delivery.manifest)? else {
        return Err(Error::new(Code::NotFound, format!("the manifest of {} is missing", digest.short())).about(session));
    };
    let manifest = VerifiedManifest::open(&bytes, &summary.provider.key)?;
    package::check_tree(&installs::folder_of(&root, generation), &manifest)?;
    Ok(Some(digest))
}
