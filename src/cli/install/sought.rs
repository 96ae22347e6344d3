//! Whom a program comes from where nobody says (rows B4, B20), and which program makes a service usable that was seen.

use std::sync::Arc;
use std::time::Duration;

use super::Args;
use super::program::{Order, address_of, order};
use crate::cli::acquaint::in_groups;
use crate::cli::shell::Shell;
use crate::discover::seeing::{Patience, SeenService, Sought, look, seek};
use crate::model::{Address, Code, Error, Result};
use crate::roles::Node;
use crate::roles::programs::ask::{Parcel, Wanted};
use crate::roles::programs::find::{Market, Offerer, Rank};
use crate::service::query::{Filter, Query};

/// It ends when the answers are in, and at the latest after this.
const LOOK: Patience = Patience::Quiet(Duration::from_secs(3));
/// Strangers that an error names.
const NAMED: usize = 5;

/// A program for a service that was seen, and what was seen of that.
pub(super) async fn for_service(
    sought: &Sought,
    args: &Args,
    node: &Arc<Node>,
    shell: &Shell,
) -> Result<(Order, SeenService)> {
    let wanted = args.what.as_deref().map(|what| order(what, args.from.as_deref(), shell, node)).transpose()?;
    let from = match &wanted {
        Some(Order { source: Some(source), .. }) => Some(source.clone()),
        _ => args.from.as_deref().map(|from| address_of(from, node)).transpose()?,
    };
    let nodes = async {
        match &from {
            Some(_) => Ok(Vec::new()),
            None => look(&args.interface, LOOK, |_| {}).await,
        }
    };
    let (found, nodes) = tokio::try_join!(seek(&args.interface, sought, LOOK), nodes)?;
    for place in &found.unreadable {
        shell.ui.warn(&format!("a device at {place} answered, but gives no description of what was asked for"));
    }
    let service = one_service(found.services, shell)?;
    shell.ui.note(&format!("seen: {} at {}", service.name, service.place()));
    let filter = Filter { enables: service.enabled_by(), ..Filter::default() };
    let query = Query { device: node.describe_device(), filter, explain: None };
    let market = match &from {
        Some(from) => node.what_offers(from, &query).await?,
        None => node.who_offers(&query, nodes).await?,
    };
    let market = match &wanted {
        Some(order) => market.of(&order.wanted),
        None => market,
    };
    let what = format!("a program for {}", service.kind);
    let Offerer { at, program, .. } = pick(&market, &what, args, shell)?;
    let enables = query.filter.enables.into_iter().find(|kind| program.listed.enables.contains(kind));
    let wanted = Wanted {
        name: program.listed.name,
        version: wanted.and_then(|order| order.wanted.version),
        signer: Some(program.listed.signer),
        enables,
    };
    Ok((Order { wanted, source: Some(at) }, service))
}

/// Asks for a program of which nobody says where it is to come from: the one contact whose software may be installed here;
/// where it has it not, or there are several or none, whoever is on the local network, too.
pub(super) async fn ask_around(wanted: &Wanted, args: &Args, node: &Arc<Node>, shell: &Shell) -> Result<Parcel> {
    let mut refused = None;
    if let Some(only) = node.only_provider()? {
        match node.ask_for_program(&only, wanted, shell.timeout).await {
            Err(why) if may_be_elsewhere(why.code) => refused = Some(why),
            parcel => return parcel,
        }
    }
    let filter = Filter { text: Some(wanted.name.to_string()), ..Filter::default() };
    let query = Query { device: node.describe_device(), filter, explain: None };
    let seen = look(&args.interface, LOOK, |_| {}).await?;
    let market = node.who_offers(&query, seen).await?.of(wanted);
    if let Some(why) = refused.filter(|_| market.offers.is_empty()) {
        return Err(why);
    }
    let offerer = pick(&market, &wanted.name, args, shell)?;
    let wanted = Wanted { signer: Some(offerer.program.listed.signer), ..wanted.clone() };
    node.ask_for_program(&offerer.at, &wanted, shell.timeout).await
}

fn may_be_elsewhere(code: Code) -> bool {
    matches!(code, Code::UnknownService | Code::NotPermitted | Code::Unreachable | Code::TimedOut)
}

