//! A message: the common fields and one of the bodies; its media type, its payload bytes and its way back.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::{
    Accounting, AddPeers, Answer, CloseAnswers, Delivery, Failure, Interface, InterfaceRequest, Invitation, Leave,
    MAX_TEXT_CHARS, Notification, Progress, Receipt, Registration, Report, ServiceRequest, Start, Terminate, Withdraw,
};
use super::enrol::{Enrol, Enrolled};
use super::envelope::{Envelope, SigningKey};
use super::program::{ProgramDelivery, ProgramReport, ProgramRequest};
use super::rotate::{Rotate, Rotated};
use super::strict;
use crate::model::{Code, Error, Key, MessageId, Result, SessionId, Time};

/// What every message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub id: MessageId,
    pub from: Key,
    pub to: Key,
    pub issued: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<MessageId>,
    /// Only in those messages that are not retried until acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub head: Head,
    pub body: Body,
}

#[derive(Serialize, Deserialize)]
struct Wire<B> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    body: B,
}

const MEDIA_PREFIX: &str = "application/vnd.deployctl.";
const MEDIA_SUFFIX: &str = ".v1+json";

macro_rules! bodies {
    ($($variant:ident = $word:literal, expires: $expires:literal;)+) => {
        /// One of the messages.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body { $($variant(Box<$variant>)),+ }

        impl Body {
            /// The message's name in its media type.
            pub fn kind(&self) -> &'static str {
                match self { $(Body::$variant(_) => $word),+ }
            }
            /// Whether this kind must carry `expires`; the others must not.
            fn must_expire(&self) -> bool {
                match self { $(Body::$variant(_) => $expires),+ }
            }
        }
        $(impl From<$variant> for Body {
            fn from(body: $variant) -> Body {
                Body::$variant(Box::new(body))
            }
        })+

        impl Message {
            /// The signed bytes: the same message gives the same bytes.
            pub fn to_payload(&self) -> Vec<u8> {
                match &self.body { $(Body::$variant(body) => payload(&self.head, body)),+ }
            }
            /// Reads a payload of the named kind.
            pub(super) fn from_payload(kind: &str, bytes: &[u8]) -> Result<Self> {
                let value = strict::parse(bytes).map_err(|why| bad(kind, &why))?;
                match kind {
                    $($word => read::<$variant>(kind, value),)+
                    unknown => Err(Error::new(Code::UnknownType, format!("a message of the unknown type {unknown:?}"))
                        .hint("the other side may be of a newer version; compare `deployctl --version` on both")),
                }
            }
        }
    };
}

bodies! {
    InterfaceRequest = "interface-request", expires: true;
    Interface = "interface", expires: true;
    ServiceRequest = "service-request", expires: true;
    Notification = "notification", expires: true;
    Registration = "registration", expires: false;
    AddPeers = "add-peers", expires: false;
    CloseAnswers = "close-answers", expires: false;
    Withdraw = "withdraw", expires: false;
    Invitation = "invitation", expires: true;
    Answer = "answer", expires: false;
    Progress = "progress", expires: false;
    Delivery = "delivery", expires: false;
    Report = "report", expires: false;
    Start = "start", expires: false;
    Terminate = "terminate", expires: false;
    Leave = "leave", expires: false;
    Accounting = "accounting", expires: false;
    Receipt = "receipt", expires: false;
    Enrol = "enrol", expires: true;
    Enrolled = "enrolled", expires: false;
    Rotate = "rotate", expires: false;
    Rotated = "rotated", expires: false;
    ProgramRequest = "program-request", expires: true;
    ProgramDelivery = "program-delivery", expires: false;
    ProgramReport = "program-report", expires: false;
}

