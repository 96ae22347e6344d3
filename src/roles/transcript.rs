//! The transcript of a session: one document with which a third party, who has nothing else, can check what one party's
//! node saw, said and did. Without secrets: none of them is in a log, a ledger or a manifest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cast::{Cast, Member};
use super::forks;
use super::node::Node;
use super::order::{Manifests, Subject};
use super::proof::{self, Signatures, proven};
use super::sitting::entries;
use super::verify::{Verification, signers};
use crate::message::rotate::open_chain;
use crate::message::{Envelope, SigningKey};
use crate::model::{Code, Digest, Error, Key, Party, Result, SessionId, Time};
use crate::package::VerifiedManifest;
use crate::store::fork::{self, Fork};
use crate::store::{file, ledger, log};

const FORMAT: &str = "deployctl-transcript";
const VERSION: u32 = 1;
/// Of the envelope that seals a transcript: its payload is [`Sealed`].
const SEAL_TYPE: &str = "application/vnd.deployctl.transcript.v1+json";
/// The longest transcript, in bytes: a log and a ledger as they are, their quotes escaped, fit if they are not extreme.
const MAX_TRANSCRIPT: u64 = 512 << 20;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    pub format: String,
    pub version: u32,
    pub session: SessionId,
    /// Whose side this is.
    pub party: Party,
    pub node_key: Key,
    /// Where the node has another key by now, which seals: what led there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<Envelope>,
    /// Everybody by the name that this node has for them. Said by this node alone.
    pub parties: Vec<Member>,
    /// The lines of the log as they are.
    pub records: Vec<String>,
    /// The lines of the ledger as they are.
    pub ledger: Vec<String>,
    /// Evidence of forks of the ledger, as it was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
    /// The signed manifests, by their own digests.
    pub manifests: BTreeMap<Digest, Envelope>,
    /// The node's signature over all of the above: records that nobody else signed cannot be changed by others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Envelope>,
}

/// What a seal says.
#[derive(PartialEq, Serialize, Deserialize)]
struct Sealed {
    session: SessionId,
    party: Party,
    /// SHA-256 of the transcript without its seal, as compact JSON with the fields in the order above.
    transcript: Digest,
}

impl Transcript {
    fn sealed(&self) -> Sealed {
        let bare = Self { seal: None, ..self.clone() };
        let text = serde_json::to_vec(&bare).expect("texts and keys serialize");
        Sealed { session: self.session, party: self.party, transcript: Digest::of(&text) }
    }
    fn seal(&mut self, signer: &SigningKey) {
        let payload = serde_json::to_vec(&self.sealed()).expect("ids and digests serialize");
        self.seal = Some(Envelope::seal(SEAL_TYPE, payload, signer));
    }
    /// The key that the node had when it sealed: the one under which it took part, or what that one led to.
    fn sealing_key(&self) -> Result<Key> {
        if self.rotations.is_empty() {
            return Ok(self.node_key);
        }
        // Whoever checks a transcript may have no clock that is right.
        let chain = open_chain(&self.rotations, Time::from_unix_ms(i64::MAX))?;
        match (chain.first(), chain.last()) {
            (Some(first), Some(last)) if first.from == self.node_key => Ok(last.to),
            _ => Err(Error::new(Code::BrokenChain, "the rotations do not begin with the node's key")),
        }
    }
    /// # Errors
    /// `bad-signature`, `broken-chain`.
    fn check_seal(&self) -> Result<()> {
        let broken = |why: &str| Error::new(Code::BrokenChain, format!("the transcript's seal: {why}"));
        let seal = self.seal.as_ref().ok_or_else(|| broken("there is none"))?;
        if seal.payload_type != SEAL_TYPE {
            return Err(broken("it is of another type"));
        }
        seal.verify(&self.sealing_key()?).map_err(|error| error.while_doing("the transcript's seal"))?;
        let said: Sealed = serde_json::from_slice(&seal.payload).map_err(|why| broken(&why.to_string()))?;
        if said == self.sealed() { Ok(()) } else { Err(broken("something was changed after the node had sealed it")) }
    }
}

/// Makes the transcript of one side of a session.
///
/// # Errors
/// `broken-chain`, `damaged` where what is to be exported is not whole; `io`.
pub fn export(node: &Node, session: SessionId, party: Party) -> Result<Transcript> {
    let path = node.state.session_log(session, party);
    let contents = log::read(&path, session, party)?;
    let mut records = log::read_lines(&path, session, party)?;
    // A step may have been added between the two readings.
    records.truncate(contents.records.len());
    let entries = entries(&contents.records)?;
    let me = node.me_in(&entries);
    let cast = Cast::of(party, me, &entries, |key| node.calls(key));
    let mut manifests = BTreeMap::new();
    for (digest, bytes) in node.statements(session, party).manifests()? {
        manifests.insert(digest, Envelope::from_json(&bytes)?);
    }
    // A peer has no accounts, unless its node plays another party, too.
    let ledger = node.state.ledger(session);
    let bytes = if party == Party::Peer { None } else { file::read_optional(&ledger, ledger::MAX_LEDGER)? };
    let bytes = bytes.unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = std::str::from_utf8(&bytes[..whole])
        .map_err(|why| Error::new(Code::BrokenChain, format!("the session's ledger is no text: {why}")))?;
    let mut transcript = Transcript {
        format: FORMAT.to_owned(),
        version: VERSION,
        session,
        party,
        node_key: me,
        rotations: node.rotations_from(&me),
        parties: cast.members,
        records,
        ledger: text.lines().map(str::to_owned).collect(),
        forks: if party == Party::Peer { Vec::new() } else { fork::read(&node.state.forks(session))? },
        manifests,
        seal: None,
    };
    transcript.seal(&node.identity.signing());
    Ok(transcript)
}

