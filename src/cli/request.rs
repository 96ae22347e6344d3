//! `deployctl request`

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;

use super::acquaint::contact;
use super::shell::{self, Shell};
use super::{form, status};
use crate::message::{Interface as Offered, OnFailure, Quorum, ServiceWanted};
use crate::model::{Code, Error, Party, Result, RoleName, ServiceName, SessionId, SessionState, Span};
use crate::roles::drive::ByHand;
use crate::roles::request::{Wanted, Wish};
use crate::roles::{Node, serve, sitting::Projection};
use crate::service::Interface;
use crate::service::option::{Given, OptionSpec, Resolved, parse_set, parse_values};
use crate::session::{Summary, deadline};
use crate::store::file;
use crate::ui::table::table;

/// A file of option values at most, in bytes.
const MAX_VALUES: u64 = 1 << 20;

/// Ask a provider for a service, and name the peers
///
/// Prints the session's id. Nothing is installed by this: the provider registers the request and invites the peers.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl request --provider shop --list
  deployctl request site --provider shop --interface
  deployctl request site --provider shop --peer ben --peer cleo --set port=8080 --wait running
  deployctl request chat@^1.2 --provider shop --peer ben=guest --quorum any --lasts 2h

To undo: deployctl stop SESSION")]
pub(super) struct Args {
    /// The service: NAME, or a range of versions: NAME@^1.2
    #[arg(value_name = "SERVICE", required_unless_present = "list")]
    service: Option<Service>,
    /// A contact, or the address of a node
    ///
    /// Of a node that is no contact yet, the key is shown and asked about; after a yes it is one.
    #[arg(long, value_name = "CONTACT|ADDRESS")]
    provider: String,
    /// List what the provider offers
    #[arg(long, conflicts_with_all = ["service", "interface"])]
    list: bool,
    /// Show its options, roles and tariff only
    #[arg(long)]
    interface: bool,
    /// A peer to invite, and its role if need be
    ///
    /// A contact of yours, or the address of a node, which becomes one after a yes. Can be given several times.
    #[arg(long = "peer", value_name = "CONTACT[=ROLE]", help_heading = "Who")]
    peers: Vec<Peer>,
    /// Your own role, where there are several
    #[arg(long, help_heading = "Who", hide_short_help = true)]
    role: Option<RoleName>,
    /// A line to the peers
    #[arg(long, value_name = "TEXT", value_parser = shell::text, help_heading = "Who")]
    note: Option<String>,
    /// An option of the service
    #[arg(long = "set", value_name = "OPTION=VALUE", help_heading = "Options of the service")]
    set: Vec<String>,
    /// A TOML or JSON file of options
    #[arg(long, value_name = "FILE", help_heading = "Options of the service")]
    values: Option<PathBuf>,
    /// Ask for every option that is not given, the default offered; without it only where one is missing
    #[arg(long, help_heading = "Options of the service", hide_short_help = true)]
    ask: bool,
    /// How many peers must accept: all, any or a number
    #[arg(long, default_value = "all", help_heading = "Terms", hide_short_help = true)]
    quorum: Quorum,
    /// What happens when a participant fails
    #[arg(long, value_enum, default_value_t = Failure::Abort, help_heading = "Terms", hide_short_help = true)]
    on_failure: Failure,
    /// How long the peers have to answer
    #[arg(long, default_value_t = deadline::ANSWER_WITHIN, value_name = "DURATION", help_heading = "Terms", hide_short_help = true)]
    answer_within: Span,
    /// How long the service lasts, at the most
    #[arg(long, default_value_t = deadline::LASTS, value_name = "DURATION", help_heading = "Terms", hide_short_help = true)]
    lasts: Span,
    /// Do not start it until you say `deployctl start`
    #[arg(long, help_heading = "Terms", hide_short_help = true)]
    hold: bool,
    /// Until it is answered, delivered or running
    ///
    /// registered, answered, delivered or running; by default it comes back when the request is registered.
    #[arg(long, value_enum, default_value_t = Wait::Registered, hide_possible_values = true, hide_default_value = true)]
    wait: Wait,
}

#[derive(Clone, Copy, ValueEnum)]
enum Failure {
    Abort,
    Continue,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Wait {
    Registered,
    Answered,
    Delivered,
    Running,
}

#[derive(Clone)]
struct Service(ServiceWanted);

impl FromStr for Service {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (name, range) = match text.split_once('@') {
            Some((name, range)) => (name, Some(range)),
            None => (text, None),
        };
        let version = range
            .map(|range| {
                range.parse().map_err(|why| {
                    Error::new(Code::Usage, format!("“{range}” is not a range of versions: {why}"))
                        .hint("write it like SERVICE@1.2, SERVICE@^1.2 or SERVICE@=1.2.3")
                })
            })
            .transpose()?;
        Ok(Self(ServiceWanted { name: name.parse::<ServiceName>()?, version }))
    }
}

#[derive(Clone)]
pub(super) struct Peer {
    contact: String,
    role: Option<RoleName>,
}

