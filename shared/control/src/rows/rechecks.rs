//! Deployments that have ended and did not succeed, whose traffic is looked at again for some time.

use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Row;
use super::deployments::KEPT_MS;
use crate::table::Key;

/// A deployment whose traffic is looked at again after its end: what was asked for before may come about late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecheckRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Its group.
    pub group_id: GroupId,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Until when it is looked at.
    pub until: Timestamp,
    /// How much of the traffic its new side had then, in percent.
    pub percent: u8,
    /// How much it was found to have later, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u8>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_at: Option<Timestamp>,
}

impl RecheckRow {
    /// The partition of all of them.
    pub const ALL: &str = "LOOKS";

    /// The row of a deployment.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(Self::ALL, id.as_str())
    }

    /// What people are told of what was found.
    pub fn message(&self) -> Option<String> {
        let Self { deployment_id: id, percent, .. } = self;
        let (found, at) = (self.found?, self.found_at?);
        let seconds = at.since_ms(self.ended_at) / 1_000;
        Some(format!(
            "The deployment ended with {percent}% of the traffic at the new version, and {seconds} s later it had {found}%: \
             either somebody has changed it, or a request that was given up came about late. Look at the weights, and take \
             the traffic back with `cutover rollback {id}`."
        ))
    }
}

impl Row for RecheckRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.ended_at.plus_ms(KEPT_MS))
    }
}
