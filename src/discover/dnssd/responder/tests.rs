use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::name::DomainName;
use super::super::wire::{
    KIND_A, KIND_AAAA, KIND_ANY, KIND_NSEC, KIND_PTR, KIND_SRV, KIND_TXT, Question, Section, Writer,
};
use super::*;
use crate::discover::Directory;
use crate::discover::upnp::testing::directory;
use crate::model::Time;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: [u8; 4] = [192, 0, 2, 99];

/// A responder with a clock, and all that it said to everybody and to others alone.
struct Link {
    responder: Responder,
    now: Duration,
    said: Vec<(Duration, Message)>,
    told: Vec<(SocketAddr, Message, usize)>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn asker(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], PORT))
}

impl Link {
    fn new(seed: u64) -> Self {
        let system = System::fixed(Time::from_unix_ms(0), seed);
        let responder = Responder::new(Instance::of(&directory()), vec![HERE], system, Duration::ZERO).unwrap();
        Self { responder, now: Duration::ZERO, said: vec![], told: vec![] }
    }
    /// One whose names are claimed and announced, long ago.
    fn settled() -> Self {
        let mut link = Self::new(1);
        link.run(ms(10_000));
        (link.said, link.told) = (vec![], vec![]);
        link
    }
    fn take(&mut self, all: Vec<Outgoing>) {
        for outgoing in all {
            assert!(outgoing.bytes.len() <= MAX_DATAGRAM);
            let message = Message::read(&outgoing.bytes).unwrap();
            match outgoing.to {
                To::Group => self.said.push((self.now, message)),
                To::One(to) => self.told.push((to, message, outgoing.bytes.len())),
            }
        }
    }
    /// Lets so much time go by.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.responder.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let due = self.responder.due(self.now);
            self.take(due);
        }
        self.now = end;
    }
    fn hear(&mut self, bytes: &[u8], from: SocketAddr) {
        self.responder.hear(bytes, from, true, self.now);
    }
    fn ask(&mut self, questions: &[Question], from: SocketAddr) {
        self.hear(&query(questions, &[], &[], 0), from);
    }
    /// What everybody was told, but for probes.
    fn answers(&self) -> Vec<&Record> {
        self.said.iter().flat_map(|(_, message)| &message.answers).collect()
    }
    fn texts(&self) -> Vec<String> {
        self.answers().into_iter().map(text).collect()
    }
    fn own(&self, kind: u16) -> Record {
        let found = self.responder.own.iter().find(|own| own.record.data.kind() == kind);
        found.unwrap().record.clone()
    }
    /// Another's record in the place of ours.
    fn other(&self, kind: u16) -> Record {
        let data = match kind {
            KIND_A => Data::A(ELSEWHERE.into()),
            _ => Data::Srv { priority: 9, weight: 0, port: 1, target: DomainName::local(&["evil"]).unwrap() },
        };
        Record { data, ..self.own(kind) }
    }
    fn respond(&mut self, record: Record, port: u16) {
        let bytes = responses(&[record], &[], MAX_DATAGRAM).remove(0);
        self.hear(&bytes, SocketAddr::from((ELSEWHERE, port)));
    }
    fn is_probing(&self) -> bool {
        self.responder.state != State::Claimed
    }
}

fn text(record: &Record) -> String {
    let what = match &record.data {
        Data::A(ip) => ip.to_string(),
        Data::Ptr(to) => to.to_string(),
        data => data.kind().to_string(),
    };
    format!("{} {} {what}", record.ttl, record.name)
}

fn name(labels: &[&str]) -> DomainName {
    DomainName::local(labels).unwrap()
}

fn service() -> DomainName {
    name(&["_deployctl", "_tcp"])
}

fn question(name: &DomainName, kind: u16) -> Question {
    Question { name: name.clone(), kind, unicast: false }
}

fn query(questions: &[Question], known: &[Record], proposed: &[Record], flags: u16) -> Vec<u8> {
    let mut writer = Writer::new(9000);
    assert!(questions.iter().all(|one| writer.question(one)));
    assert!(known.iter().all(|one| writer.record(Section::Answers, one)));
    assert!(proposed.iter().all(|one| writer.record(Section::Authorities, one)));
    writer.finish(77, flags)
}

