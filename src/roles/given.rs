//! What a role's program is given to run with: its rendered command, its environment and the files that this names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::node::Node;
use super::part::{Part, Places};
use crate::message::Secret;
use crate::message::secret::{roster_secret, service_secret};
use crate::model::{Code, Error, Name, OptionName, ParticipantState, Party, Result, RoleName, SessionId};
use crate::process::plan::{Plan, SCRATCH};
use crate::process::sandbox::{Bounds, Reach};
use crate::service::definition::Permissions;
use crate::service::launch::{DATA, relative_path};
use crate::service::option::Options;
use crate::service::platform::Platform;
use crate::service::roster::Roster;
use crate::service::template;
use crate::session::Summary;
use crate::store::config::Confinement;
use crate::store::secrets::Secrets as SecretStore;
use crate::store::{file, installs, tree};

/// Everything that the program is run with: rendered, and its files laid out anew.
pub(super) fn plan(node: &Node, part: &Part, places: &Places) -> Result<Plan> {
    let platform = Platform::here();
    let context = part.context(&platform);
    let run = part.terms.run.as_ref().ok_or_else(|| Error::new(Code::WrongState, "this role is not run"))?;
    let run = template::render_run(run, &context)?;
    let permissions = template::render_permissions(&part.terms.permissions, &context)?;
    let root = node.install_root(part.session, part.party, &part.role)?;
    // Not `current`: the next generation may be installed already, beside the one in charge.
    let generation = part.delivery.generation;
    if !installs::look(&root)?.is_some_and(|status| status.generations.contains_key(&generation)) {
        return Err(Error::new(Code::WrongState, "the software is not installed"));
    }
    Ok(Plan {
        folder: installs::folder_of(&root, generation),
        command: run.command,
        environment: run.environment,
        variables: variables(node, part, places, &root)?,
        data: root.join(DATA),
        deployctl: node.program.clone(),
        bounds: bounds(&permissions, places, &root)?,
        require: node.config.policy.confinement == Confinement::Require,
        ready: run.ready,
        stop: run.stop,
        restart: run.restart,
        log: places.output.clone(),
        record: places.record.clone(),
    })
}

/// What the program may use, as its terms say. Temporary files are allowed to everyone.
pub(super) fn bounds(permissions: &Permissions, places: &Places, root: &Path) -> Result<Bounds> {
    let network = permissions.network.iter().map(|text| text.parse()).collect::<Result<Vec<_>>>()?;
    let mut write = vec![root.join(DATA).join(SCRATCH)];
    for folder in &permissions.write {
        write.push(relative_path(folder)?.iter().fold(root.to_owned(), |path, part| path.join(part)));
    }
    Ok(Bounds {
        read: vec![given(places)],
        write,
        files: vec![places.usage.clone()],
        network: Reach::of(&network),
        limits: None,
    })
}

/// The folder of the files that the program gets. It stays the same one while the program runs, whoever supervises it:
/// the kernel knows it by more than its name.
fn given(places: &Places) -> PathBuf {
    places.folder.join("given")
}

/// The `DEPLOYCTL_…` variables and the files that they name.
fn variables(node: &Node, part: &Part, places: &Places, root: &Path) -> Result<BTreeMap<String, String>> {
    let store = SecretStore::of(&node.state, part.session);
    let mut secrets = Vec::new();
    for name in &part.secrets {
        secrets.extend(store.find_json::<Secret>(&format!("option.{name}"))?.map(|secret| (name.clone(), secret)));
    }
    let key = store.find_json::<Secret>("key")?;
    let roster = store.find_json::<Secret>(&roster_secret(part.delivery.generation))?;
    let (Some(key), Some(roster)) = (key, roster) else {
        return Err(Error::new(Code::Damaged, "the session's key is missing")
            .hint("restore the folder secrets/ of the session, or request the service again"));
    };
    let secret = data_encoding::BASE32_NOPAD_NOCASE.encode(&service_secret(&key, &roster)).to_ascii_lowercase();
    let gift = Gift {
        options: &part.options,
        roster: part.roster(),
        configuration: &part.delivery.configuration,
        secrets,
        service_secret: Some(secret),
        session: Some(part.session),
        role: &part.role,
        platform: &Platform::here(),
        data: root.join(DATA),
        seen_service: None,
    };
    let mut variables = lay_out(&gift, places)?;
    let roster = part.roster();
    let me = match part.party {
        Party::Initiator => Some(&roster.initiator),
        _ => roster.peers.iter().find(|peer| peer.key == node.key() && peer.role == part.role),
    };
    variables.extend(me.map(|me| ("DEPLOYCTL_NAME".to_owned(), me.name.to_string())));
    if part.party == Party::Initiator {
        variables.insert("DEPLOYCTL_PRESENT".to_owned(), present_folder(places).display().to_string());
    }
    Ok(variables)
}

