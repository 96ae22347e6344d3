//! A way between two nodes that fails as planned, and counts what came over it.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "is the network of a test")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is reset: what the receiver has not read yet is lost, too.
    Reset,
    /// It ends, as if the sender had been done.
    End,
    /// Nothing comes any more, and nobody says so.
    Stall,
    /// One bit is another one; the rest comes as it is.
    Flip,
    /// The rest comes a little at a time: 50 KB a second.
    Trickle,
}

/// After so many bytes from the far end.
pub type Plan = Option<(u64, Fault)>;

pub struct Proxy {
    pub at: SocketAddr,
    came: Arc<AtomicU64>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// Leads to `to`; `plan` says of each connection, by its number, how it fails.
    pub fn to(to: &str, plan: impl FnMut(usize) -> Plan + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::on(listener, to, plan)
    }
    pub fn on(listener: TcpListener, to: &str, mut plan: impl FnMut(usize) -> Plan + Send + 'static) -> Self {
        let (at, came, to) = (listener.local_addr().expect("an address"), Arc::new(AtomicU64::new(0)), to.to_owned());
        let (counter, connections) = (Arc::clone(&came), Arc::new(AtomicUsize::new(0)));
        let made = Arc::clone(&connections);
        thread::spawn(move || {
            for (number, near) in listener.incoming().flatten().enumerate() {
                made.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(&to) else { continue };
                let (plan, counter) = (plan(number), Arc::clone(&counter));
                let (mut up, mut to_far) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
                thread::spawn(move || {
                    drop(std::io::copy(&mut up, &mut to_far));
                    drop(to_far.shutdown(Shutdown::Write));
                });
                thread::spawn(move || carry(far, near, plan, &counter));
            }
        });
        Self { at, came, connections }
    }
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
    /// Bytes that came from the far end so far.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::SeqCst)
    }
}

fn carry(mut far: TcpStream, mut near: TcpStream, plan: Plan, counter: &AtomicU64) {
    let (mut carried, mut buffer) = (0, vec![0; 16 * 1024]);
    let (at, fault) = plan.unwrap_or((u64::MAX, Fault::End));
    let mut flips = fault == Fault::Flip;
    loop {
        if carried >= at && fault != Fault::Flip {
            break;
        }
        let most = if flips { at + 1 - carried } else { at.saturating_sub(carried) };
        let most = if fault == Fault::Flip && !flips { buffer.len() as u64 } else { most };
        let room = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, buffer.len());
        let Ok(read @ 1..) = far.read(&mut buffer[..room]) else {
            drop(near.shutdown(Shutdown::Both));
            return;
        };
        if flips && carried + read as u64 > at {
            buffer[read - 1] ^= 1;
            flips = false;
        }
        if near.write_all(&buffer[..read]).is_err() {
            drop(far.shutdown(Shutdown::Both));
            return;
        }
        carried += read as u64;
        counter.fetch_add(read as u64, Ordering::SeqCst);
    }
    match fault {
        Fault::Reset => drop(SockRef::from(&near).set_linger(Some(Duration::ZERO))),
        Fault::Stall => {
            // Until the receiver has had enough.
            let mut rest = [0; 1024];
            while matches!(near.read(&mut rest), Ok(1..)) {}
        }
        Fault::Trickle => {
            let mut little = [0; 1000];
            while let Ok(read @ 1..) = far.read(&mut little)
                && near.write_all(&little[..read]).is_ok()
            {
                counter.fetch_add(read as u64, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
            }
        }
        Fault::End | Fault::Flip => drop(near.shutdown(Shutdown::Both)),
    }
    drop(far.shutdown(Shutdown::Both));
}

/// Numbers that do not repeat soon, the same in every run (Steele, Lea, Flood 2014: SplitMix64).
pub fn numbers(seed: u64) -> impl FnMut(u64) -> u64 + Send {
    let state = Mutex::new(seed);
    move |below| {
        let mut state = state.lock().expect("nobody panics");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}
