//! The asking side (rows B4, B8, B18): a program is asked for, and what comes is checked to the last digest before anybody
//! is asked whether it may be installed.

use std::time::Duration;

use semver::VersionReq;

use crate::message::body::options_digest;
use crate::message::{
    Body, Envelope, Head, Message, Person, ProgramDelivery, ProgramRequest, Secrets, ServiceWanted, Verified,
};
use crate::model::{Address, Code, Digest, Error, Key, Result, ServiceName, Span};
use crate::node::{PostAnswer, Posted};
use crate::package::VerifiedManifest;
use crate::package::manifest::About;
use crate::process::host;
use crate::roles::node::{Node, blocking};
use crate::service::definition::RoleTerms;
use crate::service::device::DeviceDescription;
use crate::service::fit::{Fit, fit};
use crate::service::option::Options;
use crate::service::platform::Platforms;
use crate::service::roster::Member;
use crate::session::deadline;
use crate::store::contacts::Contact;
use crate::store::floors::Floors;
use crate::store::programs::ProgramId;
use crate::store::rights::Right;

/// How long a program may take until it is there, where nobody says: the offering node may have to build it first.
const PATIENCE: Span = Span::from_secs(30 * 60);
/// Before the same request is sent again to a node that is still building.
const PAUSE: Duration = Duration::from_millis(500);

/// Which program is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: ServiceName,
    pub version: Option<VersionReq>,
    pub signer: Option<Key>,
    /// The advertised service type that it is to make usable.
    pub enables: Option<String>,
}

/// A program as it was handed over, with all that can be checked before its package is fetched. Only [`Parcel::open`]
/// makes one.
#[derive(Debug)]
pub struct Parcel {
    pub id: ProgramId,
    pub manifest: VerifiedManifest,
    pub about: About,
    /// With the platform that it was made for.
    pub terms: RoleTerms,
    pub fit: Fit,
    pub options: Options,
    pub configuration: serde_json::Value,
    pub secrets: Secrets,
    pub device: Member,
    /// Who handed it over, with the signed delivery; absent for a file.
    pub source: Option<(Address, Envelope)>,
}

/// How well the signer of a program is known here.
#[derive(Clone, Debug)]
pub enum Standing {
    /// A contact whose software may be installed here.
    Trusted(Contact),
    /// A contact that may not provide software.
    Known(Contact),
    Unknown,
}

impl Node {
    /// What this machine can say of itself.
    pub fn describe_device(&self) -> DeviceDescription {
        blocking(|| host::describe(self.state.root(), &self.display))
    }

    /// Asks a node for a program until it is there, and checks what comes. Nothing of it is fetched yet but its manifest.
    ///
    /// # Errors
    /// What the node refused with; of exit code 4 where something is not as it was signed, asked for or delivered;
    /// `downgrade`; `unsuitable`; `timed-out`, `unreachable`.
    pub async fn ask_for_program(&self, source: &Address, wanted: &Wanted, within: Option<Span>) -> Result<Parcel> {
        let request = self.program_request(source, wanted);
        let posted = Posted { envelope: request.seal(&self.identity.signing()), secrets: Secrets::new() };
        let reply = self.post_until_answered(source, &posted, within.unwrap_or(PATIENCE)).await?;
        let message = Verified::open(reply.envelope)?;
        let delivery = self.check_delivery(&request, wanted, &message)?;
        let digest = delivery.package.digest;
        let bytes = self.client.manifest_named(&self.reach(source), digest, &delivery.manifest).await?;
        let manifest = VerifiedManifest::open(&bytes, &delivery.signer)?;
        check_manifest(delivery, &manifest)?;
        for (name, commitment) in &delivery.secret_options {
            let name = format!("option.{name}");
            let secret = reply.secrets.get(&name).ok_or_else(|| {
                Error::new(Code::BadProof, format!("the secret {name:?} is missing beside the delivery"))
            })?;
            secret.open(commitment, &name)?;
        }
        let parcel = Parcel {
            options: delivery.options.clone(),
            configuration: delivery.configuration.clone(),
            secrets: reply.secrets.into_iter().filter(|(name, _)| is_delivered(delivery, name)).collect(),
            source: Some((source.clone(), message.envelope().clone())),
            ..self.open_parcel(manifest)?
        };
        self.allows(&parcel)?;
        Ok(parcel)
    }

    /// Looks at a manifest that was verified: whether it is of no session, for this device, and not older than what was
    /// here.
    ///
    /// # Errors
    /// `wrong-session`, `wrong-recipient`, `unsuitable`, `downgrade`.
    pub fn open_parcel(&self, manifest: VerifiedManifest) -> Result<Parcel> {
        if let Some(session) = manifest.session {
            let why = format!("{} is no program but software of a session", manifest.file_name());
            return Err(Error::new(Code::WrongSession, why).hint(format!("deployctl install {}", session.short())));
        }
        // Built outside any session by `build --service`, it says nothing more of itself.
        let about = manifest.program.clone().unwrap_or_default();
        if about.device.is_some_and(|device| device != self.key()) {
            return Err(Error::new(
                Code::WrongRecipient,
                format!("{} was made for another device", manifest.file_name()),
            ));
        }
        let id = ProgramId { signer: manifest.signer(), name: manifest.name.clone() };
        Floors::of(&self.state).check(&id, &manifest.version)?;
        let mut terms = manifest.terms.clone();
        if terms.platforms != Platforms::Any {
            terms.platforms = Platforms::Only(vec![manifest.platform.clone()]);
        }
        let fit = blocking(|| fit(&terms, &self.describe_for(&terms))).map_err(|unmet| {
            let why: Vec<_> =
                unmet.iter().map(|one| format!("{} {}: {}", one.rule, one.expected, one.actual)).collect();
            Error::new(Code::Unsuitable, format!("{} cannot run on this machine: {}", id.name, why.join("; ")))
        })?;
        let address = self.address();
        let device = Member {
            name: self.name(),
            key: self.key(),
            host: address.host.as_ref().map(|host| host.name.clone()),
            port: address.host.as_ref().map(|host| host.port),
            address,
            role: manifest.role.clone(),
            platform: fit.platform.clone(),
        };
        let configuration = serde_json::json!({ "name": device.name, "address": device.address, "role": device.role, "platform": device.platform });
        Ok(Parcel {
            id,
            about,
            terms,
            fit,
            options: Options::default(),
            configuration,
            secrets: Secrets::new(),
            device,
            source: None,
            manifest,
        })
    }

