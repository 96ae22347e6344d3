//! Supervisors of programs without a session around them: how programs are started, held, found ready, started again,
//! adopted, and stopped with all that they started.

#![expect(clippy::disallowed_methods, reason = "tests make files and listen on ports")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use deployctl::model::{Code, Error, Span, Time};
use deployctl::process::pid::{self, Identity};
use deployctl::process::sandbox::{Bounds, Reach};
use deployctl::process::{Happening, Meter, Plan, Record, Supervisor, clear};
use deployctl::service::definition::{Probe, Ready, Restart, Signal as Defined, Stop};
use deployctl::system::System;
use rustix::process::Signal;

/// Between two looks at a supervisor.
const BUSY_NAP: Duration = Duration::from_millis(20);

/// Longer than any test needs, so that a hanging one fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a generation, a data folder and a place for records.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["generation", "data", "run"] {
            std::fs::create_dir(place.path(folder)).unwrap();
        }
        place
    }
    fn path(&self, relative: &str) -> std::path::PathBuf {
        self.0.path().join(relative)
    }
    fn plan(&self, script: &str) -> Plan {
        Plan {
            folder: self.path("generation"),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: [("WORD".to_owned(), "hello".to_owned())].into(),
            variables: [("DEPLOYCTL_DATA".to_owned(), self.path("data").display().to_string())].into(),
            data: self.path("data"),
            deployctl: env!("CARGO_BIN_EXE_deployctl").into(),
            bounds: Bounds {
                read: Vec::new(),
                write: vec![self.path("data")],
                files: Vec::new(),
                network: Reach::Nothing,
                limits: None,
            },
            require: false,
            ready: None,
            stop: Stop::default(),
            restart: Restart::Never,
            log: self.path("run/log"),
            record: self.path("run/record.json"),
        }
    }
    fn read(&self, relative: &str) -> String {
        std::fs::read_to_string(self.path(relative)).unwrap()
    }
    fn record(&self) -> Record {
        Record::read(&self.path("run/record.json")).unwrap().unwrap()
    }
    /// The processes whose pids a script wrote.
    fn pids(&self, relative: &str, count: usize) -> Vec<Identity> {
        for _ in 0..1000 {
            let text = std::fs::read_to_string(self.path(relative)).unwrap_or_default();
            if text.ends_with('\n') && text.lines().count() == count {
                return text.lines().filter_map(|pid| Identity::of(pid.parse().unwrap())).collect();
            }
            std::thread::sleep(BUSY_NAP);
        }
        panic!("{relative} was not written");
    }
}

impl Drop for Place {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        if let Ok(Some(record)) = Record::read(&self.path("run/record.json")) {
            clear(&record);
        }
    }
}

fn ready(probe: Probe, within: Span) -> Option<Ready> {
    Some(Ready { probe, within })
}

/// Polls until `wanted` happens; gives all that happened.
fn until(supervisor: &mut Supervisor, wanted: impl Fn(&Happening) -> bool) -> Vec<Happening> {
    let mut all = Vec::new();
    let mut left = PATIENCE;
    loop {
        all.extend(supervisor.poll());
        if all.iter().any(&wanted) {
            return all;
        }
        assert!(!left.is_zero() && !supervisor.is_done(), "it did not happen; what did: {all:?}");
        left = left.saturating_sub(BUSY_NAP);
        supervisor.wait(BUSY_NAP);
    }
}
fn is_ready(happening: &Happening) -> bool {
    matches!(happening, Happening::Ready { .. })
}
fn is_stopped(happening: &Happening) -> bool {
    matches!(happening, Happening::Stopped { .. })
}

fn to_the_end(supervisor: &mut Supervisor) -> Vec<Happening> {
    let mut all = Vec::new();
    while !supervisor.is_done() {
        all.extend(supervisor.poll());
        supervisor.wait(BUSY_NAP);
    }
    all
}

