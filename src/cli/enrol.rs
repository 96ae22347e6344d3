//! `deployctl trust token` and `deployctl trust join`: two nodes get to know each other by one line.

use serde::Serialize;

use super::shell::Shell;
use super::trust::{Shown, words};
use crate::model::{Address, Key, Name, Result, Span, Time, Token, TokenId};
use crate::store::rights::Rights;
use crate::store::tokens::{KeptToken, Tokens};
use crate::ui::table::table;
use crate::ui::time::relative;

/// How long a token is valid, where nobody says.
const VALID: &str = "1h";

/// Make a token that lets one other node become a contact
///
/// Prints one line. Who has it can become a contact here, once, with the rights given: hand it over on a way
/// that you trust. On the other node: `deployctl trust join`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl trust token --may request
  deployctl trust token --may request,invite --valid 10m
  deployctl trust token --list
  deployctl trust token --revoke 7k3q

To undo: --revoke, while it was not used; then deployctl trust remove NAME")]
pub(super) struct TokenArgs {
    /// What the other node may do here: request, provide, invite, auto-accept; none without this
    #[arg(long, value_name = "RIGHT,…")]
    may: Option<Rights>,
    /// How long it may be used; at most 7d
    #[arg(long, value_name = "DURATION", default_value = VALID)]
    valid: Span,
    /// List the tokens that were made here
    #[arg(long, conflicts_with_all = ["may", "revoke"])]
    list: bool,
    /// Make a token worthless, by any unambiguous beginning of its id
    #[arg(long, value_name = "ID", conflicts_with = "may")]
    revoke: Option<String>,
}

/// Use a token that another node made: both become each other's contacts
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl trust join --may provide            asks for the token, so that no other user sees it
  pbpaste | deployctl trust join - --name shop --may provide

Without --name, the contact gets the name by which the other node introduces itself, with a number behind it
where you have a contact of that name. To undo: deployctl trust remove NAME")]
pub(super) struct JoinArgs {
    /// What `trust token` printed there; `-` reads it from stdin
    token: Option<String>,
    /// What the other node is called here
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// What the other node may do here: request, provide, invite, auto-accept; none without this
    #[arg(long, value_name = "RIGHT,…")]
    may: Option<Rights>,
}

#[derive(Serialize)]
struct Made {
    token: String,
    id: TokenId,
    address: Address,
    may: Rights,
    expires: Time,
}

/// A token as it is listed: never with its secret, which nobody has here any more.
#[derive(Serialize)]
struct Listed {
    id: TokenId,
    state: &'static str,
    may: Rights,
    made: Time,
    expires: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<Name>,
}

#[derive(Serialize)]
struct List {
    tokens: Vec<Listed>,
}

#[derive(Serialize)]
struct Joined {
    #[serde(flatten)]
    contact: Shown,
    /// As which contact this node is known there, and with what rights.
    there: There,
}

#[derive(Serialize)]
struct There {
    name: Name,
    may: Vec<Name>,
}

impl Listed {
    fn of(token: KeptToken, now: Time) -> Self {
        let state = match &token.used {
            Some(_) => "used",
            None if token.is_open(now) => "open",
            None => "expired",
        };
        let id = token.id();
        let (used_by, contact) = token.used.map_or((None, None), |used| (Some(used.by), used.contact));
        Self { id, state, may: token.may, made: token.made, expires: token.expires, used_by, contact }
    }
}

pub(super) fn token(args: &TokenArgs, shell: &Shell) -> Result<()> {
    if args.list {
        return list(shell);
    }
    if let Some(prefix) = &args.revoke {
        return revoke(prefix, shell);
    }
    let node = shell.node()?;
    let (token, kept) = node.make_token(&args.may.clone().unwrap_or_default(), args.valid)?;
    let until = relative(kept.expires, shell.system.now());
    shell.ui.note(&format!("good for one use, until {} ({until}); who uses it may {}", kept.expires, words(&kept.may)));
    shell.ui.note("on the other node: deployctl trust join --may …, which asks for this line:");
    if crate::roles::serve::running(&node.state)?.is_none() {
        shell.ui.note("it can be used while this node runs: deployctl serve");
    }
    let made =
        Made { token: token.reveal(), id: kept.id(), address: token.address, may: kept.may, expires: kept.expires };
    shell.ui.data(&made, || made.token.clone())
}

fn list(shell: &Shell) -> Result<()> {
    let now = shell.system.now();
    let tokens = Tokens::of(&shell.open_state()?).list()?;
    let list = List { tokens: tokens.into_iter().map(|token| Listed::of(token, now)).collect() };
    shell.ui.data(&list, || {
        let rows: Vec<_> = list
            .tokens
            .iter()
            .map(|one| {
                let by = one.contact.as_ref().map(ToString::to_string).unwrap_or_default();
                vec![one.id.short(), one.state.to_owned(), relative(one.expires, now), words(&one.may), by]
            })
            .collect();
        table(&["TOKEN", "STATE", "EXPIRES", "MAY", "USED BY"], &rows)
    })
}

fn revoke(prefix: &str, shell: &Shell) -> Result<()> {
    let token = Tokens::of(&shell.open_state()?).revoke(prefix)?;
    if let Some(contact) = token.used.as_ref().and_then(|used| used.contact.as_ref()) {
        shell.ui.note(&format!("it was used already, by {contact}; to undo that: deployctl trust remove {contact}"));
    }
    let shown = Listed::of(token, shell.system.now());
    shell.ui.data(&shown, || shown.id.to_string())
}

pub(super) fn join(args: &JoinArgs, shell: &Shell) -> Result<()> {
    let token: Token = given(args.token.as_deref(), shell)?.parse()?;
    let may = args.may.clone().unwrap_or_default();
    let node = shell.node()?;
    let joined = shell.run(node.join(&token, args.name.as_ref(), &may))?;
    let (contact, there) = (joined.contact, joined.there);
    shell.ui.note(&format!("{} is a contact now, who may {}", contact.name, words(&contact.may)));
    let may: Vec<_> = there.may.iter().map(ToString::to_string).collect();
    let may = if may.is_empty() { "nothing".to_owned() } else { may.join(",") };
    shell.ui.note(&format!("this node is known there as {}, and may {may}", there.contact));
    let shown = Joined { contact: contact.into(), there: There { name: there.contact, may: there.may } };
    shell.ui.data(&shown, || shown.contact.name.to_string())
}

/// The token's text: from the command line, from stdin, or from a person.
fn given(argument: Option<&str>, shell: &Shell) -> Result<String> {
    match argument {
        Some("-") => shell.ui.read_piped("the token"),
        Some(token) => Ok(token.to_owned()),
        None => shell.ui.ask_line("Token", None, "TOKEN, or `-` to read it from stdin"),
    }
}