/// The service that is meant; a person is asked where there are several.
fn one_service(mut services: Vec<SeenService>, shell: &Shell) -> Result<SeenService> {
    let lines: Vec<_> = services.iter().map(|one| format!("{}: {}", one.name, one.place())).collect();
    let at = match services.len() {
        0 => {
            return Err(Error::new(Code::NotFound, "no such service was seen on the local network")
                .hint("is it on, and on the same network? --for also takes the URL of its description"));
        }
        1 => 0,
        _ if shell.ui.can_ask() => shell.ui.choose("Which of these services?", &lines, "--for")?,
        several => {
            let why = format!("{several} such services were seen: {}", lines.join("; "));
            return Err(
                Error::new(Code::PromptNeeded, why).hint("say which one: --for with what stands after its name")
            );
        }
    };
    Ok(services.swap_remove(at))
}

/// What is to be installed, and whom it comes from. Nothing of a stranger is taken unless a person chooses it.
fn pick(market: &Market, what: &str, args: &Args, shell: &Shell) -> Result<Offerer> {
    for (name, why) in &market.silent {
        shell.ui.warn(&format!("{name} did not say what it offers: {why}"));
    }
    let choices = market.choices();
    match choices.as_slice() {
        [] => Err(nobody(market, what)),
        [one] if one.rank > Rank::Stranger => {
            if args.from.is_none() {
                shell.ui.note(&why(one, market));
            }
            Ok((*one).clone())
        }
        several if shell.ui.can_ask() => {
            let lines: Vec<_> = several.iter().map(|one| line(one)).collect();
            let at = shell.ui.choose("Which program, and whose?", &lines, "the program's name and --from")?;
            Ok(several[at].clone())
        }
        several if several[0].rank == Rank::Stranger => Err(strangers_only(several, what)),
        several => {
            let lines: Vec<_> = several.iter().map(|one| line(one)).collect();
            let why = format!("there are several choices for {what}: {}", lines.join("; "));
            Err(Error::new(Code::PromptNeeded, why).hint("name the one that is meant: NAME@SIGNER, with --from NODE"))
        }
    }
}

/// Which one was taken, and why.
fn why(one: &Offerer, market: &Market) -> String {
    let others: Vec<_> = market.offers.iter().filter(|other| other.at.key != one.at.key).collect();
    let listed = &one.program.listed;
    let known = match one.rank {
        Rank::Provider => "whose software may be installed here",
        _ => "a contact",
    };
    let is_latest = others.iter().all(|other| other.program.listed.version <= listed.version);
    let reason = match others.len() {
        0 => "nobody else offers it".to_owned(),
        n if is_latest => format!("of {} that offer it, nobody has a later version", n + 1),
        n => format!("{n} that are known less well offer it, too"),
    };
    format!("{} {} comes from {}, {known}: {reason}", listed.name, listed.version, one.name)
}

/// A choice, for people.
fn line(one: &Offerer) -> String {
    let listed = &one.program.listed;
    let signer = match listed.signer == one.at.key {
        true => String::new(),
        false => format!(", signed by {}", listed.signer.short()),
    };
    let known = match one.rank {
        Rank::Stranger => format!(" (UNKNOWN here, key {}, {})", in_groups(&one.at.key), one.at),
        Rank::Contact | Rank::Provider => String::new(),
    };
    format!("{} {} of {}{known}{signer}", listed.name, listed.version, one.name)
}

fn strangers_only(choices: &[&Offerer], what: &str) -> Error {
    let lines: Vec<_> = choices.iter().take(NAMED).map(|one| line(one)).collect();
    let why = format!("only nodes that are not known here offer {what}: {}", lines.join("; "));
    Error::new(Code::UnknownContact, why).hint(compare(&choices[0].at))
}

fn nobody(market: &Market, what: &str) -> Error {
    let error = Error::new(Code::NotFound, format!("nobody who was asked or seen offers {what} for this machine"));
    match market.strangers.as_slice() {
        [] => error.hint("name the node that offers it with --from; `deployctl discover` shows who is there"),
        [(_, first), ..] => {
            let named: Vec<_> = market.strangers.iter().take(NAMED).map(|(name, at)| format!("{name} {at}")).collect();
            error.hint(format!("not asked, because they are not known here: {}; {}", named.join(", "), compare(first)))
        }
    }
}

/// What to do about somebody who is not known.
fn compare(at: &Address) -> String {
    format!(
        "compare the key with what its owner says, then: deployctl trust add NAME {at} --may provide; or take it from there \
         this once with --from {at}"
    )
}
