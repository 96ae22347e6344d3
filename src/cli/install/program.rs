//! `deployctl install PROGRAM`

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::Args;
use super::sought::ask_around;
use crate::cli::acquaint::in_groups;
use crate::cli::shell::Shell;
use crate::cli::status::program::describe;
use crate::cli::verify::key_of;
use crate::model::program_uri::ProgramUri;
use crate::model::{Address, Code, Error, Result};
use crate::roles::Node;
use crate::roles::programs::Summary;
use crate::roles::programs::ask::{Parcel, Standing, Wanted};
use crate::roles::programs::install::{Installed as Outcome, Wish};
use crate::roles::programs::offer::NO_SESSION;
use crate::service::consent::terms_text;
use crate::service::roster::Roster;
use crate::service::template::{Context, preview_permissions, preview_run};
use crate::store::config::Consent;
use crate::store::programs::ProgramId;
use crate::ui::escape::escape_line;
use crate::ui::time::relative;

/// Which program, and where it is to come from.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) wanted: Wanted,
    pub(super) source: Option<Address>,
}

#[derive(Serialize)]
struct Installed {
    #[serde(flatten)]
    program: Summary,
    /// It had been installed before.
    already: bool,
}

/// What is meant by a name, `NAME@SIGNER` or a URI.
pub(super) fn order(text: &str, from: Option<&str>, shell: &Shell, node: &Node) -> Result<Order> {
    let source = from.map(|from| address_of(from, node)).transpose()?;
    if text.starts_with("deploy://") {
        let ProgramUri { source: named, name, version, signer } = text.parse()?;
        return Ok(Order {
            wanted: Wanted { name, version, signer, enables: None },
            source: Some(source.unwrap_or(named)),
        });
    }
    let (name, signer) = text.split_once('@').map_or((text, None), |(name, signer)| (name, Some(signer)));
    let signer = signer.map(|signer| key_of(signer, shell)).transpose()?;
    Ok(Order { wanted: Wanted { name: name.parse()?, version: None, signer, enables: None }, source })
}

/// A node by the name of its contact, or its address.
pub(crate) fn address_of(text: &str, node: &Node) -> Result<Address> {
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Ok(node.contacts.by_name(text)?.address),
    }
}

pub(super) async fn install(order: Order, args: &Args, wish: Wish, node: &Arc<Node>, shell: &Shell) -> Result<()> {
    let parcel = match &order.source {
        Some(source) => node.ask_for_program(source, &order.wanted, shell.timeout).await?,
        None => ask_around(&order.wanted, args, node, shell).await?,
    };
    consent(node, &parcel, shell)?;
    let installed = node.install_program(&parcel, &wish).await;
    // What could not be sent stays, and goes while `serve` or another command runs.
    let sent = node.send_mail().await;
    let installed = installed?;
    sent?;
    go_on(installed, args, node, shell).await
}

/// Installs a package that lies here as a file.
pub(super) async fn install_file(
    package: &Path,
    manifest: &Path,
    args: &Args,
    wish: &Wish,
    node: &Arc<Node>,
    shell: &Shell,
) -> Result<()> {
    let parcel = node.open_program_file(manifest)?;
    consent(node, &parcel, shell)?;
    go_on(node.install_program_file(package, &parcel, wish)?, args, node, shell).await
}

/// Starts it where that is asked for, or where it ran before; and shows what is installed now.
async fn go_on(installed: Outcome, args: &Args, node: &Arc<Node>, shell: &Shell) -> Result<()> {
    let (id, already) = (installed.program.id.clone(), installed.already);
    if already {
        shell.ui.note("it is installed already");
    }
    // What ran before is running the new generation already, or has given it up: to want it once more would hide why.
    let takes_over = installed.program.wanted && !already;
    let program = match args.start || installed.program.wanted {
        true => run(node, &id, args.start && !takes_over, shell).await?,
        false => installed.program,
    };
    let installed = Installed { program: node.summarize(&program)?, already };
    shell.ui.data(&installed, || describe(&installed.program))
}

