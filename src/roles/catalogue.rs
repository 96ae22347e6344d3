//! The provider's counter: what it offers, interfaces given out, service requests admitted (rows A1–A7).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::intake::{Source, repeat};
use super::node::Node;
use crate::message::verified::open_notification;
use crate::message::{
    Body, Envelope, Head, Interface, InterfaceRequest, Message, Secret, Secrets, ServiceId, ServiceRequest, Verified,
};
use crate::model::{Code, Digest, Error, Hash, Key, MessageId, Party, Result, ServiceName, SessionId, Span, Time};
use crate::node::Posted;
use crate::package::tree;
use crate::service::option::{OptionSpec, OptionValue, resolve};
use crate::service::{Definition, findings_to_error, parse, schema};
use crate::session::{Decision, What, deadline};
use crate::store::lock::Lock;
use crate::store::rights::Right;
use crate::store::secrets::Secrets as SecretStore;
use crate::store::seen::{Seen, SeenId, SeenStore};
use crate::store::{document, file};

/// A definition's text at most, in bytes.
const MAX_DEFINITION: u64 = 1 << 20;
/// How long a request waits for another one with the same interface.
const LOCK_WAIT: Span = Span::from_secs(10);

/// One service that this node offers.
#[derive(Clone, Debug)]
pub struct Offer {
    pub folder: PathBuf,
    pub definition: Definition,
    /// Over the whole folder.
    pub digest: Digest,
}

/// An interface that was given out, in `interfaces/ID.json` (0600: the key is in it).
#[derive(Serialize, Deserialize)]
struct GivenOut {
    request: Hash,
    initiator: Key,
    interface: Envelope,
    key: Secret,
    expires: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_by: Option<SessionId>,
}

impl Node {
    /// The names of the services in the services folder.
    pub fn offered(&self) -> Result<Vec<ServiceName>> {
        let mut names: Vec<ServiceName> =
            file::list(&self.services)?.iter().filter_map(|name| name.parse().ok()).collect();
        names.retain(|name| file::exists(&self.services.join(&**name).join("service.toml")).unwrap_or(false));
        names.sort();
        Ok(names)
    }
    /// Reads the definition of a service.
    ///
    /// # Errors
    /// `unknown-service` with what there is; `bad-definition` with everything that is wrong.
    pub fn offer(&self, name: &ServiceName) -> Result<Offer> {
        let folder = self.services.join(&**name);
        if !file::exists(&folder.join("service.toml"))? {
            let offered = self.offered()?;
            let names: Vec<_> = offered.iter().map(ToString::to_string).collect();
            let hint = if names.is_empty() {
                "this provider offers nothing; its owner names the folder of its services by `serve --services`, or for \
                 all commands by `[serve] services` in config.toml"
                    .to_owned()
            } else {
                format!("it offers: {}", names.join(", "))
            };
            return Err(Error::new(Code::UnknownService, format!("there is no service {name} here")).hint(hint));
        }
        load_offer(folder, Some(name))
    }
    /// Tells of the services in the services folder that nobody can have, because their definitions do not read.
    ///
    /// # Errors
    /// `io` where the folder cannot be listed.
    pub(super) fn tell_of_broken_services(&self) -> Result<()> {
        for name in self.offered()? {
            if let Err(error) = self.definition(&name) {
                self.notice(format!("not offered: {error}"));
            }
        }
        Ok(())
    }
    /// The definition of a service alone, without what its folder holds beside it.
    pub(super) fn definition(&self, name: &ServiceName) -> Result<Definition> {
        load_definition(&self.services.join(&**name), Some(name))
    }
}

/// Reads a service's folder.
pub fn load_offer(folder: PathBuf, name: Option<&ServiceName>) -> Result<Offer> {
    let definition = load_definition(&folder, name)?;
    let digest = digest_of(&folder)?;
    Ok(Offer { folder, definition, digest })
}

/// Reads a service's definition alone, which is quick whatever else is in its folder.
pub(super) fn load_definition(folder: &std::path::Path, name: Option<&ServiceName>) -> Result<Definition> {
    let path = folder.join("service.toml");
    if !file::exists(&path)? {
        return Err(Error::new(Code::NotFound, format!("there is no {}", path.display()))
            .hint("a service is a folder with a service.toml in it"));
    }
    let bytes = file::read_limited(&path, MAX_DEFINITION)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(Code::BadDefinition, format!("{} is not UTF-8 text", path.display())))?;
    let label = path.display().to_string();
    parse(&label, &text, name.map(|name| &**name)).map_err(|findings| findings_to_error(&findings))
}

/// What names a definition: over its whole folder.
pub(super) fn digest_of(folder: &std::path::Path) -> Result<Digest> {
    let tree = tree::hash_folder(folder)?;
    Ok(Digest::of(format!("deployctl definition v1\n{tree}\n").as_bytes()))
}

