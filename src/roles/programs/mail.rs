//! Reports about programs: durable before they are sent, and sent until they are taken.

use crate::message::{Body, Failure, Head, Message, ProgramReport, ReportState, Secrets, Verified};
use crate::model::Result;
use crate::node::Posted;
use crate::roles::node::Node;
use crate::store::mail::{Mail, Outbox};
use crate::store::programs::{ProgramId, Programs, Release};

impl Node {
    /// Puts a report to who handed the program over into the outbox; what came as a file is reported to nobody.
    pub(super) fn report(&self, release: &Release, state: ReportState, failure: Option<Failure>) -> Result<()> {
        let (Some(source), Some(delivery)) = (&release.source, &release.delivery) else { return Ok(()) };
        let delivery = Verified::from_own_log(delivery.clone())?.head.id;
        let now = self.system.now();
        let body = ProgramReport {
            delivery,
            program: release.service.clone(),
            package: release.package.digest,
            state,
            failure,
        };
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: source.key,
            issued: now,
            in_reply_to: None,
            expires: None,
        };
        let envelope = Message { head: head.clone(), body: Body::from(body) }.seal(&self.identity.signing());
        Outbox::of(&self.state).put(&Mail { id: head.id, to: source.clone(), envelope, since: now })
    }

    /// Reports of a generation, about the latest delivery of it. Before the record says so: who sees that, sends this.
    pub(super) fn report_of(
        &self,
        id: &ProgramId,
        generation: u32,
        state: ReportState,
        failure: Option<Failure>,
    ) -> Result<()> {
        let program = Programs::of(&self.state).read(id)?;
        match program.as_ref().and_then(|program| program.releases.get(&generation)) {
            Some(release) => self.report(release, state, failure),
            None => Ok(()),
        }
    }

    /// Sends what waits, as far as nodes can be reached; what one refuses for good is told and not sent again.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub async fn send_mail(&self) -> Result<()> {
        let outbox = Outbox::of(&self.state);
        for mail in outbox.waiting()? {
            if self.pause_until(mail.to.key).is_some() {
                continue;
            }
            let posted = Posted { envelope: mail.envelope, secrets: Secrets::new() };
            match self.client.post(&self.reach(&mail.to), &posted).await {
                Ok(_) => self.reached(mail.to.key),
                Err(error) if error.code.may_pass_later() => {
                    self.failed_to_reach(mail.to.key);
                    continue;
                }
                Err(error) => self.notice(format!("a report about a program was refused: {error}")),
            }
            outbox.done(mail.id)?;
        }
        Ok(())
    }
}
