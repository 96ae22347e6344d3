//! Enrolment: a token that one node makes and another uses once, after which both have each other as contacts, each with
//! the rights that its owner said.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;

use super::intake::Source;
use super::node::{Node, blocking, locked};
use crate::message::enrol::TOKEN;
use crate::message::{Body, Enrol, Enrolled, Head, Message, Secret, Secrets, Verified};
use crate::model::{Code, Error, Name, Result, Seed, Span, Time, Token, TokenSecret};
use crate::node::{PostAnswer, Posted, place_of};
use crate::store::contacts::Contact;
use crate::store::rights::Rights;
use crate::store::tokens::{KeptToken, Tokens};
use crate::store::{audit, rights::Right};

/// A token that lies around for longer than a week is better made anew.
pub const LONGEST_VALID: Span = Span::from_hours(7 * 24);
/// How long an `enrol` may be on its way.
const ON_ITS_WAY: Span = Span::from_secs(10 * 60);
/// Wrong tokens that one address (IPv6: one /64) may show in a minute: a person who copies badly tries less often, and
/// nobody finds 128 bits so.
const GUESSES: u32 = 10;
const MINUTE: Span = Span::from_secs(60);
/// Addresses whose guesses are counted at once; beyond, one is forgotten for each new one.
const PLACES: usize = 1024;

/// How often wrong tokens were shown, by address.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, (Time, u32)>>);

impl Guesses {
    /// # Errors
    /// `busy` where too many wrong tokens came from there in this minute.
    fn admit(&self, ip: IpAddr, now: Time) -> Result<()> {
        let mut places = locked(&self.0);
        places.retain(|_, (begun, _)| *begun <= now && now.since(*begun) < MINUTE);
        match places.get(&place_of(ip)) {
            Some((_, count)) if *count >= GUESSES => {
                Err(Error::new(Code::Busy, format!("{GUESSES} wrong tokens came from {ip} within a minute"))
                    .hint("wait a minute, and copy the token anew"))
            }
            _ => Ok(()),
        }
    }
    fn count(&self, ip: IpAddr, now: Time) {
        let (mut places, place) = (locked(&self.0), place_of(ip));
        if places.len() >= PLACES && !places.contains_key(&place) {
            let other = places.keys().next().copied();
            other.and_then(|other| places.remove(&other));
        }
        places.entry(place).or_insert((now, 0)).1 += 1;
    }
}

/// What came of using a token.
#[derive(Debug)]
pub struct Joined {
    /// The maker, as known here now.
    pub contact: Contact,
    /// What this node is called there, and what it may do there.
    pub there: Enrolled,
}

impl Node {
    /// Makes a token for one other node, which gets these rights here.
    ///
    /// # Errors
    /// `wrong-state` where this node listens nowhere; `usage` for a time too long; `io`.
    pub fn make_token(&self, may: &Rights, valid: Span) -> Result<(Token, KeptToken)> {
        let address = self.address();
        if address.host.is_none() {
            return Err(Error::new(Code::WrongState, "this node listens nowhere, so nobody could bring a token back")
                .hint("make the token on the other node, and use it here: deployctl trust join"));
        }
        if valid > LONGEST_VALID {
            return Err(Error::new(Code::Usage, format!("a token is valid for at most {LONGEST_VALID}, not {valid}")));
        }
        let tokens = Tokens::of(&self.state);
        let secret = TokenSecret::from_bytes(self.system.random());
        let kept = tokens.make(&secret, may, self.system.now(), valid)?;
        Ok((Token { address, secret }, kept))
    }

    /// Takes an `enrol`: whoever shows a token's secret becomes a contact with the token's rights. The same node asking
    /// again gets the same answer.
    pub(super) fn enrol(&self, message: &Verified<Message>, secrets: &Secrets, source: Source) -> Result<Posted> {
        let Body::Enrol(enrol) = &message.body else {
            return Err(Error::new(Code::Internal, "not an enrol"));
        };
        let now = self.system.now();
        let ip = source.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        self.guesses.admit(ip, now)?;
        message.check_fresh(&self.key(), now)?;
        if enrol.address.key != message.head.from {
            return Err(Error::new(Code::WrongKey, "the enrol names another address than its sender's"));
        }
        self.use_token(message, enrol, secrets).inspect_err(|error| {
            if error.code == Code::BadProof {
                self.guesses.count(ip, now);
            }
        })
    }