    /// This machine with the tools that a program needs, and the emulators.
    fn describe_for(&self, terms: &RoleTerms) -> DeviceDescription {
        let emulators = crate::service::fit::emulators().into_iter();
        let emulators = emulators.map(|name| crate::service::Requirement::Program { name, at_least: None });
        let wanted: Vec<_> = terms.requires.iter().cloned().chain(emulators).collect();
        host::describe_for(&wanted, self.state.root(), &self.display)
    }

    /// How well a program's signer is known.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub fn standing(&self, signer: &Key) -> Result<Standing> {
        Ok(match self.contacts.by_key(signer, self.system.now())? {
            Some(contact) if contact.may.may(Right::Provide) => Standing::Trusted(contact),
            Some(contact) => Standing::Known(contact),
            None => Standing::Unknown,
        })
    }

    fn program_request(&self, source: &Address, wanted: &Wanted) -> Message {
        let now = self.system.now();
        let body = ProgramRequest {
            program: ServiceWanted { name: wanted.name.clone(), version: wanted.version.clone() },
            signer: wanted.signer,
            asked_by: Person { name: self.name(), address: self.address() },
            device: self.describe_device(),
            enables: wanted.enables.clone(),
        };
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: source.key,
            issued: now,
            in_reply_to: None,
            expires: Some(now + deadline::INTERFACE_VALID),
        };
        Message { head, body: body.into() }
    }

    /// The same request again gets the answer as soon as there is one.
    async fn post_until_answered(&self, source: &Address, posted: &Posted, within: Span) -> Result<Posted> {
        let until = tokio::time::Instant::now() + within.as_duration();
        loop {
            let why = match self.client.post(&self.reach(source), posted).await {
                Ok(PostAnswer::Reply(reply)) => return Ok(reply),
                Ok(PostAnswer::Accepted) => Error::new(Code::TimedOut, "the program is still being built")
                    .hint("the same command again goes on with what was built until then"),
                Err(why) if matches!(why.code, Code::TimedOut | Code::Busy) => why,
                Err(why) => return Err(why),
            };
            if tokio::time::Instant::now() + PAUSE > until {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What came is the answer to what was asked, for this node, from the node that was asked.
    fn check_delivery<'a>(
        &self,
        request: &Message,
        wanted: &Wanted,
        message: &'a Verified<Message>,
    ) -> Result<&'a ProgramDelivery> {
        let Body::ProgramDelivery(delivery) = &message.body else {
            return Err(Error::new(
                Code::BadMessage,
                format!("the program-request was answered by a {}", message.body),
            ));
        };
        message.check_fresh(&self.key(), self.system.now())?;
        let range = wanted.version.as_ref();
        let rules = [
            (
                message.head.from == request.head.to,
                Code::WrongKey,
                "comes from another node than the one that was asked",
            ),
            (message.head.in_reply_to == Some(request.head.id), Code::Replay, "answers another request"),
            (delivery.program.name == wanted.name, Code::BadProof, "is of another program than was asked for"),
            (
                range.is_none_or(|range| range.matches(&delivery.program.version)),
                Code::BadProof,
                "is of another version than was asked for",
            ),
            (
                wanted.signer.is_none_or(|signer| signer == delivery.signer),
                Code::WrongKey,
                "is another signer's than was asked for",
            ),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            None => Ok(delivery),
            Some((_, code, why)) => Err(Error::new(*code, format!("what was delivered {why}"))),
        }
    }
}

fn is_delivered(delivery: &ProgramDelivery, secret: &str) -> bool {
    secret.strip_prefix("option.").is_some_and(|name| delivery.secret_options.contains_key(name))
}

/// The manifest is that of what was delivered.
fn check_manifest(delivery: &ProgramDelivery, manifest: &VerifiedManifest) -> Result<()> {
    let digest: Digest = manifest.digest();
    let package = &manifest.package;
    let rules = [
        ("manifest", digest == delivery.manifest),
        ("package", package.digest == delivery.package.digest && package.size == delivery.package.size),
    ];
    if let Some((what, _)) = rules.iter().find(|(_, same)| !same) {
        return Err(Error::new(Code::BadDigest, format!("the {what} is not the one that was delivered")));
    }
    let rules = [
        ("name", manifest.name == delivery.program.name),
        ("version", manifest.version == delivery.program.version),
        ("definition", manifest.definition == delivery.program.definition),
        ("role", manifest.role == delivery.role),
        ("platform", manifest.platform == delivery.platform),
        ("options", manifest.options == options_digest(&delivery.options, &std::collections::BTreeMap::new())),
    ];
    match rules.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(Error::new(
            Code::BadProof,
            format!("the {what} of what was delivered differ from what {} signed", delivery.signer.short()),
        )),
    }
}
