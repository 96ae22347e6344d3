//! The offering side (rows B1, B7, B8): what this node has for others, who may have it, and handing it over, of which a
//! line is kept for each delivery.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::message::body::options_digest;
use crate::message::{
    Body, Head, Message, PackageRef, ProgramDelivery, ProgramRequest, Secret, Secrets, ServiceId, Verified,
};
use crate::model::{Code, Digest, Error, Key, OptionName, Result, RoleName, ServiceName, SessionId};
use crate::node::Posted;
use crate::package::VerifiedManifest;
use crate::package::manifest::About;
use crate::roles::catalogue::Offer;
use crate::roles::intake::Source;
use crate::roles::node::{Node, blocking};
use crate::roles::workshop::{Job, check_terms};
use crate::service::definition::{Build, Role, RoleTerms};
use crate::service::fit::{Fit, fit};
use crate::service::license::may_be_redistributed;
use crate::service::option::given::parse_values;
use crate::service::option::{Options, resolve};
use crate::service::platform::Platforms;
use crate::service::roster::{Member, Roster};
use crate::service::template::{Context, sees_roster};
use crate::store::config::Audience;
use crate::store::offers::{Delivered, Offers};
use crate::store::packages::Packages;
use crate::store::programs::{ProgramId, Programs, Release};
use crate::store::rights::Right;
use crate::store::{file, tree};

/// The session that texts of programs see: none.
pub const NO_SESSION: SessionId = SessionId::from_bytes([0; 16]);
/// A file of options, in bytes.
const MAX_OPTIONS: u64 = 1 << 20;

/// A program that this node has for others.
#[derive(Clone, Debug)]
pub struct Offered {
    pub id: ProgramId,
    pub version: Version,
    pub about: About,
    pub license: Option<String>,
    pub role: RoleName,
    /// With the platforms that it is there for.
    pub terms: RoleTerms,
    /// What is offered on, as it was delivered to this node; absent for this node's own.
    pub release: Option<Box<Release>>,
}

/// What a device is to get.
struct Ware {
    service: ServiceId,
    package: PackageRef,
    manifest: Digest,
    options: Options,
    secrets: BTreeMap<OptionName, Secret>,
}

impl Node {
    /// All programs that this node has for others: its own, and those that it offers on.
    ///
    /// # Errors
    /// `io`, `damaged`. A definition that is wrong is left out: `serve` told of it.
    pub fn programs_offered(&self) -> Result<Vec<Offered>> {
        let mut offered = Vec::new();
        for name in self.offered()? {
            let Ok(definition) = self.definition(&name) else { continue };
            let Some((role, Role { terms, .. })) = definition.program() else { continue };
            offered.push(Offered {
                id: ProgramId { signer: self.key(), name },
                version: definition.version.clone(),
                about: About::of(&definition),
                license: definition.license.clone(),
                role: role.clone(),
                terms: terms.clone(),
                release: None,
            });
        }
        if self.shares {
            offered.extend(self.programs_shared()?);
        }
        Ok(offered)
    }

    /// Installed programs that may be offered on: their license allows it, they are for no device alone, and their
    /// packages are still here.
    pub(in crate::roles) fn programs_shared(&self) -> Result<Vec<Offered>> {
        let programs = Programs::of(&self.state);
        let mut shared = Vec::new();
        for program in programs.list()? {
            let Some((_, release)) = self.current(&program)? else { continue };
            let Some(bytes) = programs.statements(&program.id).manifest(&release.manifest)? else { continue };
            let Ok(manifest) = VerifiedManifest::open(&bytes, &program.id.signer) else { continue };
            let Some(about) = manifest.program.clone().filter(|about| about.device.is_none()) else { continue };
            let is_free = manifest.license.as_ref().is_some_and(|license| may_be_redistributed(license));
            if !is_free
                || program.id.signer == self.key()
                || !file::exists(&self.state.package(&release.package.digest))?
            {
                continue;
            }
            shared.push(Offered {
                id: program.id.clone(),
                version: manifest.version.clone(),
                about,
                license: manifest.license.clone(),
                role: manifest.role.clone(),
                terms: RoleTerms {
                    platforms: Platforms::Only(vec![manifest.platform.clone()]),
                    ..manifest.terms.clone()
                },
                release: Some(Box::new(release.clone())),
            });
        }
        Ok(shared)
    }

    /// Who may have programs of this node: whoever sees them, unless its owner says otherwise.
    pub(in crate::roles) fn audience(&self) -> Audience {
        self.config.offer.to.unwrap_or(if self.advertises { Audience::Anyone } else { Audience::Contacts })
    }

