//! `deployctl install`

pub(super) mod program;
mod sought;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shell::Shell;
use super::{start, status};
use crate::discover::seeing::Sought;
use crate::model::{Code, Error, ParticipantState, Party, Result, Source};
use crate::roles::drive::ByHand;
use crate::roles::part::Wishes;
use crate::roles::programs::install::Wish;
use crate::roles::sitting::Projection;
use crate::roles::{Node, serve};
use crate::session::{Decision, Summary, What};

/// Fetch, verify and install what was delivered, or a program
///
/// Of a session: fetches what was delivered for this node, checks that it is what was accepted, and installs it: complete
/// or not at all. Where nothing is delivered yet, waits for it and asks the provider meanwhile.
///
/// A program is asked for at the node that offers it, shown with all that it may do, and installed after a yes, under the
/// name of who signed it. A version that is older than one that was here before is refused.
///
/// Where nobody says where a program is to come from, the contact whose software may be installed here is asked; where it
/// has it not, or there are several, the contacts on the local network, too. Nodes that are not known are named with what to
/// do about them; nothing is taken from them unasked.
///
/// With --for, looks for a service on the local network first, and for who offers a program that makes it usable. With
/// --start, that is started for the service: its address and description are in the file that $DEPLOYCTL_SEEN_SERVICE names.
///
/// With --manifest, installs a package from its file, offline: its manifest must be signed by a contact with `provide`.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl install 7k3q
  deployctl install 7k3q --start
  deployctl install 7k3q --root ~/services
  deployctl install 7k3q --source https://mirror.example/packages/
  deployctl install chess --from shop --start
  deployctl install deploy://KEY@shop.example:4800/programs/chess
  deployctl install --for urn:example-org:service:DoorOpener:1 --start
  deployctl install --for _ipp._tcp          a program for the printer that is seen
  deployctl install --for http://192.0.2.7:8080/device.xml --from shop
  deployctl install --rollback chess         back to the generation before, of a session or a program
  deployctl install chat.tar.gz --manifest chat.manifest.json

To undo: deployctl remove SESSION|PROGRAM")]
pub(super) struct Args {
    /// A session, a program, where one can be had, or a file
    ///
    /// A session by any unambiguous beginning of its id; a program, NAME or NAME@SIGNER; where a program can be had; or the
    /// file of a package.
    #[arg(value_name = "SESSION|PROGRAM|URI|FILE", required_unless_present = "sought")]
    what: Option<String>,
    /// Install what makes this usable: a type, or a URL
    ///
    /// A type of UPnP device or service (urn:…), a type or an instance of DNS-SD (_door._tcp, NAME._door._tcp), or the URL of
    /// a description, as it is seen on the local network.
    #[arg(long = "for", id = "sought", value_name = "TYPE|URL", conflicts_with_all = ["manifest", "rollback"])]
    sought: Option<Sought>,
    /// Look on these network interfaces alone; on all without this
    #[arg(long, value_name = "IF,…", value_delimiter = ',', hide_short_help = true)]
    interface: Vec<String>,
    /// The signed manifest of a package that is installed from its file
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    manifest: Option<PathBuf>,
    /// The node to ask for the program: a contact or an address
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// Wait until the service has started and is ready here
    #[arg(long)]
    start: bool,
    /// Go back to the generation before, which is kept until the next one comes
    #[arg(long, conflicts_with_all = ["root", "start", "manifest", "from"])]
    rollback: bool,
    /// Install below this folder instead of the state directory
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    root: Option<PathBuf>,
    /// Fetch the package from here, and from who delivers it only what cannot be had here: deploy://, https://, http:// or
    /// file:///; with a / at its end a folder with DIGEST.tar.gz. Can be given several times
    #[arg(long, value_name = "URL", conflicts_with_all = ["manifest", "rollback"], hide_short_help = true)]
    source: Vec<Source>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    if let Some(sought) = &args.sought {
        return shell.run(for_service(sought, args, &node, shell));
    }
    let what = args.what.as_deref().unwrap_or_default();
    if let Some(program) = status::program::named(&node, what)?.filter(|_| args.rollback) {
        return shell.run(program::roll_back(&program.id, &node, shell));
    }
    if let Some(manifest) = &args.manifest {
        let wish = Wish { root: root(args)?, ..Wish::default() };
        return shell.run(program::install_file(Path::new(what), manifest, args, &wish, &node, shell));
    }
    let part = match args.from.is_some() || what.starts_with("deploy://") {
        true => None,
        false => part_of(what, &node)?,
    };
    if args.rollback && part.is_none() {
        return Err(status::program::unknown(what, Error::new(Code::NotFound, "nothing to go back with")));
    }
    let Some(part) = part else {
        if what.contains('/') && !what.starts_with("deploy://") {
            return Err(Error::new(Code::Usage, format!("a package's file is installed by its manifest, too: {what}"))
                .hint(format!("deployctl install {what} --manifest FILE")));
        }
        let order = program::order(what, args.from.as_deref(), shell, &node)?;
        let wish = Wish { root: root(args)?, sources: args.source.clone(), seen_service: None };
        return shell.run(program::install(order, args, wish, &node, shell));
    };
    let (session, party) = (part.summary.session, part.summary.party);
    shell.concern(session, party);
    if args.rollback {
        node.step(session, party, What::Decided(Decision::RollBack))?;
        let summary = shell.run(node.wait_for(session, party, ByHand::default(), shell.timeout, rolled_back))?;
        return finish(args, summary, &node, shell);
    }
    if let Some(summary) = installed(&part) {
        let summary = summary?;
        shell.ui.note("it is installed already");
        return finish(args, summary, &node, shell);
    }
    if args.root.is_some() || !args.source.is_empty() {
        let wishes = node.wishes(session, party)?;
        let sources = if args.source.is_empty() { wishes.sources } else { args.source.clone() };
        node.wish(session, party, &Wishes { root: root(args)?.or(wishes.root), sources, ..wishes })?;
    }
    // What could not be installed is cleared away by this very command: nobody else may come by.
    let by_hand = ByHand { install: true, remove: true, attended: true, ..ByHand::default() };
    let summary = shell.run(node.wait_for(session, party, by_hand, shell.timeout, installed))?;
    finish(args, summary, &node, shell)
}

