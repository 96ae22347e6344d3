use proptest::prelude::*;

use super::*;

fn name(labels: &[&str]) -> DomainName {
    DomainName::local(labels).unwrap()
}

fn record(name: &DomainName, data: Data) -> Record {
    Record { name: name.clone(), ttl: 120, flush: true, data }
}

/// One of each kind.
fn records() -> Vec<Record> {
    let (kind, own, host) = (name(&["_x", "_tcp"]), name(&["Ada's x", "_x", "_tcp"]), name(&["ada"]));
    vec![
        Record { flush: false, ttl: 4500, ..record(&kind, Data::Ptr(own.clone())) },
        record(&own, Data::Srv { priority: 1, weight: 2, port: 4800, target: host.clone() }),
        record(&own, Data::Txt(b"\x09txtvers=1\x00".to_vec())),
        record(&host, Data::A([192, 0, 2, 1].into())),
        record(&host, Data::Aaaa("2001:db8::1".parse().unwrap())),
        record(&host, Data::Nsec(vec![KIND_A, KIND_AAAA, KIND_NSEC, 255])),
        record(&host, Data::Other { kind: 13, bytes: vec![1, 2, 3] }),
    ]
}

/// What a printer's answer to a browse looks like, as RFC 1035 §4.1.4 compresses it.
const ANSWER: &[u8] = b"\0\0\x84\0\0\0\0\x01\0\0\0\x02\
    \x04_ipp\x04_tcp\x05local\0\0\x0c\0\x01\0\0\x11\x94\0\x0a\x07Printer\xc0\x0c\
    \xc0\x27\0\x21\x80\x01\0\0\0\x78\0\x0b\0\0\0\0\x02\x77\x02pr\xc0\x16\
    \xc0\x43\0\x01\x80\x01\0\0\0\x78\0\x04\xc0\0\x02\x09";

#[test]
fn an_answer_as_others_write_it_is_read() {
    let message = Message::read(ANSWER).unwrap();
    assert!(message.is_response() && message.questions.is_empty() && message.additionals.len() == 2);
    let own = name(&["Printer", "_ipp", "_tcp"]);
    assert_eq!(message.answers[0].data, Data::Ptr(own.clone()));
    assert_eq!((message.answers[0].ttl, message.answers[0].flush), (4500, false));
    assert_eq!(
        (&message.additionals[0].name, message.additionals[0].flush, &message.additionals[0].data),
        (&own, true, &Data::Srv { priority: 0, weight: 0, port: 631, target: name(&["pr"]) })
    );
    assert_eq!(message.additionals[1], record(&name(&["pr"]), Data::A([192, 0, 2, 9].into())));
}

#[test]
fn what_is_written_reads_back_and_shares_the_ends_of_its_names() {
    let asked = Question { name: name(&["_x", "_tcp"]), kind: KIND_PTR, unicast: true };
    let mut writer = Writer::new(1400);
    assert!(writer.question(&asked));
    let all = records();
    for (section, some) in
        [(Section::Answers, &all[..2]), (Section::Authorities, &all[2..4]), (Section::Additionals, &all[4..])]
    {
        assert!(some.iter().all(|one| writer.record(section, one)));
    }
    let bytes = writer.finish(7, FLAG_TRUNCATED);
    let message = Message::read(&bytes).unwrap();
    assert_eq!((message.id, message.is_truncated(), message.is_response()), (7, true, false));
    assert_eq!(message.questions, [asked]);
    assert_eq!([message.answers, message.authorities, message.additionals].concat(), all);
    // Legacy queriers do not expect a pointer in the target of SRV.
    assert_eq!(bytes.windows(6).filter(|six| *six == b"\x05local").count(), 2);
}

#[test]
fn answers_take_as_many_messages_as_they_need_and_what_is_added_only_the_room_that_is_left() {
    let kind = name(&["_x", "_tcp"]);
    let answers: Vec<_> =
        (0..96).map(|n| record(&name(&[&format!("{n:060}"), "_x", "_tcp"]), Data::Ptr(kind.clone()))).collect();
    let added = records();
    let messages = responses(&answers, &added, 1400);
    assert!(messages.len() > 4 && messages.iter().all(|bytes| bytes.len() <= 1400));
    let read: Vec<_> = messages.iter().map(|bytes| Message::read(bytes).unwrap()).collect();
    assert_eq!(read.iter().flat_map(|message| message.answers.clone()).collect::<Vec<_>>(), answers);
    assert!(read.iter().rev().skip(1).all(|message| message.additionals.is_empty()));
    assert!(responses(&[], &[], 1400).is_empty());
    let large = record(&kind, Data::Txt(vec![0; 2000]));
    assert_eq!(responses(&[large, answers[0].clone()], &[], 1400).len(), 1);
}

#[test]
fn a_message_that_leads_astray_is_none() {
    let header = |questions: u8, answers: u8| [0, 0, 0, 0, 0, questions, 0, answers, 0, 0, 0, 0];
    let message = |questions: u8, answers: u8, rest: &[u8]| [&header(questions, answers), rest].concat();
    let long = [[63; 64].as_slice(); 4].concat();
    for (what, bytes) in [
        ("nothing", vec![]),
        ("half a header", header(0, 0)[..11].to_vec()),
        ("no question", message(1, 0, &[])),
        ("a name without an end", message(1, 0, b"\x03abc")),
        ("a pointer to itself", message(1, 0, b"\xc0\x0c\0\x01\0\x01")),
        ("a pointer forwards", message(1, 0, b"\xc0\x0e\0\0\x01\0\x01")),
        ("two that lead to each other", message(1, 0, b"\x01a\xc0\x10\xc0\x0c\0\x01\0\x01")),
        ("half a pointer", message(1, 0, b"\xc0")),
        ("another kind of label", message(1, 0, b"\x41a\0\0\x01\0\x01")),
        ("a name that is too long", message(1, 0, &[&long, b"\0\0\x01\0\x01".as_slice()].concat())),
        ("data that is not there", message(0, 1, b"\0\0\x10\0\x01\0\0\0\0\0\x05abc")),
        ("half an address", message(0, 1, b"\0\0\x01\0\x01\0\0\0\0\0\x02ab")),
        ("another opcode", [&[0, 0, 0x28, 0], &header(0, 0)[4..]].concat()),
        ("an error", [&[0, 0, 0x80, 3], &header(0, 0)[4..]].concat()),
        ("too much", [header(0, 0).as_slice(), &[0; MAX_MESSAGE]].concat()),
    ] {
        assert_eq!(Message::read(&bytes), None, "{what}");
    }
    // Longer data than it says, and another class, are left out; the rest stands.
    let odd = b"\0\0\x01\0\x01\0\0\0\0\0\x05abcde\0\0\x01\0\x03\0\0\0\0\0\x04abcd\0\0\x01\0\x01\0\0\0\0\0\x04abcd";
    assert_eq!(Message::read(&message(0, 3, odd)).unwrap().answers.len(), 1);
}

proptest! {
    #[test]
    fn no_datagram_makes_the_reader_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::read(&bytes);
    }
}
