//! A control point of few words on the loopback: datagrams and requests as they go over the wire.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "talks to the program from outside")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);

/// A program that is offered: a folder with one file.
pub fn offer(services: &Path, name: &str, version: &str, category: &str) {
    let folder = services.join(name);
    fs::create_dir_all(folder.join("files")).expect("a folder");
    fs::write(folder.join("files/run"), name).expect("a file");
    let text = format!(
        "name = \"{name}\"\nversion = \"{version}\"\nsummary = \"{name} <for> all & everyone\"\n\
         category = \"{category}\"\nlicense = \"MIT\"\n[roles.user]\nfor = \"initiator\"\nmin = 1\nmax = 1\n\
         platforms = [\"any\"]\n[roles.user.build]\ncopy = \"files/\"\n"
    );
    // Whole at once: the node looks at any time.
    fs::write(services.join(format!(".{name}")), text).expect("a definition");
    fs::rename(services.join(format!(".{name}")), folder.join("service.toml")).expect("it is put in its place");
}

/// A socket of a control point.
pub struct Listener(UdpSocket);

impl Listener {
    pub fn new() -> Self {
        Self::bind(Ipv4Addr::LOCALHOST, 0)
    }
    /// Hears notices.
    pub fn on_group() -> Self {
        let listener = Self::bind(GROUP.0, GROUP.1);
        listener.0.join_multicast_v4(&GROUP.0, &Ipv4Addr::LOCALHOST).expect("the group can be joined");
        listener
    }
    fn bind(ip: Ipv4Addr, port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
        socket.set_reuse_address(true).expect("shared");
        socket.bind(&SocketAddr::from((ip, port)).into()).expect("a place");
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("the loopback");
        Self(socket.into())
    }
    /// Sends a search; gives its length.
    pub fn ask(&self, target: &str, wait: &str) -> usize {
        let text = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: {wait}\r\nST: {target}\r\n\r\n"
        );
        self.0.send_to(text.as_bytes(), GROUP).expect("it is sent")
    }
    /// What comes until nothing does for so long.
    pub fn hear(&self, quiet: Duration) -> Vec<String> {
        self.0.set_read_timeout(Some(quiet)).expect("a deadline");
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| {
            self.0.recv(&mut buffer).ok().map(|read| String::from_utf8_lossy(&buffer[..read]).into_owned())
        })
        .collect()
    }
    pub fn search_raw(&mut self, target: &str, wait: &str) -> Vec<String> {
        self.ask(target, wait);
        let seconds = wait.parse().unwrap_or(1).max(1);
        self.hear(Duration::from_secs(seconds) + Duration::from_millis(500))
    }
    /// The USNs of the answers to a search.
    pub fn search(&mut self, target: &str, wait: &str) -> Vec<String> {
        let answers = self.search_raw(target, wait);
        let usn = |text: &String| text.lines().find_map(|line| line.strip_prefix("USN: ").map(str::to_owned));
        answers.iter().filter_map(usn).collect()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .unwrap_or_default()
    }
}

/// One request on a connection of its own. Host and Content-Length are added where they are not given.
pub fn http(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    let length = body.len().to_string();
    let has = |name: &str| headers.iter().any(|(known, _)| *known == name);
    let added = [("host", host), ("content-length", length.as_str())].into_iter().filter(|(name, _)| !has(name));
    added.chain(headers.iter().copied()).for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str("\r\n");
    text.push_str(body);
    let mut stream = TcpStream::connect(host).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
    stream.write_all(text.as_bytes()).expect("it is sent");
    let mut answer = Vec::new();
    // A connection that is closed before all was read may end with a reset.
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub fn soap(kind: &str, action: &str, arguments: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let arguments: String =
        arguments.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escape(value))).collect();
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>"
    )
}

/// Calls an action.
pub fn call(host: &str, path: &str, kind: &str, action: &str, arguments: &[(&str, &str)]) -> Answer {
    let soap_action = format!("\"{kind}#{action}\"");
    let headers = [("content-type", "text/xml; charset=\"utf-8\""), ("soapaction", soap_action.as_str())];
    http(host, "POST", path, &headers, &soap(kind, action, arguments))
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}
