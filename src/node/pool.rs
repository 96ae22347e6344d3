//! Kept connections, so that the messages of one deployment shake hands once.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::limits::{POOL_IDLE, POOL_PER_NODE, POOL_TOTAL};
use crate::model::Address;

/// A connection that can take a request. Dropping it closes it.
pub(super) type Link = SendRequest<Full<Bytes>>;

/// Connections that wait for the next request, oldest first.
#[derive(Default)]
pub(super) struct Pool(VecDeque<Kept>);

struct Kept {
    to: Address,
    link: Link,
    since: Instant,
}

impl Pool {
    /// The connection to this node that was used last.
    pub(super) fn take(&mut self, to: &Address) -> Option<Link> {
        self.clear();
        let at = self.0.iter().rposition(|kept| kept.to == *to)?;
        self.0.remove(at).map(|kept| kept.link)
    }
    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&mut self, to: &Address, link: Link) {
        self.clear();
        let of_node = self.0.iter().filter(|kept| kept.to == *to).count();
        if link.is_closed() || of_node >= POOL_PER_NODE {
            return;
        }
        if self.0.len() >= POOL_TOTAL {
            self.0.pop_front();
        }
        self.0.push_back(Kept { to: to.clone(), link, since: Instant::now() });
    }
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    /// Drops those that the other side closed or that lay too long.
    fn clear(&mut self) {
        self.0.retain(|kept| !kept.link.is_closed() && kept.since.elapsed() < POOL_IDLE);
    }
}
