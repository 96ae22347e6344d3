//! `serve` under a service manager: it says when it is ready, that it lives, and that it stops.

#[path = "support/sandbox.rs"]
mod sandbox;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use sandbox::{PATIENCE, Sandbox};

/// The next thing that is said.
fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).expect("something is said in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn serve_tells(socket: &UnixDatagram, name: &str) {
    socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let sandbox = Sandbox::new();
    sandbox.init("n");
    let mut command = sandbox.command("n", &["serve"]);
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "200000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    assert_eq!(heard(socket), "READY=1");
    assert!(sandbox.state("n").join("run/serve.json").exists(), "not said too early");
    assert_eq!([heard(socket), heard(socket)], ["WATCHDOG=1"; 2]);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).expect("it is there");
    while heard(socket) != "STOPPING=1" {}
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_manager_with_a_socket_in_the_file_system_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    serve_tells(&UnixDatagram::bind(&path).expect("a socket"), path.to_str().expect("a path of text"));
}

#[test]
fn a_manager_with_an_abstract_name_is_told() {
    let name = format!("deployctl-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    serve_tells(&UnixDatagram::bind_addr(&address).expect("a socket"), &format!("@{name}"));
}
