//! A token for enrolment: where the node that made it is, and a secret that is good for one use.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::id::{ID_CHARS, TokenId, lower_base32, parse_base32};
use super::{Address, Code, Digest};

/// Stands between address and secret: what follows it in an URI is not sent (RFC 3986 §3.5).
pub(super) const MARK: char = '#';

/// What proves that a token was handed over: 128 random bits. Cannot be printed but by [`Token::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret([u8; 16]);

impl TokenSecret {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The secret itself.
    pub fn reveal(&self) -> &[u8; 16] {
        &self.0
    }
    /// What the maker keeps of a secret; from it the secret cannot be had.
    pub fn digest_of(secret: &[u8]) -> Digest {
        Digest::of(&[b"deployctl token v1\n", secret].concat())
    }
    pub fn digest(&self) -> Digest {
        Self::digest_of(&self.0)
    }
}
impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

impl TokenId {
    /// The beginning of the digest of the token's secret: it names the token and gives nothing of it away.
    pub fn of(digest: &Digest) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        Self::from_bytes(id)
    }
}

/// `deploy://KEY@host:port#SECRET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub address: Address,
    pub secret: TokenSecret,
}

impl Token {
    /// The text that is handed over.
    pub fn reveal(&self) -> String {
        format!("{}{MARK}{}", self.address, lower_base32(&self.secret.0))
    }
}
impl FromStr for Token {
    type Err = Error;
    /// The error quotes nothing: there may be a secret in it.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Code::BadAddress, format!("that is not a token: {why}"))
                .hint("copy the whole line that `deployctl trust token` printed on the other node")
        };
        let (address, secret) = text.split_once(MARK).ok_or_else(|| refuse("it holds no “#”"))?;
        let address: Address = address.parse().map_err(|_| refuse("it does not begin with a node's address"))?;
        if address.host.is_none() {
            return Err(refuse("its address says not where the node listens"));
        }
        let secret = parse_base32::<16>(secret);
        let secret = secret.ok_or_else(|| refuse(&format!("after “#” there are not {ID_CHARS} letters of base32")))?;
        Ok(Self { address, secret: TokenSecret(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn a_token_reads_back_as_it_was_written_and_shows_its_secret_nowhere_else() {
        let address = Address { key: Key::from_bytes([3; 32]), host: Some("[::1]:4800".parse().unwrap()) };
        let token = Token { address, secret: TokenSecret::from_bytes([9; 16]) };
        let text = token.reveal();
        assert_eq!(text.parse::<Token>().unwrap(), token);
        assert!(!format!("{token:?}").contains(text.split_once('#').unwrap().1));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_quoted() {
        let key = Key::from_bytes([3; 32]);
        let secret = lower_base32(&[9; 16]);
        for text in [
            format!("deploy://{key}@h.example:1"),
            format!("deploy://{key}#{secret}"),
            format!("deploy://{key}@h.example#{secret}"),
            format!("deploy://{key}@h.example:1#{secret}x"),
            format!("{secret}#{secret}"),
        ] {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error.code, Code::BadAddress, "{text}");
            assert!(!error.message.contains(&secret), "{}", error.message);
        }
        // The same where a token stands in an address's place.
        let error = format!("deploy://{key}@h.example:1#{secret}").parse::<Address>().unwrap_err();
        assert!(!error.message.contains(&secret) && error.hint.unwrap().contains("trust join"));
    }
}
