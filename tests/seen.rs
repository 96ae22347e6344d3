//! A node that is seen: what a control point on the same link hears, reads, calls and subscribes to, and what a hostile
//! one gets. The link is the loopback, so that no rights are needed; other people's control points are in `clients.rs`.

#![expect(clippy::disallowed_methods, reason = "talks to the node from outside, and changes what it offers")]

#[path = "support/link.rs"]
mod link;
#[path = "support/sandbox.rs"]
mod sandbox;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use deployctl::discover::dnssd::name::DomainName;
use deployctl::discover::dnssd::wire::{Data, KIND_PTR, Message, Question, Writer};
use link::{Listener, call, http, offer, soap};
use rustix::process::Signal;
use sandbox::{PATIENCE, Sandbox, Serving, lines, until};
use serde_json::{Value, json};

const CONTENT: &str = "urn:schemas-upnp-org:service:ContentDirectory:1";
const PROGRAMS: &str = "urn:deployctl-org:service:ProgramDirectory:1";

/// A node on the loopback with two programs, and its `HOST:PORT` for control points.
fn seen(sandbox: &Sandbox) -> (Serving, String) {
    sandbox.init("a");
    let services = sandbox.path().join("services");
    offer(&services, "chess", "1.0.0", "games/board");
    offer(&services, "clock", "1.0.0", "tools");
    let services = services.to_string_lossy().into_owned();
    let serving = sandbox.serve("a", &["--services", &services, "--advertise", "upnp,mdns", "--interface", "lo"]);
    let url = serving.ready["upnp"].as_str().expect("a URL").to_owned();
    let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/device.xml")).expect("a description");
    (serving, host.to_owned())
}

/// The `uuid:…` of the node.
fn udn(host: &str) -> String {
    let description = http(host, "GET", "/device.xml", &[], "").body;
    let from = description.find("<UDN>").expect("a UDN") + 5;
    description[from..].split('<').next().expect("its end").to_owned()
}

#[test]
fn a_search_for_everything_gets_every_name_and_other_searches_what_they_ask_for() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let udn = udn(&host);
    let mut listener = Listener::new();
    let own = |usns: Vec<String>| {
        let mut usns: Vec<_> = usns.into_iter().filter(|usn| usn.starts_with(&udn)).collect();
        usns.sort();
        usns.dedup();
        usns
    };
    let all = own(listener.search("ssdp:all", "2"));
    let kinds = ["ContentDirectory:1", "ConnectionManager:1", "ProgramDirectory:1", "DownloadManager:1"];
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(all.contains(&udn) && all.contains(&format!("{udn}::upnp:rootdevice")), "{all:?}");
    for kind in kinds {
        assert!(all.iter().any(|usn| usn.ends_with(kind)), "{kind}: {all:?}");
    }
    assert_eq!(own(listener.search(CONTENT, "1")), [format!("{udn}::{CONTENT}")]);
    assert_eq!(own(listener.search(&udn, "1")), std::slice::from_ref(&udn));
    assert_eq!(own(listener.search(&udn.to_uppercase().replace("UUID", "uuid"), "1")), std::slice::from_ref(&udn));
    for (target, wait) in [("ssdp:nothing", "1"), ("upnp:rootdevice", "0"), ("upnp:rootdevice", "x")] {
        assert!(own(listener.search(target, wait)).is_empty(), "{target} {wait}");
    }
}

#[test]
fn a_flood_of_searches_brings_back_less_than_its_bytes() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let udn = udn(&host);
    let mut listener = Listener::new();
    let mut sent = 0;
    for _ in 0..200 {
        sent += Listener::new().ask("ssdp:all", "1");
    }
    // Its answers went to the sockets that are gone; this one shares their host's share, and what is left is less.
    let mut back = 0;
    for _ in 0..3 {
        back += listener
            .search_raw("ssdp:all", "1")
            .iter()
            .filter(|text| text.contains(&udn))
            .map(String::len)
            .sum::<usize>();
    }
    assert!(back < sent / 2 && sent > 15_000, "{back} bytes for {sent}");
}

