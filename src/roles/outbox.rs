//! Sending: every message that a log holds and nobody has acknowledged, in order for each recipient, again and again
//! with back-off until it is acknowledged or refused for good.

use super::node::{Node, locked};
use super::sitting::message_of;
use crate::message::{Secret, Secrets};
use crate::model::{Code, Error, Event, Key, MessageId, Party, Result, SessionId, Span, Time};
use crate::node::PostAnswer;
use crate::node::Posted;
use crate::service::schema;
use crate::session::record::Sent;
use crate::session::{Machine, Outcome, What};
use crate::store::secrets::Secrets as SecretStore;

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Span = Span::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Span = Span::from_secs(60);

impl Node {
    /// Sends what waits for one recipient, oldest first, until nothing does or the recipient cannot be reached.
    ///
    /// # Errors
    /// `unreachable`, `timed-out` and what else may pass later; the message stays. The last final refusal, after the rest
    /// was sent.
    pub async fn send_to(&self, session: SessionId, party: Party, to: Key) -> Result<()> {
        let mut refusal = None;
        loop {
            let replayed = self.read(session, party)?;
            let Some(sent) = replayed.outbox.iter().find(|sent| sent.to.key == to) else { break };
            match self.send_one(session, party, sent, &replayed.machine).await {
                Ok(()) => self.reached(to),
                Err(error) if error.code.may_pass_later() => {
                    self.failed_to_reach(to);
                    return Err(error.about(session));
                }
                Err(error) => {
                    let message = message_of(sent)?.head.id;
                    let outcome = Outcome::Refused { message, error: error.clone() };
                    self.step(session, party, What::Result(outcome))?;
                    refusal = Some(error.about(session));
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    async fn send_one(&self, session: SessionId, party: Party, sent: &Sent, machine: &Machine) -> Result<()> {
        let message = message_of(sent)?;
        if message.head.expires.is_some_and(|expires| expires < self.system.now()) {
            return Err(Error::new(
                Code::Expired,
                format!("the {} expired before it could be delivered", message.body),
            ));
        }
        let posted = Posted { envelope: sent.envelope.clone(), secrets: self.secrets_beside(session, sent, machine)? };
        self.announce(Some(sent.to.key)).await?;
        let to = self.reach(&sent.to);
        let answer = self.or_follow(&to, self.client.post(&to, &posted).await).await?;
        let _one_of_few = self.at_once.acquire().await;
        match answer {
            PostAnswer::Accepted => self.acknowledged(session, party, message.head.id)?,
            PostAnswer::Reply(reply) => self.take_reply(session, party, reply)?,
        }
        self.emit(Event::Message {
            session,
            party,
            direction: crate::model::event::Direction::Sent,
            kind: message.body.kind(),
            id: message.head.id,
            with: sent.to.key.short(),
        });
        Ok(())
    }

    /// Notes an acknowledgement; one for what is not waiting any more changes nothing.
    pub(super) fn acknowledged(&self, session: SessionId, party: Party, message: MessageId) -> Result<()> {
        let mut sitting = self.sit(session, party)?;
        let waiting = sitting.existing()?.outbox.iter().any(|sent| sent.id == message);
        if waiting {
            sitting.step(What::Result(Outcome::Acknowledged { message }))?;
        }
        Ok(())
    }

    /// The secrets that a message names, read when it is sent.
    pub(super) fn secrets_beside(&self, session: SessionId, sent: &Sent, machine: &Machine) -> Result<Secrets> {
        let store = SecretStore::of(&self.state, session);
        let mut secrets = Secrets::new();
        for name in &sent.secrets {
            for name in expand(name, machine)? {
                if let Some(secret) = store.find_json::<Secret>(&name)? {
                    secrets.insert(name, secret);
                }
            }
        }
        Ok(secrets)
    }

    pub(super) fn reached(&self, key: Key) {
        locked(&self.back_off).remove(&key);
    }
    pub(super) fn failed_to_reach(&self, key: Key) {
        let now = self.system.now();
        let mut all = locked(&self.back_off);
        let failures = all.get(&key).map_or(0, |(_, failures)| *failures);
        let pause = FIRST_PAUSE.as_ms().saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE.as_ms());
        all.insert(key, (now + Span::from_ms(pause), failures + 1));
    }
    /// The node is there: whatever waits for it may go now. Says whether something had failed before.
    pub fn heard_from(&self, key: Key) -> bool {
        locked(&self.back_off).remove(&key).is_some()
    }
    /// Not before this time to that node.
    pub(super) fn pause_until(&self, key: Key) -> Option<Time> {
        let until = locked(&self.back_off).get(&key).map(|(until, _)| *until)?;
        (until > self.system.now()).then_some(until)
    }
}

/// `options.ROLE` stands for the secret options of a role.
fn expand(name: &str, machine: &Machine) -> Result<Vec<String>> {
    let (Some(role), Machine::Provider(provider)) = (name.strip_prefix("options."), machine) else {
        return Ok(vec![name.to_owned()]);
    };
    let specs = schema::from_schema(&provider.interface.schema)?;
    let of_role = specs.iter().filter(|spec| spec.secret && spec.roles.iter().any(|one| **one == *role));
    Ok(of_role.map(|spec| format!("option.{}", spec.name)).collect())
}
