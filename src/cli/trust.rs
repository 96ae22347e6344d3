//! `deployctl trust`

use clap::Subcommand;
use serde::Serialize;

use super::{enrol, shell::Shell};
use crate::model::{Address, Key, Name, Result, Time};
use crate::store::contacts::{Added, Contact, Contacts};
use crate::store::rights::Rights;
use crate::ui::table::table;

/// Say whom this node trusts, and with what
///
/// Contacts are other nodes by a name of yours, with what they may do here. Nobody else may do anything.
#[derive(clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_long_help = "Examples:
  deployctl trust add anna deploy://KEY@192.0.2.7:4800 --may request
  deployctl trust list
  deployctl trust token --may request       and on the other node: deployctl trust join

To undo: deployctl trust remove NAME"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a node, or change what it may do
    #[command(after_long_help = "Rights:
  request      ask this node for services
  provide      this node installs its software
  invite       this node looks at invitations that it originated
  auto-accept  invitations through or by it are accepted without asking, if both sides are known

Example:
  deployctl trust add anna deploy://KEY@192.0.2.7:4800 --may request

To undo: deployctl trust remove NAME")]
    Add {
        /// What you call it
        name: Name,
        /// What the other node's `deployctl init` printed
        address: Address,
        /// What it may do here: request, provide, invite, auto-accept; none without this
        #[arg(long, value_name = "RIGHT,…")]
        may: Option<Rights>,
    },
    /// List the contacts
    #[command(after_long_help = "Examples:
  deployctl trust list
  deployctl --format json trust list | jq -r '.contacts[].address'")]
    List,
    /// Remove a contact; it takes effect at once
    #[command(after_long_help = "Example:
  deployctl trust remove anna

To undo: the `trust add` that it prints")]
    Remove {
        /// A contact, by its name
        #[arg(value_name = "CONTACT")]
        name: String,
    },
    Token(enrol::TokenArgs),
    Join(enrol::JoinArgs),
}

#[derive(Serialize)]
pub(super) struct Shown {
    pub(super) name: Name,
    address: Address,
    key: Key,
    may: Rights,
    since: Time,
}

impl From<Contact> for Shown {
    fn from(contact: Contact) -> Self {
        Self {
            key: contact.address.key,
            name: contact.name,
            address: contact.address,
            may: contact.may,
            since: contact.since,
        }
    }
}

#[derive(Serialize)]
struct List {
    contacts: Vec<Shown>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let contacts = Contacts::of(&shell.open_state()?);
    match &args.command {
        Command::Token(args) => enrol::token(args, shell),
        Command::Join(args) => enrol::join(args, shell),
        Command::Add { name, address, may } => add(name, address, may.as_ref(), &contacts, shell),
        Command::List => list(&contacts, shell),
        Command::Remove { name } => {
            let shown = Shown::from(contacts.remove(name)?);
            shell.ui.note(&format!(
                "{} is not known here any more; to undo: deployctl trust add {} {} --may {}",
                shown.name, shown.name, shown.address, shown.may
            ));
            shell.ui.data(&shown, || shown.name.to_string())
        }
    }
}

fn add(name: &Name, address: &Address, may: Option<&Rights>, contacts: &Contacts, shell: &Shell) -> Result<()> {
    // Another address for a contact does not silently take its rights away.
    let known = contacts.by_key(&address.key, shell.system.now())?.map(|contact| contact.may);
    let may = may.cloned().or(known).unwrap_or_default();
    let said = match contacts.add(name, address, &may, shell.system.now())? {
        Added::New => "added",
        Added::Changed => "changed",
        Added::Unchanged => "known already:",
    };
    shell.ui.note(&format!("{said} {name}, who may {}", words(&may)));
    let shown = Shown::from(contacts.by_name(name)?);
    shell.ui.data(&shown, || name.to_string())
}

fn list(contacts: &Contacts, shell: &Shell) -> Result<()> {
    let list = List { contacts: contacts.list()?.into_iter().map(Shown::from).collect() };
    if list.contacts.is_empty() {
        shell.ui.note("no contacts yet; `deployctl trust add NAME ADDRESS` adds one");
        return shell.ui.data(&list, String::new);
    }
    shell.ui.data(&list, || {
        let rows: Vec<_> = list
            .contacts
            .iter()
            .map(|one| vec![one.name.to_string(), words(&one.may), one.address.to_string()])
            .collect();
        table(&["NAME", "MAY", "ADDRESS"], &rows)
    })
}

pub(super) fn words(rights: &Rights) -> String {
    if rights.is_empty() { "nothing".to_owned() } else { rights.to_string() }
}