    fn use_token(&self, message: &Verified<Message>, enrol: &Enrol, secrets: &Secrets) -> Result<Posted> {
        let secret = secrets
            .get(TOKEN)
            .ok_or_else(|| Error::new(Code::BadProof, "the token's secret is missing beside the enrol"))?;
        enrol.check_proof(secret, &message.head)?;
        let (now, by) = (self.system.now(), message.head.from);
        let make = |may: &Rights| {
            let contact = self.contacts.enrol(&enrol.name, &enrol.address, may, now)?;
            let what = format!("enrolled as the contact {}, who may: {}", contact.name, contact.may);
            // An audit that cannot be written must not change the answer.
            let _ = self.audit.record(now, audit::Entry { key: Some(by), ip: None, what, code: None });
            self.notice(format!("{} enrolled by a token, and is a contact now", contact.name));
            Ok(contact.name)
        };
        let (token, used) = Tokens::of(&self.state).redeem(secret.value(), by, now, make)?;
        let body = Enrolled {
            token: token.id(),
            name: self.name(),
            contact: used.contact.unwrap_or_else(|| enrol.name.clone()),
            may: token.may.iter().map(word).collect::<Result<_>>()?,
        };
        // Made of what is stored, so that the same question gets the very same bytes.
        let id = Seed::from_bytes(*message.envelope().hash().as_bytes()).message_id(0);
        let in_reply_to = Some(message.head.id);
        let head = Head { id, from: self.key(), to: by, issued: used.at, in_reply_to, expires: None };
        Ok(Posted::open(Message { head, body: body.into() }.seal(&self.identity.signing())))
    }

    /// Uses a token of another node: both have each other as contacts afterwards. After a failure that may pass, the same
    /// token works again for this node.
    ///
    /// # Errors
    /// `wrong-state` where `name` is taken, before the token is used; what the other node refuses; `unreachable`.
    pub async fn join(&self, token: &Token, name: Option<&Name>, may: &Rights) -> Result<Joined> {
        let maker = token.address.key;
        if maker == self.key() {
            return Err(Error::new(Code::WrongState, "this token was made by this very node")
                .hint("use it on the other one: deployctl trust join"));
        }
        if let Some(name) = name {
            blocking(|| self.contacts.free_or_same(name, &maker))?;
        }
        let secret = Secret::new(token.secret.reveal().to_vec(), [0; 32])?;
        let message = self.ask_to_enrol(token, &secret);
        let posted = Posted {
            envelope: message.seal(&self.identity.signing()),
            secrets: Secrets::from([(TOKEN.to_owned(), secret)]),
        };
        let answer = self.client.post(&token.address, &posted).await.map_err(|error| {
            if error.code.may_pass_later() {
                error.hint("run the same command again: the token still works")
            } else {
                error
            }
        })?;
        let there = self.read_enrolled(&message, answer)?;
        let contact =
            blocking(|| self.contacts.enrol(name.unwrap_or(&there.name), &token.address, may, self.system.now()))?;
        Ok(Joined { contact, there })
    }

    fn ask_to_enrol(&self, token: &Token, secret: &Secret) -> Message {
        let now = self.system.now();
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: token.address.key,
            issued: now,
            in_reply_to: None,
            expires: Some(now + ON_ITS_WAY),
        };
        let token = crate::model::TokenId::of(&token.secret.digest());
        let proof = Enrol::prove(secret, &head);
        let body = Enrol { token, name: self.name(), address: self.address(), proof };
        Message { head, body: body.into() }
    }

    fn read_enrolled(&self, asked: &Message, answer: PostAnswer) -> Result<Enrolled> {
        let wrong = |why: &str| Error::new(Code::BadMessage, format!("the answer to the enrol is {why}"));
        let PostAnswer::Reply(posted) = answer else { return Err(wrong("empty")) };
        let message = Verified::open(posted.envelope)?;
        if message.head.from != asked.head.to {
            return Err(Error::new(Code::WrongKey, "the answer to the enrol is signed by another node"));
        }
        message.check_fresh(&self.key(), self.system.now())?;
        match &message.body {
            Body::Enrolled(there) if message.head.in_reply_to == Some(asked.head.id) => Ok(Enrolled::clone(there)),
            other => Err(wrong(&format!("not what answers it, but of type {other}"))),
        }
    }
}

fn word(right: Right) -> Result<Name> {
    right.as_str().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_counted_for_an_address_and_a_minute() {
        let guesses = Guesses::default();
        let now = Time::from_unix_ms(1_800_000_000_000);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..GUESSES {
            guesses.admit(ip("2001:db8::1"), now).unwrap();
            guesses.count(ip("2001:db8::1"), now);
        }
        assert_eq!(guesses.admit(ip("2001:db8::2"), now).unwrap_err().code, Code::Busy);
        guesses.admit(ip("2001:db8:0:1::1"), now).unwrap();
        guesses.admit(ip("2001:db8::1"), now + MINUTE).unwrap();
        for n in 0..2 * PLACES {
            guesses.count(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes()), now);
        }
        assert!(locked(&guesses.0).len() <= PLACES);
    }
}
