//! A node's new key: its former key signs it over, and contacts follow, from one to the next and never past one.

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::kind::Body;
use super::verified::{CLOCK_ALLOWANCE, Verified};
use crate::model::{Address, Code, Error, Key, Result, Span, Time};

/// How long a former key is still taken where nobody says: long enough for a node that is switched off over a week-end
/// or a holiday's first week to be heard of, short enough that a key which somebody finds later is worth nothing.
pub const GRACE: Span = Span::from_hours(7 * 24);
/// No former key is taken for longer, whatever it says.
pub const LONGEST_GRACE: Span = Span::from_hours(30 * 24);
/// Rotations that are shown and looked at together.
pub const MAX_ROTATIONS: usize = 16;

/// Signed by a node's key, for the key that it hands over to: the two are in the message's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotate {
    /// Until when the former key is to be taken, too.
    pub until: Time,
}

/// From a node with its new key to a contact: what its former keys signed, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotated {
    pub address: Address,
    pub chain: Vec<Envelope>,
}

/// One verified `rotate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    pub from: Key,
    pub to: Key,
    pub until: Time,
}

/// Opens a chain of `rotate`s, each signed by the key that the one before handed over to.
///
/// # Errors
/// `bad-signature`, `bad-message`, `from-future`; `broken-chain` where one does not follow the other.
pub fn open_chain(chain: &[Envelope], now: Time) -> Result<Vec<Handover>> {
    if chain.is_empty() || chain.len() > MAX_ROTATIONS {
        return Err(Error::new(Code::BadMessage, format!("a chain of 1 to {MAX_ROTATIONS} rotations was expected")));
    }
    let mut handovers: Vec<Handover> = Vec::new();
    for envelope in chain {
        let message = Verified::open(envelope.clone())?;
        let Body::Rotate(rotate) = &message.body else {
            return Err(Error::new(Code::BadMessage, format!("a {} stands where a rotate should", message.body)));
        };
        if message.head.issued > now + CLOCK_ALLOWANCE {
            return Err(Error::new(
                Code::FromFuture,
                format!("a rotate issued at {} came at {now}", message.head.issued),
            ));
        }
        let handover = Handover {
            from: message.head.from,
            to: message.head.to,
            until: rotate.until.min(message.head.issued + LONGEST_GRACE),
        };
        if handovers.last().is_some_and(|before| before.to != handover.from) {
            return Err(Error::new(Code::BrokenChain, "the rotations do not follow one another"));
        }
        handovers.push(handover);
    }
    Ok(handovers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Head, Message, SigningKey};
    use crate::model::MessageId;

    fn now() -> Time {
        Time::from_unix_ms(1_800_000_000_000)
    }
    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32]).unwrap()
    }
    fn rotate(from: u8, to: u8, signer: u8, until: Time) -> Envelope {
        let id = MessageId::from_bytes([from; 16]);
        let (from, to) = (key(from).key(), key(to).key());
        let head = Head { id, from, to, issued: now(), in_reply_to: None, expires: None };
        Message { head, body: Rotate { until }.into() }.seal(&key(signer))
    }

    #[test]
    fn a_chain_leads_from_key_to_key_in_order() {
        let chain = [rotate(1, 2, 1, now() + GRACE), rotate(2, 3, 2, now())];
        let handovers = open_chain(&chain, now()).unwrap();
        assert_eq!((handovers[0].from, handovers[1].to), (key(1).key(), key(3).key()));
        let out_of_order = [chain[1].clone(), chain[0].clone()];
        assert_eq!(open_chain(&out_of_order, now()).unwrap_err().code, Code::BrokenChain);
        let with_a_gap = [rotate(1, 2, 1, now()), rotate(3, 4, 3, now())];
        assert_eq!(open_chain(&with_a_gap, now()).unwrap_err().code, Code::BrokenChain);
    }

    #[test]
    fn nobody_hands_over_the_key_of_another_and_no_grace_is_endless() {
        for signer in [2, 3] {
            let error = open_chain(&[rotate(1, 2, signer, now())], now()).unwrap_err();
            assert!(matches!(error.code, Code::BadSignature | Code::WrongKey), "{error}");
        }
        assert_eq!(open_chain(&[], now()).unwrap_err().code, Code::BadMessage);
        let long = now() + LONGEST_GRACE + LONGEST_GRACE;
        assert_eq!(open_chain(&[rotate(1, 2, 1, long)], now()).unwrap()[0].until, now() + LONGEST_GRACE);
        let early = now() - Span::from_hours(1);
        assert_eq!(open_chain(&[rotate(1, 2, 1, now())], early).unwrap_err().code, Code::FromFuture);
    }
}
