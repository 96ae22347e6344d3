//! Enrolment: two nodes that share a token's secret take each other as contacts.

use serde::{Deserialize, Serialize};

use super::kind::Head;
use super::secret::Secret;
use crate::model::{Address, Code, Digest, Error, Name, Result, TokenId};

/// The name of the token's secret beside an `enrol`.
pub const TOKEN: &str = "token";

/// Joiner→Maker: uses a token. The secret itself travels beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrol {
    pub token: TokenId,
    /// How the joiner introduces itself.
    pub name: Name,
    pub address: Address,
    /// See [`Enrol::prove`].
    pub proof: Digest,
}

/// Maker→Joiner: the token was used by this `enrol`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    pub token: TokenId,
    /// How the maker introduces itself.
    pub name: Name,
    /// What the joiner is called there.
    pub contact: Name,
    /// What the joiner may do there, in words.
    pub may: Vec<Name>,
}

impl Enrol {
    /// HMAC-SHA-256 under the token's secret of both keys and the message's id: whoever signed it knew the secret, and
    /// nobody can make it another's enrolment or one at another node.
    pub fn prove(secret: &Secret, head: &Head) -> Digest {
        secret.tag(&bound(head))
    }
    /// # Errors
    /// `bad-proof` where it was made without the secret, or for another node or message.
    pub fn check_proof(&self, secret: &Secret, head: &Head) -> Result<()> {
        secret
            .check_tag(&bound(head), &self.proof)
            .map_err(|()| Error::new(Code::BadProof, "the proof of this enrol was made without the token's secret"))
    }
}

fn bound(head: &Head) -> Vec<u8> {
    [b"deployctl enrol v1\n", head.from.as_bytes().as_slice(), head.to.as_bytes(), head.id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, MessageId, Time};

    #[test]
    fn a_proof_is_of_one_joiner_one_maker_and_one_message() {
        let secret = |n: u8| Secret::new(vec![n; 16], [0; 32]).unwrap();
        let head = |from: u8, to: u8, id: u8| Head {
            id: MessageId::from_bytes([id; 16]),
            from: Key::from_bytes([from; 32]),
            to: Key::from_bytes([to; 32]),
            issued: Time::from_unix_ms(0),
            in_reply_to: None,
            expires: None,
        };
        let address = Address { key: Key::from_bytes([1; 32]), host: None };
        let token = TokenId::from_bytes([0; 16]);
        let proof = Enrol::prove(&secret(7), &head(1, 2, 3));
        let enrol = Enrol { token, name: "ada".parse().unwrap(), address, proof };
        enrol.check_proof(&secret(7), &head(1, 2, 3)).unwrap();
        for (secret, head) in [
            (secret(8), head(1, 2, 3)),
            (secret(7), head(9, 2, 3)),
            (secret(7), head(1, 9, 3)),
            (secret(7), head(1, 2, 9)),
        ] {
            assert_eq!(enrol.check_proof(&secret, &head).unwrap_err().code, Code::BadProof);
        }
    }
}
