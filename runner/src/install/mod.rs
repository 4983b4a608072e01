//! Installing what an AppSpec's `files` and `permissions` ask for (`docs/semantics.md#install`).
//!
//! An install is planned to its last step before anything is touched ([`plan`]), and then done as a whole or not at all
//! ([`perform`]); a runner that was killed in the middle of one completes or undoes it when it starts ([`recover`]).
//! The files that were replaced are kept, so that going back to the revision before copies nothing. Hooks, the bundle's
//! arrival and the group's lock are the caller's.

mod error;
mod host;
mod journal;
mod labels;
mod perform;
mod permissions;
mod plan;
mod state;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use durable::Disk;
use engine::appspec::{AppSpec, FileExistsBehavior};

pub use error::InstallError;
pub use labels::SeLinux;
pub use plan::InstallPlan;

use crate::root::HostRoot;

/// What is to be installed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The root that all destinations lie below.
    pub root: &'a HostRoot,
    /// The directory of the group's state, of its own, which exists and is named by the group's id.
    pub group_dir: &'a Path,
    /// The unpacked bundle.
    pub archive: &'a Path,
    /// SHA-256 of the bundle. Files of an equal revision that the host still has are not copied again.
    pub revision: &'a str,
    /// The bundle's AppSpec.
    pub appspec: &'a AppSpec,
    /// What to do with files that are there already, unless the AppSpec says.
    pub behavior: FileExistsBehavior,
    /// What everything is written through.
    pub disk: &'a Disk,
    /// SELinux, if the host has it.
    pub selinux: Option<&'a SeLinux>,
    /// Whether installed files are forced to the disk, so that the install is all or nothing also when the power goes.
    pub sync: bool,
}

/// What an install did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How many files and links were put in place.
    pub files: usize,
    /// How many of them had to be copied.
    pub copied_files: usize,
}

/// What recovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// No install was interrupted.
    Nothing,
    /// The host has what it had before the interrupted install.
    Old,
    /// The interrupted install was completed.
    New,
}

/// Works out an install. Nothing is changed, except that an interrupted install is brought to its end first.
///
/// # Errors
/// [`InstallError`], with everything that can be known before.
pub fn plan(request: &Request<'_>) -> Result<InstallPlan, InstallError> {
    plan::plan(request)
}

/// Performs a plan, which must be the latest of its group.
///
/// # Errors
/// [`InstallError`]; the host has what it had before then, except after [`InstallError::HalfWay`].
pub fn perform(plan: InstallPlan) -> Result<Outcome, InstallError> {
    perform::perform(plan)
}

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
