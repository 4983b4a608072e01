//! The AppSpec file of an EC2/on-premises bundle: what may stand in it, parsed into types, each error with its place
//! (`docs/semantics.md#appspec`).
//!
//! The rules are those of the official agent on Linux. Nothing is judged here that needs the bundle or the host: whether
//! a file is there, or a user. Names of events are judged apart ([`AppSpec::misspelt_events`]), because what was deployed
//! before is not held against them.

mod document;
mod error;
mod events;
mod findings;
mod lambda;
mod lint;
mod lint_permissions;
mod nearest;
mod parse;
mod permission;
mod position;
mod resource;
mod scalar;
mod service;
mod shape;
mod spec;
mod tabs;
#[cfg(test)]
mod tests;
mod yaml;

pub use error::AppSpecError;
pub use events::EventName;
pub use findings::{Finding, Severity};
pub use lambda::{Alias, parse_lambda};
pub use lint::lint;
pub use parse::parse;
pub use position::Position;
pub use resource::ResourceError;
pub use service::{Capacity, Network, Tasks, parse_service};
pub use spec::{AppSpec, Context, FileExistsBehavior, FileMapping, Os, Permission, Places, Script};
