//! `deployctl discover`

use std::time::Duration;

use serde::Serialize;

use super::shell::Shell;
use crate::discover::Program;
use crate::discover::seeing::{Change, Patience, Seen, look};
use crate::model::{Address, Code, Key, Name, Result, Way};
use crate::store::contacts::Contacts;
use crate::ui::escape::{escape_line, shorten};
use crate::ui::table::table;

/// Without --timeout it ends when the answers are in, and at the latest after this.
const LONGEST: Duration = Duration::from_secs(3);
/// Characters of a summary in a table.
const SUMMARY: usize = 60;

/// See which nodes are on the local network, and what they offer
///
/// Looks by UPnP and DNS-SD at once. What nodes say of themselves is not checked: who one is, its key proves when it is
/// spoken to. Ends when the answers are in, usually after little more than a second; with --timeout, it looks so long.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl discover
  deployctl discover --watch                  tell what comes, changes and goes, until Ctrl-C
  deployctl --format json discover --timeout 5s

JSON: an array of nodes {name, key, address, contact, programs[], via[]}; with --watch one line for each change,
{event: found|changed|gone, node}.")]
pub(super) struct Args {
    /// Go on, and tell what comes, changes and goes
    #[arg(long)]
    watch: bool,
    /// On these network interfaces alone; on all without this
    #[arg(long, value_name = "IF,…", value_delimiter = ',')]
    interface: Vec<String>,
}

/// A node as scripts see it.
#[derive(Serialize)]
struct Shown {
    name: Name,
    key: Key,
    address: Address,
    /// The name of the contact with this key, if there is one.
    contact: Option<Name>,
    programs: Vec<Program>,
    via: Vec<Way>,
    /// Whether the node's programs are known: not every way tells them.
    #[serde(skip)]
    is_listed: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    node: &'a Shown,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let contacts = known_contacts(shell)?;
    let patience = match (shell.timeout, args.watch) {
        (Some(span), _) => Patience::For(span.as_duration()),
        (None, true) => Patience::Endless,
        (None, false) => Patience::Quiet(LONGEST),
    };
    if args.watch {
        return watch(args, patience, contacts.as_ref(), shell);
    }
    let nodes = shell.run(look(&args.interface, patience, |_| {}))?;
    let nodes: Vec<Shown> =
        nodes.into_iter().map(|seen| shown(seen, contacts.as_ref(), shell)).collect::<Result<_>>()?;
    if nodes.is_empty() {
        shell
            .ui
            .note("no nodes were seen; they have to run `deployctl serve --advertise upnp,mdns` on the same network");
    }
    shell.ui.data(&nodes, || nodes.iter().map(block).collect::<Vec<_>>().join("\n"))
}

/// Nobody needs a node of his own to look around.
fn known_contacts(shell: &Shell) -> Result<Option<Contacts>> {
    match shell.open_state() {
        Ok(state) => Ok(Some(Contacts::of(&state))),
        Err(error) if error.code == Code::NoIdentity => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(args: &Args, patience: Patience, contacts: Option<&Contacts>, shell: &Shell) -> Result<()> {
    shell.run(async {
        let mut failed = None;
        let (sender, mut stop) = tokio::sync::mpsc::channel::<()>(1);
        let tell = |change: Change| {
            let (event, seen) = match change {
                Change::Found(seen) => ("found", seen),
                Change::Changed(seen) => ("changed", seen),
                Change::Gone(seen) => ("gone", seen),
            };
            let told = shown(seen, contacts, shell)
                .and_then(|node| shell.ui.data(&Told { event, node: &node }, || line(event, &node)));
            if told.is_err() || shell.ui.has_reader_left() {
                failed = told.err();
                let _stopping_already = sender.try_send(());
            }
        };
        tokio::select! {
            nodes = look(&args.interface, patience, tell) => nodes.map(drop)?,
            _ = stop.recv() => {}
        }
        failed.map_or(Ok(()), Err)
    })
}

fn shown(seen: Seen, contacts: Option<&Contacts>, shell: &Shell) -> Result<Shown> {
    let contact = match contacts {
        Some(contacts) => contacts.by_key(&seen.key, shell.system.now())?.map(|contact| contact.name),
        None => None,
    };
    let address = Address { key: seen.key, host: seen.hosts.into_iter().next() };
    let (is_listed, programs) = (seen.programs.is_some(), seen.programs.unwrap_or_default());
    Ok(Shown {
        name: seen.name,
        key: seen.key,
        address,
        contact,
        programs,
        via: seen.ways.into_iter().collect(),
        is_listed,
    })
}

/// A node for people: who it says it is, and what it offers.
fn block(node: &Shown) -> String {
    let known = match &node.contact {
        Some(contact) => format!("your contact {contact}"),
        None => "not a contact".to_owned(),
    };
    let via: Vec<_> = node.via.iter().map(ToString::to_string).collect();
    let mut text = format!("{}, {known}, seen by {}\n", node.name, via.join(" and "));
    text.push_str(&format!("  key      {}\n  address  {}\n", node.key.groups(), node.address));
    if !node.is_listed {
        return text;
    }
    let rows: Vec<_> = node.programs.iter().map(row).collect();
    if rows.is_empty() {
        text.push_str("  offers no programs\n");
    }
    for line in table(&["PROGRAM", "VERSION", "CATEGORY", "SUMMARY"], &rows).lines().filter(|_| !rows.is_empty()) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn row(program: &Program) -> Vec<String> {
    let category = program.category.clone().unwrap_or_default();
    vec![
        shorten(&program.id, SUMMARY),
        program.version.to_string(),
        shorten(&category, SUMMARY),
        shorten(&program.summary, SUMMARY),
    ]
}

fn line(event: &str, node: &Shown) -> String {
    let contact = node.contact.as_ref().map(|contact| format!(" (your contact {contact})")).unwrap_or_default();
    let programs: Vec<_> = node.programs.iter().map(|program| escape_line(&program.id)).collect();
    let offers = if programs.is_empty() { String::new() } else { format!(": {}", programs.join(", ")) };
    format!("{event} {}{contact} {}{offers}", node.name, node.address)
}
