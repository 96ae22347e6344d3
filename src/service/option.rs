//! Options of a service.

use serde::{Deserialize, Serialize};

use crate::model::OptionName;

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    pub name: OptionName,
}
