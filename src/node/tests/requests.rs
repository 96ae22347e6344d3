use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::support::{Recorder, Running, client, identity, posted};
use crate::message::Secret;
use crate::model::{Code, Digest};
use crate::node::limits::{MESSAGE_BYTES, REQUESTS_PER_KEY};
use crate::node::{Client, Part, PostAnswer};

#[tokio::test]
async fn a_message_with_its_secrets_goes_and_its_answer_comes_back() {
    let server = Running::start(Recorder::new()).await;
    let me = identity();
    let mut sent = posted(&me, "echo");
    sent.secrets.insert("key".to_owned(), Secret::new(b"v".to_vec(), [1; 32]).unwrap());
    let client = Client::new(me);
    assert_eq!(client.post(&server.address(), &sent).await.unwrap(), PostAnswer::Reply(sent));
}

#[tokio::test]
async fn a_refusal_comes_with_its_code_its_hint_and_who_refused() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let me = identity();
    let error = Client::new(Arc::clone(&me)).post(&server.address(), &posted(&me, "refuse")).await.unwrap_err();
    assert_eq!((error.code, error.hint.as_deref()), (Code::NotPermitted, Some("ask for it")));
    let who = format!("the node {} at {} refused: may not", server.identity.key().short(), server.at);
    assert_eq!(error.message, who);
    assert!(recorder.refusals.lock().unwrap().is_empty(), "the handler's own refusals are its own to record");
}

#[tokio::test]
async fn a_statement_comes_compressed_to_who_asks_so_and_is_the_same() {
    let (recorder, digest) = Recorder::with_package(b"package");
    let manifest: Vec<u8> = (0..5000).flat_map(|number| format!("{{\"piece\":{number}}}").into_bytes()).collect();
    recorder.files.lock().unwrap().insert((digest, Part::Manifest(None)), manifest.clone());
    let server = Running::start(Arc::clone(&recorder)).await;
    assert!(client().manifest(&server.address(), digest, None).await.unwrap() == manifest);
    let path = format!("GET /v1/packages/{digest}/manifest");
    let length =
        |answer: String| answer.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let shrunk = server.ask(&path, "Accept-Encoding: br, gzip\r\n").await;
    assert!(shrunk.contains("content-encoding: gzip\r\n") && shrunk.contains("vary: accept-encoding\r\n"), "{shrunk}");
    assert!(length(shrunk).parse::<usize>().unwrap() < manifest.len() / 4);
    for plain in ["", "Accept-Encoding: gzip;q=0\r\n", "Accept-Encoding: br\r\n"] {
        let whole = server.ask(&path, plain).await;
        assert!(!whole.contains("content-encoding"), "{plain}");
        assert_eq!(length(whole), manifest.len().to_string(), "{plain}");
    }
    let part = server.ask(&path, "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n").await;
    assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("{\"piece\":0"), "{part}");
}

#[tokio::test]
async fn a_patch_is_asked_for_by_both_packages() {
    let (recorder, digest) = Recorder::with_package(b"package");
    let old = Digest::of(b"old");
    recorder.files.lock().unwrap().insert((digest, Part::Patch(old)), b"patch".to_vec());
    let server = Running::start(Arc::clone(&recorder)).await;
    assert_eq!(client().patch(&server.address(), digest, old).await.unwrap(), b"patch");
    assert_eq!(client().patch(&server.address(), old, digest).await.unwrap_err().code, Code::NotFound);
    let refused = server.ask(&format!("GET /v1/packages/{digest}/patch"), "").await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
}

#[tokio::test]
async fn a_message_too_large_is_refused_with_413() {
    let server = Running::start(Recorder::new()).await;
    let me = identity();
    let client = Client::new(Arc::clone(&me));
    let large = posted(&me, &"x".repeat(MESSAGE_BYTES));
    assert_eq!(client.post(&server.address(), &large).await.unwrap_err().code, Code::TooLarge);
    let headers = "Content-Length: 99999999\r\nExpect: 100-continue\r\n";
    let answer = server.ask("POST /v1/messages", headers).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(r#""code":"too-large""#), "{answer}");
}

#[tokio::test]
async fn what_is_wrong_is_answered_with_a_problem_and_recorded() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    for (line, headers, status, code) in [
        ("GET /", "", 404, "not-found"),
        ("GET /v1/messages", "", 404, "not-found"),
        ("GET /v1/packages/xyz", "", 400, "bad-input"),
        ("GET /v1/packages/../../etc/passwd", "", 404, "not-found"),
        ("GET /v1/inbox?after=x", "", 400, "bad-input"),
        ("POST /v1/messages", "Content-Length: 0\r\n", 400, "bad-message"),
        ("POST /v1/programs/query", "Content-Length: 2\r\n\r\n{}", 400, "bad-message"),
        ("POST /v1/programs/query", "Content-Length: 70000\r\nExpect: 100-continue\r\n", 413, "too-large"),
        ("POST /v1/messages", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n0\r\n", 400, "bad-message"),
    ] {
        let answer = server.ask(line, headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{line}: {answer}");
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{line}: {answer}");
    }
    assert_eq!(recorder.refusals.lock().unwrap().len(), 9);
}

#[tokio::test]
async fn abused_framing_gets_a_4xx_and_the_connection_ends() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let long = format!("X: {}\r\n", "a".repeat(20_000));
    let many = "A: b\r\n".repeat(100);
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
        "Transfer-Encoding: gzip\r\n",
        &long,
        &many,
    ] {
        let answer = server.ask("POST /v1/messages", headers).await;
        let shown: String = headers.chars().take(60).collect();
        assert!(answer.starts_with("HTTP/1.1 4"), "{shown}: {answer}");
    }
    assert!(server.answer_to("garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    recorder.refusal("HTTP:").await;
}

#[tokio::test]
async fn a_poll_returns_as_soon_as_a_message_is_there() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let (me, client) = (identity(), client());
    let begun = Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        recorder.inbox.send_modify(|messages| messages.push(posted(&me, "hello")));
    };
    let address = server.address();
    let (batch, ()) = tokio::join!(client.inbox(&address, 0, Duration::from_secs(30)), late);
    let batch = batch.unwrap();
    assert_eq!((batch.next, batch.messages), (1, vec![posted(&me, "hello")]));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let nothing = client.inbox(&server.address(), 1, Duration::ZERO).await.unwrap();
    assert_eq!((nothing.next, nothing.messages.len()), (1, 0));
}

