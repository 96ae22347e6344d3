//! The ways by which nodes find one another on a local network.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::state::words;

words!(
    /// One of these protocols.
    Way { Upnp = "upnp", Mdns = "mdns" }
);