    /// Whether a node may have programs of this one.
    ///
    /// # Errors
    /// `not-permitted`, with what to do about it.
    pub(in crate::roles) fn may_have_programs(&self, key: Key) -> Result<()> {
        let contact = self.contacts.by_key(&key, self.system.now())?;
        if self.audience() == Audience::Anyone
            || contact.as_ref().is_some_and(|contact| contact.may.may(Right::Request))
        {
            return Ok(());
        }
        let name = contact.map_or_else(|| key.short(), |contact| contact.name.to_string());
        let hint = format!(
            "on the offering node: deployctl trust add NAME deploy://{key} --may request; or [offer] to = \"anyone\""
        );
        Err(Error::new(Code::NotPermitted, format!("{name} may not have programs of this node")).hint(hint))
    }
}

/// Answers a request for a program; nothing where it takes longer than others wait: then the same request again gets it.
pub(in crate::roles) fn program_request(
    node: &Node,
    message: &Verified<Message>,
    source: Source,
) -> Result<Option<Posted>> {
    node.may_have_programs(source.key)?;
    let Body::ProgramRequest(request) = &message.body else {
        return Err(Error::new(Code::Internal, "not a program request"));
    };
    request.device.clone().check()?;
    // Before anything is kept under a name that a stranger chose.
    let offered = node.find_offered(request)?;
    let offers = Offers::of(&node.state, &request.program.name);
    let _lock = match offers.lock() {
        Err(busy) if busy.code == Code::Locked => return Ok(None),
        lock => lock?,
    };
    if let Some(before) = offers.delivered(message.head.id)? {
        if before.request != message.envelope().hash() {
            return Err(Error::new(Code::Replay, "the id of this program-request was used before for another"));
        }
        return Ok(Some(before.posted()));
    }
    message.check_fresh(&node.key(), node.system.now())?;
    if request.asked_by.address.key != message.head.from {
        return Err(Error::new(Code::WrongKey, "the program-request names another device than its sender"));
    }
    let fit = fits(&offered, request)?;
    let device = member(request, source, &offered, &fit);
    let ware = match &offered.release {
        Some(release) => node.pass_on(release),
        None => node.make_program(&offered, &fit, &device),
    }?;
    Packages::of(&node.state).grant(&ware.package.digest, &message.head.from)?;
    let delivered = node.deliver(message, &offered, fit, &device, ware);
    offers.deliver(message.head.id, &delivered)?;
    Ok(Some(delivered.posted()))
}

fn fits(offered: &Offered, request: &ProgramRequest) -> Result<Fit> {
    fit(&offered.terms, &request.device).map_err(|unmet| {
        let why: Vec<_> = unmet.iter().map(|one| format!("{} {}: {}", one.rule, one.expected, one.actual)).collect();
        Error::new(Code::Unsuitable, format!("{} cannot run on that device: {}", offered.id.name, why.join("; ")))
    })
}

/// The device that asks, as templates get to see it.
fn member(request: &ProgramRequest, source: Source, offered: &Offered, fit: &Fit) -> Member {
    let address = &request.asked_by.address;
    let host = address.host.as_ref().map(|host| host.name.clone());
    Member {
        name: request.asked_by.name.clone(),
        key: address.key,
        host: host.or_else(|| source.ip.map(|ip| ip.to_string())),
        port: address.host.as_ref().map(|host| host.port),
        address: address.clone(),
        role: offered.role.clone(),
        platform: fit.platform.clone(),
    }
}

impl Delivered {
    fn posted(&self) -> Posted {
        Posted { envelope: self.envelope.clone(), secrets: self.secrets.clone() }
    }
}

