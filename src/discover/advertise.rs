//! Being seen: a node that offers something tells the link, by the ways that were chosen.

use std::sync::Arc;

use tokio::sync::watch;

use super::dnssd::Publisher;
use super::link::check_names;
use super::upnp::Device;
use super::{Directory, Query};
use crate::model::{Result, Way};
use crate::system::System;

/// What a node tells the local network with.
pub struct Advertising {
    device: Option<Device>,
    publisher: Option<Publisher>,
}

impl Advertising {
    /// Begins to tell what `directory` has, on these interfaces, or on all that lead to a network where none is named.
    ///
    /// # Errors
    /// `usage` for an interface that is not there; `io` where one cannot be served.
    pub async fn begin(
        ways: &[Way],
        interfaces: &[String],
        directory: watch::Receiver<Arc<Directory>>,
        query: Query,
        system: System,
    ) -> Result<Self> {
        check_names(interfaces)?;
        let device = match ways.contains(&Way::Upnp) {
            true => Some(Device::begin(interfaces.to_vec(), directory.clone(), query, system.clone()).await?),
            false => None,
        };
        let publisher = match ways.contains(&Way::Mdns) {
            true => Some(Publisher::begin(interfaces.to_vec(), directory, system)?),
            false => None,
        };
        Ok(Self { device, publisher })
    }
    /// The URL of the device's description, where there is a device and a link to see it on.
    pub fn url(&self) -> Option<String> {
        self.device.as_ref().and_then(Device::url)
    }
    /// Says goodbye by all ways.
    pub async fn leave(self) {
        let device = async {
            if let Some(device) = self.device {
                device.leave().await;
            }
        };
        let publisher = async {
            if let Some(publisher) = self.publisher {
                publisher.leave().await;
            }
        };
        tokio::join!(device, publisher);
    }
}
