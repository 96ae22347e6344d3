//! What was made of this node's own programs already, so that lists tell how large they are.

use std::collections::BTreeMap;

use semver::Version;

use crate::model::{Result, ServiceName, Time};
use crate::package::Provenance;
use crate::roles::node::Node;
use crate::roles::workshop::roster_digest;
use crate::service::platform::Platform;
use crate::service::query::Made;
use crate::store::file;
use crate::store::offers::Offers;

impl Node {
    /// The packages that were made last of this version of a program, for each platform, and are still here; none that is
    /// for one device alone. It is what lists tell: whether the definition is still the same is looked at when the
    /// program is asked for.
    ///
    /// # Errors
    /// `io`.
    pub(in crate::roles) fn made(&self, name: &ServiceName, version: &Version) -> Result<BTreeMap<Platform, Made>> {
        let statements = Offers::of(&self.state, name).statements();
        let mut latest: BTreeMap<Platform, (Time, Made)> = BTreeMap::new();
        for manifest in statements.provenances()? {
            let Some(bytes) = statements.provenance(&manifest)? else { continue };
            let Ok((provenance, digest)) = Provenance::open(&bytes, &self.key()) else { continue };
            let path = self.state.package(&digest);
            let of = provenance.build_definition.external_parameters;
            if of.version != *version || of.roster != roster_digest(None) || !file::exists(&path)? {
                continue;
            }
            let finished = provenance.run_details.metadata.finished_on;
            if latest.get(&of.platform).is_none_or(|(before, _)| *before <= finished) {
                latest.insert(of.platform, (finished, Made { digest, size: file::length_of(&path)? }));
            }
        }
        Ok(latest.into_iter().map(|(platform, (_, made))| (platform, made)).collect())
    }
}