/// What there is for a program beside its software.
pub(super) struct Gift<'a> {
    pub options: &'a Options,
    pub roster: &'a Roster,
    pub configuration: &'a serde_json::Value,
    /// Secret options.
    pub secrets: Vec<(OptionName, Secret)>,
    /// The session's derived secret, base32.
    pub service_secret: Option<String>,
    pub session: Option<SessionId>,
    pub role: &'a RoleName,
    pub platform: &'a Platform,
    pub data: PathBuf,
    /// The advertised service that it is for.
    pub seen_service: Option<&'a serde_json::Value>,
}

/// Lays out the files anew; gives the variables that name them.
pub(super) fn lay_out(gift: &Gift<'_>, places: &Places) -> Result<BTreeMap<String, String>> {
    let given = given(places);
    file::create_dir_private(&given)?;
    // What an earlier run of the program wrote stays.
    file::write_new(&places.usage, b"", file::PRIVATE)?;
    let option_files = given.join("options");
    tree::remove(&option_files)?;
    file::create_dir_private(&option_files)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = given.join(name);
        file::write_atomic_unsynced(&path, bytes, file::PRIVATE).map(|()| path.display().to_string())
    };
    for (name, secret) in &gift.secrets {
        file::write_atomic_unsynced(&option_files.join(&**name), secret.value(), file::PRIVATE)?;
    }
    let mut pairs = vec![
        ("OPTIONS", put("options.json", &json(gift.options))?),
        ("ROSTER", put("roster.json", &json(gift.roster))?),
        ("CONFIGURATION", put("configuration.json", &json(gift.configuration))?),
        ("USAGE_FILE", places.usage.display().to_string()),
        ("OPTION_FILES", option_files.display().to_string()),
        ("ROLE", gift.role.to_string()),
        ("PLATFORM", gift.platform.to_string()),
        ("DATA", gift.data.display().to_string()),
    ];
    if let Some(secret) = &gift.service_secret {
        pairs.push(("SECRET_FILE", put("secret", format!("{secret}\n").as_bytes())?));
    }
    if let Some(session) = gift.session {
        pairs.push(("SESSION", session.to_string()));
    }
    if let Some(seen) = gift.seen_service {
        pairs.push(("SEEN_SERVICE", put("seen-service.json", &json(seen))?));
    }
    Ok(pairs.into_iter().map(|(name, value)| (format!("DEPLOYCTL_{name}"), value)).collect())
}

fn present_folder(places: &Places) -> PathBuf {
    given(places).join("present")
}

/// Who takes part now, as `$DEPLOYCTL_PRESENT` tells the Initiator's program: a folder with a file for each participant, by
/// its name, in which its role is. Who has declined, left, failed or come to rest has none any more.
pub(super) struct Present {
    folder: PathBuf,
    /// As the files say; nothing is known of them at first.
    told: Option<BTreeSet<(Name, RoleName)>>,
}

impl Present {
    pub(super) fn new(places: &Places) -> Self {
        Self { folder: present_folder(places), told: None }
    }
    /// Brings the files up to what is known of the session.
    ///
    /// # Errors
    /// `io`, `disk-full`.
    pub(super) fn keep(&mut self, summary: &Summary) -> Result<()> {
        use ParticipantState::{Accepted, Confirmed, Delivered, Installed};
        let takes_part = |state| matches!(state, Accepted | Delivered | Installed | Confirmed);
        let here = summary.participants.iter().filter(|one| takes_part(one.state));
        let now: BTreeSet<_> = here.map(|one| (one.name.clone(), one.role.clone())).collect();
        if self.told.as_ref() == Some(&now) {
            return Ok(());
        }
        file::create_dir_private(&self.folder)?;
        for name in file::list(&self.folder)? {
            if !now.iter().any(|(present, _)| **present == *name) {
                file::remove_unsynced(&self.folder.join(name))?;
            }
        }
        for (name, role) in &now {
            file::write_atomic_unsynced(&self.folder.join(&**name), format!("{role}\n").as_bytes(), file::PRIVATE)?;
        }
        self.told = Some(now);
        Ok(())
    }
}

/// A file for the program to read.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("names, numbers and texts serialize")
}
