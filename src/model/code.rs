//! Every stable error code, with the exit code it leads to, the HTTP status it travels under, and whether sending the
//! same message again can help. The one table that scripts, other nodes and the manual rely on.

use std::fmt;

use super::serde_as_text;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $exit:literal, $http:literal;)+) => {
        /// What went wrong, in one stable word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];
            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $word),+ }
            }
            /// The process's exit code.
            pub fn exit(self) -> u8 {
                match self { $(Code::$variant => $exit),+ }
            }
            /// The HTTP status that a node answers with.
            pub fn http_status(self) -> u16 {
                match self { $(Code::$variant => $http),+ }
            }
        }
    };
}

codes! {
    // 1: failed for another reason
    /// A defect of ours.
    Internal = "internal", 1, 500;
    /// A file or folder could not be read or written.
    Io = "io", 1, 500;
    /// No space is left.
    DiskFull = "disk-full", 1, 507;
    /// Less space is free than the work that was to begin needs.
    NoSpace = "no-space", 1, 507;
    /// Building the software failed.
    BuildFailed = "build-failed", 1, 409;
    /// The service did not become ready in time.
    NotReady = "not-ready", 1, 409;
    /// The service or the session failed.
    ServiceFailed = "service-failed", 1, 409;
    /// `doctor` found what is wrong with this node.
    Unwell = "unwell", 1, 500;
    /// Another of the session's participants or a limit ended it.
    SessionFailed = "session-failed", 1, 409;

    // 2: wrong usage
    Usage = "usage", 2, 400;
    /// A question would have been asked, and must not be.
    PromptNeeded = "prompt-needed", 2, 400;
    BadAddress = "bad-address", 2, 400;
    BadName = "bad-name", 2, 400;
    BadDuration = "bad-duration", 2, 400;
    /// The state directory has no identity yet.
    NoIdentity = "no-identity", 2, 400;

    // 3: the other side said no
    NotPermitted = "not-permitted", 3, 403;
    Declined = "declined", 3, 409;
    Withdrawn = "withdrawn", 3, 410;
    QuorumMissed = "quorum-missed", 3, 409;
    Refused = "refused", 3, 409;
    /// A machine lacks what a role requires.
    Unsuitable = "unsuitable", 3, 409;

    // 4: authentication or verification failed
    BadSignature = "bad-signature", 4, 400;
    WrongKey = "wrong-key", 4, 403;
    /// A certificate that no configured authority vouches for, now and for this.
    BadCertificate = "bad-certificate", 4, 403;
    WrongRecipient = "wrong-recipient", 4, 400;
    WrongSession = "wrong-session", 4, 400;
    Replay = "replay", 4, 409;
    FromFuture = "from-future", 4, 400;
    BadDigest = "bad-digest", 4, 400;
    BadProof = "bad-proof", 4, 400;
    Downgrade = "downgrade", 4, 409;
    MoreThanAccepted = "more-than-accepted", 4, 409;
    BrokenChain = "broken-chain", 4, 409;
    /// Somebody signed two accountings, or two receipts, of which only one can be true.
    ForkedChain = "forked-chain", 4, 409;
    KeyExposed = "key-exposed", 4, 500;

    // 5: could not be reached, timed out, locked
    Unreachable = "unreachable", 5, 502;
    TimedOut = "timed-out", 5, 504;
    Locked = "locked", 5, 503;
    Busy = "busy", 5, 429;
    /// A message came before the one that it builds on.
    OutOfOrder = "out-of-order", 5, 425;

    // 6: no such thing, or not in a state for this
    NotFound = "not-found", 6, 404;
    Ambiguous = "ambiguous", 6, 400;
    Expired = "expired", 6, 410;
    TooLate = "too-late", 6, 409;
    AlreadyAnswered = "already-answered", 6, 409;
    WrongState = "wrong-state", 6, 409;
    UnknownContact = "unknown-contact", 6, 404;
    UnknownService = "unknown-service", 6, 404;

    // 7: partly done
    PartlyDone = "partly-done", 7, 409;

    // 8: bad input
    BadInput = "bad-input", 8, 400;
    BadDefinition = "bad-definition", 8, 422;
    BadOption = "bad-option", 8, 422;
    BadArchive = "bad-archive", 8, 422;
    BadMessage = "bad-message", 8, 400;
    UnknownType = "unknown-type", 8, 415;
    TooLarge = "too-large", 8, 413;
    /// A file of the state directory does not read as what it should be.
    Damaged = "damaged", 8, 500;
    /// The state directory was written by a newer version.
    NewerState = "newer-state", 8, 500;

    // 130
    Interrupted = "interrupted", 130, 500;

    // 143
    Terminated = "terminated", 143, 500;
}

impl Code {
    /// Whether the same message, sent again later, could be taken: then the sender keeps it; else it gives up on it.
    pub fn may_pass_later(self) -> bool {
        self.exit() == 5
            || matches!(
                self,
                Code::Internal
                    | Code::Io
                    | Code::DiskFull
                    | Code::NoSpace
                    | Code::Damaged
                    | Code::NewerState
                    | Code::KeyExposed
            )
    }
}
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl std::str::FromStr for Code {
    type Err = super::Error;
    /// A word that this version does not know reads as `refused`: the other side said no, for a reason of its own.
    fn from_str(text: &str) -> super::Result<Self> {
        Ok(Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Code::Refused))
    }
}
serde_as_text!(Code);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_word_and_a_row_of_the_exit_table() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| matches!(code.exit(), 1..=8 | 130 | 143)));
    }
}