#[test]
fn a_program_gets_a_clean_environment_its_folder_and_its_log() {
    let place = Place::new();
    let mut plan =
        place.plan("env | cut -d= -f1 | sort | tr '\\n' ' '; pwd; echo $WORD $HOME >&2; read x || echo none");
    plan.environment.insert("LANG".into(), "de_DE.UTF-8".into());
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let all = to_the_end(&mut supervisor);
    assert!(matches!(
        &all[..],
        [Happening::Started { .. }, Happening::Ready { .. }, Happening::Exited { ok: true, .. }]
    ));
    let log = place.read("run/log");
    assert!(log.starts_with("DEPLOYCTL_DATA DEPLOYCTL_RUN HOME LANG PATH "), "{log}");
    let data = place.path("data").display().to_string();
    assert!(log.contains("/generation\n") && log.contains(&format!("hello {data}\n")) && log.ends_with("none\n"));
    assert_eq!(supervisor.meter().starts, 1);
    assert!(Record::read(&place.path("run/record.json")).unwrap().is_none(), "a run that ended leaves no record");
}

#[test]
fn ready_after_a_quiet_period_without_a_probe_or_with_one() {
    for (probe, least_ms) in [(None, 100), (ready(Probe::After(Span::from_ms(300)), Span::from_secs(10)), 300)] {
        let place = Place::new();
        let plan = Plan { ready: probe, ..place.plan("sleep 60") };
        let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
        let all = until(&mut supervisor, is_ready);
        let Some(Happening::Ready { after }) = all.last() else { panic!("{all:?}") };
        assert!(after.as_ms() >= least_ms && supervisor.is_ready());
        let end = supervisor.stop();
        assert!(matches!(&end[..], [Happening::Exited { .. }, Happening::Stopped { killed: false, .. }]), "{end:?}");
        assert!(supervisor.meter().running_ms >= least_ms);
    }
}

#[test]
fn ready_by_a_line_of_output_of_this_start() {
    let place = Place::new();
    std::fs::write(place.path("run/log"), "listening, long ago\n").unwrap();
    let script = "printf listen; sleep 0.3; echo 'ing now'; sleep 60";
    let plan = Plan { ready: ready(Probe::Output("listening".into()), Span::from_secs(10)), ..place.plan(script) };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let all = until(&mut supervisor, is_ready);
    assert!(matches!(all.last(), Some(Happening::Ready { after }) if after.as_ms() >= 250), "{all:?}");
    assert_eq!(supervisor.tail(), "listening now");
    supervisor.stop();
}

#[test]
fn ready_by_a_file_that_is_new() {
    let place = Place::new();
    std::fs::write(place.path("data/ready"), "old").unwrap();
    let script = "sleep 0.3; echo new > $DEPLOYCTL_DATA/ready; sleep 60";
    let plan = Plan { ready: ready(Probe::File("ready".into()), Span::from_secs(10)), ..place.plan(script) };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let all = until(&mut supervisor, is_ready);
    assert!(matches!(all.last(), Some(Happening::Ready { after }) if after.as_ms() >= 250), "{all:?}");
    assert!(place.path("data/ready").exists());
    supervisor.stop();
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn ready_by_a_port() {
    let place = Place::new();
    let text = format!("127.0.0.1:{}", free_port());
    let plan = Plan { ready: ready(Probe::Tcp(text.clone()), Span::from_secs(10)), ..place.plan("sleep 60") };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    for _ in 0..10 {
        assert!(!supervisor.poll().iter().any(is_ready));
        supervisor.wait(BUSY_NAP);
    }
    let listener = TcpListener::bind(&text).unwrap();
    until(&mut supervisor, is_ready);
    drop(listener);
    supervisor.stop();
}

#[test]
fn a_port_that_is_taken_keeps_the_program_from_being_started() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = listener.local_addr().unwrap().to_string();
    let plan = Plan { ready: ready(Probe::Tcp(text.clone()), Span::from_secs(10)), ..place.plan("echo ran") };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let why = format!("something else already listens on {text}");
    assert_eq!(supervisor.poll(), [Happening::NotReady { why, tail: String::new() }]);
    assert!(supervisor.is_done());
    assert_eq!((place.read("run/log"), supervisor.meter()), (String::new(), Meter::default()));
}

