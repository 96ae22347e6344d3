//! Search and sort criteria, and Filters.
#![no_main]

use deployctl::discover::upnp::didl::Filter;
use deployctl::discover::upnp::search::{Criteria, read_sort};
use deployctl::discover::upnp::tree::{SEARCHABLE, SORTABLE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(criteria) = Criteria::read(text, &SEARCHABLE) {
        criteria.fits(&|property| vec![property.to_owned().into()]);
    }
    let _ = (read_sort(text, &SORTABLE), Filter::read(text));
});
