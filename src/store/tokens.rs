//! Tokens for enrolment that this node made: `tokens/ID.json` each, until a while after they expired. Of a secret only its
//! digest is kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::rights::Rights;
use super::state::{StateDir, resolve_prefix};
use super::{document, file};
use crate::model::{Code, Digest, Error, Key, Name, Result, Span, Time, TokenId, TokenSecret};

/// Using a token is done in a moment.
const WAIT: Span = Span::from_secs(10);
/// An expired token is kept for as long: whoever used it and lost the answer may ask again, and a late one is told why.
const KEPT: Span = Span::from_hours(24);
const SUFFIX: &str = ".json";

/// A token as its maker keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptToken {
    digest: Digest,
    /// What the one who uses it may do here.
    pub may: Rights,
    pub made: Time,
    pub expires: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// By whom a token was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub by: Key,
    pub at: Time,
    /// As which contact; absent where the node died before the contact was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Name>,
}

impl KeptToken {
    pub fn id(&self) -> TokenId {
        TokenId::of(&self.digest)
    }
    /// Whether it may still be used by somebody.
    pub fn is_open(&self, now: Time) -> bool {
        self.used.is_none() && self.expires >= now
    }
}

/// The tokens of one state directory.
#[derive(Clone, Debug)]
pub struct Tokens {
    state: StateDir,
}

impl Tokens {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }

    /// Keeps a new token, durably.
    pub fn make(&self, secret: &TokenSecret, may: &Rights, now: Time, valid: Span) -> Result<KeptToken> {
        let token =
            KeptToken { digest: secret.digest(), may: may.clone(), made: now, expires: now + valid, used: None };
        file::create_dir_private(&self.state.tokens())?;
        self.write(&token)?;
        Ok(token)
    }

    /// All tokens that are kept, newest last.
    ///
    /// # Errors
    /// `damaged` for a file that is no token; it is set aside, and the next call goes on without it.
    pub fn list(&self) -> Result<Vec<KeptToken>> {
        let mut tokens = Vec::new();
        for name in file::list(&self.state.tokens())? {
            let Some(id) = name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok()) else { continue };
            tokens.extend(self.read(id)?);
        }
        tokens.sort_by_key(|token| (token.made, token.id()));
        Ok(tokens)
    }

    /// Forgets a token: it can be used no more.
    ///
    /// # Errors
    /// `not-found`, `ambiguous`.
    pub fn revoke(&self, prefix: &str) -> Result<KeptToken> {
        let _lock = self.lock()?;
        let tokens = self.list()?;
        let id = resolve_prefix("token", prefix, tokens.iter().map(KeptToken::id))
            .map_err(|error| error.hint("`deployctl trust token --list` lists the tokens"))?;
        file::remove_durable(&self.path(id))?;
        let found = tokens.into_iter().find(|token| token.id() == id);
        found.ok_or_else(|| Error::new(Code::Internal, "a token that was found is gone"))
    }

    /// The files of those that expired long ago.
    pub fn expired(&self, now: Time) -> Result<Vec<PathBuf>> {
        let expired = self.list()?.into_iter().filter(|token| token.expires + KEPT < now);
        Ok(expired.map(|token| self.path(token.id())).collect())
    }

    /// Lets `by` use the token of this secret, once: of several at once, one. `enrol` makes the contact; it is called
    /// again where the node died before it was done, and not for a repeat.
    ///
    /// # Errors
    /// `bad-proof` where no token has this secret, `too-late` where another one used it, `expired`; what `enrol` says.
    pub fn redeem(
        &self,
        secret: &[u8],
        by: Key,
        now: Time,
        enrol: impl FnOnce(&Rights) -> Result<Name>,
    ) -> Result<(KeptToken, Used)> {
        let digest = TokenSecret::digest_of(secret);
        let _lock = self.lock()?;
        let known = self.read(TokenId::of(&digest))?.filter(|token| token.digest == digest);
        let mut token = known.ok_or_else(|| {
            Error::new(Code::BadProof, "no token of this node has that secret: it was never made here, or was revoked")
                .hint("ask the node's owner for a new one: deployctl trust token")
        })?;
        match &token.used {
            Some(used) if used.by != by => {
                return Err(Error::new(Code::TooLate, "this token was used already, by another node")
                    .hint("if that was not you, tell the node's owner; ask for a new one: deployctl trust token"));
            }
            Some(_) => {}
            None if token.expires < now => {
                return Err(Error::new(Code::Expired, format!("this token expired at {}", token.expires))
                    .hint("ask the node's owner for a new one: deployctl trust token"));
            }
            None => {
                token.used = Some(Used { by, at: now, contact: None });
                self.write(&token)?;
            }
        }
        let mut used = token.used.clone().unwrap_or(Used { by, at: now, contact: None });
        if used.contact.is_none() {
            used.contact = Some(enrol(&token.may)?);
            token.used = Some(used.clone());
            self.write(&token)?;
        }
        Ok((token, used))
    }

    fn read(&self, id: TokenId) -> Result<Option<KeptToken>> {
        document::read_json(&self.path(id))
    }
    fn write(&self, token: &KeptToken) -> Result<()> {
        document::write_json(&self.path(token.id()), token, file::PRIVATE)
    }
    fn path(&self, id: TokenId) -> PathBuf {
        self.state.tokens().join(format!("{id}{SUFFIX}"))
    }
    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.state.lock("tokens"), "the tokens", WAIT)
    }
}

#[cfg(test)]
mod tests;