#[tokio::test]
async fn a_stopping_server_answers_the_polls_first() {
    let server = Running::start(Recorder::new()).await;
    let (address, client) = (server.address(), client());
    let begun = Instant::now();
    let poll = client.inbox(&address, 7, Duration::from_secs(60));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.stop().await;
    };
    let (batch, ()) = tokio::join!(poll, stop);
    assert_eq!(batch.unwrap().next, 7);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(client.node(&address).await.unwrap_err().code, Code::Unreachable);
}

#[tokio::test]
async fn a_connection_is_kept_and_a_stale_one_replaced() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let (at, address, identity) = (server.at.to_string(), server.address(), Arc::clone(&server.identity));
    let client = client();
    client.node(&address).await.unwrap();
    server.stop().await;
    let server = Running::start_at(&at, identity, recorder).await;
    client.node(&address).await.unwrap();
    for _ in 0..20 {
        client.node(&address).await.unwrap();
    }
    assert_eq!(client.kept(), 1, "one connection carried them all");
    drop(server);
}

#[tokio::test]
async fn one_key_that_asks_too_much_at_once_is_told_to_wait() {
    let server = Running::start(Recorder::new()).await;
    let (address, greedy) = (server.address(), Arc::new(client()));
    let mut polls = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS_PER_KEY {
        let (greedy, address) = (Arc::clone(&greedy), address.clone());
        polls.spawn(async move { greedy.inbox(&address, 0, Duration::from_secs(20)).await });
    }
    let until = Instant::now() + Duration::from_secs(10);
    let busy = loop {
        match greedy.node(&address).await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < until, "the limit never came"),
        }
    };
    assert_eq!(busy.code, Code::Busy);
    client().node(&address).await.unwrap();
    polls.abort_all();
    while polls.join_next().await.is_some() {}
    while greedy.node(&address).await.is_err() {
        assert!(Instant::now() < until, "the share never came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_not_the_server() {
    let server = Running::start(Recorder::new()).await;
    let me = identity();
    let client = Client::new(Arc::clone(&me));
    let error = client.post(&server.address(), &posted(&me, "panic")).await.unwrap_err();
    assert_eq!(error.code, Code::Unreachable);
    client.node(&server.address()).await.unwrap();
}

#[tokio::test]
async fn a_package_is_served_whole_and_by_range() {
    let (recorder, digest) = Recorder::with_package(b"0123456789");
    let server = Running::start(recorder).await;
    let line = format!("GET /v1/packages/{digest}");
    let tag = format!("etag: \"{digest}\"");
    for (headers, status, body, told) in [
        ("", 200, "0123456789", "content-length: 10"),
        ("Range: bytes=2-4\r\n", 206, "234", "content-range: bytes 2-4/10"),
        ("Range: bytes=7-\r\n", 206, "789", "content-range: bytes 7-9/10"),
        ("Range: bytes=-1\r\n", 206, "9", "content-range: bytes 9-9/10"),
        ("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n", 200, "0123456789", "accept-ranges: bytes"),
    ] {
        let answer = server.ask(&line, headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{headers}: {answer}");
        assert!(answer.contains(told) && answer.contains(&tag), "{headers}: {answer}");
        assert!(answer.contains("content-type: application/gzip"), "{headers}: {answer}");
    }
    for range in ["bytes=10-", "bytes=4-2", "bytes=0-1,4-5", "bytes=x"] {
        let answer = server.ask(&line, &format!("Range: {range}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 416 ") && answer.contains("problem+json"), "{range}: {answer}");
    }
    let head = server.ask(&line.replace("GET", "HEAD"), "").await;
    assert!(head.contains("content-length: 10") && head.ends_with("\r\n\r\n"), "{head}");
    let manifest = server.ask(&format!("{line}/manifest"), "").await;
    assert!(manifest.contains("content-type: application/json") && manifest.ends_with("\r\n\r\n{}"), "{manifest}");
    assert_eq!(client().manifest(&server.address(), digest, None).await.unwrap(), b"{}");
}

#[tokio::test]
async fn requests_sent_without_waiting_are_answered_in_order() {
    let server = Running::start(Recorder::new()).await;
    let mut stream = server.connect(&identity()).await;
    let request = "GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).await.unwrap();
    let mut answers = String::new();
    let mut buffer = vec![0; 4096];
    while answers.matches("\"you\"").count() < 3 {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{answers}");
        answers.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_with_408() {
    let recorder = Recorder::new();
    let server = Running::start(Arc::clone(&recorder)).await;
    let begun = Instant::now();
    let answer = server.ask("POST /v1/messages", "Content-Length: 100\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""code":"timed-out""#), "{answer}");
    assert!((4..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    recorder.refusal("slower than").await;
}
