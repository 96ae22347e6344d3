//! Options of a service.

use serde::{Deserialize, Serialize};

use crate::model::OptionName;

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    pub name: OptionName,
}

/// The options of a session: validated, public.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(pub std::collections::BTreeMap<OptionName, serde_json::Value>);
