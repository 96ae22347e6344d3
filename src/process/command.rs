//! Running a build's command (row A11): a scratch copy of the definition's folder, a clean environment, an empty folder
//! for what comes out, and a confined process of deployctl itself around it all.

#![expect(clippy::disallowed_methods, reason = "starts and watches a process of this program")]

use std::collections::BTreeMap;
use std::io::{PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::confine::{Confinement, End, Most, Report};
use super::ending;
use super::pid::{self, Identity};
use super::plan::{RUN_VARIABLE, within};
use super::sandbox::{Bounds, Level, Limits, Reach};
use super::spawn::{guard, named};
use super::{PATH, host};
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Nonce};
use crate::service::definition::CommandBuild;
use crate::store::{document, file, tree};

/// Bytes of one file that a build writes.
const FILE_BYTES: u64 = 4 << 30;
/// Bytes of everything that a build writes, its copy of the definition included.
const MOST_BYTES: u64 = 8 << 30;
/// Bytes of a build's output that are kept, of its end.
const TAIL_BYTES: usize = 8 * 1024;
/// How long the confined process may take beyond the command's deadline, to end everything.
const GRACE: Duration = Duration::from_secs(15);
/// Between two looks at it.
const NAP: Duration = Duration::from_millis(10);
/// Between two questions whether it is still wanted.
const ASK: Duration = Duration::from_secs(1);

/// What the provider's machine adds for builds: see the settings of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Looked through for programs before the fixed path, and readable.
    pub path: Vec<PathBuf>,
    /// Readable beside the system's folders.
    pub read: Vec<PathBuf>,
}

/// One command to run.
pub struct Order<'a> {
    /// This program's file.
    pub deployctl: &'a Path,
    pub build: &'a CommandBuild,
    /// The definition's folder, of which the command gets a copy.
    pub definition: &'a Path,
    /// A folder of one's own for all of it, which does not exist yet. The caller removes it.
    pub work: &'a Path,
    /// Texts for the environment: `SESSION` is given as `DEPLOYCTL_SESSION`.
    pub texts: &'a [(&'a str, String)],
    /// Documents that the environment names: `ROSTER` is a file that `DEPLOYCTL_ROSTER` names.
    pub documents: &'a [(&'a str, Vec<u8>)],
    pub tools: &'a Tools,
    /// Marks every process of this run.
    pub run: Nonce,
}

/// A command that did its work.
pub struct Done {
    /// The folder whose contents it made.
    pub output: PathBuf,
    pub level: Level,
}

/// Runs it, and waits. `check` may refuse the scratch copy before anything runs in it; a run that is not `wanted` any
/// more is ended.
///
/// # Errors
/// `build-failed` with the end of the command's output as its hint; `io`, `disk-full`.
pub fn run(order: &Order<'_>, check: impl FnOnce(&Path) -> Result<()>, wanted: impl Fn() -> bool) -> Result<Done> {
    let (source, output) = (order.work.join("source"), order.work.join("output"));
    file::create_dir_private(order.work)?;
    tree::copy(order.definition, &source)?;
    check(&source)?;
    for folder in [&output, &order.work.join("home"), &order.work.join("tmp"), &order.work.join("given")] {
        file::create_dir_private(folder)?;
    }
    let environment = environment(order, &output)?;
    let plan = order.work.join("plan.json");
    document::write_json_unsynced(&plan, &confinement(order, &source, &output, environment)?, file::PRIVATE)?;
    let report = order.work.join("report.jsonl");
    let (status, tail) = supervise(order, &source, [&plan, &report], wanted)?;
    let said = Report::read(&report).ok().flatten();
    let level = judge(order, said, &status).map_err(|why| failed(order, &why, &tail))?;
    if !tree::open_up(&output)? {
        let why = "ended well, but left nothing in the folder that $DEPLOYCTL_OUTPUT names";
        return Err(failed(order, why, &tail));
    }
    Ok(Done { output, level })
}

/// The variables that a command gets, and the files that they name.
fn environment(order: &Order<'_>, output: &Path) -> Result<BTreeMap<String, String>> {
    let text = |path: &Path| path.display().to_string();
    let tools = order.tools.path.iter().map(|folder| text(folder));
    let mut all = BTreeMap::from([
        ("PATH".to_owned(), tools.chain([PATH.to_owned()]).collect::<Vec<_>>().join(":")),
        ("HOME".to_owned(), text(&order.work.join("home"))),
        ("TMPDIR".to_owned(), text(&order.work.join("tmp"))),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
        ("SOURCE_DATE_EPOCH".to_owned(), tree::COPY_TIME_SECS.to_string()),
        ("DEPLOYCTL_OUTPUT".to_owned(), text(output)),
        (RUN_VARIABLE.to_owned(), order.run.to_string()),
    ]);
    for (name, value) in order.texts {
        all.insert(format!("DEPLOYCTL_{name}"), value.clone());
    }
    for (name, bytes) in order.documents {
        let path = order.work.join("given").join(format!("{}.json", name.to_lowercase()));
        file::write_atomic_unsynced(&path, bytes, file::PRIVATE)?;
        all.insert(format!("DEPLOYCTL_{name}"), text(&path));
    }
    Ok(all)
}

fn confinement(
    order: &Order<'_>,
    source: &Path,
    output: &Path,
    environment: BTreeMap<String, String>,
) -> Result<Confinement> {
    let mut read = vec![order.work.join("given")];
    read.extend(order.tools.path.iter().chain(&order.tools.read).cloned());
    let write = vec![source.to_owned(), output.to_owned(), order.work.join("home"), order.work.join("tmp")];
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let limits = Limits { file_bytes: FILE_BYTES, cpu_secs: (order.build.deadline.as_ms() / 1000 + 1) * cpus };
    let network = if order.build.network { Reach::Everything } else { Reach::Nothing };
    Ok(Confinement {
        program: program(order, source)?,
        arguments: order.build.command.iter().skip(1).cloned().collect(),
        environment,
        folder: source.to_owned(),
        bounds: Bounds { read, write, files: Vec::new(), network, limits: Some(limits) },
        require: false,
        most: Some(Most { deadline: order.build.deadline, bytes: MOST_BYTES }),
    })
}

