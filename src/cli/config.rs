//! `deployctl config`

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::Cli;
use super::shell::Shell;
use crate::model::suggest::nearest;
use crate::model::{Code, Error, Result};
use crate::store::config::{Config, KEYS};
use crate::ui::table::table;

/// Show this node's settings, and where each comes from
///
/// A flag is stronger than a variable of the environment, that is stronger than config.toml in the state directory, and
/// that is stronger than the default. config.toml is written by people only; the page deployctl-config.toml(5) tells
/// what can be in it.
#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  deployctl config
  deployctl config get accounting.interval
  deployctl --format json config

A file that is wrong is an error, which names its line: so `deployctl config` checks it, too.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show the value of one setting
    #[command(after_long_help = "Examples:
  deployctl config get serve.listen
  deployctl config get state")]
    Get {
        /// The setting, as `config` lists it
        #[arg(value_name = "SETTING")]
        key: String,
    },
    /// Settings are written by people
    #[command(hide = true, disable_help_flag = true)]
    Set {
        #[arg(allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

/// What a setting is, and who said so.
#[derive(Serialize)]
struct Setting {
    key: &'static str,
    /// Null where it has none.
    value: Value,
    source: Source,
    /// The flag, the variable or the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Flag,
    Environment,
    File,
    Default,
}

#[derive(Serialize)]
struct Settings {
    settings: Vec<Setting>,
}

impl Settings {
    fn rows(&self) -> Vec<Vec<String>> {
        let from = |one: &Setting| one.from.clone().unwrap_or_else(|| "default".to_owned());
        self.settings.iter().map(|one| vec![one.key.to_owned(), shown(&one.value), from(one)]).collect()
    }
}

/// The flags that every command takes and that are settings.
const FLAGS: [&str; 4] = ["state", "format", "color", "timeout"];

pub(super) fn run(args: &Args, shell: &Shell) -> Result<()> {
    let settings = all(shell)?;
    let key = match &args.command {
        Some(Command::Get { key }) => key,
        Some(Command::Set { .. }) => {
            let file = shell.state_path().join("config.toml");
            return Err(Error::new(Code::Usage, format!("settings are written by people, into {}", file.display()))
                .hint("deployctl-config.toml(5) says what can be in it; `deployctl config` then checks it"));
        }
        None => {
            let settings = Settings { settings };
            return shell.ui.data(&settings, || table(&["SETTING", "VALUE", "FROM"], &settings.rows()));
        }
    };
    let names: Vec<_> = settings.iter().map(|one| one.key).collect();
    let unknown = || {
        let hint = match nearest(key, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => "`deployctl config` lists the settings".to_owned(),
        };
        Error::new(Code::Usage, format!("there is no setting “{key}”")).hint(hint)
    };
    let one = settings.iter().find(|one| one.key == key).ok_or_else(unknown)?;
    shell.ui.data(one, || shown(&one.value))
}

fn all(shell: &Shell) -> Result<Vec<Setting>> {
    let matches = Cli::command().try_get_matches_from(std::env::args_os());
    let matches = matches.map_err(|why| Error::new(Code::Usage, why.to_string()))?;
    let mut settings: Vec<_> = FLAGS.into_iter().map(|id| flag(id, &matches, shell)).collect();
    let path = shell.state_path().join("config.toml");
    let (config, written) = Config::load_with_keys(&path)?;
    let config = serde_json::to_value(&config).map_err(|why| Error::new(Code::Internal, why.to_string()))?;
    settings.extend(KEYS.iter().map(|key| {
        let value = key.split('.').try_fold(&config, |table, word| table.get(word)).cloned().unwrap_or_default();
        let from = written.contains(key).then(|| path.display().to_string());
        environment(key).unwrap_or(Setting {
            key,
            value,
            source: if from.is_some() { Source::File } else { Source::Default },
            from,
        })
    }));
    Ok(settings)
}

fn flag(id: &'static str, matches: &ArgMatches, shell: &Shell) -> Setting {
    let value = || matches.try_get_raw(id).ok()??.next().map(|value| value.to_string_lossy().into_owned());
    let (source, from) = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => (Source::Flag, Some(format!("--{id}"))),
        Some(ValueSource::EnvVariable) => (Source::Environment, Some(format!("DEPLOYCTL_{}", id.to_uppercase()))),
        _ if id == "color" && shell.ui.settings().no_color => {
            (Source::Environment, Some("NO_COLOR or TERM".to_owned()))
        }
        _ => (Source::Default, None),
    };
    let value = match (id, source) {
        ("state", _) => Some(shell.state_path().display().to_string()),
        ("color", Source::Environment) => Some("never".to_owned()),
        _ => value(),
    };
    Setting { key: id, value: value.into(), source, from }
}

/// What a variable says that stands for a flag of `serve`.
fn environment(key: &'static str) -> Option<Setting> {
    let id = key.strip_prefix("serve.")?;
    let program = Cli::whole();
    let serve = program.find_subcommand("serve")?;
    let variable = serve.get_arguments().find(|arg| arg.get_id() == id)?.get_env()?;
    let value = std::env::var_os(variable)?.to_string_lossy().into_owned();
    let from = Some(variable.to_string_lossy().into_owned());
    Some(Setting { key, value: value.into(), source: Source::Environment, from })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "-".to_owned(),
        Value::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
