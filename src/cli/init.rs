//! `deployctl init`

use serde::Serialize;

use super::shell::Shell;
use crate::model::{Address, Host, Key, Name, Result};
use crate::node::{self, NodeIdentity};
use crate::store::identity::{PrivatePem, StoredIdentity};
use crate::store::state::StateDir;

/// Make this node's identity and print its address
///
/// The identity is an Ed25519 key and its certificate, in the state directory. Run again, this shows the same address; with
/// other values it changes name or address and keeps the key.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl init --name anna --address 192.0.2.7:4800
  deployctl init --name laptop        a node that listens nowhere and asks its providers")]
pub(super) struct Args {
    /// How this node introduces itself
    #[arg(long)]
    name: Option<Name>,
    /// Where others reach it; without, it listens nowhere
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<Host>,
}

#[derive(Serialize)]
struct Made {
    name: Option<Name>,
    key: Key,
    address: Address,
    state: String,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let state = StateDir::open(shell.state_path(), true)?;
    let before = StoredIdentity::find(&state)?;
    let is_new = before.is_none();
    let mut stored = match before {
        Some(stored) => stored,
        None => {
            let (key_pem, cert_pem) = node::generate(&shell.system)?;
            StoredIdentity { key_pem: PrivatePem::new(key_pem), cert_pem, settings: Default::default() }
        }
    };
    let settings = stored.settings.clone();
    stored.settings.name = args.name.clone().or(stored.settings.name);
    stored.settings.host = args.address.clone().or(stored.settings.host);
    if is_new || stored.settings != settings {
        stored.save(&state)?;
    }
    let key = NodeIdentity::from_pem(stored.key_pem.reveal(), &stored.cert_pem)?.key();
    let address = Address { key, host: stored.settings.host.clone() };
    let path = state.root().display().to_string();
    let said = if is_new { "made a new identity in" } else { "this node's identity is in" };
    shell.ui.note(&format!("{said} {path}"));
    if is_new {
        shell.ui.note("give others the address below, and take theirs with `deployctl trust add NAME ADDRESS --may …`");
    }
    let made = Made { name: stored.settings.name.clone(), key, address: address.clone(), state: path };
    shell.ui.data(&made, || address.to_string())
}
