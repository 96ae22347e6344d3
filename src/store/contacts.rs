//! Contacts: other nodes under local names, with what they may do here. Read afresh at every look-up, so that a removed
//! contact is a stranger at once.

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::rights::Rights;
use super::state::StateDir;
use super::{document, file};
use crate::message::rotate::Handover;
use crate::model::name::NAME_CHARS;
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
    /// Keys that it had before and that are still taken for it, oldest first.
    pub former: Vec<Former>,
}

/// A key that a contact had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    pub key: Key,
    /// It is refused from then on.
    pub until: Time,
}

/// A contact's file: its name is the file's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: Address,
    #[serde(default)]
    may: Rights,
    since: Time,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Former>,
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
        let before = self.free_or_same(name, &address.key)?;
        let done = match &before {
            Some(known) if known.address == *address && known.may == *may => return Ok(Added::Unchanged),
            Some(_) => Added::Changed,
            None => Added::New,
        };
        let (since, former) = before.map_or((now, Vec::new()), |known| (known.since, known.former));
        self.write(&Contact { name: name.clone(), address: address.clone(), may: may.clone(), since, former })?;
        Ok(done)
    }

    /// Takes a node as a contact whose name nobody chose: one that is a contact already keeps its name and gets the
    /// rights beside those that it has; else it gets the name that it gave itself, with the first free number from 2 on
    /// where that is another's.
    ///
    /// # Errors
    /// `io`, `locked`.
    pub fn enrol(&self, wanted: &Name, address: &Address, may: &Rights, now: Time) -> Result<Contact> {
        file::create_dir_private(&self.state.contacts())?;
        let _lock = self.lock()?;
        let all = self.list()?;
        let known = all.iter().find(|contact| contact.address.key == address.key);
        let contact = match known {
            Some(known) => {
                let host = address.host.clone().or_else(|| known.address.host.clone());
                let address = Address { key: address.key, host };
                Contact { address, may: known.may.iter().chain(may.iter()).collect(), ..known.clone() }
            }
            None => {
                let name = free_name(wanted, &all);
                Contact { name, address: address.clone(), may: may.clone(), since: now, former: Vec::new() }
            }
        };
        if known != Some(&contact) {
            self.write(&contact)?;
        }
        Ok(contact)
    }

    /// The contact that has both this name and this key; `None` where both are free.
    ///
    /// # Errors
    /// `wrong-state` if the name is another key's, or the key has another name.
    pub fn free_or_same(&self, name: &Name, key: &Key) -> Result<Option<Contact>> {
        let mut same = None;
        for known in self.list()? {
            match (known.name == *name, known.address.key == *key) {
                (true, true) => same = Some(known),
                (false, false) => {}
                (true, false) => {
                    let message = format!("the contact {name} is another node ({})", known.address.key.short());
                    return Err(Error::new(Code::WrongState, message)
                        .hint(format!("choose another name, or run `deployctl trust remove {name}` first")));
                }
                (false, true) => {
                    let message = format!("that node is a contact already, under the name {}", known.name);
                    return Err(Error::new(Code::WrongState, message)
                        .hint(format!("use that name, or run `deployctl trust remove {}` first", known.name)));
                }
            }
        }
        Ok(same)
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
        // The files' order differs from the names': `ada-2.toml` comes before `ada.toml`.
        contacts.sort_by(|a, b| a.name.cmp(&b.name));
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
        // What it offered, kept to complete words by.
        let key = &contact.address.key;
        file::remove_unsynced(&self.state.shown_list(key))?;
        super::tree::remove(&self.state.shown().join(key.to_string()))?;
        Ok(contact)
    }

    /// Lets a contact follow the keys that it was handed over to, one after the other from its present one on; says
    /// whether that is news.
    ///
    /// # Errors
    /// `not-permitted` where none of the keys is a contact's; `wrong-key` where the contact has left this chain before.
    pub fn follow(&self, chain: &[Handover], to: &Address, now: Time) -> Result<(Contact, bool)> {
        let _lock = self.lock()?;
        let all = self.list()?;
        if let Some(contact) = all.iter().find(|contact| contact.address.key == to.key) {
            return Ok((contact.clone(), false));
        }
        let from = |contact: &Contact| chain.iter().position(|handover| handover.from == contact.address.key);
        let Some((mut contact, first)) = all.iter().find_map(|contact| Some((contact.clone(), from(contact)?))) else {
            let was = |contact: &&Contact| {
                contact.former.iter().any(|former| chain.iter().any(|handover| handover.from == former.key))
            };
            return Err(match all.iter().find(was) {
                Some(contact) => Error::new(
                    Code::WrongKey,
                    format!("the contact {} has handed over that key to another one before", contact.name),
                ),
                None => Error::new(Code::NotPermitted, "a new key of a node that is not known here"),
            });
        };
        contact.former.retain(|former| former.until >= now);
        contact.former.extend(chain[first..].iter().map(|one| Former { key: one.from, until: one.until }));
        contact.address = Address { key: to.key, host: to.host.clone().or(contact.address.host) };
        self.write(&contact)?;
        Ok((contact, true))
    }

    /// The contact with this key, or that had it before and may still use it at `now`.
    pub fn by_key(&self, key: &Key, now: Time) -> Result<Option<Contact>> {
        let had = |contact: &Contact| contact.former.iter().any(|former| former.key == *key && former.until >= now);
        Ok(self.list()?.into_iter().find(|contact| contact.address.key == *key || had(contact)))
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
            former: entry.former,
        }))
    }

    fn write(&self, contact: &Contact) -> Result<()> {
        let Contact { address, may, since, former, .. } = contact.clone();
        let entry = Entry { address, may, since, former };
        document::write_toml(&self.state.contact(&contact.name), &entry, file::PRIVATE)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.state.lock("contacts"), "the contacts", WAIT)
    }
}

/// `wanted`, else `wanted-2`, `wanted-3` and so on, shortened where it grows too long.
fn free_name(wanted: &Name, taken: &[Contact]) -> Name {
    let numbered = (2u32..).filter_map(|number| {
        let end = format!("-{number}");
        let kept = wanted.len().min(NAME_CHARS - end.len());
        format!("{}{end}", &wanted[..kept]).parse::<Name>().ok()
    });
    let is_free = |name: &Name| taken.iter().all(|contact| contact.name != *name);
    let mut names = std::iter::once(wanted.clone()).chain(numbered);
    names.find(is_free).unwrap_or_else(|| wanted.clone())
}

#[cfg(test)]
mod tests;