impl Body {
    pub fn media_type(&self) -> String {
        format!("{MEDIA_PREFIX}{}{MEDIA_SUFFIX}", self.kind())
    }
    /// The session that it belongs to; none before there is one, and about programs.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Body::InterfaceRequest(_)
            | Body::Interface(_)
            | Body::ServiceRequest(_)
            | Body::Enrol(_)
            | Body::Enrolled(_)
            | Body::Rotate(_)
            | Body::Rotated(_)
            | Body::ProgramRequest(_)
            | Body::ProgramDelivery(_)
            | Body::ProgramReport(_) => None,
            Body::Notification(body) => Some(SessionId::of_request(body.service_request)),
            Body::Registration(body) => Some(body.session),
            Body::AddPeers(body) => Some(body.session),
            Body::CloseAnswers(body) => Some(body.session),
            Body::Withdraw(body) => Some(body.session),
            Body::Invitation(body) => Some(body.session),
            Body::Answer(body) => Some(body.session),
            Body::Progress(body) => Some(body.session),
            Body::Delivery(body) => Some(body.session),
            Body::Report(body) => Some(body.session),
            Body::Start(body) => Some(body.session),
            Body::Terminate(body) => Some(body.session),
            Body::Leave(body) => Some(body.session),
            Body::Accounting(body) => Some(body.session),
            Body::Receipt(body) => Some(body.session),
        }
    }
}
impl Body {
    /// What people and programs wrote freely.
    fn texts(&self) -> Vec<&str> {
        fn failure(failure: Option<&Failure>) -> Vec<&str> {
            failure
                .into_iter()
                .flat_map(|failure| [failure.text.as_str()].into_iter().chain(failure.tail.as_deref()))
                .collect()
        }
        match self {
            Body::Interface(body) => vec![&body.summary],
            Body::Notification(body) => vec![&body.text],
            Body::Invitation(body) => vec![&body.summary, &body.about],
            Body::Withdraw(body) => vec![&body.reason],
            Body::Answer(body) => body.reason.as_deref().into_iter().collect(),
            Body::Progress(body) => {
                let withdrawn = body.withdrawn.iter().map(|one| one.reason.as_str());
                failure(body.failure.as_ref()).into_iter().chain(withdrawn).collect()
            }
            Body::Report(body) => failure(body.failure.as_ref()),
            Body::ProgramReport(body) => failure(body.failure.as_ref()),
            Body::Terminate(body) => failure(body.failure.as_ref()).into_iter().chain([body.reason.as_str()]).collect(),
            Body::Leave(body) => vec![&body.reason],
            Body::Receipt(body) => body.why.as_deref().into_iter().collect(),
            Body::InterfaceRequest(_)
            | Body::ServiceRequest(_)
            | Body::Registration(_)
            | Body::AddPeers(_)
            | Body::CloseAnswers(_)
            | Body::Delivery(_)
            | Body::Start(_)
            | Body::Accounting(_)
            | Body::Enrol(_)
            | Body::Enrolled(_)
            | Body::Rotate(_)
            | Body::Rotated(_)
            | Body::ProgramRequest(_)
            | Body::ProgramDelivery(_) => Vec::new(),
        }
    }
}
impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.kind())
    }
}

impl Message {
    pub fn seal(&self, signer: &SigningKey) -> Envelope {
        Envelope::seal(&self.body.media_type(), self.to_payload(), signer)
    }
    /// The envelope's hash, which does not depend on the signature.
    pub fn hash(&self) -> crate::model::Hash {
        crate::model::Hash::of(&super::envelope::pae(&self.body.media_type(), &self.to_payload()))
    }
}

/// The message's name in a media type of ours.
pub(super) fn kind_of(media_type: &str) -> Option<&str> {
    media_type.strip_prefix(MEDIA_PREFIX)?.strip_suffix(MEDIA_SUFFIX)
}

fn payload<B: Serialize>(head: &Head, body: &B) -> Vec<u8> {
    serde_json::to_vec(&Wire { head: head.clone(), body }).expect("a message's fields serialize")
}

fn read<B: DeserializeOwned>(kind: &str, value: Value) -> Result<Message>
where
    Body: From<B>,
{
    let wire: Wire<B> = serde_json::from_value(value).map_err(|why| bad(kind, &why))?;
    let message = Message { head: wire.head, body: wire.body.into() };
    if message.body.must_expire() != message.head.expires.is_some() {
        let rule = if message.body.must_expire() { "must" } else { "must not" };
        return Err(Error::new(Code::BadMessage, format!("a message of type {kind} {rule} carry “expires”")));
    }
    let too_long = message.body.texts().iter().any(|text| text.chars().count() > MAX_TEXT_CHARS);
    if too_long {
        let why = format!("a {kind} with a text of more than {MAX_TEXT_CHARS} characters");
        return Err(Error::new(Code::TooLarge, why));
    }
    Ok(message)
}

fn bad(kind: &str, why: &dyn fmt::Display) -> Error {
    Error::new(Code::BadMessage, format!("a message of type {kind} that does not read: {why}"))
}
