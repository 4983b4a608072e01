//! What Cutover decides, and nothing of how it is done: the AppSpec, deployment configurations, the rule of minimum
//! healthy hosts, the deployment state machine and the judge of a canary. There is no I/O here, no clock, no randomness
//! and no environment; time is an argument.

pub mod appspec;
pub mod deployment;
pub mod group;
pub mod health;
mod ids;
pub mod judge;
pub mod ladder;
pub mod lifecycle;
mod revision;
mod time;
pub mod zonal;

pub use ids::{DeploymentId, GroupId, IdError};
pub use revision::{BundleType, Pin, Revision};
pub use time::Timestamp;