async fn for_service(sought: &Sought, args: &Args, node: &Arc<Node>, shell: &Shell) -> Result<()> {
    let (order, service) = sought::for_service(sought, args, node, shell).await?;
    let service = serde_json::to_value(&service)
        .map_err(|why| Error::new(Code::Internal, format!("keeping what was seen: {why}")))?;
    let wish = Wish { root: root(args)?, sources: args.source.clone(), seen_service: Some(service) };
    program::install(order, args, wish, node, shell).await
}

fn root(args: &Args) -> Result<Option<PathBuf>> {
    let absolute = |root: &PathBuf| std::path::absolute(root);
    args.root.as_ref().map(absolute).transpose().map_err(|why| Error::new(Code::Usage, format!("--root: {why}")))
}

/// The session that is meant; nothing where there is none of this name, so that it is a program's.
fn part_of(text: &str, node: &Node) -> Result<Option<Projection>> {
    match node.part_as(text, &[Party::Initiator, Party::Peer]) {
        Ok(part) => Ok(Some(part)),
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn finish(args: &Args, summary: Summary, node: &Arc<Node>, shell: &Shell) -> Result<()> {
    let summary = if args.start { shell.run(start::until_ready(node, &summary, shell))? } else { summary };
    let is_waiting = summary.participants.first().is_some_and(|own| own.state == ParticipantState::Installed);
    if is_waiting && serve::running(&node.state)?.is_none() {
        shell.ui.note(&format!("next: deployctl start {}, which waits until it is ready", summary.session.short()));
    }
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Whether the generation before is in its place again.
fn rolled_back(projection: &Projection) -> Option<Result<Summary>> {
    if projection.ending || start::own(projection) == Some(ParticipantState::Failed) {
        return Some(Err(status::ended(&projection.summary)));
    }
    match start::own(projection) {
        Some(ParticipantState::Confirmed) if !projection.updating => Some(Ok(projection.summary.clone())),
        _ => None,
    }
}

/// Whether this node's own part is installed with nothing to follow, or cannot be any more.
fn installed(projection: &Projection) -> Option<Result<Summary>> {
    let summary = &projection.summary;
    if projection.updating && !projection.ending {
        return None;
    }
    let Some(own) = start::own(projection) else {
        return summary.over.then(|| Err(status::ended(summary)));
    };
    match own {
        ParticipantState::Installed | ParticipantState::Confirmed | ParticipantState::Stopped => {
            Some(Ok(summary.clone()))
        }
        ParticipantState::Invited => Some(Err(Error::new(Code::WrongState, "the invitation has not been answered")
            .hint("deployctl accept shows it")
            .about(summary.session))),
        ParticipantState::Failed if !projection.removed => None,
        ParticipantState::Failed | ParticipantState::Removed => Some(Err(status::ended(summary))),
        _ if summary.state.is_end() => Some(Err(status::ended(summary))),
        _ => None,
    }
}