#[test]
fn a_plain_resolver_is_answered_by_multicast_dns_and_a_flood_of_questions_brings_back_less_than_its_bytes() {
    let sandbox = Sandbox::new();
    let (serving, _host) = seen(&sandbox);
    let resolver = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket2::SockRef::from(&resolver).set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).expect("the loopback");
    resolver.set_read_timeout(Some(Duration::from_millis(300))).expect("a deadline");
    let name = DomainName::local(&["_games-board", "_sub", "_deployctl", "_tcp"]).expect("a name");
    let question = Question { name: name.clone(), kind: KIND_PTR, unicast: false };
    let mut writer = Writer::new(512);
    assert!(writer.question(&question));
    let asked = writer.finish(77, 0);
    let ask = || resolver.send_to(&asked, ("224.0.0.251", 5353)).expect("it is sent");
    let mut buffer = [0; 9000];
    let mut answer = || resolver.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
    let mark = &serving.address()["deploy://".len()..][..8];
    let mut ours = None;
    // Nodes of other tests may answer, too.
    until("it is answered", || {
        ask();
        let message = answer().and_then(|bytes| Message::read(&bytes));
        ours = message.filter(|message| message.answers.iter().any(|one| format!("{one:?}").contains(mark)));
        ours.is_some()
    });
    let ours = ours.expect("it was answered");
    assert_eq!((ours.id, ours.questions.as_slice()), (77, std::slice::from_ref(&question)));
    let records = || ours.answers.iter().chain(&ours.additionals);
    assert!(records().all(|record| record.ttl <= 10 && !record.flush), "{ours:?}");
    assert!(records().any(
        |record| matches!(&record.data, Data::Srv { port, .. } if serving.address().ends_with(&port.to_string()))
    ));

    let mut back = 0;
    let sent = 400 * asked.len();
    for _ in 0..400 {
        ask();
    }
    while let Some(bytes) = answer() {
        back += if String::from_utf8_lossy(&bytes).contains(mark) { bytes.len() } else { 0 };
    }
    assert!(back < sent / 2, "{back} bytes for {sent}");
}

#[test]
fn a_control_point_walks_the_categories_and_finds_programs() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let browse = |object: &str| {
        let arguments = [
            ("ObjectID", object),
            ("BrowseFlag", "BrowseDirectChildren"),
            ("Filter", "*"),
            ("StartingIndex", "0"),
            ("RequestedCount", "0"),
            ("SortCriteria", ""),
        ];
        call(&host, "/ContentDirectory/control", CONTENT, "Browse", &arguments)
    };
    let root = browse("0");
    assert_eq!(root.status, 200, "{root:?}");
    assert!(
        root.body.contains("id=&quot;c/games&quot;") && root.body.contains("<TotalMatches>2</TotalMatches>"),
        "{root:?}"
    );
    assert!(browse("c/games/board").body.contains("&lt;dc:title&gt;chess&lt;/dc:title&gt;"));
    let none = browse("nothing");
    assert!(none.status == 500 && none.body.contains("<errorCode>701</errorCode>"), "{none:?}");
    let bare = call(&host, "/ContentDirectory/control", CONTENT, "Browse", &[("ObjectID", "0")]);
    assert!(bare.status == 500 && bare.body.contains("<errorCode>402</errorCode>"), "{bare:?}");
    let search = [
        ("ContainerID", "0"),
        ("SearchCriteria", "dc:title contains \"CLO\""),
        ("Filter", "dc:title"),
        ("StartingIndex", "0"),
        ("RequestedCount", "0"),
        ("SortCriteria", "+dc:title"),
        ("Platform", "linux-x86_64"),
    ];
    let found = call(&host, "/ProgramDirectory/control", PROGRAMS, "Search", &search);
    assert!(
        found.body.contains("<TotalMatches>1</TotalMatches>") && found.body.contains("id=&quot;p/clock&quot;"),
        "{found:?}"
    );
}

