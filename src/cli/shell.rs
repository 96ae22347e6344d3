//! What every command has at hand: the flags that all take, the screen, and the way to this node.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::init;
use super::leaving::{self, Asked};
use crate::message::body::TEXT_CHARS;
use crate::model::{Code, Error, ParticipantState, Party, Result, SessionId, Span};
use crate::roles::node::Setting;
use crate::roles::{Node, drive, serve};
use crate::store::state::{StateDir, default_state_dir};
use crate::system::System;
use crate::ui::{ColorChoice, Format, Settings, Ui};

/// What happens to a message that could not be handed over. Part of the message: the hint tells of what stood in the way.
pub(super) const WILL_BE_SENT: &str = "it is kept and will be sent while `deployctl serve` or a waiting command runs";

/// Flags that every command takes.
#[derive(Args)]
pub(super) struct Global {
    /// The node's state directory
    #[arg(
        long,
        global = true,
        env = "DEPLOYCTL_STATE",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global options",
        hide_short_help = true
    )]
    state: Option<PathBuf>,
    /// What stdout looks like
    #[arg(long, global = true, env = "DEPLOYCTL_FORMAT", hide_env_values = true, value_enum, default_value_t = FormatArg::Human, help_heading = "Global options", hide_short_help = true)]
    format: FormatArg,
    /// Say less: no talk on stderr but warnings and errors
    #[arg(short, long, global = true, help_heading = "Global options", hide_short_help = true)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options", hide_short_help = true)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = ColorArg::Auto, help_heading = "Global options", hide_short_help = true)]
    color: ColorArg,
    /// Never ask: what would have been asked becomes an error
    #[arg(long, global = true, help_heading = "Global options", hide_short_help = true)]
    no_input: bool,
    /// Answer yes to every confirmation
    #[arg(short, long, global = true, help_heading = "Global options", hide_short_help = true)]
    yes: bool,
    /// How long to wait where something is waited for (30s, 5m)
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Global options", hide_short_help = true)]
    timeout: Option<Span>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Human,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum ColorArg {
    Auto,
    Always,
    Never,
}

/// Whether the environment wants no colours, or the terminal knows none.
pub(super) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// A text for others to read, as a flag takes it.
pub(super) fn text(text: &str) -> Result<String> {
    if text.chars().count() > TEXT_CHARS {
        return Err(Error::new(Code::Usage, format!("a text for others has at most {TEXT_CHARS} characters")));
    }
    Ok(text.to_owned())
}

/// The surroundings of a command.
pub(super) struct Shell {
    pub(super) ui: Ui,
    pub(super) system: System,
    pub(super) timeout: Option<Span>,
    state: PathBuf,
    /// Whether this process was asked to end: what takes its time is left off then.
    pub(super) leaving: Arc<AtomicBool>,
    /// See [`Self::asked_to_end`].
    asked: OnceCell<watch::Receiver<Option<Asked>>>,
    /// The session that the command is about, and this node's part in it.
    concerned: Cell<Option<(SessionId, Party)>>,
}

