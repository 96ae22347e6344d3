//! Nodes that a person names on the command line: contacts by name, and addresses of those who are not contacts yet.

use super::shell::Shell;
use crate::model::{Address, Code, Error, Key, Name, Result};
use crate::roles::Node;
use crate::store::contacts::Contact;
use crate::store::rights::{Right, Rights};

/// Groups of a key that are shown in one line.
const GROUPS: usize = 7;

/// The contact that is meant by its name or its address. Somebody who is unknown becomes one after a yes, with these
/// rights.
///
/// # Errors
/// `unknown-contact`, also where nobody can be asked; `prompt-needed` after a no; what adding says.
pub(super) fn contact(named: &str, may: &str, node: &Node, shell: &Shell) -> Result<Contact> {
    let Ok(address) = named.parse::<Address>() else { return node.contacts.by_name(named) };
    match node.contacts.by_key(&address.key, node.system.now())? {
        Some(known) => Ok(known),
        None => introduce(&address, may, node, shell),
    }
}

fn introduce(address: &Address, may: &str, node: &Node, shell: &Shell) -> Result<Contact> {
    let rights: Rights = may.parse()?;
    let flag = if may.is_empty() { String::new() } else { format!(" --may {may}") };
    let by_hand = format!("deployctl trust add NAME {address}{flag}");
    if !shell.ui.can_ask() && !shell.ui.settings().yes {
        return Err(Error::new(Code::UnknownContact, "the node of this address is not a contact of yours")
            .hint(format!("if its key is the one that its owner told you: {by_hand}")));
    }
    let place = address.host.as_ref().map_or_else(|| "it listens nowhere".to_owned(), |host| format!("at {host}"));
    shell.ui.note(&format!("This node is not a contact of yours ({place}). Its key is"));
    shell.ui.note(&in_lines(&address.key));
    shell.ui.note("Compare it with what its owner tells you, on a way that you trust.");
    let what = match rights.may(Right::Provide) {
        true => "a contact that may have its software installed here, each time after a yes?",
        false => "a contact, which may do nothing here by that?",
    };
    let question = format!("Make it {what}");
    if !shell.ui.confirm(&question, "--yes")? {
        return Err(Error::new(Code::PromptNeeded, "not done: the answer was no").hint(format!("later: {by_hand}")));
    }
    let wanted = suggested(address)?;
    let wanted = if shell.ui.settings().yes {
        wanted
    } else {
        shell.ui.ask_line("Its name here", Some(&wanted), "`deployctl trust add`")?.parse()?
    };
    let contact = node.contacts.enrol(&wanted, address, &rights, node.system.now())?;
    shell.ui.note(&format!("{} is a contact now; to undo: deployctl trust remove {}", contact.name, contact.name));
    Ok(contact)
}

/// `shop` of `shop.example:4800`; the key's beginning where there is no such word.
fn suggested(address: &Address) -> Result<Name> {
    let host = address.host.as_ref().map(ToString::to_string).unwrap_or_default();
    let word = host.split(['.', ':']).next().unwrap_or_default().to_lowercase();
    match word.parse::<Name>() {
        Ok(name) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(name),
        _ => format!("node-{}", address.key.short()).parse(),
    }
}

/// A key as people compare it: in groups of four.
pub(super) fn in_groups(key: &Key) -> String {
    groups(key).join(" ")
}

fn in_lines(key: &Key) -> String {
    groups(key).chunks(GROUPS).map(|line| format!("    {}", line.join(" "))).collect::<Vec<_>>().join("\n")
}

fn groups(key: &Key) -> Vec<String> {
    let text = key.to_string();
    text.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_in_groups_of_four() {
        let key = Key::from_bytes([0; 32]);
        assert_eq!(in_groups(&key).split(' ').map(str::len).collect::<Vec<_>>(), [4; 13]);
        assert_eq!(in_lines(&key).lines().count(), 2);
    }

    #[test]
    fn a_name_is_suggested_by_the_place() {
        let of = |host: &str| {
            let address: Address = format!("deploy://{}{host}", Key::from_bytes([0; 32])).parse().unwrap();
            suggested(&address).unwrap().to_string()
        };
        assert_eq!(of("@shop.example:4800"), "shop");
        for nameless in ["@127.0.0.1:4800", "@[::1]:4800", ""] {
            assert!(of(nameless).starts_with("node-"), "{}", of(nameless));
        }
    }
}