#[test]
fn names_are_claimed_by_three_probes_and_everything_is_announced_twice() {
    let mut firsts = Vec::new();
    for seed in 0..50 {
        let mut link = Link::new(seed);
        link.run(ms(10_000));
        let times: Vec<Duration> = link.said.iter().map(|(at, _)| *at).collect();
        let first = times[0];
        assert!(first <= AT_FIRST);
        firsts.push(first);
        assert_eq!(times[1..], [250, 500, 750, 1750].map(|after| first + ms(after)));
        let names = link.responder.names.clone();
        for (_, probe) in &link.said[..3] {
            assert!(!probe.is_response() && probe.answers.is_empty());
            let asked: Vec<_> = probe.questions.iter().map(|one| (&one.name, one.kind, one.unicast)).collect();
            assert_eq!(asked, [(&names.instance, KIND_ANY, true), (&names.host, KIND_ANY, true)]);
            let kinds: Vec<_> = probe.authorities.iter().map(|record| (record.data.kind(), record.flush)).collect();
            assert_eq!(kinds, [(KIND_SRV, false), (KIND_TXT, false), (KIND_A, false)]);
        }
        for (_, announcement) in &link.said[3..] {
            assert_eq!((announcement.id, announcement.flags, announcement.questions.len()), (0, 0x8400, 0));
            for record in &announcement.answers {
                let kind = record.data.kind();
                assert_eq!(record.flush, kind != KIND_PTR);
                let is_of_host = record.name == names.host || kind == KIND_SRV;
                assert_eq!(record.ttl, if is_of_host { 120 } else { 4500 }, "{record:?}");
            }
        }
        assert_eq!(link.said[3].1.answers, link.said[4].1.answers);
    }
    firsts.sort();
    firsts.dedup();
    assert!(firsts.len() > 20, "they are random: {firsts:?}");
}

#[test]
fn of_two_that_probe_at_once_the_later_data_wins_and_the_other_waits() {
    for (rival, waits) in [(Some(KIND_SRV), true), (Some(KIND_A), true), (None, false)] {
        let mut link = Link::new(1);
        link.run(ms(300));
        let names = link.responder.names.clone();
        let mut proposed: Vec<Record> = link.responder.own.iter().map(|own| own.record.clone()).collect();
        proposed.retain(|record| record.flush && record.data.kind() != KIND_NSEC && Some(record.data.kind()) != rival);
        proposed.extend(rival.map(|kind| link.other(kind)));
        let asked = [question(&names.instance, KIND_ANY), question(&names.host, KIND_ANY)];
        link.hear(&query(&asked, &[], &proposed, 0), asker(99));
        assert_eq!(link.responder.next().unwrap() >= ms(1300), waits, "{rival:?}");
        link.said.clear();
        link.run(ms(3000));
        let probes = link.said.iter().filter(|(_, message)| !message.is_response()).count();
        assert_eq!(probes == 3, waits, "{probes}");
        assert!(!link.is_probing() && link.responder.names == names);
    }
    // Earlier data loses nothing here, and neither does less of the same.
    let mut link = Link::new(1);
    link.run(ms(300));
    let early = Record { data: Data::Srv { priority: 0, weight: 0, port: 1, target: service() }, ..link.own(KIND_SRV) };
    let asked = [question(&link.responder.names.instance, KIND_ANY)];
    for proposed in [vec![link.own(KIND_TXT), early], vec![link.own(KIND_TXT)]] {
        link.hear(&query(&asked, &[], &proposed, 0), asker(99));
        assert!(link.responder.next().unwrap() < ms(700));
    }
}

#[test]
fn a_name_that_another_has_gets_a_number_and_goodbyes_are_under_the_new_one() {
    let mut link = Link::new(1);
    link.run(ms(300));
    let old = link.responder.names.clone();
    let other = link.other(KIND_SRV);
    link.respond(other, PORT);
    assert_eq!(link.responder.names.host, old.host);
    assert!(link.responder.names.instance.to_string().ends_with(" (2)._deployctl._tcp.local."));
    link.run(ms(300));
    let other = link.other(KIND_A);
    link.respond(other, PORT);
    assert!(link.responder.names.host.to_string().ends_with("-2.local."));
    link.said.clear();
    link.run(ms(5000));
    assert!(!link.is_probing());
    assert!(!link.texts().iter().any(|text| text.contains(&old.instance.to_string())), "{:?}", link.texts());
    link.said.clear();
    let goodbye = link.responder.leave();
    link.take(goodbye);
    let all = link.texts();
    assert!(all.iter().all(|text| text.starts_with("0 ")), "{all:?}");
    assert!(all.contains(&format!("0 {} {}", service(), link.responder.names.instance)), "{all:?}");
    // The type itself is not this node's to take back.
    assert!(!all.iter().any(|text| text.contains("_services")), "{all:?}");
}

