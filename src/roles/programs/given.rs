//! What a program is given to run with: as in a session, but for what only a session has.

use std::path::PathBuf;

use super::offer::NO_SESSION;
use crate::message::Secret;
use crate::model::{Code, Error, Result};
use crate::process::plan::Plan;
use crate::roles::given::{Gift, bounds, lay_out};
use crate::roles::node::Node;
use crate::roles::part::Places;
use crate::service::launch::DATA;
use crate::service::roster::Roster;
use crate::service::template::{self, Context};
use crate::store::config::Confinement;
use crate::store::installs;
use crate::store::programs::{Program, ProgramId, Release};
use crate::store::secrets::Secrets as SecretStore;

impl Node {
    /// Files of a program, apart from its installation.
    pub fn program_places(&self, id: &ProgramId) -> Places {
        Places::in_folder(self.state.run().join("programs").join(id.file_name()))
    }

    /// Everything that this generation is run with: rendered, and its files laid out anew.
    pub(super) fn program_plan(&self, program: &Program, generation: u32, release: &Release) -> Result<Plan> {
        let run = release.terms.run.as_ref().ok_or_else(|| {
            Error::new(Code::WrongState, format!("{} is installed and has nothing to run", program.id.name))
        })?;
        let roster = Roster { initiator: release.device.clone(), peers: Vec::new() };
        let context = Context {
            options: &release.options,
            session: NO_SESSION,
            role: &release.role,
            platform: &release.fit.platform,
            service_name: &program.id.name,
            service_version: release.version(),
            roster: Some(&roster),
        };
        let run = template::render_run(run, &context)?;
        let permissions = template::render_permissions(&release.terms.permissions, &context)?;
        let root = self.program_root(program);
        let places = self.program_places(&program.id);
        let store = SecretStore::of_release(&self.state, &program.id, generation);
        let mut secrets = Vec::new();
        for name in &release.secrets {
            let secret = store.find_json::<Secret>(&format!("option.{name}"))?.ok_or_else(|| {
                Error::new(Code::Damaged, format!("the secret option {name} of {} is missing", program.id.name))
                    .hint("install the program again from where it came")
            })?;
            secrets.push((name.clone(), secret));
        }
        let gift = Gift {
            options: &release.options,
            roster: &roster,
            configuration: &release.configuration,
            secrets,
            service_secret: None,
            session: None,
            role: &release.role,
            platform: &release.fit.platform,
            data: root.join(DATA),
            seen_service: program.seen_service.as_ref(),
        };
        let mut variables = lay_out(&gift, &places)?;
        variables.insert("DEPLOYCTL_NAME".to_owned(), release.device.name.to_string());
        Ok(Plan {
            folder: installs::folder_of(&root, generation),
            command: started_by(release.fit.emulator.as_deref(), run.command),
            environment: run.environment,
            variables,
            data: root.join(DATA),
            deployctl: self.program.clone(),
            bounds: bounds(&permissions, &places, &root)?,
            require: self.config.policy.confinement == Confinement::Require,
            ready: run.ready,
            stop: run.stop,
            restart: run.restart,
            log: places.output,
            record: places.record,
        })
    }
}

/// A program of the package is started by the emulator; one of this machine is not.
fn started_by(emulator: Option<&str>, command: Vec<String>) -> Vec<String> {
    match emulator {
        Some(emulator) if command.first().is_some_and(|program| program.contains('/')) => {
            std::iter::once(emulator.to_owned()).chain(command).collect()
        }
        _ => command,
    }
}

/// Where the supervisor of a program writes.
pub(super) fn supervisor_log(node: &Node, id: &ProgramId) -> PathBuf {
    node.program_places(id).supervisor_log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_starts_what_is_in_the_package_and_nothing_else() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(started_by(Some("wine"), words(&["./app.exe", "-x"])), ["wine", "./app.exe", "-x"]);
        assert_eq!(started_by(Some("qemu-arm"), words(&["sh", "run.sh"])), ["sh", "run.sh"]);
        assert_eq!(started_by(None, words(&["./app"])), ["./app"]);
    }
}