/// Reads a transcript, and checks nothing of it yet.
///
/// # Errors
/// `bad-input` where it is none, `newer-state` where it is of a later version; `io`.
pub fn read(path: &Path) -> Result<Transcript> {
    #[derive(Deserialize)]
    struct Kind {
        format: String,
        version: u32,
    }
    let bytes = file::read_limited(path, MAX_TRANSCRIPT)?;
    let bad = |why: String| {
        Error::new(Code::BadInput, format!("{} is not a transcript: {why}", path.display()))
            .hint("`deployctl status SESSION --export FILE` makes one; for a package, name its --manifest")
    };
    let kind: Kind = serde_json::from_slice(&bytes).map_err(|why| bad(why.to_string()))?;
    if kind.format != FORMAT {
        return Err(bad(format!("its format is {:?}", kind.format)));
    }
    if kind.version > VERSION {
        let why = format!("{} was written by a newer deployctl (version {})", path.display(), kind.version);
        return Err(Error::new(Code::NewerState, why).hint("update deployctl"));
    }
    serde_json::from_slice(&bytes).map_err(|why| bad(why.to_string()))
}

/// Checks a transcript from itself alone.
///
/// # Errors
/// Of exit code 4, naming record, accounting or manifest.
pub fn verify(transcript: &Transcript) -> Result<Verification> {
    let Transcript { session, party, node_key, .. } = *transcript;
    let about = |error: Error| proven(error).about(session);
    let contents = log::check("the transcript", joined(&transcript.records)?.as_bytes(), session, party);
    let contents = contents.map_err(about)?;
    let entries = entries(&contents.records).map_err(about)?;
    let of = Subject { session, party, me: node_key };
    let cast = Cast::of(party, node_key, &entries, |key| called(transcript, key));
    let mut signed = Signatures::new();
    let manifests = open_manifests(transcript, &cast, &mut signed).map_err(about)?;
    let replayed = proof::check_log(of, "the transcript", &entries, &manifests, &mut signed).map_err(about)?;
    let accountings = verify_ledger(transcript, &cast, &replayed, &mut signed).map_err(about)?;
    transcript.check_seal().map_err(about)?;
    forks::check_all(&transcript.forks, "the transcript").map_err(about)?;
    *signed.entry(node_key).or_default() += 1;
    Ok(Verification {
        session,
        party,
        records: contents.head.seq,
        signatures: signed.values().sum(),
        accountings,
        manifests: manifests.len() as u64,
        provenances: 0,
        signers: signers(&cast, &signed),
        installed: None,
        sealed_by: Some(node_key),
    })
}

/// The lines as a file has them.
fn joined(lines: &[String]) -> Result<String> {
    if let Some(at) = lines.iter().position(|line| line.contains('\n')) {
        return Err(Error::new(Code::BrokenChain, format!("record {} of the transcript is not one line", at + 1)));
    }
    Ok(lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
}

fn called(transcript: &Transcript, key: &Key) -> Option<String> {
    transcript.parties.iter().find(|member| member.key == *key).map(|member| member.name.clone())
}

fn open_manifests(transcript: &Transcript, cast: &Cast, signed: &mut Signatures) -> Result<Manifests> {
    let provider = cast.only(Party::Provider).map(|at| cast.members[at].key);
    let mut manifests = Manifests::new();
    for (digest, envelope) in &transcript.manifests {
        let named = |error: Error| error.while_doing(format!("the manifest {digest}"));
        let provider = provider.ok_or_else(|| named(Error::new(Code::BrokenChain, "the log names no provider")))?;
        let manifest = VerifiedManifest::open(&envelope.to_json(), &provider);
        let manifest = manifest.and_then(|manifest| proof::is_named(manifest, digest)).map_err(named)?;
        *signed.entry(provider).or_default() += 1;
        manifests.insert(*digest, manifest);
    }
    Ok(manifests)
}

fn verify_ledger(
    transcript: &Transcript,
    cast: &Cast,
    replayed: &crate::session::Replayed,
    signed: &mut Signatures,
) -> Result<u64> {
    let place = "the transcript's ledger";
    let lines = ledger::read_text(place, &joined(&transcript.ledger)?)?;
    if let Some(checked) = proof::check_ledger(&lines, place, signed)? {
        let is_between = cast.find(Party::Initiator, &checked.initiator).is_some()
            && cast.find(Party::Provider, &checked.provider).is_some();
        if checked.session != transcript.session || !is_between {
            return Err(proof::broken(1, place, "it is of another session, or of others"));
        }
    }
    if transcript.party != Party::Peer {
        proof::check_agreement(&lines, place, replayed)?;
        let in_log = |sequence| replayed.accounts.iter().any(|(known, ..)| *known == sequence);
        if let Some(line) = lines.iter().find(|line| !in_log(line.sequence)) {
            return Err(proof::broken(line.sequence, place, "the ledger has it, the session's log does not"));
        }
    }
    Ok(lines.len() as u64)
}
