//! Fetching messages from a provider's inbox: for nodes that listen nowhere, and for commands that wait.

use std::time::Duration;

use super::intake::Source;
use super::node::{Node, blocking};
use crate::model::{Address, Result};
use crate::node::Answer;

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
        let batch = self.client.inbox(&self.reach(provider), cursor.0, wait).await?;
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
