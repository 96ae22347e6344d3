//! What to do next, where an error does not say it nearer to its cause: one row for each code, so that none goes without.

use crate::model::{Code, Error};

/// The error with a remedy.
pub(super) fn with(error: Error) -> Error {
    let status = error.session.map_or_else(String::new, |session| format!(" {}", session.short()));
    match of(error.code).replace("{status}", &format!("deployctl status{status}")) {
        none if none.is_empty() => error,
        remedy => error.hint(remedy),
    }
}

/// `{status}` is the command that shows what it is about. Who is asked to end has said all that there is to say.
fn of(code: Code) -> &'static str {
    match code {
        Code::Interrupted | Code::Terminated => "",
        Code::Internal => "nothing is half done; please report what led to it, with `deployctl --version`",
        Code::Io => "check the path, its owner and its permissions; `deployctl doctor` looks at this node's own files",
        Code::DiskFull | Code::NoSpace => "free some space, then run the same command again; nothing is half done",
        Code::BuildFailed => {
            "its provider mends the definition; `deployctl build --service DIR --role ROLE --output DIR` tries it alone"
        }
        Code::NotReady | Code::ServiceFailed | Code::SessionFailed | Code::PartlyDone => {
            "`{status}` shows who did what; a service can be requested anew at any time"
        }
        Code::Unwell => "mend what is named, then run `deployctl doctor` again",
        Code::Usage | Code::BadAddress | Code::BadName | Code::BadDuration => {
            "nothing was done; `deployctl COMMAND --help` says what can be given, with examples"
        }
        Code::PromptNeeded => "nothing was changed; the same command asks again",
        Code::NoIdentity => "run `deployctl init` first, or name another directory with --state",
        Code::NotPermitted => {
            "who may do what is said by the other node's owner: deployctl trust add NAME ADDRESS --may …"
        }
        Code::Declined | Code::Withdrawn | Code::QuorumMissed => {
            "`{status}` shows who said what; a service can be requested anew at any time"
        }
        Code::Refused => "nothing of it was done; the other node's owner finds what was refused in its audit",
        Code::Unsuitable => "`deployctl request SERVICE --provider NODE --interface` shows what a role needs",
        Code::FromFuture => "set the clocks of both machines right, then run the same command again",
        Code::BadSignature | Code::WrongKey | Code::BadCertificate | Code::WrongRecipient | Code::WrongSession => {
            "nothing of it was used; ask its owner, on another way, which key is the right one"
        }
        Code::Replay | Code::BadDigest | Code::BadProof | Code::Downgrade | Code::MoreThanAccepted => {
            "nothing of it was used; ask who sent it, on another way, what was meant"
        }
        Code::BrokenChain | Code::ForkedChain => {
            "keep the files as they are, as evidence, and compare them with the other party's"
        }
        Code::KeyExposed => {
            "make it readable for its owner alone (chmod 600), or take a new key: deployctl init --rotate"
        }
        Code::Unreachable | Code::TimedOut | Code::Locked | Code::Busy | Code::OutOfOrder => {
            "run the same command again in a moment; `deployctl doctor` says who can be reached"
        }
        Code::NotFound => "`deployctl status` lists sessions and programs, `deployctl accept --list` invitations",
        Code::Ambiguous => "give more of its letters",
        Code::Expired | Code::TooLate | Code::AlreadyAnswered | Code::WrongState => "`{status}` shows how far it is",
        Code::UnknownContact => {
            "`deployctl trust list` lists the contacts, `deployctl trust add NAME ADDRESS` adds one"
        }
        Code::UnknownService => "`deployctl request --provider NODE --list` shows what there is",
        Code::BadInput | Code::BadDefinition | Code::BadOption => "mend what is named, then run the same command again",
        Code::BadArchive | Code::BadMessage | Code::UnknownType | Code::TooLarge => {
            "nothing of it was used; who made it mends it, or both sides take the same version of deployctl"
        }
        Code::Damaged => "put a copy of it back, or take it away; `deployctl doctor` looks at the rest",
        Code::NewerState => "use the version of deployctl that wrote it, or a newer one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionId;

    #[test]
    fn every_error_has_a_remedy_and_a_nearer_one_stays() {
        for code in Code::ALL {
            let error = with(Error::new(*code, "it failed"));
            let hint = error.hint.clone().unwrap_or_default();
            assert_eq!(hint.is_empty(), matches!(code, Code::Interrupted | Code::Terminated), "{code}");
            assert!(!hint.contains(['{', '}', '\n']) && !hint.ends_with('.'), "{code}: {hint}");
            assert_eq!(with(Error::new(*code, "it failed").hint("try tea")).hint.as_deref(), Some("try tea"));
        }
        let session = SessionId::from_bytes([7; 16]);
        let hint = with(Error::new(Code::WrongState, "it is over").about(session)).hint.unwrap();
        assert_eq!(hint, format!("`deployctl status {}` shows how far it is", session.short()));
    }
}
