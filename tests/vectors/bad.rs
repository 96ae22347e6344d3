//! The bad messages, each with its name and the code that it is to be refused with.

use data_encoding::BASE64;
use deployctl::message::{Envelope, Head, Invitation, Message, Start};
use deployctl::model::{Code, Digest, MessageId, SessionId, Span};
use serde_json::{Value, json};

use super::cast::{Cast, INITIATOR, PEER, PROVIDER, now, session};
use super::support::play::{interface_request, notification};

/// Name, expected code, the bytes of the file.
pub(crate) type Bad = (&'static str, Code, Vec<u8>);

impl Cast {
    pub(crate) fn bad(&self) -> Vec<Bad> {
        [self.bad_envelopes(), self.bad_payloads(), self.bad_inside()].concat()
    }
    /// The envelope itself is not sound.
    fn bad_envelopes(&self) -> Vec<Bad> {
        let start = self.message(8, PROVIDER, PEER, Start { session: session() });
        let kind = start.body.media_type();
        let good = start.seal(&self.keys[PROVIDER]);
        let json = serde_json::to_value(&good).unwrap();
        let edited = |edit: &dyn Fn(&mut Value)| {
            let mut json = json.clone();
            edit(&mut json);
            serde_json::to_vec(&json).unwrap()
        };
        let text = String::from_utf8(start.to_payload()).unwrap();
        let open = text.strip_suffix('}').unwrap().to_owned();
        let twice = json["signatures"][0].clone();
        vec![
            (
                "bad-signature",
                Code::BadSignature,
                edited(&|json| json["signatures"][0]["sig"] = json!(BASE64.encode(&[1; 64]))),
            ),
            ("short-signature", Code::BadSignature, edited(&|json| json["signatures"][0]["sig"] = json!("AAAA"))),
            (
                "changed-payload",
                Code::BadSignature,
                edited(&|json| json["payload"] = json!(BASE64.encode(open.as_bytes()))),
            ),
            (
                "changed-payload-type",
                Code::BadSignature,
                edited(&|json| json["payloadType"] = json!(kind.replace("start", "leave"))),
            ),
            ("wrong-signer", Code::WrongKey, start.seal(&self.keys[PEER]).to_json()),
            (
                "foreign-keyid",
                Code::BadSignature,
                edited(&|json| json["signatures"][0]["keyid"] = json!(self.keys[PEER].key())),
            ),
            ("keyid-not-a-key", Code::BadSignature, edited(&|json| json["signatures"][0]["keyid"] = json!("me"))),
            ("two-signatures", Code::BadSignature, edited(&|json| json["signatures"] = json!([twice, twice]))),
            ("no-signature", Code::BadSignature, edited(&|json| json["signatures"] = json!([]))),
            ("bad-base64", Code::BadMessage, edited(&|json| json["payload"] = json!("e30_!"))),
            ("payload-not-text", Code::BadMessage, edited(&|json| json["payload"] = json!({}))),
            ("envelope-trailing-garbage", Code::BadMessage, [good.to_json(), b"x".to_vec()].concat()),
            ("envelope-duplicate-keys", Code::BadMessage, {
                let text = String::from_utf8(good.to_json()).unwrap();
                text.replacen('{', "{\"payloadType\":\"text/plain\",", 1).into_bytes()
            }),
        ]
    }
    /// Rightly signed, and still not to be taken.
    fn bad_payloads(&self) -> Vec<Bad> {
        let start = self.message(8, PROVIDER, PEER, Start { session: session() });
        let signer = &self.keys[PROVIDER];
        let kind = start.body.media_type();
        let text = String::from_utf8(start.to_payload()).unwrap();
        let open = text.strip_suffix('}').unwrap().to_owned();
        let payload = |text: String| Envelope::seal(&kind, text.into_bytes(), signer).to_json();
        let sealed = |message: Message| message.seal(self.signer(&message)).to_json();
        let headed = |edit: &dyn Fn(&mut Head)| {
            let mut message = start.clone();
            edit(&mut message.head);
            sealed(message)
        };
        let mut request = self.message(1, INITIATOR, PROVIDER, interface_request(&self.address(INITIATOR)));
        request.head.expires = Some(now() - Span::from_ms(1));
        let mut unlimited = request.clone();
        unlimited.head.expires = None;
        vec![
            ("duplicate-keys", Code::BadMessage, payload(format!("{open},\"id\":\"{}\"}}", session()))),
            ("trailing-garbage", Code::BadMessage, payload(format!("{text} {{}}"))),
            ("bom", Code::BadMessage, payload(format!("\u{feff}{text}"))),
            ("deep-nesting", Code::BadMessage, payload(format!("{open},\"x\":{}{}}}", "[".repeat(40), "]".repeat(40)))),
            ("not-json", Code::BadMessage, payload("start".to_owned())),
            ("not-an-object", Code::BadMessage, payload("[]".to_owned())),
            ("missing-field", Code::BadMessage, payload(text.replace("\"session\"", "\"sesson\""))),
            (
                "unknown-type",
                Code::UnknownType,
                Envelope::seal(&kind.replace("start", "teleport"), text.clone().into_bytes(), signer).to_json(),
            ),
            (
                "unknown-version",
                Code::UnknownType,
                Envelope::seal(&kind.replace("v1", "v2"), text.clone().into_bytes(), signer).to_json(),
            ),
            (
                "foreign-type",
                Code::UnknownType,
                Envelope::seal("application/vnd.in-toto+json", text.clone().into_bytes(), signer).to_json(),
            ),
            ("wrong-recipient", Code::WrongRecipient, headed(&|head| head.to = self.keys[INITIATOR].key())),
            ("from-future", Code::FromFuture, headed(&|head| head.issued = now() + Span::from_secs(301))),
            ("unexpected-expires", Code::BadMessage, headed(&|head| head.expires = Some(now() + Span::from_hours(1)))),
            ("missing-expires", Code::BadMessage, sealed(unlimited)),
            ("expired", Code::Expired, sealed(request)),
        ]
    }
    /// Sound envelopes with something false inside.
    fn bad_inside(&self) -> Vec<Bad> {
        let progress =
            |reports| self.message(6, PROVIDER, PEER, self.progress(reports)).seal(&self.keys[PROVIDER]).to_json();
        let mut forged = self.report(session());
        forged.payload[20] ^= 1;
        let mut misled = self.message(10, PEER, INITIATOR, Start { session: session() });
        misled.head.id = MessageId::from_bytes([77; 16]);
        let invitation = |edit: &dyn Fn(&mut Invitation)| {
            let mut invitation = self.invitation();
            edit(&mut invitation);
            self.message(4, PROVIDER, PEER, invitation).seal(&self.keys[PROVIDER]).to_json()
        };
        let other = notification(
            session(),
            3,
            now(),
            now() + Span::from_hours(1),
            &self.keys[INITIATOR],
            &self.people[INITIATOR],
            &self.people[PROVIDER],
            "guest",
        );
        let forger = self.notification();
        let forger = Message { head: Head { from: self.keys[PROVIDER].key(), ..forger.head }, ..forger };
        vec![
            (
                "progress-with-a-report-of-another-session",
                Code::WrongSession,
                progress(vec![self.report(SessionId::from_bytes([43; 16]))]),
            ),
            ("progress-with-a-forged-report", Code::BadSignature, progress(vec![forged])),
            ("progress-with-a-report-to-another", Code::WrongRecipient, progress(vec![misled.seal(&self.keys[PEER])])),
            (
                "notification-re-aimed-to-another-peer",
                Code::WrongRecipient,
                invitation(&|it| it.notification = other.seal(&self.keys[INITIATOR])),
            ),
            (
                "notification-signed-by-the-provider",
                Code::WrongKey,
                invitation(&|it| it.notification = forger.seal(&self.keys[PROVIDER])),
            ),
            (
                "notification-of-altered-options",
                Code::BadProof,
                invitation(&|it| {
                    it.options = serde_json::from_value(json!({ "level": 9 })).unwrap();
                }),
            ),
            (
                "notification-of-another-session",
                Code::BadProof,
                invitation(&|it| it.session = SessionId::from_bytes([43; 16])),
            ),
            (
                "notification-of-another-service",
                Code::BadProof,
                invitation(&|it| it.service.definition = Digest::of(b"other")),
            ),
            ("notification-of-another-role", Code::BadProof, invitation(&|it| it.role = "host".parse().unwrap())),
            (
                "notification-is-another-message",
                Code::BadMessage,
                invitation(&|it| {
                    it.notification =
                        self.message(8, INITIATOR, PEER, Start { session: session() }).seal(&self.keys[INITIATOR]);
                }),
            ),
        ]
    }
}
