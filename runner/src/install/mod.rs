//! Installing what an AppSpec's `files` and `permissions` ask for (`docs/semantics.md#install`).
//!
//! An install is planned to its last step before anything is touched ([`plan()`]), and then done as a whole or not at all
//! ([`perform()`]); a runner that was killed in the middle of one completes or undoes it when it starts ([`recover`]).
//! The files that were replaced are kept, so that going back to the revision before copies nothing. Hooks, the bundle's
//! arrival and the group's lock are the caller's.

mod error;
mod host;
mod inherit;
mod journal;
mod labels;
mod perform;
mod permissions;
mod plan;
mod planned;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use durable::Disk;

pub use error::InstallError;
pub use labels::SeLinux;
pub use perform::{Outcome, Recovery, perform};
pub use plan::{Request, plan};
pub use planned::InstallPlan;

use crate::root::HostRoot;

/// Brings an interrupted install of the group to its end. To be called before anything else is done for the group.
///
/// # Errors
/// [`InstallError`]; the journal is kept then, and recovery may be tried again.
pub fn recover(
    root: &HostRoot,
    group_dir: &Path,
    disk: &Disk,
    sync: bool,
) -> Result<Recovery, InstallError> {
    let host =
        host::Host::open(root, disk).map_err(InstallError::io("opening", "the host's root"))?;
    perform::recover(&host, group_dir, sync)
}

/// Removes the files that are kept beside those of a group, as the group is no more: what it had before its last install.
/// What is installed stays.
///
/// # Errors
/// [`InstallError::Io`]; what is left can be removed later.
pub(crate) fn forget(root: &HostRoot, group_dir: &Path, disk: &Disk) -> Result<(), InstallError> {
    let host =
        host::Host::open(root, disk).map_err(InstallError::io("opening", "the host's root"))?;
    perform::forget(&host, group_dir)
}
