//! Looking at sessions: for lists, and to find the one that is meant.

use super::node::Node;
use super::sitting::Projection;
use crate::model::{Code, Error, Party, Result, SessionId};
use crate::process::Record;
use crate::process::sandbox::Level;

impl Node {
    /// How far the program of a part is held, while it runs.
    pub fn confinement(&self, session: SessionId, party: Party) -> Option<Level> {
        // A record that does not read is the supervisor's to tell of.
        Record::read(&self.places(session, party).record).ok().flatten()?.confinement
    }
    /// Every part that this node has in a session, newest last.
    pub fn parts(&self) -> Result<Vec<Projection>> {
        let mut all = Vec::new();
        for (session, parties) in self.state.find_sessions()? {
            for party in parties {
                all.push(self.projection(session, party)?);
            }
        }
        all.sort_by_key(|one| (one.summary.answer_by, one.summary.session));
        Ok(all)
    }
    /// The parts of this node in one session, by any unambiguous prefix of its id.
    ///
    /// # Errors
    /// `not-found`, `ambiguous`.
    pub fn parts_of(&self, prefix: &str) -> Result<(SessionId, Vec<Projection>)> {
        let session = self.state.resolve_session(prefix)?;
        let parties = self.state.parties_of(session).into_iter();
        let parts: Result<Vec<_>> = parties.map(|party| self.projection(session, party)).collect();
        Ok((session, parts?))
    }
    /// This node's part as one of `parties`, the first that it has.
    ///
    /// # Errors
    /// `wrong-state` where it has another part only.
    pub fn part_as(&self, prefix: &str, parties: &[Party]) -> Result<Projection> {
        let (session, parts) = self.parts_of(prefix)?;
        let found = parties.iter().find_map(|party| parts.iter().find(|part| part.summary.party == *party));
        found.cloned().ok_or_else(|| {
            let has: Vec<_> = parts.iter().map(|part| part.summary.party.as_str()).collect();
            let wants: Vec<_> = parties.iter().map(|party| party.as_str()).collect();
            Error::new(
                Code::WrongState,
                format!(
                    "this node is the {} of session {}; this is for its {}",
                    has.join(" and "),
                    session.short(),
                    wants.join(" or ")
                ),
            )
            .about(session)
        })
    }
}
