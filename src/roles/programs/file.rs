//! A program that lies here as a file, beside its manifest (row B10): no network, and no other party. Whose signature
//! counts is what the contacts say.

use std::path::Path;

use super::ask::Parcel;
use super::install::{Installed, Wish};
use crate::message::Envelope;
use crate::model::{Code, Error, Key, Result};
use crate::package::{MAX_MANIFEST_BYTES, VerifiedManifest};
use crate::roles::node::{Node, blocking};
use crate::store::file;
use crate::store::rights::Right;

impl Node {
    /// Reads the manifest's file, and sees that it may be installed here: signed by a contact with `provide`, of no
    /// session, for this machine, and nothing that `[content]` rules out.
    ///
    /// # Errors
    /// `wrong-key`, `bad-signature`, `bad-message`, `not-permitted`, `io`; what [`Node::open_parcel`] and
    /// [`Node::allows`] say.
    pub fn open_program_file(&self, manifest: &Path) -> Result<Parcel> {
        let doing = |error: Error| error.while_doing(manifest.display());
        let bytes = file::read_limited(manifest, MAX_MANIFEST_BYTES as u64)?;
        let key = signer_of(&bytes).map_err(doing)?;
        self.may_provide(&key).map_err(doing)?;
        let parcel = self.open_parcel(VerifiedManifest::open(&bytes, &key).map_err(doing)?)?;
        self.allows(&parcel)?;
        Ok(parcel)
    }

    /// Installs it from the package's file. That a person or a policy agreed is the caller's to see to.
    ///
    /// # Errors
    /// `not-found` without the file; what an installation says.
    pub fn install_program_file(&self, package: &Path, parcel: &Parcel, wish: &Wish) -> Result<Installed> {
        let missing = || Error::new(Code::NotFound, format!("there is no file {}", package.display()));
        blocking(|| {
            let open = || file::open_optional(package)?.ok_or_else(missing);
            self.put_program(parcel, &self.release(parcel), wish, open)
        })
    }

    fn may_provide(&self, key: &Key) -> Result<()> {
        let Some(contact) = self.contacts.by_key(key, self.system.now())? else {
            return Err(Error::new(Code::WrongKey, format!("it was signed by {key}, which is no contact here"))
                .hint(format!("if you trust it: deployctl trust add NAME deploy://{key} --may provide")));
        };
        if contact.may.may(Right::Provide) {
            return Ok(());
        }
        let why = format!("it was signed by {}, which may not have software installed here", contact.name);
        Err(Error::new(Code::NotPermitted, why)
            .hint(format!("deployctl trust add {} {} --may provide", contact.name, contact.address)))
    }
}

/// Who says to have signed it, which is still to be checked.
fn signer_of(bytes: &[u8]) -> Result<Key> {
    let envelope = Envelope::from_json(bytes)?;
    let [signature] = envelope.signatures.as_slice() else {
        return Err(Error::new(Code::BadSignature, "the manifest has not exactly one signature"));
    };
    signature.keyid.parse().map_err(|_| Error::new(Code::BadSignature, "the manifest's signature names no key"))
}
