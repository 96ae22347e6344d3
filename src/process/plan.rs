//! What is to be run and how: everything that a supervisor has to know, rendered and decided by its caller.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::confine::Confinement;
use super::sandbox::Bounds;
use super::{PATH, host};
use crate::model::error::{Error, IoContext, Result};
use crate::model::{Code, Nonce};
use crate::service::definition::{Ready, Restart, Stop};
use crate::store::file;

/// The variable that every process of a run inherits, by which those are found that left its process group.
pub(super) const RUN_VARIABLE: &str = "DEPLOYCTL_RUN";

/// Where a program's guard says how it goes, beside the run record.
pub(super) const REPORT: &str = "confined.jsonl";
/// The folder for temporary files, in the data folder.
pub const SCRATCH: &str = "tmp";

/// One program, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The generation's folder: the working directory, and where a program with a slash is taken from.
    pub folder: PathBuf,
    /// The program and its arguments, with no template expressions left.
    pub command: Vec<String>,
    /// What the service's definition adds to the environment. May replace all but `DEPLOYCTL_…`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The `DEPLOYCTL_…` variables.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The program's own folder; its home, with `tmp/` in it as its place for temporary files. Must exist.
    pub data: PathBuf,
    /// This program's file, which holds the service's.
    pub deployctl: PathBuf,
    /// What it may use beside the system's folders, its own two (to read) and its log. Folders to write in are the data
    /// folder and those below it; they are made.
    pub bounds: Bounds,
    /// Not started where this kernel does not hold all of the bounds.
    #[serde(default)]
    pub require: bool,
    /// Absent: ready when it has been running for 100 ms, or has ended well before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    #[serde(default)]
    pub stop: Stop,
    #[serde(default)]
    pub restart: Restart,
    /// Where standard output and standard error go: appended; at 8 MiB the content moves to the same name with `.1`.
    pub log: PathBuf,
    /// The record by which another supervisor finds the program. Its folder must exist; what the guard is told and says
    /// is beside it.
    pub record: PathBuf,
}

impl Plan {
    /// The program's file.
    ///
    /// # Errors
    /// `bad-definition` where there is no command or it leads out of the folder, `service-failed` where the file is
    /// missing or not executable, `unsuitable` where this machine has no such program.
    pub(super) fn program(&self) -> Result<PathBuf> {
        let Some(program) = self.command.first().filter(|program| !program.is_empty()) else {
            return Err(Error::new(Code::BadDefinition, "the role's command is empty")
                .hint("give `command` in the role's `run` section"));
        };
        if program.contains('/') {
            return self.inside(program);
        }
        host::find_executable(program).ok_or_else(|| {
            Error::new(Code::Unsuitable, format!("“{program}” is not installed on this machine (looked in {PATH})"))
                .hint(format!(
                    "install it; if it is part of the service, its author writes it with a slash: ./{program}"
                ))
        })
    }

    /// What the program's guard is told, and where it says how it goes.
    pub(super) fn guard_files(&self) -> [PathBuf; 2] {
        ["confinement.json", REPORT].map(|name| self.record.with_file_name(name))
    }

    /// What is to be run and within what. Makes the folders that may be written.
    ///
    /// # Errors
    /// Those of [`Plan::program`]; `bad-definition` for the environment; `io` where a folder cannot be made.
    pub(super) fn confinement(&self, run: Nonce) -> Result<Confinement> {
        let mut bounds = self.bounds.clone();
        bounds.read.extend([self.folder.clone(), self.data.clone()]);
        bounds.files.push(self.log.clone());
        bounds.write.clear();
        for folder in &self.bounds.write {
            // What the program put there in an earlier run must not lead it out now.
            if make_below(&self.data, folder)? {
                bounds.write.push(folder.clone());
            }
        }
        Ok(Confinement {
            program: self.program()?,
            arguments: self.command.iter().skip(1).cloned().collect(),
            environment: self.whole_environment(run)?,
            folder: self.folder.clone(),
            bounds,
            require: self.require,
            most: None,
        })
    }

    /// The environment, complete.
    ///
    /// # Errors
    /// `bad-definition` where a name or a value cannot be one.
    pub(super) fn whole_environment(&self, run: Nonce) -> Result<BTreeMap<String, String>> {
        let data = self.data.display();
        let mut all = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), data.to_string()),
            ("TMPDIR".to_owned(), format!("{data}/{SCRATCH}")),
        ]);
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') || name.starts_with("DEPLOYCTL_") {
                return Err(Error::new(Code::BadDefinition, format!("“{name}” cannot be set in `environment`"))
                    .hint("names hold no “=”, and those that begin with DEPLOYCTL_ are deployctl's own"));
            }
            all.insert(name.clone(), value.clone());
        }
        all.extend(self.variables.clone());
        all.insert(RUN_VARIABLE.to_owned(), run.to_string());
        Ok(all)
    }

    fn inside(&self, program: &str) -> Result<PathBuf> {
        let path = within(&self.folder, program).ok_or_else(|| leads_out(program))?;
        let missing = || {
            Error::new(Code::ServiceFailed, format!("the service has no program “{program}”"))
                .hint("its author must build it into the package, or correct `command` in the `run` section")
        };
        let real = std::fs::canonicalize(&path).map_err(|_| missing())?;
        let folder = std::fs::canonicalize(&self.folder).doing("opening", &self.folder)?;
        if !real.starts_with(&folder) {
            return Err(leads_out(program));
        }
        if !host::is_executable(&real) {
            return Err(Error::new(Code::ServiceFailed, format!("“{program}” of the service is not executable"))
                .hint("its author must make it so (chmod +x) before building"));
        }
        // By its own name, not that of what a link in the folder leads to: some programs go by it.
        within(&folder, program).ok_or_else(|| leads_out(program))
    }
}

/// Makes `folder`, which is `base` or below it, with those between; says whether it is one that no link leads to.
fn make_below(base: &Path, folder: &Path) -> Result<bool> {
    let Ok(relative) = folder.strip_prefix(base) else { return Ok(false) };
    let mut path = base.to_owned();
    for part in relative.components() {
        path.push(part);
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(_) => file::create_dir_private(&path)?,
        }
    }
    Ok(true)
}

fn leads_out(program: &str) -> Error {
    Error::new(Code::BadDefinition, format!("the program “{program}” is outside the service's folder"))
        .hint("a program with a slash is taken from the service's own folder; others are given by name alone")
}

/// `relative` below `folder`, if it names nothing outside. Symbolic links are not looked at.
pub(super) fn within(folder: &Path, relative: &str) -> Option<PathBuf> {
    let relative = Path::new(relative);
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (stays && relative.components().any(|part| matches!(part, Component::Normal(_)))).then(|| folder.join(relative))
}
