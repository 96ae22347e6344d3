//! Datagrams: searches, notices and answers.
#![no_main]

use deployctl::discover::upnp::ssdp::{Notice, Search, matching, targets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let _ = Notice::read(datagram);
    if let Some(search) = Search::read(datagram) {
        let all = targets("uuid:0", "urn:a:device:B:1", &["urn:a:service:C:1"]);
        assert!(matching(&all, &search.target).len() <= all.len());
    }
});
