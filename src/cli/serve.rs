//! `deployctl serve`

use std::path::PathBuf;

use serde::Serialize;

use super::leaving::asked_to_stop;
use super::shell::Shell;
use crate::model::{Address, Host, Result, Way};
use crate::process::notify::Manager;
use crate::roles::neighbourhood::Advertise;
use crate::roles::serve::{Offering, Service};

/// Run this node: provider, inbox of a peer, and all that goes on by itself
///
/// Until SIGTERM or Ctrl-C it answers requests, invites, builds, delivers, installs, starts, accounts and
/// removes, as its contacts' rights and its settings allow. Prints one line when it is ready.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl serve                           at the address given to `init`; without one, asks its providers instead
  deployctl serve --listen 127.0.0.1:0      at a free port; the ready line says which
  deployctl serve --services ./services     offers what is in that folder
  deployctl serve --advertise upnp,mdns     seen by UPnP control points and Zeroconf browsers on every network
  deployctl serve --advertise mdns --interface eth0

To undo: Ctrl-C or SIGTERM. Sessions go on where they were when it runs again.")]
pub(super) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "DEPLOYCTL_LISTEN", hide_env_values = true)]
    listen: Option<Host>,
    /// The folder of the services that this node offers
    #[arg(long, value_name = "DIR", env = "DEPLOYCTL_SERVICES", hide_env_values = true)]
    services: Option<PathBuf>,
    /// Offer installed programs on, where their licenses allow it
    #[arg(long)]
    share: bool,
    /// Tell the local network of this node, by these ways
    #[arg(long, value_name = "WAY,…", env = "DEPLOYCTL_ADVERTISE", hide_env_values = true, value_delimiter = ',')]
    advertise: Vec<Way>,
    /// On these network interfaces alone
    #[arg(long, value_name = "IF,…", env = "DEPLOYCTL_INTERFACE", hide_env_values = true, value_delimiter = ',')]
    interface: Vec<String>,
}

#[derive(Serialize)]
struct Ready<'a> {
    event: &'a str,
    address: &'a Address,
    listen: Option<&'a str>,
    upnp: Option<&'a str>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let state = shell.open_state()?;
    let setting = shell.setting()?;
    let services = args.services.as_ref().map(std::path::absolute).transpose();
    let services =
        services.map_err(|why| crate::model::Error::new(crate::model::Code::Usage, format!("--services: {why}")))?;
    shell.run_until_stopped(async {
        let manager = Manager::of(|name| std::env::var_os(name));
        let stop = async {
            asked_to_stop().await;
            manager.tell("STOPPING=1");
        };
        let stop_at_once = async {
            asked_to_stop().await;
            asked_to_stop().await;
        };
        let listen = args.listen.as_ref().map(ToString::to_string);
        let advertise = Advertise { ways: args.advertise.clone(), interfaces: args.interface.clone() };
        let service =
            Service::begin(state, listen, setting, Offering { services, share: args.share }, advertise).await?;
        let running = service.running();
        let listen = running.listen.as_deref();
        let upnp = service.upnp_url();
        let ready = Ready { event: "ready", address: &running.address, listen, upnp: upnp.as_deref() };
        shell.ui.data(&ready, || match listen {
            Some(listen) => format!("ready: {} listening on {listen}", running.address),
            None => format!("ready: {} listens nowhere and asks its providers", running.address),
        })?;
        manager.tell("READY=1");
        tokio::select! {
            result = service.run(stop) => result,
            never = manager.show_life() => match never {},
            // Who asks a second time does not want to wait for the goodbyes.
            () = stop_at_once => Ok(()),
        }
    })
}
