//! The proof that a message was verified, and the checks that a message must pass before anyone acts on it.

use super::body::{Invitation, Notification, ServiceRequest};
use super::envelope::Envelope;
use super::kind::{Body, Message, kind_of};
use crate::model::{Code, Error, Key, Result, Span, Time};

/// The longest payload of a message, in bytes. The transport's limit lies above it.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// How far the sender's clock may be ahead of ours.
pub const CLOCK_ALLOWANCE: Span = Span::from_secs(5 * 60);

/// A value that came in an envelope whose signature was checked over the bytes as they came, before they were parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T> {
    value: T,
    envelope: Envelope,
    signer: Key,
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
impl<T> Verified<T> {
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    pub fn signer(&self) -> Key {
        self.signer
    }
    pub fn into_parts(self) -> (T, Envelope) {
        (self.value, self.envelope)
    }
}

impl Verified<Message> {
    /// Checks the signature over the raw bytes, then parses; then that the signer is who the message says it is from.
    ///
    /// # Errors
    /// `bad-signature`, `wrong-key`, `too-large`, `unknown-type`, `bad-message`.
    pub fn open(envelope: Envelope) -> Result<Self> {
        let signer = claimed_signer(&envelope)?;
        if envelope.payload.len() > MAX_PAYLOAD_BYTES {
            let bytes = envelope.payload.len();
            return Err(Error::new(
                Code::TooLarge,
                format!("a message of {bytes} bytes is larger than {MAX_PAYLOAD_BYTES}"),
            ));
        }
        envelope.verify(&signer)?;
        Self::parse(envelope, signer)
    }
    /// From this node's own log, whose chain was checked and into which it came only through [`Verified::open`], or
    /// which this node signed itself. `verify` checks the signatures of a log again.
    pub fn from_own_log(envelope: Envelope) -> Result<Self> {
        let signer = claimed_signer(&envelope)?;
        Self::parse(envelope, signer)
    }
    fn parse(envelope: Envelope, signer: Key) -> Result<Self> {
        let kind = kind_of(&envelope.payload_type).ok_or_else(|| {
            Error::new(Code::UnknownType, format!("an envelope of the foreign type {:?}", envelope.payload_type))
        })?;
        let value = Message::from_payload(kind, &envelope.payload)?;
        if value.head.from != signer {
            return Err(Error::new(
                Code::WrongKey,
                format!("a {kind} from {} is signed by {}", value.head.from.short(), signer.short()),
            ));
        }
        Ok(Self { value, envelope, signer })
    }
    /// Refuses what is not for `me`, is from the future, or has expired. Repeats are to be looked up before.
    ///
    /// # Errors
    /// `wrong-recipient`, `from-future`, `expired`.
    pub fn check_fresh(&self, me: &Key, now: Time) -> Result<()> {
        let (head, kind) = (&self.value.head, self.value.body.kind());
        if head.to != *me {
            return Err(Error::new(
                Code::WrongRecipient,
                format!("a {kind} for {} came to {}", head.to.short(), me.short()),
            ));
        }
        if head.issued > now + CLOCK_ALLOWANCE {
            return Err(Error::new(Code::FromFuture, format!("a {kind} issued at {} came at {now}", head.issued))
                .hint("set the clocks of both machines; five minutes of difference are allowed"));
        }
        if head.expires.is_some_and(|expires| expires < now) {
            let expired = head.expires.unwrap_or(now);
            return Err(Error::new(Code::Expired, format!("a {kind} that expired at {expired} came at {now}")));
        }
        Ok(())
    }
    /// Opens the envelopes inside: the participants' own answers and reports, which must be of this session.
    ///
    /// # Errors
    /// As [`Verified::open`]; `wrong-recipient`, `wrong-session`.
    pub fn check_nested(&self) -> Result<()> {
        let Body::Progress(progress) = &self.value.body else { return Ok(()) };
        for nested in progress.answers.iter().chain(&progress.reports) {
            let nested = Verified::open(nested.clone())?;
            if nested.head.to != self.value.head.from {
                return Err(Error::new(
                    Code::WrongRecipient,
                    format!("a progress carries a {} that was not for the one who passes it on", nested.body),
                ));
            }
            if nested.body.session() != Some(progress.session) {
                return Err(Error::new(
                    Code::WrongSession,
                    format!("a progress of session {} carries a {} of another", progress.session.short(), nested.body),
                ));
            }
        }
        Ok(())
    }
}

/// Opens the notification that is inside a service request or an invitation: signed by `initiator`, for `peer`.
///
/// # Errors
/// `bad-signature`, `wrong-key`, `wrong-recipient`, `bad-message`.
pub fn open_notification(envelope: &Envelope, initiator: &Key, peer: &Key) -> Result<(Message, Notification)> {
    let message = Verified::open(envelope.clone())?;
    if message.signer() != *initiator {
        return Err(Error::new(
            Code::WrongKey,
            format!(
                "the notification is signed by {}, not by the Initiator {}",
                message.signer().short(),
                initiator.short()
            ),
        ));
    }
    if message.head.to != *peer {
        return Err(Error::new(
            Code::WrongRecipient,
            format!("the notification was made for {}, not for {}", message.head.to.short(), peer.short()),
        ));
    }
    let (message, _) = message.into_parts();
    let Body::Notification(notification) = &message.body else {
        return Err(Error::new(Code::BadMessage, format!("a {} stands where a notification should", message.body)));
    };
    let notification = Notification::clone(notification);
    Ok((message, notification))
}

impl Notification {
    /// Whether it says what the request says: nobody can alter or re-aim an invitation (A6).
    ///
    /// # Errors
    /// `bad-proof`, naming the field that differs.
    pub fn check_matches(
        &self,
        request: &ServiceRequest,
        session: crate::model::SessionId,
        invitee: &super::Invitee,
    ) -> Result<()> {
        let digest = super::body::options_digest(&request.options, &request.secret_options);
        let fields = [
            ("service_request", self.service_request == session.request()),
            ("address", self.address == invitee.address),
            ("role", self.role == invitee.role),
            ("service", self.service == request.service),
            ("options", self.options == digest),
            ("initiator", self.initiator == request.initiator),
        ];
        match fields.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(Error::new(
                Code::BadProof,
                format!("the notification for {} differs from the request in its “{field}”", invitee.name),
            )),
        }
    }
    /// Whether it says what the invitation says that carries it to `peer`: the provider has changed nothing.
    ///
    /// # Errors
    /// `bad-proof`, naming the field that differs.
    pub fn check_invitation(&self, invitation: &Invitation, peer: &Key) -> Result<()> {
        let digest = super::body::options_digest(&invitation.options, &invitation.secret_options);
        let fields = [
            ("session", self.service_request == invitation.session.request()),
            ("address", self.address.key == *peer),
            ("role", self.role == invitation.role),
            ("service", self.service == invitation.service),
            ("options", self.options == digest),
            ("initiator", self.initiator == invitation.initiator),
        ];
        match fields.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(Error::new(
                Code::BadProof,
                format!("the invitation differs in its “{field}” from what the Initiator signed"),
            )),
        }
    }
}

fn claimed_signer(envelope: &Envelope) -> Result<Key> {
    match envelope.signatures.as_slice() {
        [one] => one
            .keyid
            .parse()
            .map_err(|_| Error::new(Code::BadSignature, "the signature's keyid is not a key of 52 base32 characters")),
        others => Err(Error::new(Code::BadSignature, format!("a message carries one signature, not {}", others.len()))),
    }
}