#[test]
fn a_name_that_is_contested_later_is_probed_for_again_and_kept_where_nobody_insists() {
    for insists in [false, true] {
        let mut link = Link::settled();
        let names = link.responder.names.clone();
        let other = link.other(KIND_SRV);
        link.respond(other.clone(), PORT);
        assert!(link.is_probing());
        link.run(ms(300));
        if insists {
            link.respond(other, PORT);
        }
        link.run(ms(3000));
        assert_eq!((link.is_probing(), link.responder.names == names), (false, !insists));
    }
    // What is no contest: goodbyes, what comes from elsewhere, shared names, NSEC.
    let mut link = Link::settled();
    let other = link.other(KIND_SRV);
    link.respond(Record { ttl: 0, ..other.clone() }, PORT);
    link.respond(other.clone(), 5354);
    link.respond(Record { name: service(), ..other.clone() }, PORT);
    link.respond(Record { data: Data::Nsec(vec![]), ..other }, PORT);
    assert!(!link.is_probing());
}

#[test]
fn whoever_contests_every_name_makes_little_work() {
    let mut link = Link::new(1);
    let mut renamed = 0;
    for _ in 0..60_000 {
        let before = link.responder.names.clone();
        let other = link.other(KIND_SRV);
        link.respond(other, PORT);
        renamed += usize::from(link.responder.names != before);
        link.run(ms(1));
    }
    // Fifteen at first, and then one in five seconds.
    assert!((15..45).contains(&renamed), "{renamed}");
    assert!(link.said.len() < 60, "{}", link.said.len());
}

#[test]
fn questions_get_the_answers_that_there_are() {
    let names = Link::settled().responder.names;
    let (instance, host) = (names.instance.to_string(), names.host.to_string());
    let games = name(&["_games-board", "_sub", "_deployctl", "_tcp"]);
    let platform = name(&["_linux-aarch64", "_sub", "_deployctl", "_tcp"]);
    let all = name(&["_services", "_dns-sd", "_udp"]);
    let of_host = format!("120 {host} 192.0.2.1");
    let cases: [(&DomainName, u16, &[String], usize); 12] = [
        (&service(), KIND_PTR, &[format!("4500 {} {instance}", service())], 4),
        (&games, KIND_PTR, &[format!("4500 {games} {instance}")], 4),
        (&platform, KIND_ANY, &[format!("4500 {platform} {instance}")], 4),
        (&all, KIND_PTR, &[format!("4500 {all} {}", service())], 0),
        (&names.instance, KIND_SRV, &[format!("120 {instance} 33")], 2),
        (&names.instance, KIND_ANY, &[format!("120 {instance} 33"), format!("4500 {instance} 16")], 2),
        (&names.instance, KIND_A, &[format!("4500 {instance} 47")], 0),
        (&names.host, KIND_A, std::slice::from_ref(&of_host), 1),
        (&names.host, KIND_AAAA, &[format!("120 {host} 47")], 0),
        (&names.host, KIND_NSEC, &[format!("120 {host} 47")], 0),
        (&service(), KIND_SRV, &[], 0),
        (&name(&["_ipp", "_tcp"]), KIND_PTR, &[], 0),
    ];
    for (asked, kind, expected, additionals) in cases {
        let mut link = Link::settled();
        link.ask(&[question(asked, kind)], asker(7));
        let began = link.now;
        link.run(ms(1000));
        assert_eq!(link.texts(), expected, "{asked} {kind}");
        let Some((at, message)) = link.said.first() else { continue };
        assert_eq!(message.additionals.len(), additionals, "{asked} {kind}: {:?}", message.additionals);
        let is_shared = message.answers.iter().any(|answer| !answer.flush);
        let wait = *at - began;
        assert!(if is_shared { (20..=120).contains(&wait.as_millis()) } else { wait.is_zero() }, "{asked}: {wait:?}");
    }
}

