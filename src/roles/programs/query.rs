//! Asking for what there is (row B4): programs of a node that run on a device and are wanted, told to those who may have
//! them; and on the side that asks, what its own owner wants of that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::offer::Offered;
use super::policy::Judged;
use crate::discover::Program;
use crate::model::{Address, Code, Error, Key, Result};
use crate::process::host;
use crate::roles::node::Node;
use crate::service::DeviceDescription;
use crate::service::query::{Answer, Candidate, Listed, MAX_PROGRAMS, Query};

/// How long a node that is one of several may take: it is near, and there is nothing to build.
const ANSWER: Duration = Duration::from_secs(2);

impl Node {
    /// Answers a query of another node.
    ///
    /// # Errors
    /// `not-permitted`, `too-large`, `io`, `damaged`.
    pub(in crate::roles) fn query_of(&self, key: Key, query: Query) -> Result<Answer> {
        self.may_have_programs(key)?;
        self.answer_query(&query.check()?)
    }

    /// Which of the programs offered fit.
    ///
    /// # Errors
    /// `io`, `damaged`.
    pub(in crate::roles) fn answer_query(&self, query: &Query) -> Result<Answer> {
        let candidates: Result<Vec<_>> = self.programs_offered()?.into_iter().map(|one| self.candidate(one)).collect();
        Ok(query.answer(candidates?))
    }

    fn candidate(&self, offered: Offered) -> Result<Candidate> {
        let package = offered.release.as_ref().map(|release| release.package);
        let made = match package {
            None => self.made(&offered.id.name, &offered.version)?,
            Some(_) => BTreeMap::new(),
        };
        let listed = Listed {
            name: offered.id.name,
            version: offered.version,
            summary: offered.about.summary,
            category: offered.about.category,
            license: offered.license,
            signer: offered.id.signer,
            size: package.map(|package| package.size),
            digest: package.map(|package| package.digest),
            requires: offered.terms.requires,
            enables: offered.about.enables,
        };
        Ok(Candidate { listed, platforms: offered.terms.platforms, made })
    }

    /// Asks another node which of its programs fit. What it says is not checked but for its length: programs are, when
    /// they are taken.
    ///
    /// # Errors
    /// What it refused with; `unreachable`, `timed-out`, `wrong-key`, `too-large`, `bad-message`.
    pub async fn ask_which_programs(&self, source: &Address, query: &Query) -> Result<Answer> {
        let mut answer = self.client.query(&self.reach(source), query).await?;
        answer.programs.truncate(MAX_PROGRAMS);
        answer.explained.truncate(MAX_PROGRAMS);
        Ok(answer)
    }

    /// Asks several nodes at once, each for a short while; their answers in the same order.
    pub async fn ask_each(self: &Arc<Self>, sources: &[Address], query: &Query) -> Vec<Result<Answer>> {
        let mut asking: Vec<JoinHandle<Result<Answer>>> = Vec::new();
        for source in sources {
            let (node, source, query) = (Arc::clone(self), source.clone(), query.clone());
            asking.push(tokio::spawn(async move {
                let late = |_| Error::new(Code::TimedOut, "it did not answer in time");
                timeout(ANSWER, node.ask_which_programs(&source, &query)).await.map_err(late)?
            }));
        }
        let mut answers = Vec::new();
        for answer in asking {
            let lost = |why| Error::new(Code::Internal, format!("asking for programs: {why}"));
            answers.push(answer.await.map_err(lost).and_then(|answer| answer));
        }
        answers
    }

    /// Leaves out what does not run here all the same, and what this node's owner wants to have nothing to do with, and
    /// explains that, too. `device` is what was told of this machine, or another machine.
    pub fn wanted_of(&self, answer: Answer, device: &DeviceDescription) -> Answer {
        let mut answer = runnable(answer, device);
        answer.programs.retain(|found| self.against_policy(judged(&found.listed)).is_empty());
        for explained in &mut answer.explained {
            let unmet = self.against_policy(judged(&explained.listed));
            explained.unmet.extend(unmet);
        }
        answer
    }
}

/// Leaves out what requires programs that were not told of when it was asked, and that are not here either.
pub fn runnable(answer: Answer, device: &DeviceDescription) -> Answer {
    let further = host::look_further(answer.requirements(), device);
    answer.on(&further)
}

/// The programs of a node as its listing has them; without those whose signer does not read.
pub fn listed(programs: Vec<Program>, node: Key) -> impl Iterator<Item = Candidate> {
    programs.into_iter().filter_map(move |program| {
        let signer = match program.id.split_once('@') {
            Some((_, signer)) => signer.parse().ok()?,
            None => node,
        };
        let listed = Listed {
            name: program.name,
            version: program.version,
            summary: program.summary,
            category: program.category,
            license: program.license,
            signer,
            size: program.size,
            digest: program.digest,
            requires: program.requires,
            enables: program.enables,
        };
        Some(Candidate { listed, platforms: program.platforms, made: BTreeMap::new() })
    })
}

fn judged(listed: &Listed) -> Judged<'_> {
    Judged { signer: listed.signer, category: listed.category.as_deref(), license: listed.license.as_deref() }
}