impl FromStr for Peer {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (contact, role) = match text.split_once('=') {
            Some((contact, role)) => (contact, Some(role.parse()?)),
            None => (text, None),
        };
        Ok(Self { contact: contact.to_owned(), role })
    }
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let provider = contact(&args.provider, "provide", &node, shell)?.address;
    let Some(Service(service)) = args.service.clone() else {
        return list(&shell.ask(node.list_services(&provider))?, shell);
    };
    if args.interface {
        return show(&shell.ask(node.look_at(&provider, service))?, shell);
    }
    shell.run(async {
        if args.peers.is_empty() {
            return Err(Error::new(Code::Usage, "a service is run together with somebody: no peer is named")
                .hint("name one or more: --peer CONTACT"));
        }
        let wish = wish(args, &node, shell)?;
        let draft = node.ask(&provider, service).await?;
        let session = draft.session;
        let resolved = options(args, &draft.interface, shell)?;
        shell.concern(session, Party::Initiator);
        node.request(&draft, &wish, &resolved).await?;
        drop(draft);
        shell.ui.note(&format!("session {session} is registered; to undo: deployctl stop {}", session.short()));
        if args.wait == Wait::Registered && serve::running(&node.state)?.is_none() {
            let short = session.short();
            shell
                .ui
                .note(&format!("next: deployctl start {short} waits for the others, installs it here and starts it"));
        }
        let summary = wait(args, &node, session, shell).await?;
        shell.ui.data(&summary, || session.to_string())?;
        partly(&summary)
    })
}

/// The contacts that are meant.
pub(super) fn wanted(peers: &[Peer], node: &Node, shell: &Shell) -> Result<Vec<Wanted>> {
    let wanted = |peer: &Peer| {
        let contact = contact(&peer.contact, "", node, shell)?;
        Ok(Wanted { name: contact.name, address: contact.address, role: peer.role.clone() })
    };
    peers.iter().map(wanted).collect()
}

fn wish(args: &Args, node: &Node, shell: &Shell) -> Result<Wish> {
    Ok(Wish {
        peers: wanted(&args.peers, node, shell)?,
        role: args.role.clone(),
        note: args.note.clone(),
        quorum: args.quorum,
        on_failure: match args.on_failure {
            Failure::Abort => OnFailure::Abort,
            Failure::Continue => OnFailure::Continue,
        },
        answer_within: args.answer_within,
        lasts: args.lasts,
        hold: args.hold,
    })
}

/// From the file, then from the flags, then asked on a terminal; checked before anything is sent (A5).
fn options(args: &Args, offered: &Offered, shell: &Shell) -> Result<Resolved> {
    let interface = Interface::from(offered);
    let specs = interface.options()?;
    let mut given = given(args.values.as_deref(), &args.set, &specs)?;
    if args.ask || shell.ui.can_ask() {
        form::fill(&specs, &mut given, args.ask, &shell.ui)?;
    }
    interface.resolve(&given)
}

/// What a file of values and flags give, the flags last.
pub(super) fn given(values: Option<&Path>, set: &[String], specs: &[OptionSpec]) -> Result<Given> {
    let mut given = Given::new();
    if let Some(path) = values {
        let bytes = file::read_limited(path, MAX_VALUES)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(Code::BadOption, format!("{} is not UTF-8 text", path.display())))?;
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("toml");
        given = parse_values(&text, extension).map_err(|error| error.while_doing(path.display()))?;
    }
    for pair in set {
        let (name, value) = parse_set(specs, pair)?;
        given.insert(name, value);
    }
    Ok(given)
}

fn show(offered: &Offered, shell: &Shell) -> Result<()> {
    let interface = Interface::from(offered);
    let text = interface.describe()?;
    // One document that is a JSON Schema of the options, with what else the interface says beside it.
    let mut schema = interface.schema.clone();
    if let (Some(schema), Ok(serde_json::Value::Object(rest))) =
        (schema.as_object_mut(), serde_json::to_value(&interface))
    {
        schema.extend(rest.into_iter().filter(|(name, _)| name != "schema"));
    }
    shell.ui.data(&schema, || text)
}

fn list(described: &crate::roles::Described, shell: &Shell) -> Result<()> {
    if described.services.is_empty() {
        shell.ui.note("the provider offers nothing to this node; it lists its services to those who may request");
    }
    shell.ui.data(described, || {
        let rows: Vec<_> = described
            .services
            .iter()
            .map(|one| {
                let roles: Vec<_> = one.roles.keys().map(ToString::to_string).collect();
                vec![
                    one.name.to_string(),
                    one.version.to_string(),
                    one.category.clone().unwrap_or_default(),
                    roles.join(", "),
                    one.summary.clone(),
                ]
            })
            .collect();
        table(&["SERVICE", "VERSION", "CATEGORY", "ROLES", "SUMMARY"], &rows)
    })
}

/// It runs, but not everywhere.
fn partly(summary: &Summary) -> Result<()> {
    let failed: Vec<_> = summary.participants.iter().filter(|one| one.failed).collect();
    if failed.is_empty() || summary.state != SessionState::Running {
        return Ok(());
    }
    let text: Vec<_> = failed
        .iter()
        .map(|one| format!("{} ({})", one.name, one.reason.as_deref().unwrap_or("no reason given")))
        .collect();
    Err(Error::new(Code::PartlyDone, format!("the service runs, but not with {}", text.join(", ")))
        .hint(format!(
            "deployctl status {} shows it; deployctl stop {} ends it",
            summary.session.short(),
            summary.session.short()
        ))
        .about(summary.session))
}

async fn wait(args: &Args, node: &Arc<Node>, session: SessionId, shell: &Shell) -> Result<Summary> {
    let wanted = args.wait;
    node.wait_for(session, Party::Initiator, ByHand::default(), shell.timeout, |projection| reached(wanted, projection))
        .await
}

fn reached(wanted: Wait, projection: &Projection) -> Option<Result<Summary>> {
    let summary = &projection.summary;
    let goal = match wanted {
        Wait::Registered => SessionState::Inviting,
        Wait::Answered => SessionState::Building,
        Wait::Delivered => SessionState::Delivering,
        Wait::Running => SessionState::Running,
    };
    if summary.state >= SessionState::Terminating && (summary.state.is_end() || wanted != Wait::Registered) {
        return Some(Err(status::ended(summary)));
    }
    (summary.state >= goal).then(|| Ok(summary.clone()))
}
