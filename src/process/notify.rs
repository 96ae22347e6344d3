//! Telling a service manager how this process stands, as sd_notify(3) says it. Where none listens, nobody is told.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Who started this process and wants to know.
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// It takes this process for dead that is silent for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// What the environment says: `NOTIFY_SOCKET`, a path or `@` and an abstract name, and `WATCHDOG_USEC`.
    pub fn of(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let name = environment("NOTIFY_SOCKET");
        let socket = name.and_then(|name| Some((UnixDatagram::unbound().ok()?, address(&name)?)));
        // Waiting for a manager that does not read would hold everything up.
        let socket = socket.filter(|(socket, _)| socket.set_nonblocking(true).is_ok());
        let watchdog = environment("WATCHDOG_USEC").and_then(|text| text.to_str()?.parse().ok());
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }
    /// `READY=1`, `STOPPING=1`. That it was not heard is no reason to stop.
    pub fn tell(&self, state: &str) {
        if let Some((socket, to)) = &self.socket {
            let _ = socket.send_to_addr(state.as_bytes(), to);
        }
    }
    /// Shows a watchdog that this process lives, twice as often as it wants; never ends.
    pub async fn show_life(&self) -> std::convert::Infallible {
        let Some(silence) = self.watchdog.filter(|silence| !silence.is_zero() && self.socket.is_some()) else {
            return std::future::pending().await;
        };
        let mut beat = tokio::time::interval(silence / 2);
        loop {
            beat.tick().await;
            self.tell("WATCHDOG=1");
        }
    }
}

fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}