fn program(order: &Order<'_>, source: &Path) -> Result<PathBuf> {
    let name = order.build.command.first().map_or("", String::as_str);
    let missing =
        |where_to: String| Error::new(Code::BuildFailed, format!("the build's program “{name}” is not {where_to}"));
    if name.contains('/') {
        let path = within(source, name).filter(|path| host::is_executable(path));
        return path.ok_or_else(|| missing("an executable file of the definition".to_owned()));
    }
    let own = order.tools.path.iter().map(|folder| folder.join(name)).find(|path| host::is_executable(path));
    own.or_else(|| host::find_executable(name)).ok_or_else(|| {
        missing(format!("installed on the provider's machine (looked in {PATH})"))
            .hint("install it there, or name its folder in config.toml: [build] path = [\"/opt/tools/bin\"]")
    })
}

/// Starts the confined process and waits until nothing of it is left: its status in words, and the end of its output.
fn supervise(
    order: &Order<'_>,
    source: &Path,
    files: [&Path; 2],
    wanted: impl Fn() -> bool,
) -> Result<(String, String)> {
    let (reader, writer) = std::io::pipe().doing("making a pipe for", source)?;
    let errors = writer.try_clone().doing("making a pipe for", source)?;
    let mut command = guard(order.deployctl, files);
    command.env(RUN_VARIABLE, order.run.to_string()).stdout(writer).stderr(errors);
    let mut child = command.spawn().doing("starting", order.deployctl)?;
    // Or its own ends of the pipe would keep it open.
    drop(command);
    let tail = Tail::listen(reader);
    let identity = Identity::of(child.id());
    let status = wait(&mut child, order, &wanted);
    let mark = format!("{RUN_VARIABLE}={}", order.run);
    let deadline = Instant::now() + Duration::from_millis(ending::KILL_LIMIT_MS);
    loop {
        let living = pid::family(identity.as_slice(), Some(&mark));
        if living.is_empty() || Instant::now() >= deadline {
            break;
        }
        ending::kill(identity, &living);
        let _ = child.try_wait();
        std::thread::sleep(NAP);
    }
    let _ = child.try_wait();
    Ok((status, tail.take()))
}

fn wait(child: &mut Child, order: &Order<'_>, wanted: &impl Fn() -> bool) -> String {
    let (begun, mut asked) = (Instant::now(), Instant::now());
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => {}
            Err(why) => return why.to_string(),
        }
        if begun.elapsed() > order.build.deadline.as_duration() + GRACE {
            return "it had to be killed".to_owned();
        }
        if asked.elapsed() >= ASK {
            asked = Instant::now();
            if !wanted() {
                return "the session does not want it any more".to_owned();
            }
        }
        std::thread::sleep(NAP);
    }
}

/// The level that the command was held at, or why it failed.
fn judge(order: &Order<'_>, report: Option<Report>, status: &str) -> Result<Level, String> {
    let Some(report) = report else { return Err(format!("was ended: {status}")) };
    match report.end.ok_or_else(|| format!("was ended: {status}"))? {
        End::Exited(0) => Ok(report.level),
        End::Exited(code) => Err(format!("ended with exit status {code}")),
        End::Killed(signal) => Err(format!("was killed by signal {signal}{}", named(signal))),
        End::TooLong => {
            Err(format!("took longer than {} and was ended with all that it had started", order.build.deadline))
        }
        End::TooLarge => Err(format!("wrote more than {} GiB", MOST_BYTES >> 30)),
        End::NotStarted { why, .. } => Err(format!("could not be started: {why}")),
        End::NotHeld => Err(format!("was not started: {}", report.level)),
        End::Deserted => Err("was ended, because the process that wanted it was gone".to_owned()),
    }
}

fn failed(order: &Order<'_>, why: &str, tail: &str) -> Error {
    let error = Error::new(Code::BuildFailed, format!("“{}” {why}", order.build.command.join(" ")));
    if tail.is_empty() { error } else { error.hint(tail) }
}

/// The end of what is read from a pipe.
struct Tail {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: std::thread::JoinHandle<()>,
}

impl Tail {
    fn listen(mut pipe: PipeReader) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; TAIL_BYTES];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                keep_end(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &buffer[..count]);
            }
        });
        Self { bytes, reading }
    }
    /// What came. Who holds the pipe open though all are dead is waited for no longer than a second.
    fn take(self) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.reading.is_finished() && Instant::now() < deadline {
            std::thread::sleep(NAP);
        }
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

/// Appends, and drops what is more than `TAIL_BYTES` from the beginning.
fn keep_end(kept: &mut Vec<u8>, new: &[u8]) {
    kept.extend_from_slice(new);
    let more = kept.len().saturating_sub(TAIL_BYTES);
    kept.drain(..more);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let tail = Tail::listen(reader);
        for n in 0..10_000 {
            writeln!(writer, "line {n}").unwrap();
        }
        drop(writer);
        let tail = tail.take();
        assert!(tail.len() <= TAIL_BYTES && tail.ends_with("line 9998\nline 9999"), "{tail}");
    }

    #[test]
    fn a_pipe_that_somebody_keeps_open_is_not_waited_for() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let tail = Tail::listen(reader);
        writer.write_all(b"said\n").unwrap();
        assert_eq!(tail.take(), "said");
        drop(writer);
    }
}