#[test]
fn what_an_asker_knows_is_not_told_again_whether_it_says_so_at_once_or_in_a_further_message() {
    let asked = [question(&service(), KIND_PTR)];
    for (ttl, is_told) in [(4500, false), (2250, false), (2249, true)] {
        let mut link = Link::settled();
        let known = Record { ttl, ..link.own(KIND_PTR) };
        link.hear(&query(&asked, std::slice::from_ref(&known), &[], 0), asker(7));
        link.run(ms(1000));
        assert_eq!(!link.said.is_empty(), is_told, "{ttl}");
        for (more_from, also_told) in [(7, is_told), (8, true)] {
            let mut link = Link::settled();
            link.hear(&query(&asked, &[], &[], 0x0200), asker(7));
            link.run(ms(300));
            assert!(link.said.is_empty());
            link.hear(&query(&[], std::slice::from_ref(&known), &[], 0), asker(more_from));
            link.run(ms(1000));
            assert_eq!(!link.said.is_empty(), also_told, "{ttl} {more_from}");
        }
    }
    // Somebody else wants to know, too.
    let mut link = Link::settled();
    link.hear(&query(&asked, &[], &[], 0x0200), asker(7));
    link.ask(&asked, asker(8));
    let known = link.own(KIND_PTR);
    link.hear(&query(&[], &[known], &[], 0), asker(7));
    link.run(ms(1000));
    assert_eq!(link.answers().len(), 1);
    // Somebody else says it: what several have is said once.
    let mut link = Link::settled();
    let all = name(&["_services", "_dns-sd", "_udp"]);
    link.ask(&[question(&all, KIND_PTR)], asker(7));
    link.respond(Record { name: all, ttl: 4500, flush: false, data: Data::Ptr(service()) }, PORT);
    link.run(ms(1000));
    assert!(link.said.is_empty());
}

#[test]
fn everybody_is_told_once_a_second_at_most_and_a_prober_sooner() {
    let mut link = Link::settled();
    let host = link.responder.names.host.clone();
    for _ in 0..3000 {
        link.ask(&[question(&host, KIND_A), question(&service(), KIND_PTR)], asker(7));
        link.run(ms(1));
    }
    assert!(link.said.len() <= 8, "{}", link.said.len());
    for kind in [KIND_A, KIND_PTR, KIND_SRV, KIND_TXT, KIND_NSEC] {
        let all = link.said.iter().filter(|(_, message)| {
            message
                .answers
                .iter()
                .chain(&message.additionals)
                .any(|record| record.data.kind() == kind && record.name != service())
        });
        let times: Vec<Duration> = all.map(|(at, _)| *at).collect();
        assert!(times.windows(2).all(|two| two[1] - two[0] >= PAUSE), "{kind}: {times:?}");
    }
    let mut link = Link::settled();
    link.ask(&[question(&host, KIND_A)], asker(7));
    link.run(ms(1));
    let asked = Question { unicast: false, ..question(&host, KIND_ANY) };
    let rival = link.other(KIND_A);
    link.hear(&query(&[asked], &[], &[rival], 0), asker(99));
    link.run(ms(1000));
    let times: Vec<Duration> = link.said.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[1] - times[0], ms(250));
}

#[test]
fn who_asks_so_is_told_alone_and_a_plain_resolver_gets_what_it_understands() {
    let mut link = Link::settled();
    let names = link.responder.names.clone();
    let alone = Question { unicast: true, ..question(&names.instance, KIND_SRV) };
    link.ask(std::slice::from_ref(&alone), asker(7));
    link.run(ms(200));
    assert!(link.said.is_empty());
    assert_eq!((link.told[0].0, link.told[0].1.id, link.told[0].1.answers[0].flush), (asker(7), 0, true));
    // A quarter of its time later everybody is told.
    link.run(ms(31_000));
    link.ask(&[alone], asker(7));
    link.run(ms(200));
    assert_eq!((link.said.len(), link.told.len()), (1, 1));
    // Another port: a plain resolver.
    let resolver = SocketAddr::from(([192, 0, 2, 7], 40_000));
    let asked = [question(&service(), KIND_PTR)];
    link.ask(&asked, resolver);
    link.run(ms(200));
    let (to, message, _) = &link.told[1];
    assert_eq!((*to, message.id, message.flags), (resolver, 77, 0x8400));
    assert_eq!((message.questions.as_slice(), message.answers.len(), message.additionals.len()), (&asked[..], 1, 4));
    let records = message.answers.iter().chain(&message.additionals);
    assert!(records.clone().all(|record| record.ttl <= 10 && !record.flush), "{message:?}");
    // Asked directly.
    link.responder.hear(&query(&asked, &[], &[], 0), asker(8), false, link.now);
    link.run(ms(200));
    assert_eq!((link.told.len(), link.told[2].0), (3, asker(8)));
    assert_eq!(link.said.len(), 1);
}

#[test]
fn a_flood_of_questions_brings_back_less_than_its_bytes() {
    for (port, unicast) in [(40_000, false), (PORT, true), (PORT, false)] {
        let mut link = Link::settled();
        let subtypes =
            ["_games", "_games-board", "_linux-aarch64"].map(|one| name(&[one, "_sub", "_deployctl", "_tcp"]));
        let mut sent = 0;
        for n in 0..200 {
            let asked = Question { unicast, ..question(&subtypes[n % 3], KIND_PTR) };
            let bytes = query(&[asked], &[], &[], 0);
            sent += bytes.len();
            link.hear(&bytes, SocketAddr::from(([192, 0, 2, 7], port)));
            link.run(ms(5));
        }
        link.run(ms(5000));
        let back: usize = link.told.iter().map(|(_, _, bytes)| bytes).sum();
        assert!(back < sent / 2 && link.said.len() <= 6, "{back} bytes and {} for {sent}", link.said.len());
    }
}