#[test]
fn what_browsers_and_attackers_send_is_refused_at_once() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let get = |headers: &[(&str, &str)], path: &str| http(&host, "GET", path, headers, "").status;
    assert_eq!(get(&[], "/device.xml"), 200);
    assert_eq!(get(&[("host", "evil.example")], "/device.xml"), 421);
    assert_eq!(get(&[("host", "localhost")], "/programs.json"), 421);
    assert_eq!(get(&[("origin", "http://evil.example")], "/device.xml"), 403);
    assert_eq!(get(&[], &format!("http://{host}/device.xml")), 200);
    assert_eq!(get(&[], "http://evil.example/device.xml"), 400);
    assert_eq!(get(&[], "/../etc/passwd"), 404);
    assert_eq!(get(&[], "/ContentDirectory/control"), 405);
    assert_eq!(http(&host, "HEAD", "/device.xml", &[], "").body, "");

    let action = format!("\"{CONTENT}#GetSystemUpdateID\"");
    let body = soap(CONTENT, "GetSystemUpdateID", &[]);
    let post =
        |headers: &[(&str, &str)], body: &str| http(&host, "POST", "/ContentDirectory/control", headers, body).status;
    let good = [("content-type", "text/xml; charset=\"utf-8\""), ("soapaction", action.as_str())];
    assert_eq!(post(&good, &body), 200);
    assert_eq!(post(&[("content-type", "application/x-www-form-urlencoded"), good[1]], &body), 415);
    assert_eq!(post(&good[..1], &body), 400);
    assert_eq!(post(&good, "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), 400);
    assert_eq!(post(&good, "{}"), 400);
    assert_eq!(post(&[good[0], ("soapaction", "\"urn:x#GetSystemUpdateID\"")], &body), 500);
    let large = [good.as_slice(), &[("content-length", "99999999")]].concat();
    assert_eq!(post(&large, ""), 413);
    let mut chunked = TcpStream::connect(&host).expect("a connection");
    let head = format!(
        "POST /ContentDirectory/control HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml\r\nSOAPACTION: {action}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    chunked.write_all(head.as_bytes()).expect("it is sent");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    // It may close as soon as there is too much.
    let _closed = (0..8).try_for_each(|_| chunked.write_all(chunk.as_bytes()));
    let mut answer = String::new();
    let _reset = chunked.take(64).read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(get(&[], "/device.xml"), 200);
}

#[test]
fn idle_connections_make_room_for_one_that_asks() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(&host).expect("a connection")).collect();
    assert_eq!(http(&host, "GET", "/device.xml", &[], "").status, 200);
    drop(idle);
}

#[test]
fn a_subscriber_hears_how_it_is_and_then_what_changes() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let here = format!("<http://{}/events>", listener.local_addr().expect("its address"));
    let subscribe = |headers: &[(&str, &str)]| http(&host, "SUBSCRIBE", "/ContentDirectory/event", headers, "");
    let new = [("nt", "upnp:event"), ("timeout", "Second-1800")];
    for (callback, status) in [("<http://192.0.2.1/>", 412), ("<http://localhost:1/>", 412), ("", 412)] {
        assert_eq!(subscribe(&[new[0], new[1], ("callback", callback)]).status, status, "{callback}");
    }
    assert_eq!(subscribe(&[("callback", here.as_str())]).status, 412);
    let subscribed = subscribe(&[new[0], new[1], ("callback", here.as_str())]);
    let sid = subscribed.header("sid");
    assert!(subscribed.status == 200 && sid.starts_with("uuid:"), "{subscribed:?}");
    assert_eq!(subscribed.header("timeout"), "Second-1800");

    let first = event(&listener);
    assert!(first.contains(&format!("Sid: {sid}\r\n")) && first.contains("\r\nSeq: 0\r\n"), "{first}");
    assert!(first.contains("<SystemUpdateID>") && first.contains("<ContainerUpdateIDs>"), "{first}");
    assert_eq!(subscribe(&[("sid", sid), ("timeout", "Second-1800")]).status, 200);
    assert_eq!(subscribe(&[("sid", sid), new[0]]).status, 400);
    assert_eq!(subscribe(&[("sid", "uuid:0")]).status, 412);

    let services = sandbox.path().join("services");
    offer(&services, "draw", "1.0.0", "office");
    let second = event(&listener);
    assert!(second.contains("\r\nSeq: 1\r\n") && second.contains("c/office,"), "{second}");
    fs::remove_dir_all(services.join("draw")).expect("it goes");
    let third = event(&listener);
    assert!(third.contains("\r\nSeq: 2\r\n") && third.contains("<ContainerUpdateIDs>0,"), "{third}");

    // The same of another service is another one, and leaves this one as it is.
    assert_eq!(http(&host, "UNSUBSCRIBE", "/ProgramDirectory/event", &[("sid", sid)], "").status, 412);
    offer(&services, "draw", "1.0.0", "office");
    let fourth = event(&listener);
    assert!(fourth.contains("\r\nSeq: 3\r\n"), "{fourth}");
    let unsubscribe = || http(&host, "UNSUBSCRIBE", "/ContentDirectory/event", &[("sid", sid)], "").status;
    assert_eq!((unsubscribe(), unsubscribe()), (200, 412));
}

/// Takes one event.
fn event(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().expect("an event comes");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a deadline");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("</e:propertyset>") {
        let read = stream.read(&mut buffer).expect("it reads");
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("it is taken");
    text
}

