//! Contacts: other nodes under local names, with what they may do here. Read afresh at every look-up, so that a removed
//! contact is a stranger at once.

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::rights::Rights;
use super::state::StateDir;
use super::{document, file};
use crate::model::suggest::nearest;
use crate::model::{Address, Code, Error, Key, Name, Result, Span, Time};

/// A change of contacts is done in a moment.
const WAIT: Span = Span::from_secs(10);
const SUFFIX: &str = ".toml";

/// Another node, as known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub name: Name,
    pub address: Address,
    pub may: Rights,
    /// When it was added.
    pub since: Time,
}

/// A contact's file: its name is the file's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: Address,
    #[serde(default)]
    may: Rights,
    since: Time,
}

/// What adding a contact did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    Changed,
    Unchanged,
}

/// The contacts of one state directory.
#[derive(Clone, Debug)]
pub struct Contacts {
    state: StateDir,
}

impl Contacts {
    pub fn of(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }

    /// Adds a contact, or gives one with the same name and key another place or other rights.
    ///
    /// # Errors
    /// `wrong-state` if the name is another key's, or the key has another name; `io`, `locked`.
    pub fn add(&self, name: &Name, address: &Address, may: &Rights, now: Time) -> Result<Added> {
        file::create_dir_private(&self.state.contacts())?;
        let _lock = self.lock()?;
        let mut before = None;
        for known in self.list()? {
            if known.name == *name && known.address.key != address.key {
                let message = format!("the contact {name} is another node ({})", known.address.key.short());
                return Err(Error::new(Code::WrongState, message)
                    .hint(format!("choose another name, or run `deployctl trust remove {name}` first")));
            }
            if known.name != *name && known.address.key == address.key {
                let message = format!("that node is a contact already, under the name {}", known.name);
                return Err(Error::new(Code::WrongState, message)
                    .hint(format!("use that name, or run `deployctl trust remove {}` first", known.name)));
            }
            if known.name == *name {
                before = Some(known);
            }
        }
        let done = match &before {
            Some(known) if known.address == *address && known.may == *may => return Ok(Added::Unchanged),
            Some(_) => Added::Changed,
            None => Added::New,
        };
        let since = before.map_or(now, |known| known.since);
        let entry = Entry { address: address.clone(), may: may.clone(), since };
        document::write_toml(&self.state.contact(name), &entry, file::PRIVATE)?;
        Ok(done)
    }

    /// All contacts, by name.
    ///
    /// # Errors
    /// `damaged` for a file that is no contact; it is set aside, and the next call goes on without it.
    pub fn list(&self) -> Result<Vec<Contact>> {
        let mut contacts = Vec::new();
        for file_name in file::list(&self.state.contacts())? {
            let Some(name) = file_name.strip_suffix(SUFFIX).and_then(|name| name.parse::<Name>().ok()) else {
                continue;
            };
            // One that was removed in between is not listed.
            contacts.extend(self.read(&name)?);
        }
        Ok(contacts)
    }

    /// Forgets a contact and returns it.
    ///
    /// # Errors
    /// `unknown-contact`.
    pub fn remove(&self, name: &str) -> Result<Contact> {
        let _lock = self.lock()?;
        let contact = self.by_name(name)?;
        file::remove_durable(&self.state.contact(&contact.name))?;
        Ok(contact)
    }

    /// The contact with this key.
    pub fn by_key(&self, key: &Key) -> Result<Option<Contact>> {
        Ok(self.list()?.into_iter().find(|contact| contact.address.key == *key))
    }

    /// The contact with this name.
    ///
    /// # Errors
    /// `unknown-contact`, with the name that was probably meant.
    pub fn by_name(&self, name: &str) -> Result<Contact> {
        let found = match name.parse::<Name>() {
            Ok(name) => self.read(&name)?,
            Err(_) => None,
        };
        match found {
            Some(contact) => Ok(contact),
            None => {
                let names: Vec<Name> = self.list()?.into_iter().map(|contact| contact.name).collect();
                let hint = match nearest(name, names.iter().map(|name| &**name)) {
                    Some(near) => format!("did you mean {near}?"),
                    None => {
                        "`deployctl trust list` lists the contacts, `deployctl trust add NAME ADDRESS` adds one".into()
                    }
                };
                Err(Error::new(Code::UnknownContact, format!("no contact is named “{name}”")).hint(hint))
            }
        }
    }

    fn read(&self, name: &Name) -> Result<Option<Contact>> {
        let entry: Option<Entry> = document::read_toml(&self.state.contact(name))?;
        Ok(entry.map(|entry| Contact {
            name: name.clone(),
            address: entry.address,
            may: entry.may,
            since: entry.since,
        }))
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.state.lock("contacts"), "the contacts", WAIT)
    }
}

#[cfg(test)]
mod tests;