#[test]
fn what_is_published_anew_is_announced_and_what_is_gone_is_taken_back() {
    let mut link = Link::settled();
    let mut changed = directory();
    changed.programs.retain(|program| program.category.as_deref() != Some("office"));
    changed.programs[0].category = Some("sport".to_owned());
    link.responder.publish(Instance::of(&changed), vec![HERE], link.now);
    link.run(ms(5000));
    let Names { instance, host } = link.responder.names.clone();
    let of = |label: &str| format!("{} {instance}", name(&[label, "_sub", "_deployctl", "_tcp"]));
    let mut expected =
        vec![format!("0 {}", of("_office")), format!("4500 {}", of("_sport")), format!("4500 {}", of("_sport"))];
    let mut texts = link.texts();
    expected.sort();
    texts.sort();
    assert_eq!(texts, expected);
    // Another port, and one more address: each set is told whole, by records that take the others' place.
    link.said.clear();
    let moved = Directory { port: 4801, ..changed.clone() };
    let addresses = vec![HERE, IpAddr::V4(ELSEWHERE.into())];
    link.responder.publish(Instance::of(&moved), addresses, link.now);
    link.run(ms(100));
    assert_eq!(
        link.texts(),
        [
            format!("0 {instance} 33"),
            format!("120 {instance} 33"),
            format!("120 {host} 192.0.2.1"),
            format!("120 {host} 192.0.2.99")
        ]
    );
    assert!(link.answers().iter().all(|record| record.flush == (record.ttl > 0)));
    // Another name of the node: all of the old one goes, and the new one is claimed.
    link.said.clear();
    let renamed = Directory { name: "eve".parse().unwrap(), ..changed };
    link.responder.publish(Instance::of(&renamed), vec![HERE], link.now);
    link.run(ms(100));
    assert!(link.is_probing() && link.texts().len() > 5 && link.texts().iter().all(|text| text.starts_with("0 ")));
    // Nothing new, nothing said.
    link.run(ms(5000));
    link.said.clear();
    link.responder.publish(Instance::of(&renamed), vec![HERE], link.now);
    link.run(ms(5000));
    assert!(link.said.is_empty());
}

#[test]
fn what_somebody_takes_back_in_our_name_is_said_again() {
    let mut link = Link::settled();
    let gone = Record { ttl: 0, ..link.own(KIND_PTR) };
    link.respond(gone.clone(), PORT);
    link.respond(gone, PORT);
    link.run(ms(5000));
    assert_eq!(link.answers().len(), 1);
    assert_eq!(link.answers()[0].ttl, 4500);
}

#[test]
fn who_leaves_before_anything_was_said_leaves_without_a_word() {
    let mut link = Link::new(1);
    link.run(ms(600));
    assert_eq!(link.responder.leave(), []);
}

proptest! {
    #[test]
    fn nothing_that_is_heard_makes_it_fall_over(
        heard in proptest::collection::vec((any::<[u8; 12]>(), any::<u16>(), any::<bool>(), 0_u64..2000), 0..40),
    ) {
        let mut link = Link::settled();
        let names = link.responder.names.clone();
        for (bytes, port, to_all, pause) in heard {
            let kinds = [KIND_A, KIND_PTR, KIND_SRV, KIND_TXT, KIND_NSEC, KIND_ANY];
            let all = [service(), names.instance.clone(), names.host.clone()];
            let asked = Question { unicast: bytes[0] & 1 == 0, ..question(&all[usize::from(bytes[1]) % 3], kinds[usize::from(bytes[2]) % 6]) };
            let record = Record { name: all[usize::from(bytes[3]) % 3].clone(), ttl: bytes[4].into(), flush: bytes[5] & 1 == 0, data: Data::A([bytes[6]; 4].into()) };
            let flags = if bytes[7] & 1 == 0 { 0x8400 } else { u16::from(bytes[8] & 2) << 8 };
            let message = query(&[asked], std::slice::from_ref(&record), std::slice::from_ref(&record), flags);
            link.responder.hear(&message, SocketAddr::from(([192, 0, 2, 7], port.max(1))), to_all, link.now);
            link.run(ms(pause));
        }
        prop_assert!(link.responder.private.len() <= 64);
    }
}
