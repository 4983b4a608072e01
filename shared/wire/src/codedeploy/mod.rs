//! CodeDeploy's JSON: requests, answers and errors of those operations that Cutover has, as awsJson1.1 writes them
//! (`docs/semantics.md#api`).
//!
//! A request is decoded leniently, then its [`Request::validate`] says what can be said without stored state; whether
//! what it names exists is for who executes it.

mod applications;
pub(crate) mod checks;
mod common;
mod configs;
mod deployments;
mod errors;
mod group_settings;
mod groups;
mod instances;
mod operation;
mod revisions;
mod shift;
mod targets;

pub use applications::*;
pub use common::*;
pub use configs::*;
pub use deployments::*;
pub use errors::*;
pub use groups::*;
pub use instances::*;
pub use operation::*;
pub use revisions::*;
pub use shift::*;
pub use targets::*;

#[cfg(test)]
mod tests;
