//! What this node's owner wants to have nothing to do with (row B5): `[content]` of `config.toml`.

use super::ask::Parcel;
use crate::model::{Code, Error, Key, Result};
use crate::roles::node::Node;
use crate::service::fit::Unmet;
use crate::service::license::{allows, is_named};
use crate::service::query::is_below;

/// What the policy judges a program by.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    pub signer: Key,
    pub category: Option<&'a str>,
    pub license: Option<&'a str>,
}

impl Node {
    /// Every rule of `[content]` that a program does not keep.
    pub fn against_policy(&self, judged: Judged<'_>) -> Vec<Unmet> {
        let content = &self.config.content;
        let category = judged.category.unwrap_or("none");
        let mut unmet = Vec::new();
        let allowed = &content.allow_categories;
        if !allowed.is_empty() && !allowed.iter().any(|above| is_below(category, above)) {
            unmet.push(Unmet::new("content.allow-categories", &allowed.join(", "), category));
        }
        if let Some(blocked) = content.block_categories.iter().find(|above| is_below(category, above)) {
            unmet.push(Unmet::new("content.block-categories", &format!("not {blocked}"), category));
        }
        let license = judged.license.unwrap_or("none");
        let named = |id: &str| content.licenses.iter().any(|wanted| is_named(id, wanted));
        if !content.licenses.is_empty() && !allows(license, &named) {
            unmet.push(Unmet::new("content.licenses", &content.licenses.join(", "), license));
        }
        let is_named = |wanted: &String| {
            *wanted == judged.signer.to_string() || self.calls(&judged.signer).as_ref() == Some(wanted)
        };
        if !content.signers.is_empty() && !content.signers.iter().any(is_named) {
            let signer = self.calls(&judged.signer).unwrap_or_else(|| judged.signer.short());
            unmet.push(Unmet::new("content.signers", &content.signers.join(", "), signer));
        }
        unmet
    }

    /// Whether a program may be installed at all.
    ///
    /// # Errors
    /// `refused`, naming the rules.
    pub fn allows(&self, parcel: &Parcel) -> Result<()> {
        let judged = Judged {
            signer: parcel.id.signer,
            category: parcel.about.category.as_deref(),
            license: parcel.manifest.license.as_deref(),
        };
        let unmet = self.against_policy(judged);
        if unmet.is_empty() {
            return Ok(());
        }
        let why: Vec<_> =
            unmet.iter().map(|one| format!("{} is {}, it has {}", one.rule, one.expected, one.actual)).collect();
        Err(Error::new(
            Code::Refused,
            format!("this node's policy does not allow {}: {}", parcel.id.name, why.join("; ")),
        )
        .hint("[content] in config.toml says what is allowed"))
    }
}
