//! An envelope as it comes over the network; and what a known node would have signed, as a message.
#![no_main]

use std::sync::LazyLock;

use deployctl::message::{Envelope, SigningKey, Verified};
use libfuzzer_sys::fuzz_target;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[9; 32]).unwrap());

/// The types of messages whose payloads are read: the first byte draws one.
const KINDS: [&str; 8] =
    ["service-request", "invitation", "answer", "delivery", "accounting", "interface", "enrol", "program-delivery"];

fuzz_target!(|input: &[u8]| {
    if let Ok(envelope) = Envelope::from_json(input) {
        assert!(envelope.verify(&SIGNER.key()).is_err());
        let _ = Verified::open(envelope);
    }
    let Some((kind, payload)) = input.split_first() else { return };
    let kind = format!("application/vnd.deployctl.{}.v1+json", KINDS[usize::from(*kind) % KINDS.len()]);
    if let Ok(message) = Verified::open(Envelope::seal(&kind, payload.to_vec(), &SIGNER)) {
        assert_eq!(message.head.from, SIGNER.key());
    }
});
