//! Fetching messages from a provider's inbox: for nodes that listen nowhere, and for commands that wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::intake::Source;
use super::live::Live;
use super::node::{Node, blocking};
use crate::model::{Address, Key, Party, Result};
use crate::node::Answer;
use crate::store::rights::Right;

/// How long one poll waits at a provider.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// After a poll that failed.
const POLL_PAUSE: Duration = Duration::from_secs(2);
/// How often new providers are looked for.
const LOOK_AROUND: Duration = Duration::from_secs(2);

/// Where one provider's inbox has been read to.
#[derive(Debug, Default)]
pub struct Cursor(u64);

impl Node {
    /// Polls a provider once, waiting up to `wait` there; says how many messages came. What was refused for good is not
    /// asked for again, what could not be taken now is.
    ///
    /// # Errors
    /// `unreachable`, `timed-out`; what kept a message from being taken.
    pub async fn poll(&self, provider: &Address, cursor: &mut Cursor, wait: Duration) -> Result<usize> {
        self.announce(Some(provider.key)).await?;
        let provider = &self.reach(provider);
        let batch = self.or_follow(provider, self.client.inbox(provider, cursor.0, wait).await).await?;
        self.heard_from(provider.key);
        let count = batch.messages.len();
        for posted in batch.messages {
            if let Answer::Refused(error) = blocking(|| self.take(Source { key: provider.key, ip: None }, posted)) {
                if error.code.may_pass_later() {
                    return Err(error);
                }
                self.notice(format!("a message of {} was refused: {error}", provider.key.short()));
            }
        }
        cursor.0 = batch.next;
        Ok(count)
    }
}

/// A node that listens nowhere asks its providers: those it trusts, and those of its sessions.
pub(super) async fn poll_all(live: Arc<Live>) -> Result<()> {
    let mut pollers: BTreeMap<Key, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        for (key, provider) in providers(&live)? {
            let live = Arc::clone(&live);
            pollers.retain(|_, poller| !poller.is_finished());
            pollers.entry(key).or_insert_with(|| tokio::spawn(poll_on(live, provider)));
        }
        tokio::time::sleep(LOOK_AROUND).await;
    }
}

fn providers(live: &Live) -> Result<BTreeMap<Key, Address>> {
    let mut all = BTreeMap::new();
    for contact in live.node.contacts.list()? {
        if contact.may.may(Right::Provide) && contact.address.host.is_some() {
            all.insert(contact.address.key, contact.address);
        }
    }
    for (session, party) in live.keys() {
        if let Ok(projection) = live.node.projection(session, party)
            && party != Party::Provider
        {
            let provider = live.node.reach(&projection.summary.provider);
            all.entry(provider.key).or_insert(provider);
        }
    }
    all.retain(|_, address| address.host.is_some());
    Ok(all)
}

async fn poll_on(live: Arc<Live>, provider: Address) {
    let mut cursor = Cursor::default();
    loop {
        match live.node.poll(&provider, &mut cursor, POLL_WAIT).await {
            Ok(_) => live.heard(provider.key),
            // Under its new key it is another one to ask, and is looked for.
            Err(_) if is_followed(&live, &provider) => return,
            Err(_) => tokio::time::sleep(POLL_PAUSE).await,
        }
    }
}

/// Whether a contact has another key by now than when its poller began.
fn is_followed(live: &Live, provider: &Address) -> bool {
    let contact = live.node.contacts.by_key(&provider.key, live.node.system.now());
    contact.is_ok_and(|contact| contact.is_some_and(|contact| contact.address.key != provider.key))
}

/// Says to those whom this node works with that it is there again: what they could not deliver meanwhile comes now
/// instead of after their pauses. Whoever cannot be reached will find out by itself.
pub(super) async fn greet(live: Arc<Live>) -> Result<()> {
    let mut others = providers(&live).unwrap_or_default();
    for (session, party) in live.keys() {
        if let (Party::Provider, Ok(replayed)) = (party, live.node.read(session, party)) {
            others.extend(replayed.outbox.iter().map(|sent| (sent.to.key, live.node.reach(&sent.to))));
        }
    }
    others.retain(|key, address| address.host.is_some() && *key != live.node.key());
    for address in others.into_values() {
        let node = Arc::clone(&live.node);
        tokio::spawn(async move { node.or_follow(&address, node.client.node(&address).await).await });
    }
    Ok(())
}
