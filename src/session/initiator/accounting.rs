//! The Initiator's books: interim accountings while it runs, a final one after, each chained to the one before (A16, A18).

use crate::message::{Accounting, AccountingKind, Receipt};
use crate::model::{Address, Code, Hash, Result};
use crate::service::usage::Usage;
use crate::session::context::Context;
use crate::session::input::Outcome;
use crate::session::metering::{Meter, one_session};
use crate::session::participation::Participation;

#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    /// Accountings sent.
    sequence: u64,
    last: Option<Hash>,
    final_sent: bool,
    final_receipted: bool,
    /// The final one's envelope hash.
    final_hash: Option<Hash>,
    metered: Meter,
    accounted: Meter,
    session_accounted: bool,
}

impl Accounts {
    /// Whether the provider has countersigned the final accounting.
    pub(super) fn is_closed(&self) -> bool {
        self.final_receipted
    }
    /// Takes the readings that come with results.
    pub(super) fn metered(&mut self, outcome: &Outcome) {
        let reading = match outcome {
            Outcome::Metered { meter, .. } | Outcome::Exited { meter } | Outcome::GaveUp { meter, .. } => Some(meter),
            Outcome::Stopped { meter } => meter.as_ref(),
            _ => None,
        };
        if let Some(reading) = reading {
            self.metered = std::mem::take(&mut self.metered).max(reading);
        }
    }
    /// By hand.
    pub(super) fn account(
        &mut self,
        kind: AccountingKind,
        usage: &Usage,
        participation: &Participation,
        provider: &Address,
        context: &mut Context<'_>,
    ) -> Result<()> {
        if self.final_sent {
            return Err(context.refuse(Code::WrongState, "the final accounting was made already"));
        }
        if participation.delivery.is_none() {
            return Err(context.refuse(Code::WrongState, "nothing was delivered yet, so nothing was used"));
        }
        if kind == AccountingKind::Final && !(participation.ending.is_some() && participation.is_at_rest()) {
            return Err(context
                .refuse(Code::WrongState, "the service still runs; the final accounting follows when it has stopped"));
        }
        let mut due = self.due(participation);
        for (meter, amount) in usage.iter() {
            due.add(meter.clone(), amount.clone())?;
        }
        self.send(kind, due, provider, context);
        Ok(())
    }
    /// By interval.
    pub(super) fn interim(&mut self, participation: &Participation, provider: &Address, context: &mut Context<'_>) {
        if !self.final_sent && participation.confirmed {
            let due = self.due(participation);
            self.send(AccountingKind::Interim, due, provider, context);
        }
    }
    /// Once, after the end.
    pub(super) fn finally(&mut self, participation: &Participation, provider: &Address, context: &mut Context<'_>) {
        if !self.final_sent {
            let due = self.due(participation);
            self.send(AccountingKind::Final, due, provider, context);
        }
    }
    /// What was used and not accounted for yet.
    fn due(&mut self, participation: &Participation) -> Usage {
        let mut usage = self.metered.usage_since(&self.accounted);
        if participation.confirmed && !self.session_accounted {
            one_session(&mut usage);
            self.session_accounted = true;
        }
        usage
    }
    fn send(&mut self, kind: AccountingKind, usage: Usage, provider: &Address, context: &mut Context<'_>) {
        self.accounted = self.metered.clone();
        self.sequence += 1;
        let body = Accounting { session: context.session(), sequence: self.sequence, kind, usage, previous: self.last };
        let hash = context.send(provider, body).message.hash();
        self.last = Some(hash);
        if kind == AccountingKind::Final {
            self.final_sent = true;
            self.final_hash = Some(hash);
        }
    }
    pub(super) fn receipt(&mut self, receipt: &Receipt, context: &Context<'_>) -> Result<()> {
        if receipt.sequence == 0 || receipt.sequence > self.sequence {
            return Err(context.refuse(
                Code::BrokenChain,
                format!("a receipt for accounting {}, which was never sent", receipt.sequence),
            ));
        }
        if self.final_hash == Some(receipt.hash) && receipt.accepted {
            self.final_receipted = true;
        }
        Ok(())
    }
}
