//! `deployctl build`

use std::path::PathBuf;
use std::sync::Arc;

use super::request::given;
use super::shell::Shell;
use super::status;
use crate::model::{Code, Error, Party, Result, RoleName, SessionId, SessionState};
use crate::roles::drive::ByHand;
use crate::roles::rehearsal::{Rehearsal, Rehearsed, Stage};
use crate::roles::{Node, serve};
use crate::service::option::resolve;
use crate::service::platform::Platform;
use crate::session::{Decision, RolloutState, RolloutSummary, Summary, What};
use crate::store::config::Config;

/// Build the software of a session now, or of a service outside any session
///
/// The provider's `serve` builds by itself when the answers are in; `build SESSION` is for when it is not running. A
/// session that runs is built again: its next generation goes to one participant after the other, the Initiator first, and
/// where it is not ready in time there, the generation before comes back and nobody else gets it (exit 7).
/// With --service, a role of a service is built with made-up participants and signed by a throw-away key: for authors of
/// services and their tests. That needs no identity.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl build 4vqk2m
  deployctl build --service fixtures/services/notice --role holder --set text=Hello --output /tmp/out

To undo: remove what is in the folder that --output names. A session's software goes with the session;
a participant goes back a generation with `deployctl install --rollback SESSION`.")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id
    #[arg(required_unless_present = "service", conflicts_with = "service")]
    session: Option<String>,
    /// The folder of a service, to be built outside any session
    #[arg(long, value_name = "DIR", requires = "role", requires = "output", help_heading = "Outside any session")]
    service: Option<PathBuf>,
    /// The role to build
    #[arg(long, requires = "service", help_heading = "Outside any session")]
    role: Option<RoleName>,
    /// What to build it for; this machine's platform if left out
    #[arg(long, requires = "service", help_heading = "Outside any session")]
    platform: Option<Platform>,
    /// An option of the service
    #[arg(long = "set", value_name = "OPTION=VALUE", requires = "service", help_heading = "Outside any session")]
    set: Vec<String>,
    /// A TOML or JSON file of options
    #[arg(long, value_name = "FILE", requires = "service", help_heading = "Outside any session")]
    values: Option<PathBuf>,
    /// Where package, manifest and provenance go
    #[arg(long, value_name = "DIR", requires = "service", help_heading = "Outside any session")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    match (&args.session, &args.service, &args.role, &args.output) {
        (Some(session), ..) => of_session(session, shell),
        (None, Some(service), Some(role), Some(output)) => {
            let platform = args.platform.clone().unwrap_or_else(Platform::here);
            let rehearsal = Rehearsal::of(service, role.clone(), platform)?;
            outside(args, &rehearsal, output, shell)
        }
        _ => Err(Error::new(Code::Usage, "a session, or --service with --role and --output, belongs here")),
    }
}

fn outside(args: &Args, rehearsal: &Rehearsal, output: &std::path::Path, shell: &Shell) -> Result<()> {
    let specs = rehearsal.options();
    let options = resolve(&specs, &given(args.values.as_deref(), &args.set, &specs)?)?.options;
    // The settings of this user's node, if there is one: where its builds find their tools.
    let config = Config::load(&shell.state_path().join("config.toml"))?;
    let program = shell.setting()?.program;
    let stage = Stage { system: &shell.system, program: &program, config: &config, output, leaving: &shell.leaving };
    let nothing = format!("nothing was built; {} holds what it held before", output.display());
    let built = shell.run_or(async { rehearsal.build(&options, &stage) }, |asked| asked.error(nothing))?;
    shell.ui.data(&built, || describe(&built))
}

fn describe(built: &Rehearsed) -> String {
    let mut lines = vec![format!(
        "{} {}: {} for {}, of definition {}",
        built.service, built.version, built.role, built.platform, built.definition
    )];
    for placed in [&built.package, &built.manifest, &built.provenance] {
        lines.push(format!("{}  {}", placed.digest, placed.file.display()));
    }
    lines.extend(built.confinement.map(|level| format!("the build was {level}")));
    lines.join("\n")
}

fn of_session(session: &str, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    let part = node.part_as(session, &[Party::Provider])?;
    let session = part.summary.session;
    shell.concern(session, Party::Provider);
    if part.summary.state == SessionState::Running {
        return shell.run(again(&node, session, shell));
    }
    let summary = shell.run(node.wait_for(
        session,
        Party::Provider,
        ByHand { attended: true, ..ByHand::default() },
        shell.timeout,
        |projection| {
            let summary = &projection.summary;
            match summary.state {
                SessionState::Inviting => {
                    Some(Err(Error::new(Code::WrongState, "not all have answered yet: the roster is not fixed")
                        .about(session)))
                }
                state if state.is_end() => Some(Err(status::ended(summary))),
                state if state > SessionState::Building => Some(Ok(summary.clone())),
                _ => None,
            }
        },
    ))?;
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// A running session is built again. The next generation goes to one participant after the other; where one goes back,
/// the others keep what they have.
async fn again(node: &Arc<Node>, session: SessionId, shell: &Shell) -> Result<()> {
    let rollout = node.projection(session, Party::Provider)?.summary.rollout;
    match rollout.filter(|rollout| rollout.state == RolloutState::Building) {
        // Whoever began it has left it off.
        Some(begun) => shell.ui.note(&format!("goes on with generation {}, which is not built yet", begun.generation)),
        None => {
            let step = node.step(session, Party::Provider, What::Decided(Decision::Rebuild));
            step.map_err(|why| why.hint(format!("deployctl status {} shows how far it is", session.short())))?;
        }
    }
    // Without a node that serves, nobody can fetch it or report.
    let is_served = serve::running(&node.state)?.is_some();
    let summary = node
        .wait_for(
            session,
            Party::Provider,
            ByHand { attended: true, ..ByHand::default() },
            shell.timeout,
            |projection| {
                let summary = &projection.summary;
                let rollout = summary.rollout.as_ref()?;
                match rollout.state {
                    RolloutState::Building if summary.state == SessionState::Running => None,
                    RolloutState::Delivering if is_served && summary.state == SessionState::Running => None,
                    RolloutState::Stopped => Some(Err(stopped(summary, rollout))),
                    RolloutState::Delivered | RolloutState::Delivering if summary.state == SessionState::Running => {
                        Some(Ok(summary.clone()))
                    }
                    _ => Some(Err(status::ended(summary))),
                }
            },
        )
        .await?;
    if !is_served {
        shell.ui.note("built; it is delivered while `deployctl serve` runs");
    }
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// Not built; or some have it, and some have not.
fn stopped(summary: &Summary, rollout: &RolloutSummary) -> Error {
    let why = rollout.failure.as_ref();
    let text = why.map_or("it was stopped", |failure| failure.text.as_str());
    let error = match why.map(|failure| failure.code) {
        Some(Code::BuildFailed) => Error::new(Code::BuildFailed, text),
        _ => Error::new(Code::PartlyDone, text),
    };
    let tail = why.and_then(|failure| failure.tail.as_deref());
    let hint = "the session runs on with what everybody has; `deployctl status` shows who has which generation";
    error.hint(tail.map_or_else(|| hint.to_owned(), |tail| format!("{tail}\n{hint}"))).about(summary.session)
}
