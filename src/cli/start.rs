//! `deployctl start`

use std::sync::Arc;

use super::leaving::{Asked, Signals};
use super::shell::Shell;
use super::status::{self, program};
use crate::model::{Code, Error, ParticipantState, Party, Result, SessionId, SessionState};
use crate::roles::drive::ByHand;
use crate::roles::programs::run;
use crate::roles::sitting::Projection;
use crate::roles::supervise::End;
use crate::roles::{Node, supervise};
use crate::session::{Decision, Machine, Summary, What, Work};
use crate::store::programs::Program;

/// Start a service or a program, or wait until it is ready
///
/// A held session (`request --hold`) gets its Initiator's word by this; otherwise the provider says when,
/// and this waits until the service is ready on this node, doing what is to be done meanwhile.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl start 7k3q
  deployctl start 7k3q --foreground     stays until the service ends: for systemd (SuccessExitStatus=143) and CI
  deployctl start chess                 an installed program

To undo: deployctl stop SESSION|PROGRAM")]
pub(super) struct Args {
    /// A session, by any unambiguous beginning of its id; or an installed program
    #[arg(value_name = "SESSION|PROGRAM")]
    session: String,
    /// Run the program under this very process
    #[arg(long)]
    foreground: bool,
}

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let node = shell.node()?;
    if let Some(program) = program::named(&node, &args.session)? {
        return start_program(&node, &program, args.foreground, shell);
    }
    let part = node
        .part_as(&args.session, &[Party::Initiator, Party::Peer])
        .map_err(|why| program::unknown(&args.session, why))?;
    shell.concern(part.summary.session, part.summary.party);
    if part.summary.over {
        return Err(status::ended(&part.summary));
    }
    if args.foreground {
        return shell.run_until_stopped(foreground(&node, &part, shell));
    }
    shell.run(async {
        give_the_word(&node, &part, shell).await?;
        let summary = until_ready(&node, &part.summary, shell).await?;
        shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
    })
}

fn start_program(node: &Arc<Node>, program: &Program, foreground: bool, shell: &Shell) -> Result<()> {
    let id = &program.id;
    let show = |program: &Program| {
        let summary = node.summarize(program)?;
        shell.ui.data(&summary, || program::describe(&summary))
    };
    if !foreground {
        return shell.run(async {
            node.start_program(id)?;
            let ready = node.wait_for_program(id, shell.timeout).await;
            node.send_mail().await?;
            show(&ready?)
        });
    }
    shell.run_until_stopped(async {
        node.want_program(id)?;
        shell.ui.note("running; Ctrl-C stops the program");
        let (mut signals, mut asked) = (Signals::listen()?, None);
        let stop = async { asked = Some(signals.next().await) };
        run::supervise(Arc::clone(node), id.clone(), stop).await?;
        // Who runs it by hand ends it by hand.
        let program = node.stop_program(id, shell.timeout).await?;
        match (&program.failure, asked) {
            (Some(failure), _) => Err(Error::new(failure.code, format!("{}: {}", id.name, failure.text))),
            (None, Some(asked)) => Err(asked
                .error(format!("{} is stopped, and stays installed", id.name))
                .hint(format!("deployctl start {} starts it again", id.name))),
            (None, None) => show(&program),
        }
    })
}

/// The Initiator of a held session says go.
async fn give_the_word(node: &Arc<Node>, part: &Projection, shell: &Shell) -> Result<()> {
    let session = part.summary.session;
    let Machine::Initiator(initiator) = node.read(session, part.summary.party)?.machine.clone() else { return Ok(()) };
    let held = initiator.active().is_some_and(|active| active.request.hold);
    if !held || part.summary.state >= SessionState::Running {
        return Ok(());
    }
    node.step(session, Party::Initiator, What::Decided(Decision::Start))?;
    shell.ui.note("gave the word to start");
    node.send_to(session, Party::Initiator, initiator.provider.key).await
}

/// Waits until this node's part is confirmed.
pub(super) async fn until_ready(node: &Arc<Node>, summary: &Summary, shell: &Shell) -> Result<Summary> {
    node.wait_for(
        summary.session,
        summary.party,
        ByHand { install: true, attended: true, ..ByHand::default() },
        shell.timeout,
        ready,
    )
    .await
}

fn ready(projection: &Projection) -> Option<Result<Summary>> {
    let summary = &projection.summary;
    let Some(own) = own(projection) else {
        return summary.over.then(|| Err(status::ended(summary)));
    };
    match own {
        ParticipantState::Confirmed => Some(Ok(summary.clone())),
        ParticipantState::Failed | ParticipantState::Removed | ParticipantState::Stopped => {
            Some(Err(status::ended(summary)))
        }
        ParticipantState::Invited => Some(Err(Error::new(Code::WrongState, "the invitation has not been answered")
            .hint("deployctl accept shows it")
            .about(summary.session))),
        _ if summary.state.is_end() => Some(Err(status::ended(summary))),
        _ => None,
    }
}

/// Where this node's own part stands: the first participant of its own view.
pub(super) fn own(projection: &Projection) -> Option<ParticipantState> {
    projection.summary.participants.first().map(|one| one.state)
}

/// Runs it under this process, through all its generations, until it has come to rest or this process is asked to end.
async fn foreground(node: &Arc<Node>, part: &Projection, shell: &Shell) -> Result<()> {
    let (session, party) = (part.summary.session, part.summary.party);
    let _kept = node.keep_in_foreground(session, party)?;
    loop {
        // Anew: a node that serves beside it ends a generation by the same signal, and more than once if need be.
        let mut signals = Signals::listen()?;
        let preparing = async {
            give_the_word(node, part, shell).await?;
            until_to_run(node, session, party, shell).await
        };
        tokio::select! {
            prepared = preparing => prepared?,
            asked = signals.next() => return Err(shell.left_off(asked)),
        }
        shell.ui.note("running; Ctrl-C stops the program");
        let mut asked = None;
        let stop = async { asked = Some(signals.next().await) };
        let end = supervise::supervise(Arc::clone(node), session, party, stop).await?;
        if let (End::Asked, Some(asked)) = (end, asked) {
            return Err(stopped(asked, session));
        }
        let projection = node.projection(session, party)?;
        if !projection.updating || projection.ending {
            break;
        }
        shell.ui.note("another generation takes over");
    }
    let summary = node.projection(session, party)?.summary;
    if summary.state == SessionState::Failed {
        return Err(status::ended(&summary));
    }
    shell.ui.data(&summary, || status::describe(&summary, shell.system.now()))
}

/// The session is not over because this process was asked to end.
fn stopped(asked: Asked, session: SessionId) -> Error {
    let short = session.short();
    asked
        .error(format!("the program is stopped; session {short} goes on without it"))
        .hint(format!(
            "deployctl start {short} runs it again, and so does `deployctl serve`; deployctl stop {short} ends it"
        ))
        .about(session)
}

/// Waits until there is nothing left to do but to run it.
async fn until_to_run(node: &Arc<Node>, session: SessionId, party: Party, shell: &Shell) -> Result<()> {
    let by_hand = ByHand { install: true, only_prepare: true, attended: true, ..ByHand::default() };
    let reader = Arc::clone(node);
    node.wait_for(session, party, by_hand, shell.timeout, |projection| match ready(projection) {
        Some(Err(error)) => Some(Err(error)),
        _ => {
            let work = reader.read(session, party).map(|replayed| replayed.machine.work());
            work.map(|work| (work == [Work::Run]).then_some(())).transpose()
        }
    })
    .await
}
