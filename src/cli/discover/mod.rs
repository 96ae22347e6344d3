//! `deployctl discover`

mod asking;
mod shown;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use self::asking::Asking;
use self::shown::{Shown, block, explanation, line};
use super::install::program::address_of;
use super::leaving::Asked;
use super::shell::Shell;
use crate::discover::seeing::{Change, Patience, Sought, look};
use crate::model::{Code, Error, Result, ServiceName};
use crate::service::platform::Platform;
use crate::service::requirement::Size;

/// Without --timeout it ends when the answers are in, and at the latest after this.
const LONGEST: Duration = Duration::from_secs(3);
/// Changes that wait to be told while a contact is asked.
const CHANGES: usize = 512;

/// See which nodes are on the local network, and which of their programs run on this machine
///
/// Looks by UPnP and DNS-SD at once, and asks those that are contacts which of their programs fit this machine. What the
/// others say of themselves is not checked: who one is, its key proves when it is spoken to. Ends when the answers are in,
/// usually after little more than a second; with --timeout, it looks so long. With --from, that node alone is asked, on
/// the local network or not. What `[content]` in config.toml does not allow is left out. Nothing is changed by it.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl discover
  deployctl discover chess --category games      programs whose name or summary has “chess”, below games
  deployctl discover --from shop --license MIT   what the contact shop has under that license
  deployctl discover --explain chess             why chess is not shown: rule, what is expected, what is there
  deployctl discover --enables _ipp._tcp         who offers programs for printers
  deployctl discover --watch                     tell what comes, changes and goes, until Ctrl-C
  deployctl --format json discover --timeout 5s

JSON: an array of nodes {name, key, address, contact, asked, programs[], via[]}, a program being {name, version, summary,
category, license, signer, size, digest, requires[], enables[], platform, runs: native|runtime|emulator, by[]}; asked: the node itself
has said so over TLS. With --watch one line for each change, {event: found|changed|gone, node}. With --explain an array of
programs {node, name, version, …, unmet: [{rule, expected, actual}]}; no unmet: it would be shown.")]
pub(super) struct Args {
    /// Only programs with all these words in their name, summary or category
    #[arg(value_name = "QUERY")]
    text: Option<String>,
    /// Only programs of this category, or below it
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// For a machine of this platform in place of this one
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Only programs that make this usable: a type, or a device's URL
    ///
    /// A UPnP device or service (urn:…), or a DNS-SD service (_door._tcp); or the device that is described at this URL on
    /// the local network.
    #[arg(long, value_name = "TYPE|URL")]
    enables: Option<Sought>,
    /// Only programs usable under this license (SPDX id)
    #[arg(long, value_name = "LICENSE")]
    license: Vec<String>,
    /// Only programs whose packages are no larger than this, such as 50MiB
    ///
    /// How large one is, is known once it has been made; what is not known is not left out.
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Ask this node alone: a contact, or an address
    #[arg(long, value_name = "NODE", conflicts_with_all = ["watch", "interface"])]
    from: Option<String>,
    /// Say why a program of this name is not shown
    #[arg(long, value_name = "NAME", conflicts_with = "watch")]
    explain: Option<ServiceName>,
    /// Go on, and tell what comes, changes and goes
    #[arg(long)]
    watch: bool,
    /// On these network interfaces alone
    #[arg(long, value_name = "IF,…", value_delimiter = ',')]
    interface: Vec<String>,
}

impl Args {
    /// Whether everything that fits is wanted.
    fn is_open(&self) -> bool {
        self.text.is_none()
            && self.category.is_none()
            && self.license.is_empty()
            && self.enables.is_none()
            && self.max_size.is_none()
    }
}

#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    node: &'a Shown,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = match shell.find_node() {
        Ok(node) => Some(node),
        // Nobody needs a node of his own to look around.
        Err(error) if error.code == Code::NoIdentity && args.from.is_none() => None,
        Err(error) => return Err(error),
    };
    let patience = match (shell.timeout, args.watch) {
        (Some(span), _) => Patience::For(span.as_duration()),
        (None, true) => Patience::Endless,
        (None, false) => Patience::Quiet(LONGEST),
    };
    let looking = async {
        if let (Some(from), Some(node)) = (&args.from, &node) {
            let asking = Asking::begin(args, Some(node), shell).await?;
            return Ok(Some(vec![asking.ask(&address_of(from, node)?).await?]));
        }
        if args.watch {
            let asking = Asking::begin(args, node.as_ref(), shell).await?;
            return watch(args, patience, &asking, shell).await.map(|()| None);
        }
        let (asking, seen) =
            tokio::try_join!(Asking::begin(args, node.as_ref(), shell), look(&args.interface, patience, |_| {}))?;
        asking.ask_contacts(seen, shell).await.map(Some)
    };
    let nodes = shell.run_or(looking, Asked::watched)?;
    nodes.map_or(Ok(()), |nodes| show(args, &nodes, shell))
}

fn show(args: &Args, nodes: &[Shown], shell: &Shell) -> Result<()> {
    if nodes.is_empty() {
        shell
            .ui
            .note("no nodes were seen; they have to run `deployctl serve --advertise upnp,mdns` on the same network");
    }
    if let Some(name) = &args.explain {
        let all: Vec<_> = nodes.iter().flat_map(Shown::explanations).collect();
        if all.is_empty() {
            let why = format!("no node that was asked or seen has a program {name}");
            return Err(Error::new(Code::NotFound, why).hint("deployctl discover shows what there is"));
        }
        return shell.ui.data(&all, || all.iter().map(explanation).collect::<Vec<_>>().join("\n"));
    }
    let shown: Vec<_> =
        nodes.iter().filter(|node| args.is_open() || args.from.is_some() || !node.programs.is_empty()).collect();
    if shown.is_empty() && !nodes.is_empty() {
        shell.ui.note("no program fits; `--explain NAME` says why one does not");
    }
    if nodes.iter().any(|node| node.more) {
        shell.ui.warn("there are more programs than an answer has room for; ask for fewer with a category or a word");
    }
    shell.ui.data(&shown, || shown.iter().map(|node| block(node)).collect::<Vec<_>>().join("\n"))
}

/// Tells of changes, one after the other, until nobody listens any more. Contacts that come are asked, as without --watch.
async fn watch(args: &Args, patience: Patience, asking: &Asking<'_>, shell: &Shell) -> Result<()> {
    let (sender, mut changes) = mpsc::channel(CHANGES);
    // Whoever makes up more changes than can be told is not heard.
    let looking =
        async { look(&args.interface, patience, move |change| drop(sender.try_send(change))).await.map(drop) };
    let telling = async {
        let mut told = BTreeSet::new();
        while let Some(change) = changes.recv().await {
            let (event, node) = match change {
                Change::Found(seen) => ("found", asking.ask_contact(seen, shell).await?),
                Change::Changed(seen) => ("changed", asking.ask_contact(seen, shell).await?),
                Change::Gone(seen) => ("gone", asking.shown(seen)?),
            };
            if !args.is_open() && node.programs.is_empty() && !told.contains(&node.address.key) {
                continue;
            }
            told.insert(node.address.key);
            shell.ui.data(&Told { event, node: &node }, || line(event, &node))?;
            if shell.ui.has_reader_left() {
                break;
            }
        }
        Ok(())
    };
    let mut telling = std::pin::pin!(telling);
    tokio::select! {
        looked = looking => looked?,
        told = &mut telling => return told,
    }
    // What was seen until the end is still to be told.
    telling.await
}