/// Starts it, or waits until what was running before runs again with what is new.
async fn run(node: &Arc<Node>, id: &ProgramId, start: bool, shell: &Shell) -> Result<crate::store::programs::Program> {
    match start {
        true => node.start_program(id)?,
        false => node.see_that_program_runs(id)?,
    }
    let ready = node.wait_for_program(id, shell.timeout).await;
    node.send_mail().await?;
    ready
}

/// Goes back to the generation before.
pub(super) async fn roll_back(id: &ProgramId, node: &Arc<Node>, shell: &Shell) -> Result<()> {
    let program = node.roll_back_program(id)?;
    let program = match program.wanted {
        true => run(node, &program.id, false, shell).await?,
        false => program,
    };
    let summary = node.summarize(&program)?;
    shell.ui.note(&format!("{} is back at the generation before", summary.program));
    shell.ui.data(&summary, || describe(&summary))
}

/// Shows what a yes means, and asks for it; unless policy says yes to those that are trusted.
fn consent(node: &Node, parcel: &Parcel, shell: &Shell) -> Result<()> {
    let standing = node.standing(&parcel.id.signer)?;
    if node.config.policy.programs == Consent::Auto && matches!(standing, Standing::Trusted(_)) {
        return Ok(());
    }
    for line in screen(node, parcel, &standing)? {
        shell.ui.note(&line);
    }
    if shell.ui.confirm("Install this?", "--yes")? {
        return Ok(());
    }
    Err(Error::new(Code::PromptNeeded, "not installed: the answer was no"))
}

/// The consent screen (row B18).
fn screen(node: &Node, parcel: &Parcel, standing: &Standing) -> Result<Vec<String>> {
    let (manifest, about) = (&parcel.manifest, &parcel.about);
    let mut lines = vec![format!("{} {}: {}", manifest.name, manifest.version, escape_line(&about.summary))];
    if let Some(category) = &about.category {
        lines.push(format!("  Category: {}", escape_line(category)));
    }
    lines.push(format!("  License:  {}", manifest.license.as_deref().map_or("none is named".into(), escape_line)));
    let now = node.system.now();
    let key = parcel.id.signer;
    lines.push(match standing {
        Standing::Trusted(contact) => {
            format!(
                "  Signed by {}, known here since {} ({})",
                contact.name,
                contact.since,
                relative(contact.since, now)
            )
        }
        Standing::Known(contact) => {
            format!("  Signed by {}, which may not provide software here", contact.name)
        }
        Standing::Unknown => format!("  Signed by somebody UNKNOWN here, key {}", in_groups(&key)),
    });
    if let Some((source, _)) = parcel.source.as_ref().filter(|(source, _)| source.key != key) {
        let name = node.contacts.by_key(&source.key, node.system.now())?.map(|contact| contact.name.to_string());
        lines.push(format!("  Handed over by {}", name.unwrap_or_else(|| in_groups(&source.key))));
    }
    let roster = Roster { initiator: parcel.device.clone(), peers: Vec::new() };
    let context = Context {
        options: &parcel.options,
        session: NO_SESSION,
        role: &manifest.role,
        platform: &parcel.fit.platform,
        service_name: &manifest.name,
        service_version: &manifest.version,
        roster: Some(&roster),
    };
    let mut terms = manifest.terms.clone();
    terms.permissions = preview_permissions(&terms.permissions, &context)?;
    terms.run = terms.run.as_ref().map(|run| preview_run(run, &context)).transpose()?;
    lines.extend(terms_text(&terms).iter().map(|line| format!("  {}", escape_line(line))));
    if !parcel.fit.by.is_empty() {
        lines.push(format!("  It runs here by {}.", escape_line(&parcel.fit.by.join(" and "))));
    }
    for (name, value) in parcel.options.iter() {
        lines.push(format!("  option {name} = {}", escape_line(&value.to_string())));
    }
    lines.push(format!("  {} bytes. To undo: deployctl remove {}", manifest.package.size, manifest.name));
    Ok(lines)
}
