//! Bodies of calls: the XML reader, the envelope, the arguments of every action.
#![no_main]

use deployctl::discover::upnp::service::SERVICES;
use deployctl::discover::upnp::soap::Call;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for service in SERVICES {
        for action in service.actions {
            let named = format!("\"{}#{}\"", service.kind, action.name);
            let _ = Call::read(service, &named, body);
        }
    }
});
