//! A home, assembled: servers, use cases, the loop that drives deployments, and the hosts.

mod added;
mod begun;
mod error;
mod names;
mod patience;
mod roster;
mod running;
mod start;
mod uploads;

pub use error::HomeError;
pub use names::{REGION, REVISIONS};
pub use running::{Home, Interrupted};
pub use start::{HostCommand, Options};
