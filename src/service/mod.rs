//! What a service is: `service.toml`, the interface made of it, options, roster, templates, tariff. Text in, types out.

pub mod advertised;
pub mod consent;
pub mod counted;
pub mod definition;
pub mod device;
pub mod fit;
pub mod interface;
pub mod launch;
pub mod license;
pub mod option;
pub mod parse;
pub mod permission;
pub mod platform;
pub mod query;
pub mod requirement;
pub mod roster;
pub mod schema;
pub mod tariff;
pub mod template;
pub mod usage;

pub use advertised::ServiceType;
pub use definition::{Definition, Permissions, Role, RoleTerms, Run};
pub use device::DeviceDescription;
pub use interface::Interface;
pub use option::{OptionSpec, Options};
pub use parse::{Finding, findings_to_error, parse};
pub use platform::{Platform, Platforms};
pub use requirement::Requirement;
pub use roster::{Member, Roster};
pub use tariff::{Statement, Tariff};
pub use usage::Usage;