#[test]
fn not_ready_in_time_ends_all_that_it_started_and_shows_the_tail() {
    let place = Place::new();
    let script = "echo trying; (trap '' TERM; echo $$ > $DEPLOYCTL_DATA/pids; \
                  sh -c \"trap '' TERM; echo \\$\\$ >> $DEPLOYCTL_DATA/pids; sleep 60; sleep 60\") & \
                  setsid sleep 61 & wait; wait";
    let mut plan = place.plan(script);
    plan.ready = ready(Probe::Output("never".into()), Span::from_ms(600));
    plan.stop.grace = Span::from_ms(200);
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let pids = place.pids("data/pids", 2);
    let mark = place.record().mark();
    let all = until(&mut supervisor, is_stopped);
    let why = "not ready within 600ms: no line of its output holds “never”".to_owned();
    assert_eq!(all[1], Happening::NotReady { why, tail: "trying".into() });
    assert_eq!(all.last(), Some(&Happening::Stopped { killed: true, survivors: Vec::new() }));
    assert!(pids.iter().all(|pid| !pid.is_alive()));
    assert_eq!(pid::family(&[], Some(&mark)), [], "also who left the process group is gone");
}

#[test]
fn stopping_asks_first_and_kills_after_the_grace_period() {
    let place = Place::new();
    let mut plan = place.plan("trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done");
    plan.ready = ready(Probe::Output("up".into()), Span::from_secs(10));
    plan.stop.grace = Span::from_ms(300);
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    until(&mut supervisor, is_ready);
    let end = supervisor.stop();
    assert_eq!(end[0], Happening::Exited { status: "killed by signal 9 (SIGKILL)".into(), ok: false });
    assert_eq!(end[1], Happening::Stopped { killed: true, survivors: Vec::new() });
    assert!(place.read("run/log").ends_with("asked\n"));
    assert!(matches!(&supervisor.stop()[..], [Happening::Stopped { killed: false, .. }]), "stopping twice is no error");
}

#[test]
fn the_signal_that_the_service_asks_for_is_sent() {
    let place = Place::new();
    let mut plan = place.plan("trap 'echo bye; exit 0' INT; echo up; while :; do sleep 0.05; done");
    plan.ready = ready(Probe::Output("up".into()), Span::from_secs(10));
    plan.stop = Stop { signal: Defined::Int, grace: Span::from_secs(10) };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    until(&mut supervisor, is_ready);
    let end = supervisor.stop();
    assert_eq!(end[0], Happening::Exited { status: "exit status 0".into(), ok: true });
    assert!(matches!(end[1], Happening::Stopped { killed: false, .. }));
}

