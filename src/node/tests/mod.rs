//! The network as it is met from outside: real sockets on 127.0.0.1, our client, raw TLS, openssl and curl.

mod downloads;
mod handshakes;
mod requests;
mod support;
