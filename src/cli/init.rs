//! `deployctl init`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use super::shell::Shell;
use crate::message::rotate::GRACE;
use crate::model::{Address, Code, Error, Host, Key, Name, Result, Span};
use crate::node::{self, NodeIdentity};
use crate::store::file;
use crate::store::identity::{PrivatePem, Settings, StoredIdentity};
use crate::store::state::StateDir;
use crate::ui::Ui;

/// The longest certificate with those above it, in bytes.
const MAX_CERTIFICATE: u64 = 64 << 10;

/// Make this node's identity and print its address
///
/// The identity is an Ed25519 key and its certificate, in the state directory. Run again, this shows the same address; with
/// other values it changes name or address and keeps the key.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl init --name anna --address 192.0.2.7:4800
  deployctl init --name laptop        a node that listens nowhere and asks its providers
  deployctl init --csr > node.csr     and with what the authority made of it:
  deployctl init --certificate node.pem
  deployctl init --rotate             a new key; not while sessions go on or `serve` runs

A rotation cannot be undone. It is no help against somebody who has your key: for that, make a new node, and have your
contacts remove the old one.")]
pub(super) struct Args {
    /// How this node introduces itself
    #[arg(long)]
    name: Option<Name>,
    /// Where others reach it; without, it listens nowhere
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<Host>,
    /// Print a request (PKCS#10) for a certificate of this node's key, for an authority to sign
    #[arg(long, conflicts_with_all = ["rotate", "certificate"])]
    csr: bool,
    /// Show this certificate to others: one of this node's key, with those between it and its authority
    #[arg(long, value_name = "FILE", conflicts_with = "rotate")]
    certificate: Option<PathBuf>,
    /// Take a new key, which the present one signs over; contacts follow by themselves
    #[arg(long)]
    rotate: bool,
    /// How long contacts take the former key, too; at most 30d [default: 7d]
    #[arg(long, value_name = "DURATION", requires = "rotate")]
    grace: Option<Span>,
}

#[derive(Serialize)]
struct Made {
    name: Option<Name>,
    key: Key,
    address: Address,
    state: String,
}

#[derive(Serialize)]
struct Request {
    csr: String,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let state = StateDir::open(shell.state_path(), true)?;
    let before = StoredIdentity::find(&state)?;
    let is_new = before.is_none();
    let mut stored = match before {
        Some(stored) => stored,
        None => fresh(Settings::default(), shell)?,
    };
    let settings = stored.settings.clone();
    stored.settings.name = args.name.clone().or(stored.settings.name);
    stored.settings.host = args.address.clone().or(stored.settings.host);
    if let Some(path) = &args.certificate {
        stored.cert_pem = certificate(path, &stored)?;
    }
    if is_new || stored.settings != settings || args.certificate.is_some() {
        stored.save(&state)?;
    }
    if args.rotate {
        rotate(args.grace.unwrap_or(GRACE), shell)?;
        stored = StoredIdentity::load(&state)?;
    }
    if args.csr {
        let csr = node::signing_request(stored.key_pem.reveal(), stored.settings.name.as_deref())?;
        return shell.ui.data(&Request { csr: csr.clone() }, || csr.trim_end().to_owned());
    }
    let key = NodeIdentity::from_pem(stored.key_pem.reveal(), &stored.cert_pem)?.key();
    let address = Address { key, host: stored.settings.host.clone() };
    let path = state.root().display().to_string();
    let said = match (is_new, stored.settings == settings) {
        (true, _) => "made a new identity in",
        (false, false) => "changed this node's name or address, and kept its key, in",
        (false, true) => "this node's identity is in",
    };
    shell.ui.note(&format!("{said} {path}"));
    if is_new {
        shell.ui.note("give others the address below, and take theirs with `deployctl trust add NAME ADDRESS --may …`");
        shell.ui.note("next: `deployctl serve` runs this node; who only takes part now and then can do without");
    }
    let made = Made { name: stored.settings.name.clone(), key, address: address.clone(), state: path };
    shell.ui.data(&made, || address.to_string())
}

/// A new key with its certificate, not yet kept.
fn fresh(settings: Settings, shell: &Shell) -> Result<StoredIdentity> {
    let (key_pem, cert_pem) = node::generate(&shell.system)?;
    Ok(StoredIdentity { key_pem: PrivatePem::new(key_pem), cert_pem, settings })
}

/// Where a command needs a node and there is none, a person may have one made first. Says whether it was.
///
/// # Errors
/// `interrupted`; what making it says.
pub(super) fn offer(shell: &Shell) -> Result<bool> {
    let ui = &shell.ui;
    let question = format!("There is no node in {} yet. Make one now?", shell.state_path().display());
    if !ui.confirm(&question, "`deployctl init`")? {
        return Ok(false);
    }
    let name: Option<Name> = asked(ui, "  Its name, for others to read [none]: ", "--name")?;
    let host: Option<Host> = asked(ui, "  HOST:PORT where others reach it [it listens nowhere]: ", "--address")?;
    let state = StateDir::open(shell.state_path(), true)?;
    fresh(Settings { name, host }, shell)?.save(&state)?;
    let node = shell.node()?;
    ui.note(&format!("made a new identity; others need its address: {}", node.address()));
    Ok(true)
}

/// Something that may be left out; asked for until it reads.
fn asked<T: FromStr<Err = Error>>(ui: &Ui, label: &str, flag: &str) -> Result<Option<T>> {
    loop {
        match ui.ask_field(label, false, &format!("deployctl init {flag}"))?.as_str() {
            "" => return Ok(None),
            text => match text.parse() {
                Ok(value) => return Ok(Some(value)),
                Err(Error { message, hint, .. }) => {
                    ui.note(&format!("    {message}{}", hint.map(|hint| format!("; {hint}")).unwrap_or_default()));
                }
            },
        }
    }
}

/// The certificate in a file, which must be of this node's key.
fn certificate(path: &Path, stored: &StoredIdentity) -> Result<String> {
    let refuse = |why: &str| {
        Error::new(Code::BadInput, format!("{} is no certificate for this node: {why}", path.display()))
            .hint("`deployctl init --csr` prints what an authority needs to make one")
    };
    let text = String::from_utf8(file::read_limited(path, MAX_CERTIFICATE)?).map_err(|_| refuse("it is not PEM"))?;
    NodeIdentity::from_pem(stored.key_pem.reveal(), &text).map_err(|why| refuse(&why.message))?;
    Ok(text)
}

/// Takes a new key and tells the contacts that can be reached.
fn rotate(grace: Span, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let former = node.key();
    node.rotate(grace)?;
    shell.ui.note(&format!(
        "the key {} was handed over to a new one; who gets your address needs the new one",
        former.short()
    ));
    let node = shell.node()?;
    let untold = shell.run(node.announce(None))?;
    if !untold.is_empty() {
        let names: Vec<_> = untold.iter().map(ToString::to_string).collect();
        shell.ui.note(&format!("not told yet: {}; `deployctl serve` goes on trying", names.join(", ")));
    }
    Ok(())
}
