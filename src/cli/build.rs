//! `deployctl build`

use std::path::PathBuf;

use super::request::given;
use super::shell::Shell;
use super::status;
use crate::model::{Code, Error, Party, Result, RoleName, SessionState};
use crate::roles::drive::ByHand;
use crate::roles::rehearsal::{Rehearsal, Rehearsed, Stage};
use crate::service::option::resolve;
use crate::service::platform::Platform;
use crate::store::config::Config;

/// Build the software of a session now, or of a service outside any session
///
/// The provider's `serve` builds by itself when the answers are in; `build SESSION` is for when it is not running.
/// With --service, a role of a service is built with made-up participants and signed by a throw-away key: for authors of
/// services and their tests. That needs no identity.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl build 4vqk2m
  deployctl build --service fixtures/services/notice --role holder --set text=Hello --output /tmp/out

To undo: remove what is in the folder that --output names. A session's software goes with the session.")]
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
    let stage = Stage { system: &shell.system, program: &program, config: &config, output };
    let built = rehearsal.build(&options, &stage)?;
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