/// Runs to the end on a clock that goes a thousand times as fast as the processes.
fn fast(plan: Plan) -> (Vec<Happening>, Meter) {
    // Its own numbers: by the mark made of them, a run's processes are found and ended.
    let seed = u64::from(u32::from_le_bytes(System::real().random()));
    let system = System::fixed(Time::from_unix_ms(1_800_000_000_000), seed);
    let mut supervisor = Supervisor::start(plan, &system).unwrap();
    let mut all = Vec::new();
    while !supervisor.is_done() {
        all.extend(supervisor.poll());
        // The clock stands while the program runs, so that only the pauses are fast.
        if supervisor.pid().is_none() && !supervisor.is_done() {
            system.advance(Span::from_ms(100));
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    (all, supervisor.meter())
}

fn pauses(all: &[Happening]) -> Vec<u64> {
    let pause = |happening: &Happening| match happening {
        Happening::Restarting { r#in, .. } => Some(r#in.as_ms()),
        _ => None,
    };
    all.iter().filter_map(pause).collect()
}

#[test]
fn a_crash_is_followed_by_a_restart_after_a_pause() {
    let place = Place::new();
    let count = "n=$(cat $DEPLOYCTL_DATA/n 2>/dev/null || echo 0); echo $((n+1)) > $DEPLOYCTL_DATA/n";
    let plan = Plan {
        ready: ready(Probe::Output("up".into()), Span::from_secs(10)),
        restart: Restart::OnFailure,
        ..place.plan(&format!("{count}; echo up; sleep 0.2; [ $n = 2 ] || kill -9 $$"))
    };
    let (all, meter) = fast(plan);
    assert_eq!(pauses(&all), [500, 1000]);
    assert_eq!(all.iter().filter(|happening| is_ready(happening)).count(), 3);
    assert_eq!(all.last(), Some(&Happening::Exited { status: "exit status 0".into(), ok: true }));
    assert_eq!((meter.running_ms, meter.starts), (0, 3), "the clock stood while it ran: pauses do not count");
}

#[test]
fn what_a_crashed_program_left_is_ended_before_the_restart() {
    let place = Place::new();
    let plan = Plan {
        restart: Restart::OnFailure,
        ..place.plan("sleep 60 & echo $! >> $DEPLOYCTL_DATA/pids; sleep 0.2; exit 3")
    };
    let mut supervisor = Supervisor::start(plan, &System::real()).unwrap();
    let left = place.pids("data/pids", 1);
    let all = until(&mut supervisor, |happening| matches!(happening, Happening::Restarting { .. }));
    assert!(all.contains(&Happening::Exited { status: "exit status 3".into(), ok: false }));
    let all = until(&mut supervisor, |happening| matches!(happening, Happening::Started { .. }));
    assert!(!left[0].is_alive(), "{all:?}");
    supervisor.stop();
}

#[test]
fn a_program_that_keeps_crashing_is_given_up() {
    let place = Place::new();
    let plan = Plan {
        ready: ready(Probe::Output("up".into()), Span::from_secs(10)),
        restart: Restart::Always,
        ..place.plan("echo up; sleep 0.1; exit 3")
    };
    let (all, meter) = fast(plan);
    assert_eq!(pauses(&all), [500, 1000, 2000, 4000, 8000]);
    let why = "it ended (exit status 3) after 5 restarts within ten minutes".to_owned();
    assert_eq!(all.last(), Some(&Happening::GaveUp { why, tail: "up".into() }));
    assert_eq!(meter.starts, 6);
}

#[test]
fn a_program_that_never_becomes_ready_is_tried_again_within_its_time_only() {
    let place = Place::new();
    let plan = Plan {
        ready: ready(Probe::Output("up".into()), Span::from_secs(3)),
        restart: Restart::OnFailure,
        ..place.plan("echo oh no; exit 3")
    };
    let (all, _) = fast(plan);
    assert_eq!(pauses(&all), [500, 1000]);
    let why = "not ready within 3s: it was started 3 times and ended (exit status 3)".to_owned();
    assert_eq!(all.last(), Some(&Happening::NotReady { why, tail: "oh no".into() }));
}

#[test]
fn without_restart_an_exit_before_readiness_is_the_end() {
    for (restart, code) in [(Restart::Never, 3), (Restart::OnFailure, 0)] {
        let place = Place::new();
        let plan = Plan {
            ready: ready(Probe::Output("up".into()), Span::from_secs(10)),
            restart,
            ..place.plan(&format!("echo oh no; exit {code}"))
        };
        let (all, _) = fast(plan);
        let why = format!("it ended (exit status {code}) before it was ready");
        assert_eq!(all.last(), Some(&Happening::NotReady { why, tail: "oh no".into() }));
        assert!(pauses(&all).is_empty());
    }
}

#[test]
fn a_supervisor_that_comes_later_adopts_the_program() {
    let place = Place::new();
    let plan = Plan { restart: Restart::Never, ..place.plan("echo up; sleep 60 & wait") };
    let mut first = Supervisor::start(plan.clone(), &System::real()).unwrap();
    until(&mut first, is_ready);
    let (pid, metered) = (first.pid(), first.meter());
    std::mem::forget(first);
    let mut second = Supervisor::adopt(plan, place.record(), &System::real()).unwrap();
    assert!(second.is_ready() && second.pid() == pid);
    // The first one may have died before it told anybody.
    assert!(matches!(second.poll()[..], [Happening::Ready { .. }]));
    assert_eq!(second.poll(), []);
    // To the resolution of the system's start times.
    assert!(second.meter().running_ms + 20 >= metered.running_ms && second.meter().starts == 1);
    assert_eq!(second.tail(), "up");
    let end = second.stop();
    assert!(matches!(&end[..], [Happening::Exited { .. }, Happening::Stopped { killed: false, .. }]), "{end:?}");
    assert!(Record::read(&place.path("run/record.json")).unwrap().is_none());
}

#[test]
fn an_adopted_program_that_was_not_ready_is_still_looked_at() {
    let place = Place::new();
    let plan = Plan {
        ready: ready(Probe::Output("up".into()), Span::from_secs(10)),
        ..place.plan("sleep 0.5; echo up; sleep 0.3; exit 3")
    };
    std::mem::forget(Supervisor::start(plan.clone(), &System::real()).unwrap());
    let mut second = Supervisor::adopt(plan, place.record(), &System::real()).unwrap();
    until(&mut second, is_ready);
    let all = until(&mut second, |happening| matches!(happening, Happening::Exited { .. }));
    assert_eq!(all, [Happening::Exited { status: "exit status 3".to_owned(), ok: false }]);
}

#[test]
fn what_is_not_the_same_program_is_not_adopted() {
    let place = Place::new();
    let plan = place.plan("sleep 60");
    let mut first = Supervisor::start(plan.clone(), &System::real()).unwrap();
    let record = place.record();
    let child = record.child.unwrap();
    let reused = Identity { start_time: child.start_time - 1, ..child };
    let system = System::real();
    assert!(Supervisor::adopt(plan.clone(), Record { child: Some(reused), ..record.clone() }, &system).is_none());
    assert!(Supervisor::adopt(plan.clone(), Record { boot: "another".into(), ..record.clone() }, &system).is_none());
    let parent = Identity::of(std::os::unix::process::parent_id()).unwrap();
    assert!(Supervisor::adopt(plan.clone(), Record { supervisor: parent, ..record.clone() }, &system).is_none());
    // Nor is anything started or ended by mistake where another is in charge, or on the word of a stale record.
    let taken = Record { supervisor: parent, ..record.clone() };
    std::fs::write(&plan.record, serde_json::to_vec(&taken).unwrap()).unwrap();
    assert_eq!(Supervisor::start(plan, &system).err().map(|error| error.code), Some(Code::WrongState));
    let guard = record.guard.map(|guard| Identity { start_time: guard.start_time - 1, ..guard });
    let stale = Record { child: Some(reused), guard, run: system.nonce(), ..record };
    assert_eq!(clear(&stale), [""; 0]);
    assert!(child.is_alive());
    first.stop();
    assert!(!child.is_alive());
}

#[test]
fn what_a_supervisor_left_while_starting_is_found_by_its_mark() {
    let place = Place::new();
    std::mem::forget(Supervisor::start(place.plan("sleep 60"), &System::real()).unwrap());
    let record = place.record();
    assert!(record.child.is_some_and(|child| child.is_alive()));
    assert_eq!(clear(&Record { child: None, ..record.clone() }), [""; 0]);
    assert!(!record.child.is_some_and(|child| child.is_alive()));
}

#[test]
fn what_an_earlier_run_left_is_ended_before_a_new_one() {
    let place = Place::new();
    let plan = place.plan("sleep 60 & echo $! >> $DEPLOYCTL_DATA/pids; [ -e $DEPLOYCTL_DATA/again ] || wait");
    std::mem::forget(Supervisor::start(plan.clone(), &System::real()).unwrap());
    let helper = place.pids("data/pids", 1)[0];
    let child = place.record().child.unwrap();
    assert!(child.signal(Signal::KILL));
    while child.is_alive() {
        std::thread::yield_now();
    }
    assert!(helper.is_alive() && Supervisor::adopt(plan.clone(), place.record(), &System::real()).is_none());
    let mut second = Supervisor::start(plan, &System::real()).unwrap();
    assert!(!helper.is_alive());
    second.stop();
}

#[test]
fn a_supervisor_may_be_moved_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Supervisor>();
}

fn refusal(place: &Place, command: &[&str]) -> Error {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Supervisor::start(Plan { command, ..place.plan("") }, &System::real()).err().unwrap()
}

#[test]
fn a_program_comes_from_the_folder_or_the_fixed_path_and_from_nowhere_else() {
    let place = Place::new();
    let generation = place.path("generation");
    std::fs::write(generation.join("plain"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("/bin/sh", generation.join("link")).unwrap();
    for program in ["../generation/plain", "/bin/sh", "./link", "a/../../b"] {
        let error = refusal(&place, &[program]);
        assert_eq!(error.message, format!("the program “{program}” is outside the service's folder"));
        assert_eq!((error.code, error.hint.is_some()), (Code::BadDefinition, true));
    }
    let cases = [
        ("bin/nothing", Code::ServiceFailed, "the service has no program “bin/nothing”"),
        ("./plain", Code::ServiceFailed, "“./plain” of the service is not executable"),
        ("", Code::BadDefinition, "the role's command is empty"),
        ("no-such-tool", Code::Unsuitable, "“no-such-tool” is not installed on this machine (looked in "),
    ];
    for (program, code, message) in cases {
        let error = refusal(&place, &[program]);
        assert!(error.message.starts_with(message), "{error}");
        assert_eq!((error.code, error.hint.is_some()), (code, true));
    }
    assert!(!place.path("run/record.json").exists(), "nothing was started, so nothing is on record");
}

#[test]
fn a_program_of_the_folder_runs_and_one_that_cannot_says_why() {
    let place = Place::new();
    let make = "printf '#!/bin/sh\\necho $0 $1\\n' > good; printf '#!/no/such\\n' > bad; chmod 755 good bad";
    assert!(
        Command::new("/bin/sh").args(["-c", make]).current_dir(place.path("generation")).status().unwrap().success()
    );
    let command = ["./good", "one"].map(str::to_owned).to_vec();
    let mut supervisor = Supervisor::start(Plan { command, ..place.plan("") }, &System::real()).unwrap();
    to_the_end(&mut supervisor);
    assert!(place.read("run/log").ends_with("good one\n"));
    let error = refusal(&place, &["./bad"]);
    assert_eq!(error.code, Code::ServiceFailed);
    assert_eq!(error.hint.as_deref(), Some("the interpreter that its first line names is not on this machine"));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let place = Place::new();
    let probes = [
        Probe::Tcp("8080".into()),
        Probe::Tcp("127.0.0.1:port".into()),
        Probe::Output(String::new()),
        Probe::File("../ready".into()),
        Probe::File("/tmp/ready".into()),
        Probe::File(".".into()),
    ];
    for probe in probes {
        let plan = Plan { ready: ready(probe.clone(), Span::from_secs(1)), ..place.plan("sleep 60") };
        let error = Supervisor::start(plan, &System::real()).err().unwrap();
        assert_eq!((error.code, error.hint.is_some()), (Code::BadDefinition, true), "{probe:?}");
    }
    for name in ["", "A=B", "DEPLOYCTL_DATA"] {
        let mut plan = place.plan("sleep 60");
        plan.environment.insert(name.into(), "x".into());
        assert_eq!(Supervisor::start(plan, &System::real()).err().unwrap().code, Code::BadDefinition, "{name}");
    }
}

#[test]
fn a_record_that_does_not_read_is_named() {
    let place = Place::new();
    let plan = place.plan("sleep 60");
    std::fs::write(&plan.record, "{").unwrap();
    let error = Supervisor::start(plan.clone(), &System::real()).err().unwrap();
    assert_eq!((error.code, error.message.contains("record.json")), (Code::Damaged, true));
    assert!(Record::read(Path::new("/nowhere/record.json")).unwrap().is_none());
}
