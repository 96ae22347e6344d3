//! The state directory: everything that a node remembers, written so that a crash at any point leaves the old state or
//! the new one. All calls here block; on an async thread they belong in `spawn_blocking`.

pub mod audit;
pub mod config;
pub mod contacts;
pub mod document;
mod fault;
pub mod file;
pub mod floors;
pub mod fork;
pub mod identity;
pub mod installs;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod mail;
pub mod offers;
pub mod packages;
pub mod programs;
pub mod rights;
pub mod scratch;
pub mod secrets;
pub mod seen;
pub mod space;
pub mod state;
pub mod statements;
pub mod tokens;
pub mod tree;

pub use audit::Audit;
pub use config::Config;
pub use contacts::{Contact, Contacts};
pub use identity::StoredIdentity;
pub use ledger::Ledger;
pub use lock::Lock;
pub use log::{Head, LogRecord, RecordKind, SessionLog};
pub use packages::Packages;
pub use rights::{Right, Rights};
pub use secrets::{Secret, Secrets};
pub use seen::{Seen, SeenId, SeenStore};
pub use state::StateDir;
