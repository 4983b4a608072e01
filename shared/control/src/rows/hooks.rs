//! Hook functions that were called for a deployment.

use engine::deployment::Fact;
use engine::lifecycle::Event;
use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Row;
use super::deployments::{KEPT_MS, partition};
use crate::table::Key;

/// A hook function that is called for a lifecycle event, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The event.
    pub event: Event,
    /// SHA-256 of the secret that lets the function say how it went: the id of its execution.
    pub secret_hash: String,
    /// When it was to be called.
    pub at: Timestamp,
    /// Whether it was.
    pub is_called: bool,
    /// What it said.
    pub status: Option<HookStatus>,
}

/// What a hook function says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookStatus {
    /// The deployment may go on.
    Succeeded,
    /// It may not.
    Failed,
}

impl HookRow {
    /// The hook of an event of deployment `id`.
    pub fn key_of(id: &DeploymentId, event: Event) -> Key {
        Key::new(partition(id), format!("{}{event}", Self::SORT))
    }

    const SORT: &str = "HOOK#";

    /// Whether the row at `key` is one.
    pub fn is_at(key: &Key) -> bool {
        key.sort.starts_with(Self::SORT)
    }

    /// What the deployment shall hear.
    pub fn told(&self) -> Option<Fact> {
        let event = self.event;
        let failed = match self.status? {
            HookStatus::Succeeded => None,
            HookStatus::Failed => Some(format!(
                "The hook function of {event} said that it has failed. Its own log tells why."
            )),
        };
        Some(Fact::HookEnded { event, failed })
    }
}

impl Row for HookRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id, self.event)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(KEPT_MS))
    }

    fn wakes(&self) -> bool {
        self.status.is_some()
    }
}
