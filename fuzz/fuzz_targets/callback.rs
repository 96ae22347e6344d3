//! CALLBACK and TIMEOUT headers: no callback leads to anybody but who asked.
#![no_main]

use std::net::Ipv4Addr;

use deployctl::discover::link::Link;
use deployctl::discover::upnp::gena::{granted, read_callbacks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let link = Link { name: "eth0".to_owned(), ip: Ipv4Addr::new(192, 0, 2, 1), prefix: 24 };
    let peer = Ipv4Addr::new(192, 0, 2, 7);
    for url in read_callbacks(header, peer, &link).unwrap_or_default() {
        assert_eq!(*url.at.ip(), peer);
    }
    granted(Some(header));
});