#[test]
fn a_host_gets_ten_subscriptions_and_one_that_never_reads_delays_nobody() {
    let sandbox = Sandbox::new();
    let (_serving, host) = seen(&sandbox);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let callback = format!("<http://{}/>", silent.local_addr().expect("its address"));
    let headers = [("nt", "upnp:event"), ("callback", callback.as_str())];
    let statuses: Vec<_> =
        (0..12).map(|_| http(&host, "SUBSCRIBE", "/ProgramDirectory/event", &headers, "").status).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[503; 2]].concat());
    let began = std::time::Instant::now();
    assert_eq!(http(&host, "GET", "/device.xml", &[], "").status, 200);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_node_says_hello_when_it_comes_and_goodbye_when_it_goes() {
    let sandbox = Sandbox::new();
    let listener = Listener::on_group();
    let (serving, host) = seen(&sandbox);
    let udn = udn(&host);
    let mut heard: Vec<String> = Vec::new();
    let mut count = |nts: &str, at_least: usize| {
        until(&format!("{nts} is said {at_least} times"), || {
            heard.extend(listener.hear(Duration::from_millis(50)));
            heard.iter().filter(|text| text.contains(nts) && text.contains(&udn)).count() >= at_least
        });
    };
    // Twice seven names.
    count("ssdp:alive", 14);
    let began = std::time::Instant::now();
    serving.stop();
    assert!(began.elapsed() < PATIENCE / 4);
    // Seven at the start, for those who knew an earlier life, and seven now.
    count("ssdp:byebye", 14);
}

/// The node of this address among those that were found.
fn node<'a>(found: &'a Value, address: &str) -> &'a Value {
    let nodes = found.as_array().expect("an array");
    let node = nodes.iter().find(|node| node["address"] == address);
    assert!(node.is_some(), "{address} is not in {found:#}");
    node.expect("it is there")
}

#[test]
fn a_node_is_found_by_both_ways_at_once_as_one_with_its_programs() {
    let sandbox = Sandbox::new();
    let (serving, _host) = seen(&sandbox);
    sandbox.init_nowhere("b");
    sandbox.trust("b", "shop", serving.address(), "");
    let mut found = Value::Null;
    // By multicast DNS it is there only after three probes.
    until("both ways show it", || {
        found = sandbox.run("b", &["discover", "--interface", "lo"]).ok();
        let nodes = found.as_array().expect("an array");
        nodes.iter().any(|node| node["address"] == serving.address() && node["via"] == json!(["upnp", "mdns"]))
    });
    let node = node(&found, serving.address());
    assert_eq!((&node["name"], &node["contact"]), (&json!("a"), &json!("shop")), "{node:#}");
    assert!(serving.address().contains(node["key"].as_str().expect("a key")), "{node:#}");
    let programs: Vec<_> = node["programs"].as_array().expect("programs").iter().map(|one| &one["name"]).collect();
    assert_eq!(programs, ["chess", "clock"]);

    // A stranger, for a person.
    sandbox.init_nowhere("c");
    let shown = sandbox.human("c", &["discover", "--interface", "lo"]);
    let key = node["key"].as_str().expect("a key");
    assert!(shown.stdout.contains(&format!("key      {} {} ", &key[..4], &key[4..8])), "{shown:?}");
    assert!(shown.stdout.contains("not a contact") && shown.stdout.contains("games/board"), "{shown:?}");
}

#[test]
fn a_watch_tells_who_comes_and_who_goes() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("b");
    let watch = sandbox.begin("b", &["discover", "--watch", "--interface", "lo"]);
    let (serving, _host) = seen(&sandbox);
    let address = serving.address().to_owned();
    let told = |event: &str| {
        until(&format!("{event} is told"), || {
            lines(&watch.stdout).iter().any(|line| line["event"] == event && line["node"]["address"] == address)
        });
    };
    told("found");
    serving.stop();
    told("gone");
    watch.signal(Signal::INT);
    assert_eq!(watch.finish().code, 130);
}

#[test]
fn a_node_that_listens_nowhere_or_an_interface_that_is_not_there_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.init_nowhere("n");
    sandbox.run("n", &["serve", "--advertise", "upnp"]).fails(2, "usage").hints(&["--listen"]);
    sandbox.init("a");
    sandbox.run("a", &["serve", "--advertise", "mdns", "--interface", "none7"]).fails(2, "usage").hints(&["lo"]);
}
