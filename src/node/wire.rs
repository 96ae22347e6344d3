//! What travels in the bodies: an envelope with the secrets beside it, and an inbox's batch. JSON.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::limits::JSON_DEPTH;
use crate::message::{Envelope, Secret, Secrets};
use crate::model::{Code, Error, Result};

/// An envelope and the secrets beside it: the body of `POST /v1/messages` and of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    pub envelope: Envelope,
    #[serde(default, skip_serializing_if = "Secrets::is_empty", deserialize_with = "each_once")]
    pub secrets: Secrets,
}

impl Posted {
    /// An envelope with no secrets beside it.
    pub fn open(envelope: Envelope) -> Self {
        Self { envelope, secrets: Secrets::default() }
    }
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and lists serialize")
    }
    /// Unknown fields are ignored; one that is known and comes twice is refused.
    ///
    /// # Errors
    /// `bad-message`.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        from_json(bytes, "a message")
    }
}

/// Secrets by name; a name that comes twice is refused.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secrets, D::Error> {
    struct Once;
    impl<'de> Visitor<'de> for Once {
        type Value = Secrets;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("secrets by name")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secrets, A::Error> {
            let mut secrets = BTreeMap::new();
            while let Some((name, secret)) = map.next_entry::<String, Secret>()? {
                match secrets.entry(name) {
                    Entry::Vacant(vacant) => vacant.insert(secret),
                    Entry::Occupied(taken) => {
                        return Err(de::Error::custom(format!("the secret “{}” comes twice", taken.key())));
                    }
                };
            }
            Ok(secrets)
        }
    }
    deserializer.deserialize_map(Once)
}

/// What an inbox held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxBatch {
    /// What the next poll gives as `after`.
    pub next: u64,
    pub messages: Vec<Posted>,
}

/// Parses foreign JSON of bounded depth.
///
/// # Errors
/// `bad-message`.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let refuse = |why: &dyn fmt::Display| Error::new(Code::BadMessage, format!("the body is not {what}: {why}"));
    if depth(bytes) > JSON_DEPTH {
        return Err(refuse(&format!("its JSON is nested more than {JSON_DEPTH} deep")));
    }
    serde_json::from_slice(bytes).map_err(|why| refuse(&why))
}

/// How deep the brackets of a JSON text nest.
fn depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SigningKey;

    fn posted() -> Posted {
        let signer = SigningKey::from_seed(&[1; 32]).unwrap();
        let mut posted = Posted::open(Envelope::seal("text/plain", b"hello".to_vec(), &signer));
        posted.secrets.insert("key".to_owned(), Secret::new(b"hunter2".to_vec(), [2; 32]).unwrap());
        posted
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        assert_eq!(Posted::from_json(&posted().to_json()).unwrap(), posted());
        let text = String::from_utf8(posted().to_json()).unwrap();
        assert!(text.contains(r#""secrets":{"key":{"value":"aHVudGVyMg==","salt":"#), "{text}");
        let bare = Posted::open(posted().envelope);
        assert!(!String::from_utf8(bare.to_json()).unwrap().contains("secrets"));
        assert_eq!(Posted::from_json(&bare.to_json()).unwrap(), bare);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let shown = format!("{:?}", posted());
        assert!(shown.contains("\"key\": Secret(…)"), "{shown}");
        assert!(!shown.contains("104, 117"), "{shown}");
    }

    #[test]
    fn a_field_or_a_secret_that_comes_twice_is_refused_and_an_unknown_field_ignored() {
        let text = String::from_utf8(posted().to_json()).unwrap();
        let secret = r#""key":{"value":"","salt":""}"#;
        let twice = text.replacen(r#""secrets":{"#, &format!(r#""secrets":{{{secret},"#), 1);
        let again = text.replacen('{', r#"{"secrets":{},"#, 1);
        let deep = text.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(40), "]".repeat(40)), 1);
        for (text, why) in [(twice, "comes twice"), (again, "duplicate field"), (deep, "nested")] {
            let refused = Posted::from_json(text.as_bytes()).unwrap_err();
            assert!(refused.code == Code::BadMessage && refused.message.contains(why), "{refused}");
        }
        assert!(Posted::from_json(text.replacen('{', r#"{"x":[1,"]]"],"#, 1).as_bytes()).is_ok());
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        assert_eq!(depth(br#"{"a":["[[[\"[[",{}]}"#), 3);
        assert_eq!(depth(b"]]]["), 1);
    }
}
