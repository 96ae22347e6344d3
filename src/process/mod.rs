//! Running programs: how one is started from a plan, watched, found ready, started again, stopped with all that it
//! started; how a build's command is held within bounds; and what this machine has to offer. Knows nothing of sessions:
//! it tells what happens, and `roles` says what that means.

pub mod children;
pub mod command;
pub mod confine;
pub mod detach;
pub mod host;
pub mod notify;
pub mod pid;
pub mod plan;
pub mod record;
pub mod sandbox;
pub mod supervisor;

mod back_off;
mod clock;
mod ending;
mod happening;
mod output;
mod probe;
mod spawn;

pub use ending::clear;
pub use happening::{Happening, Meter};
pub use output::shorten;
pub use plan::Plan;
pub use record::Record;
pub use supervisor::Supervisor;

/// Where programs without a slash in their name are looked up, and what running programs get as `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
