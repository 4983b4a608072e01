//! One command being carried out: what its events have in common.

use std::path::PathBuf;

use engine::DeploymentId;
use engine::lifecycle::Event;
use thiserror::Error;
use wire::host::{EventReport, Specification};

use crate::group::{Group, GroupError, GroupLock};
use crate::host::Host;
use crate::journal::{Journal, JournalError};
use crate::orders::Command;

/// A hook that was ended because the agent had to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptedHook {
    /// The deployment that it belonged to.
    pub deployment_id: DeploymentId,
    /// The event that it ran for.
    pub event: Event,
    /// The script, as the AppSpec file names it.
    pub script: String,
}

/// What the host cannot do without.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// One command being carried out.
pub(crate) struct Run<'a, O> {
    pub(crate) host: &'a Host,
    pub(crate) orders: &'a O,
    pub(crate) command: &'a Command<'a>,
    pub(crate) group: &'a Group,
    pub(crate) lock: GroupLock,
    pub(crate) journal: Journal,
    pub(crate) reports: Vec<EventReport>,
}

impl<'a, O> Run<'a, O> {
    pub(crate) fn specification(&self) -> &'a Specification {
        self.command.specification
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.group.deployment(&self.specification().deployment_id)
    }

    /// Fencing on the host's own side: a command of a newer deployment has been seen.
    pub(crate) fn is_newest(&self) -> Result<(), String> {
        let seen = self.group.generation().map_err(|error| error.to_string())?;
        let own = self.specification().generation;
        if seen <= own {
            return Ok(());
        }
        Err(format!(
            "a newer deployment of the group has begun on this host (generation {seen}, this one is {own})"
        ))
    }
}
