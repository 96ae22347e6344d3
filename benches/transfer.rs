//! One end of a transfer, for timing it beside other programs (`benches/peers/transfer.py`):
//!
//!     transfer pieces FILE > LIST          what a manifest would say of it
//!     transfer serve FILE                  prints KEY@HOST:PORT, and hands it out until it is ended
//!     transfer fetch KEY@HOST:PORT LIST OUT [LANES] [durable]

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program of its own, for measuring")]

#[path = "../tests/support/shelf.rs"]
mod shelf;

use std::fs::File;

use deployctl::model::{Digest, Source};
use deployctl::node::{Manners, PieceRef, download};
use shelf::{Pieces, client, serve};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    match words.as_slice() {
        ["pieces", file] => {
            for piece in Pieces::of(&std::fs::read(file).expect("the file")).list {
                println!("{} {}", piece.hash, piece.length);
            }
        }
        ["serve", file] => runtime.block_on(async {
            let (key, at) = serve("127.0.0.1:0", file.into()).await;
            println!("{key}@{at}");
            std::future::pending::<()>().await;
        }),
        ["fetch", from, list, out, rest @ ..] => runtime.block_on(fetch(from, list, out, rest)),
        // `cargo bench` calls it without: there is nothing to time without the others.
        _ => println!("benches/peers/transfer.py runs this beside other programs"),
    }
}

async fn fetch(from: &str, list: &str, out: &str, rest: &[&str]) {
    let (mut pieces, mut offset) = (Vec::new(), 0);
    for line in std::fs::read_to_string(list).expect("the list").lines() {
        let (hash, length) = line.split_once(' ').expect("hash and length");
        let length = length.parse().expect("a length");
        pieces.push(PieceRef { offset, length, hash: hash.parse().expect("a hash") });
        offset += length;
    }
    let pieces = Pieces { digest: Digest::of(b""), size: offset, list: pieces };
    let source: Source = format!("deploy://{from}").parse().expect("an address");
    let lanes = rest.iter().find_map(|word| word.parse().ok());
    let manners = Manners { lanes: lanes.unwrap_or(Manners::default().lanes), ..Manners::default() };
    let file = File::options().read(true).write(true).create(true).truncate(true).open(out).expect("a file");
    download(&client(), pieces.from(vec![source]), &file, manners, &|_| {}).await.expect("it is fetched");
    if rest.contains(&"durable") {
        file.sync_all().expect("it is durable");
    }
}
