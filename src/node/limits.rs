//! Every limit of the network, with its unit and its reason, so that nobody can make a node wait or grow without end.

use std::time::Duration;

// What a server allows. Until the handshake is done nobody is known, so these come first.

/// Open connections in all: below the usual 1024 to 4096 open files, with room left for the node's own.
pub const CONNECTIONS: usize = 1024;
/// Open connections from one address (IPv6: one /64): a quarter, so that no machine can shut out the others.
pub const CONNECTIONS_PER_IP: usize = 256;
/// From the connection to the end of the TLS handshake: two round trips, even over a satellite.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// From the first byte of a request to the end of its header; also from the handshake to the end of the first header.
pub const HEADER: Duration = Duration::from_secs(5);
/// Bytes of a request's line and header fields: ours need a few hundred.
pub const HEADER_BYTES: usize = 16 * 1024;
/// Header fields of a request.
pub const HEADER_FIELDS: usize = 64;
/// Bytes that a connection buffers in each direction.
pub const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;
/// How long a kept connection may lie idle: longer than [`POOL_IDLE`], so that it is the client who closes it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Requests of one key that may run at once: its share of the node.
pub const REQUESTS_PER_KEY: usize = 32;
/// What a refusal for lack of room asks the sender to wait, in seconds.
pub const RETRY_AFTER_SECS: u32 = 2;
/// Bytes of a message with its secrets.
pub const MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of a query for programs: a device with 512 tools says 60 KiB.
pub const QUERY_BYTES: usize = 64 * 1024;
/// Levels of nested JSON around an envelope: ours has four.
pub const JSON_DEPTH: usize = 32;
/// How long a body may take besides what its bytes earn it.
pub const BODY_GRACE: Duration = Duration::from_secs(5);
/// Bytes a second at which a body earns more time: slower senders are cut.
pub const BODY_FLOOR_BYTES_PER_SEC: u64 = 16 * 1024;
/// Bytes of a body too large that are read and thrown away, so that its sender reads the refusal and not a reset.
pub const DISCARD_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
pub const DISCARD: Duration = Duration::from_secs(2);
/// Bytes that a reader must take in each [`WRITE_WINDOW`] of waiting for it, 4 KiB a second: slower ones are cut, and go on
/// where that was.
pub const WRITE_FLOOR_BYTES: usize = 120 * 1024;
/// See [`WRITE_FLOOR_BYTES`].
pub const WRITE_WINDOW: Duration = Duration::from_secs(30);
/// Bytes that a socket holds beyond what is on its way: so what it has taken, the reader has nearly got, and no reader ties
/// up more memory.
pub const UNSENT_BYTES: u32 = 128 * 1024;
/// The longest wait of an inbox poll: shorter than what routers on the way forget a silent connection in.
pub const INBOX_WAIT: Duration = Duration::from_secs(60);
/// Bytes of a package read at once: more gains nothing in measurements, and a thousand readers multiply it.
pub const FILE_READ_BYTES: usize = 128 * 1024;
/// Bytes of the longest statement that is compressed for who asks so, at 20 ms a MiB. A longer one is of a package beside
/// which it is little.
pub const SHRUNK_BYTES: u64 = 4 * 1024 * 1024;
/// How long a stopping server waits for the requests that run.
pub const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long a server that is out of open files waits before it accepts again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// What a client allows.

/// From the name to the end of the TLS handshake.
pub const CONNECT: Duration = Duration::from_secs(5);
/// From the call to the end of the answer's body; polls and downloads have their own.
pub const REQUEST: Duration = Duration::from_secs(30);
/// What a poll allows beside the wait that it asked for.
pub const INBOX_MARGIN: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request to the same node.
pub const POOL_IDLE: Duration = Duration::from_secs(55);
/// Kept connections to one node.
pub const POOL_PER_NODE: usize = 4;
/// Kept connections in all.
pub const POOL_TOTAL: usize = 64;
/// Bytes of an answer to a message: as large as a message.
pub const ANSWER_BYTES: usize = MESSAGE_BYTES;
/// Bytes of an inbox's batch.
pub const INBOX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a manifest.
pub const MANIFEST_BYTES: usize = crate::package::MAX_MANIFEST_BYTES;
/// Bytes of a patch.
pub const PATCH_BYTES: usize = crate::package::MAX_PATCH_BYTES;
/// Bytes of a refusal.
pub const PROBLEM_BYTES: usize = 64 * 1024;
/// Characters of a text in a refusal that are passed on.
pub const PROBLEM_CHARS: usize = 500;

// What a download allows.

/// Bytes of a piece: it is held in memory until it is verified.
pub const PIECE_BYTES: u64 = 16 * 1024 * 1024;
/// Pieces that may come wrong from one source.
pub const PIECE_TRIES: usize = 3;
/// Requests at once: while one hashes and writes, the other receives.
pub const LANES: usize = 2;
/// Bytes of the first request to a source. Each that is fulfilled doubles the next, each that fails halves it: so what a
/// cut can waste is in proportion to what the way has shown that it carries.
pub const REQUEST_BYTES: u64 = 1024 * 1024;
/// Bytes of the largest request: at 1 Gbit/s, 70 ms.
pub const REQUEST_BYTES_MOST: u64 = 8 * 1024 * 1024;
/// Bytes that must come in each [`FLOOR_WINDOW`]: 1 KiB a second.
pub const FLOOR_BYTES: u64 = 30 * 1024;
/// See [`FLOOR_BYTES`].
pub const FLOOR_WINDOW: Duration = Duration::from_secs(30);
/// The window where there is another source: then waiting is not all that can be done.
pub const FLOOR_WINDOW_WITH_OTHERS: Duration = Duration::from_secs(5);
/// How long a download goes on without a new verified piece.
pub const RECONNECT: Duration = Duration::from_secs(120);
/// The wait before a source that brought nothing is asked again; it doubles up to [`BACK_OFF_MOST`].
pub const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest such wait.
pub const BACK_OFF_MOST: Duration = Duration::from_secs(5);