/// Whoever asks for a service learns what is wrong with it, but not where this node keeps it; this node's owner, both.
fn told(node: &Node, error: Error) -> Error {
    if error.code != Code::BadDefinition {
        return error;
    }
    node.notice(format!("a service was asked for and could not be offered: {error}"));
    let folder = format!("{}/", node.services.display());
    Error::new(error.code, error.message.replace(&folder, "")).hint("its provider has to mend the definition")
}

/// A2–A4: answers an interface request. A true repeat gets the same interface; an id or nonce used for something else is
/// refused.
pub(super) fn interface_request(node: &Node, message: &Verified<Message>, source: Source) -> Result<Posted> {
    permit(node, source, Right::Request, "ask for services")?;
    let Body::InterfaceRequest(request) = &message.body else {
        return Err(Error::new(Code::Internal, "not an interface request"));
    };
    let path = node.state.interface(message.head.id);
    // A waiting command and its node's `serve` may ask at the same moment.
    let _lock = lock(node, message.head.id)?;
    let hash = message.envelope().hash();
    if let Some(given) = document::read_json::<GivenOut>(&path)? {
        if given.request != hash {
            return Err(Error::new(Code::Replay, "the id of this interface-request was used before for another"));
        }
        return Ok(given.posted());
    }
    message.check_fresh(&node.key(), node.system.now())?;
    if request.initiator.key != message.head.from {
        return Err(Error::new(Code::WrongKey, "the interface-request names another Initiator than its sender"));
    }
    let offer = node.offer(&request.service.name).map_err(|error| told(node, error))?;
    if let Some(range) = &request.service.version
        && !range.matches(&offer.definition.version)
    {
        let (name, version) = (&offer.definition.name, &offer.definition.version);
        return Err(Error::new(
            Code::UnknownService,
            format!("{name} is offered in version {version}, not in {range}"),
        ));
    }
    let expires = message.head.expires.unwrap_or_else(|| node.system.now()) + deadline::INTERFACE_VALID;
    if SeenStore::of(&node.state).remember(SeenId::Nonce(request.nonce), hash, expires)? == Seen::Other {
        return Err(Error::new(Code::Replay, "the nonce of this interface-request was used before"));
    }
    let given = give_out(node, message, request, &offer)?;
    file::create_dir_private(&node.state.interfaces())?;
    // The same request may come twice at once, from a command and from the Initiator's `serve`: both get the interface
    // that was kept first, or one of them would hold a key that nobody knows.
    if document::write_new_json(&path, &given, file::PRIVATE)? {
        return Ok(given.posted());
    }
    let kept = document::read_json::<GivenOut>(&path)?;
    kept.filter(|kept| kept.request == hash)
        .map(|kept| kept.posted())
        .ok_or_else(|| Error::new(Code::Replay, "the id of this interface-request was used before for another"))
}

/// Held while an interface is given out or used: it is one, and is used once.
fn lock(node: &Node, interface_request: MessageId) -> Result<Lock> {
    Lock::acquire(&node.state.lock(&format!("interface-{interface_request}")), "an interface", LOCK_WAIT)
}

fn give_out(node: &Node, message: &Verified<Message>, request: &InterfaceRequest, offer: &Offer) -> Result<GivenOut> {
    let now = node.system.now();
    let expires = now + deadline::INTERFACE_VALID;
    let key = Secret::new(node.system.random::<32>().to_vec(), node.system.random())?;
    let definition = &offer.definition;
    let body = Interface {
        interface_request: message.head.id,
        request_nonce: request.nonce,
        service: ServiceId {
            name: definition.name.clone(),
            version: definition.version.clone(),
            definition: offer.digest,
        },
        summary: definition.summary.clone(),
        schema: schema::to_schema(definition),
        roles: definition.roles.iter().map(|(name, role)| (name.clone(), role.terms.clone())).collect(),
        tariff: definition.tariff.clone(),
        nonce: node.system.nonce(),
        key: key.commitment(),
    };
    let head = Head {
        id: node.system.message_id(),
        from: node.key(),
        to: message.head.from,
        issued: now,
        in_reply_to: Some(message.head.id),
        expires: Some(expires),
    };
    let interface = Message { head, body: body.into() }.seal(&node.identity.signing());
    Ok(GivenOut {
        request: message.envelope().hash(),
        initiator: message.head.from,
        interface,
        key,
        expires,
        used_by: None,
    })
}

impl GivenOut {
    fn posted(&self) -> Posted {
        Posted { envelope: self.interface.clone(), secrets: Secrets::from([("key".to_owned(), self.key.clone())]) }
    }
}