impl Node {
    /// The program that is asked for: this node's own before others' of the same name.
    fn find_offered(&self, request: &ProgramRequest) -> Result<Offered> {
        let wanted = &request.program;
        let offered = self.programs_offered()?;
        let names: BTreeSet<_> = offered.iter().map(|one| one.id.name.to_string()).collect();
        let is_meant =
            |one: &Offered| one.id.name == wanted.name && request.signer.is_none_or(|signer| signer == one.id.signer);
        let found = offered.into_iter().find(is_meant).ok_or_else(|| {
            let hint = match names.is_empty() {
                true => "this node offers no programs".to_owned(),
                false => format!("it offers: {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            };
            Error::new(Code::UnknownService, format!("there is no program {} here", wanted.name)).hint(hint)
        })?;
        if let Some(range) = wanted.version.as_ref().filter(|range| !range.matches(&found.version)) {
            let why = format!("{} is offered in version {}, not in {range}", wanted.name, found.version);
            return Err(Error::new(Code::UnknownService, why));
        }
        if let Some(wanted) = request.enables.as_ref().filter(|wanted| !found.about.enables.contains(wanted)) {
            return Err(Error::new(Code::UnknownService, format!("{} does not enable {wanted}", found.id.name)));
        }
        Ok(found)
    }

    /// This node's own, made for a platform; or for the device alone where its templates look at that.
    fn make_program(&self, offered: &Offered, fit: &Fit, device: &Member) -> Result<Ware> {
        let offer = self.offer(&offered.id.name)?;
        let role =
            offer.definition.roles.get(&offered.role).ok_or_else(|| Error::new(Code::Internal, "the role is gone"))?;
        let given = self.offered_options(&offered.id.name)?;
        let resolved = resolve(&offer.definition.options, &given).map_err(|why| {
            Error::new(Code::BadOption, why.message).while_doing(format!("the options of {}", offered.id.name))
        })?;
        let roster = Roster { initiator: device.clone(), peers: Vec::new() };
        let bound = is_bound(&offer, role)?;
        let context = Context {
            options: &resolved.options,
            session: NO_SESSION,
            role: &offered.role,
            platform: &fit.platform,
            service_name: &offered.id.name,
            service_version: &offer.definition.version,
            roster: Some(&roster),
        };
        check_terms(role, &context)?;
        let context = Context { roster: context.roster.filter(|_| bound), ..context };
        let options = options_digest(&resolved.options, &BTreeMap::new());
        let job = Job {
            offer: &offer,
            role,
            context,
            options,
            session: None,
            generation: 1,
            device: bound.then_some(device.key),
        };
        let kept = blocking(|| self.make(&job, &Offers::of(&self.state, &offered.id.name).statements(), &|| true))?;
        self.notice(format!("{} for {} ({}): {}", offered.id.name, device.name, fit.platform, kept.told));
        let mut secrets = BTreeMap::new();
        for (name, text) in &resolved.secrets {
            let is_for =
                offer.definition.options.iter().any(|spec| spec.name == *name && spec.roles.contains(&offered.role));
            if is_for {
                let value = text.reveal().as_bytes().to_vec();
                secrets.insert(name.clone(), Secret::new(value, self.system.random())?);
            }
        }
        let service = ServiceId {
            name: offered.id.name.clone(),
            version: offer.definition.version.clone(),
            definition: offer.digest,
        };
        Ok(Ware { service, package: kept.package, manifest: kept.manifest, options: resolved.options, secrets })
    }

    /// Another's, as it came here.
    fn pass_on(&self, release: &Release) -> Result<Ware> {
        Ok(Ware {
            service: release.service.clone(),
            package: release.package,
            manifest: release.manifest,
            options: release.options.clone(),
            secrets: BTreeMap::new(),
        })
    }

    /// The options that devices get, as this node's owner wrote them.
    fn offered_options(&self, name: &ServiceName) -> Result<crate::service::option::Given> {
        let path = Offers::of(&self.state, name).options();
        let Some(bytes) = file::read_optional(&path, MAX_OPTIONS)? else { return Ok(BTreeMap::new()) };
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(Code::BadOption, format!("{} is not UTF-8 text", path.display())))?;
        parse_values(&text, "toml").map_err(|error| error.while_doing(path.display()))
    }

    fn deliver(
        &self,
        message: &Verified<Message>,
        offered: &Offered,
        fit: Fit,
        device: &Member,
        ware: Ware,
    ) -> Delivered {
        let now = self.system.now();
        let configuration = serde_json::json!({
            "name": device.name, "address": device.address, "role": device.role, "platform": device.platform,
            "offered_by": self.address(),
        });
        let body = ProgramDelivery {
            program: ware.service,
            signer: offered.id.signer,
            role: offered.role.clone(),
            platform: fit.platform,
            package: ware.package,
            manifest: ware.manifest,
            options: ware.options,
            secret_options: ware.secrets.iter().map(|(name, secret)| (name.clone(), secret.commitment())).collect(),
            configuration,
        };
        let head = Head {
            id: self.system.message_id(),
            from: self.key(),
            to: message.head.from,
            issued: now,
            in_reply_to: Some(message.head.id),
            expires: None,
        };
        let envelope = Message { head, body: body.into() }.seal(&self.identity.signing());
        let secrets: Secrets =
            ware.secrets.into_iter().map(|(name, secret)| (format!("option.{name}"), secret)).collect();
        Delivered { request: message.envelope().hash(), envelope, secrets, time: now }
    }
}

/// Whether templates of the software look at who it is for: then it is for that device alone.
fn is_bound(offer: &Offer, role: &Role) -> Result<bool> {
    let Build::Copy(build) = &role.build else { return Ok(false) };
    for name in &build.templates {
        let text = tree::read_text(&offer.folder.join(&build.copy).join(name))?;
        if sees_roster(name, &text)? {
            return Ok(true);
        }
    }
    Ok(false)
}
