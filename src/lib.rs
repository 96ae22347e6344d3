//! deployctl: deploy software by invitation, and hand it to one another on a network.
//!
//! Imports run downwards only:
//! `cli → roles → {node, discover, process} → store → {package, session} → message → service → model`;
//! `ui` and `system` import `model` alone and are used from above. `ARCHITECTURE.md` explains the house, and
//! `tests/imports.rs` keeps it.

pub mod cli;
pub mod discover;
pub mod message;
pub mod model;
pub mod node;
pub mod package;
pub mod process;
pub mod roles;
pub mod service;
pub mod session;
pub mod store;
pub mod system;
pub mod ui;
