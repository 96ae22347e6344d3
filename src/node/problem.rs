//! Refusals on the wire: problem details (RFC 9457) with our stable code and hint, there and back.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::limits::PROBLEM_CHARS;
use crate::model::{Address, Code, Error, SessionId};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

#[derive(Serialize, Deserialize)]
struct Problem {
    /// Our `code` says what it is, so that the standard's own field says nothing.
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    detail: String,
    code: Code,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
}

/// The JSON of a refusal.
pub(super) fn to_json(error: &Error, status: StatusCode) -> Vec<u8> {
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Refused").to_owned(),
        status: status.as_u16(),
        detail: error.message.clone(),
        code: error.code,
        hint: error.hint.clone(),
        session: error.session,
    };
    serde_json::to_vec(&problem).expect("strings and numbers serialize")
}

/// The error that an answer other than a success means: with the code, the reason and the hint of the node that
/// refused, where it gave them.
pub(super) fn to_error(from: &Address, status: StatusCode, body: &[u8]) -> Error {
    let who = from.named();
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        let code = if status.is_server_error() { Code::Unreachable } else { Code::Refused };
        return Error::new(code, format!("{who} answered {status} without saying why"));
    };
    let mut error = Error::new(problem.code, format!("{who} refused: {}", shortened(&problem.detail)));
    error.hint = problem.hint.as_deref().map(shortened);
    error.session = problem.session;
    error
}

/// Foreign text, at most [`PROBLEM_CHARS`] characters of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(PROBLEM_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    fn address() -> Address {
        Address { key: Key::from_bytes([1; 32]), host: Some("a.example:4800".parse().unwrap()) }
    }

    #[test]
    fn a_refusal_keeps_its_code_and_hint_on_the_way() {
        let error = Error::new(Code::NotPermitted, "no").hint("ask").about(SessionId::from_bytes([1; 16]));
        let json = to_json(&error, StatusCode::FORBIDDEN);
        let told = to_error(&address(), StatusCode::FORBIDDEN, &json);
        assert_eq!((told.code, told.hint, told.session), (error.code, error.hint, error.session));
        assert!(told.message.ends_with("at a.example:4800 refused: no"), "{}", told.message);
    }

    #[test]
    fn a_foreign_answer_is_an_error_too_and_a_long_text_is_cut() {
        assert_eq!(to_error(&address(), StatusCode::BAD_GATEWAY, b"<html>").code, Code::Unreachable);
        assert_eq!(to_error(&address(), StatusCode::NOT_FOUND, b"{}").code, Code::Refused);
        let long = Error::new(Code::Busy, "ä".repeat(PROBLEM_CHARS + 1));
        let told = to_error(&address(), StatusCode::TOO_MANY_REQUESTS, &to_json(&long, StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(told.message.matches('ä').count(), PROBLEM_CHARS);
    }
}