/// A6, A7: admits a service request and registers it, durably, before the answer leaves.
pub(super) fn service_request(
    node: &Node,
    message: &Verified<Message>,
    secrets: &Secrets,
    source: Source,
) -> Result<Option<Posted>> {
    permit(node, source, Right::Request, "ask for services")?;
    let Body::ServiceRequest(request) = &message.body else {
        return Err(Error::new(Code::Internal, "not a service request"));
    };
    let session = SessionId::of_request(message.head.id);
    let mut sitting = node.sit(session, Party::Provider)?;
    if let Some(replayed) = &sitting.replayed {
        let answer = repeat(replayed, message)?.ok_or_else(|| {
            Error::new(Code::Replay, "this session is registered already, with another request").about(session)
        })?;
        return Ok(answer.map(|sent| Posted { envelope: sent.envelope.clone(), secrets: Secrets::new() }));
    }
    message.check_fresh(&node.key(), node.system.now())?;
    let path = node.state.interface(request.interface_request);
    let _lock = lock(node, request.interface_request)?;
    let mut given = claim(node, &path, message.head.from, session)?;
    admit(request, &given, message.head.id, secrets)?;
    let store = SecretStore::of(&node.state, session);
    store.put_json("key", &given.key)?;
    for name in request.secret_options.keys() {
        let name = format!("option.{name}");
        if let Some(secret) = secrets.get(&name) {
            store.put_json(&name, secret)?;
        }
    }
    given.used_by = Some(session);
    document::write_json(&path, &given, file::PRIVATE)?;
    let open = Decision::Open { interface: given.interface, provider: node.address(), tells_tariff: true };
    let seen_from = source.ip.map(|ip| ip.to_string());
    let sent = sitting.step_all(vec![What::Decided(open), What::Received { message: message.clone(), seen_from }])?;
    Ok(sent.into_iter().find(|sent| sent.reply).map(|sent| Posted { envelope: sent.envelope, secrets: Secrets::new() }))
}

/// The interface that the request was made with: given to this Initiator, not used by another session, not expired.
fn claim(node: &Node, path: &std::path::Path, from: Key, session: SessionId) -> Result<GivenOut> {
    let unknown = || {
        Error::new(Code::NotFound, "the service request was made with an interface that is not known here (any more)")
            .hint("run `deployctl request` again: it asks for a new one")
    };
    let given: GivenOut = document::read_json(path)?.ok_or_else(unknown)?;
    if given.initiator != from {
        return Err(Error::new(Code::NotPermitted, "the interface was given to another Initiator"));
    }
    if given.used_by.is_some_and(|used_by| used_by != session) {
        return Err(
            Error::new(Code::Replay, "one interface serves one service request, and this one was used").about(session)
        );
    }
    if given.expires < node.system.now() {
        return Err(Error::new(Code::Expired, format!("the interface expired at {}", given.expires))
            .hint("run `deployctl request` again"));
    }
    Ok(given)
}

/// What only the provider can check: the options against the schema, the secrets against their commitments, the
/// notifications against the request and the key.
fn admit(request: &ServiceRequest, given: &GivenOut, id: MessageId, secrets: &Secrets) -> Result<()> {
    let interface = Verified::from_own_log(given.interface.clone())?;
    let Body::Interface(interface) = &interface.body else {
        return Err(Error::new(Code::Damaged, "the stored interface is not one"));
    };
    let specs = schema::from_schema(&interface.schema)?;
    check_options(&specs, request, secrets)?;
    let session = SessionId::of_request(id);
    for invitee in &request.peers {
        let (message, notification) =
            open_notification(&invitee.notification, &request.initiator.address.key, &invitee.address.key)?;
        notification.check_matches(request, session, invitee)?;
        given.key.check_proof(message.head.id, &notification.key_proof)?;
    }
    Ok(())
}

fn check_options(specs: &[OptionSpec], request: &ServiceRequest, secrets: &Secrets) -> Result<()> {
    let mut given: BTreeMap<_, serde_json::Value> =
        request.options.iter().map(|(name, value)| (name.clone(), OptionValue::to_json(value))).collect();
    for (name, commitment) in &request.secret_options {
        let label = format!("option.{name}");
        let secret = secrets.get(&label).ok_or_else(|| {
            Error::new(Code::BadProof, format!("the value of the secret option {name} is missing beside the request"))
        })?;
        secret.open(commitment, &label)?;
        let text = String::from_utf8(secret.value().to_vec())
            .map_err(|_| Error::new(Code::BadOption, format!("the secret option {name} is not text")))?;
        given.insert(name.clone(), text.into());
    }
    let resolved = resolve(specs, &given)?;
    if resolved.options != request.options {
        return Err(Error::new(
            Code::BadOption,
            "the request's options are not those of the interface with its defaults",
        ));
    }
    Ok(())
}

/// Rights are looked up at every request, so that removing a contact takes effect at once.
fn permit(node: &Node, source: Source, right: Right, what: &str) -> Result<()> {
    let contact = node.contacts.by_key(&source.key, node.system.now())?;
    match contact {
        Some(contact) if contact.may.may(right) => Ok(()),
        Some(contact) => Err(Error::new(Code::NotPermitted, format!("{} may not {what} here", contact.name))
            .hint(format!("on the provider: deployctl trust add {} {} --may {right}", contact.name, contact.address))),
        None => {
            Err(Error::new(Code::NotPermitted, format!("{} is not known here and may not {what}", source.key.short()))
                .hint(format!("on the provider: deployctl trust add NAME deploy://{} --may {right}", source.key)))
        }
    }
}