impl Shell {
    pub(super) fn new(global: Global) -> Result<Self, (Ui, Error)> {
        let ui = Ui::new(Settings {
            format: match global.format {
                FormatArg::Human => Format::Human,
                FormatArg::Json => Format::Json,
            },
            color: match global.color {
                ColorArg::Auto => ColorChoice::Auto,
                ColorArg::Always => ColorChoice::Always,
                ColorArg::Never => ColorChoice::Never,
            },
            no_color: no_color(),
            quiet: global.quiet,
            verbose: global.verbose,
            no_input: global.no_input,
            yes: global.yes,
        });
        let state = match global.state {
            Some(state) => Ok(state),
            None => default_state_dir(|name| std::env::var_os(name)),
        };
        match state {
            Ok(state) => Ok(Self {
                ui,
                system: System::real(),
                timeout: global.timeout,
                state,
                leaving: Arc::default(),
                asked: OnceCell::new(),
                concerned: Cell::default(),
            }),
            Err(error) => Err((ui, error)),
        }
    }
    pub(super) fn state_path(&self) -> &PathBuf {
        &self.state
    }
    /// The state directory of a node, which is offered to be made where there is none.
    pub(super) fn open_state(&self) -> Result<StateDir> {
        self.offering(|| StateDir::open(&self.state, false))
    }
    /// Does what needs a node; a person at a terminal may have it made first.
    fn offering<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            // A yes that was given beforehand was not to this question.
            Err(error) if error.code == Code::NoIdentity && self.ui.can_ask() && !self.ui.settings().yes => {
                if init::offer(self)? {
                    work()
                } else {
                    Err(error)
                }
            }
            done => done,
        }
    }
    pub(super) fn setting(&self) -> Result<Setting> {
        let program = std::env::current_exe()
            .map_err(|why| Error::new(Code::Internal, format!("this program's own file cannot be found: {why}")))?;
        Ok(Setting {
            system: self.system.clone(),
            sink: self.ui.event_sink(),
            program,
            poke: Arc::new(|_, _| {}),
            inherited: drive::inherited(std::env::vars()),
            leaving: Arc::clone(&self.leaving),
        })
    }
    /// This node; changes that the command makes are told to a running `serve`.
    pub(super) fn node(&self) -> Result<Arc<Node>> {
        self.offering(|| self.find_node())
    }
    /// The same where there is one, for commands that can do without.
    pub(super) fn find_node(&self) -> Result<Arc<Node>> {
        let state = StateDir::open(&self.state, false)?;
        let mut setting = self.setting()?;
        let told = state.clone();
        setting.poke = Arc::new(move |session, party| serve::poke_by_socket(&told, session, party));
        let mut node = Node::open(state, setting)?;
        node.find_listening()?;
        Ok(Arc::new(node))
    }
    /// Runs something that itself sees to being asked to stop.
    pub(super) fn run_until_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        Leaves(Some(runtime(&mut Builder::new_multi_thread())?)).block_on(work)
    }
    /// From here on the command is about this session: if it is asked to end, it says how far that is.
    pub(super) fn concern(&self, session: SessionId, party: Party) {
        self.concerned.set(Some((session, party)));
    }
    /// Runs something that talks to other nodes, until it is done or asked to end.
    pub(super) fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.run_or(work, |asked| self.left_off(asked))
    }
    /// The same for what itself knows what was done and what was not. What blocks in it is to look at `leaving`, and ends
    /// with `interrupted`.
    pub(super) fn run_or<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        left_off: impl FnOnce(Asked) -> Error,
    ) -> Result<T> {
        self.run_on(&mut Builder::new_multi_thread(), work, left_off)
    }
    /// Runs what asks one node one thing: other threads would have nothing to do but to be started and woken.
    pub(super) fn ask<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        self.run_on(&mut Builder::new_current_thread(), question, |asked| self.left_off(asked))
    }

    fn run_on<T>(
        &self,
        threads: &mut Builder,
        work: impl Future<Output = Result<T>>,
        left_off: impl FnOnce(Asked) -> Error,
    ) -> Result<T> {
        let runtime = Leaves(Some(runtime(threads)?));
        let asked = self.asked_to_end()?;
        let mut told = asked.clone();
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                result = work => result,
                Ok(_) = told.wait_for(Option::is_some) => Err(Error::new(Code::Interrupted, "asked to end")),
            }
        });
        drop(runtime);
        match (result, *asked.borrow()) {
            (Err(error), Some(asked)) if error.code == Code::Interrupted => Err(left_off(asked)),
            (result, _) => result,
        }
    }
    /// By what the command is asked to end, once it is: from the first thing that it runs on.
    fn asked_to_end(&self) -> Result<watch::Receiver<Option<Asked>>> {
        if let Some(asked) = self.asked.get() {
            return Ok(asked.clone());
        }
        let asked = leaving::watch(Arc::clone(&self.leaving), self.ui.clone())?;
        Ok(self.asked.get_or_init(|| asked).clone())
    }
    /// What was done and what was not, where a command is asked to end.
    pub(super) fn left_off(&self, asked: Asked) -> Error {
        let found = self.concerned.get().and_then(|(session, party)| {
            let node = self.find_node().ok()?;
            Some((node.projection(session, party).ok()?, serve::running(&node.state).ok()?.is_some()))
        });
        let Some((projection, is_served)) = found else {
            return asked.error("nothing is half done").hint("the same command goes on where this one was");
        };
        let summary = projection.summary;
        let (session, party) = (summary.session.short(), summary.party);
        let own = summary.participants.first().filter(|_| party != Party::Provider).map(|one| one.state);
        let here = match own {
            Some(ParticipantState::Invited) => "; its invitation is not answered",
            Some(ParticipantState::Installed | ParticipantState::Confirmed | ParticipantState::Stopped) => {
                "; its software is installed here"
            }
            Some(ParticipantState::Removed) => "; its software is removed from here",
            Some(_) => "; nothing of it is installed here",
            None => "",
        };
        let on = match (summary.over, is_served) {
            (true, _) => "it is over",
            (false, true) => "`deployctl serve` goes on with it",
            (false, false) => "it goes on while `deployctl serve` or a waiting command runs",
        };
        asked
            .error(format!("session {session} is {}{here}", summary.state))
            .hint(format!("{on}; `deployctl status {session}` shows it, `deployctl stop {session}` ends it"))
            .about(summary.session)
    }
}

/// A runtime that waits for none of its threads when it is left, by a panic neither.
struct Leaves(Option<Runtime>);

impl Leaves {
    fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let gone = || Error::new(Code::Internal, "the runtime has been left");
        self.0.as_ref().ok_or_else(gone)?.block_on(work)
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) fn runtime(threads: &mut Builder) -> Result<Runtime> {
    let runtime = threads.worker_threads(2).enable_all().build();
    runtime.map_err(|why| Error::new(Code::Internal, format!("starting the runtime: {why}")))
}
