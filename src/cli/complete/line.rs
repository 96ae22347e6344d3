//! The line so far: which command it is, and what was said of the things that other words depend on.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgMatches, CommandFactory};

use super::super::Cli;
use crate::model::{Key, ServiceName, Time};
use crate::roles::offers;
use crate::service::Interface;
use crate::service::parse::parse;
use crate::store::file;
use crate::store::state::{StateDir, default_state_dir};
use crate::system::System;

/// A definition at most, in bytes; a longer one is not completed from.
const MAX_DEFINITION: u64 = 1 << 20;

pub(super) struct Line {
    /// As far as it could be read; it is not complete, after all.
    matches: Option<ArgMatches>,
    pub(super) state: Option<StateDir>,
    pub(super) now: Time,
}

impl Line {
    /// Of the words, the program's name first.
    pub(super) fn of(words: impl Iterator<Item = OsString>) -> Arc<Self> {
        let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok();
        let named = matches.as_ref().and_then(|matches| raw(matches, "state")).map(PathBuf::from);
        let path = named.or_else(|| default_state_dir(|name| std::env::var_os(name)).ok());
        let state = path.and_then(|path| StateDir::open(&path, false).ok());
        Arc::new(Self { matches, state, now: System::real().now() })
    }
    /// The commands, outermost first.
    pub(super) fn commands(&self) -> Vec<&str> {
        self.chain().into_iter().map(|(name, _)| name).collect()
    }
    fn chain(&self) -> Vec<(&str, &ArgMatches)> {
        let mut next = self.matches.as_ref();
        std::iter::from_fn(|| {
            let (name, inner) = next?.subcommand()?;
            next = Some(inner);
            Some((name, inner))
        })
        .collect()
    }
    /// What was said for an argument of the innermost command.
    pub(super) fn said(&self, id: &str) -> Option<&OsStr> {
        raw(self.chain().last()?.1, id)
    }
    /// The key of the provider that is asked.
    pub(super) fn provider(&self) -> Option<Key> {
        super::known::key_of(self.state.as_ref()?, self.said("provider")?.to_str()?)
    }
    /// The interface of the service that is asked for, or built: as the provider gave it last, or as the folder defines it.
    pub(super) fn interface(&self) -> Option<Interface> {
        let service = self.said("service")?;
        if self.commands() == ["build"] {
            let bytes = file::read_limited(&Path::new(service).join("service.toml"), MAX_DEFINITION).ok()?;
            let definition = parse("service.toml", std::str::from_utf8(&bytes).ok()?, None).ok()?;
            return Some(Interface::from(&definition));
        }
        let name: ServiceName = service.to_str()?.split('@').next()?.parse().ok()?;
        offers::interface(self.state.as_ref()?, &self.provider()?, &name)
    }
}

fn raw<'a>(matches: &'a ArgMatches, id: &str) -> Option<&'a OsStr> {
    matches.try_get_raw(id).ok()??.next()
}
