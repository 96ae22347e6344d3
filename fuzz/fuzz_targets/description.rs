//! What a control point of ours reads: descriptions and lists of programs.
#![no_main]

use std::net::Ipv4Addr;

use deployctl::discover::Udn;
use deployctl::discover::seeing::Sighting;
use deployctl::model::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    let udn = Udn::of(&Key::from_bytes([3; 32]));
    if let Some((seen, path)) = Sighting::of_description(document, udn, Ipv4Addr::new(192, 0, 2, 1)) {
        assert!(seen.udn() == udn && path.starts_with('/'));
    }
    let _ = Sighting::programs(document);
});
